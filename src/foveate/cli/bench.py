"""The commands of `foveate bench`.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from foveate.cli import observe_options as t
from foveate.cli import options as o

app = typer.Typer(
    no_args_is_help=True,
    help="Measure methods against baselines, over several seeds, with intervals.",
)


@app.callback()
def _group() -> None:
    """Keep `observe` a command of its own while it is the only one."""


@app.command()
def observe(
    pairs: Annotated[Path, typer.Option(help="Folder that 'foveate observe prepare' wrote.")],
    out: o.Out,
    table: Annotated[
        str,
        typer.Option(
            help="main, ablation, supervision, threshold, predictor, budget, depth, zeroshot or "
            "pretraining."
        ),
    ] = "main",
    seeds: Annotated[int, typer.Option(help="Splits and trainings.")] = 5,
    draws: Annotated[int, typer.Option(help="Draws of random tiles, for each seed.")] = 5,
    model: o.Model = None,
    weights: o.Weights = None,
    concepts: t.Concepts = "",
    text: t.Text = None,
    text_weights: t.TextWeights = None,
    lr_model: t.LrModel = None,
    lr_weights: t.LrWeights = None,
    target_model: t.TargetModel = None,
    target_weights: t.TargetWeights = None,
    saliency_model: t.SaliencyModel = None,
    saliency_weights: t.SaliencyWeights = None,
    size: t.Size = None,
    form: Annotated[
        str | None,
        typer.Option(help="Of 'ours': kriged, residual, cross, plain, literal. [default: kriged]"),
    ] = None,
    fill: Annotated[
        str | None, typer.Option(help="Under 'ours': linear or conv. [default: linear]")
    ] = None,
    supervision: Annotated[
        str | None, typer.Option(help="Of 'learned'; see observe train. [default: blend]")
    ] = None,
    similarity: t.Similarity = None,
    reference: t.Reference = None,
    lam: t.Lam = None,
    over: t.Over = None,
    target_scale: t.TargetScale = None,
    align: t.Align = None,
    norm: t.Norm = None,
    observed_weight: t.ObservedWeight = None,
    obr: Annotated[
        float | None, typer.Option(help="Observed share where a table has one. [default: 0.12]")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="A trained observer, for the table pretraining.")
    ] = None,
    val: t.Val = None,
    test: Annotated[
        float | None, typer.Option(help="Share of the groups to judge by. [default: 0.2]")
    ] = None,
    epochs: t.Epochs = None,
    train_batch: t.TrainBatch = None,
    lr: t.Lr = None,
    patience: t.Patience = None,
    precision: t.Precision = None,
    templates: o.Templates = "rs",
    bands: o.Bands = "",
    scale: o.Scale = "",
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Compare policies and completions on pairs: a table with intervals, and what it says."""
    from foveate.bench.experiment import run
    from foveate.bench.settings import BenchJob
    from foveate.cli.benched import benched
    from foveate.cli.observed_train import training_settings
    from foveate.cli.show import progress_bars
    from foveate.report import write_report

    typed: dict[str, Any] = {
        "pairs": pairs, "table": table, "model": model, "weights": weights, "text": text,
        "text_weights": text_weights, "lr_model": lr_model, "lr_weights": lr_weights,
        "target_model": target_model, "target_weights": target_weights,
        "saliency_model": saliency_model, "saliency_weights": saliency_weights, "size": size,
        "form": form, "fill": fill, "supervision": supervision, "similarity": similarity,
        "reference": reference, "lam": lam, "over": over, "target_scale": target_scale,
        "align": align, "norm": norm, "observed_weight": observed_weight, "obr": obr, "init": init,
        "val": val, "test": test, "epochs": epochs, "train_batch": train_batch, "lr": lr,
        "patience": patience, "precision": precision,
    }  # fmt: skip
    given = training_settings(typed, concepts=concepts, scale=scale, bands=bands)
    job = BenchJob(
        **given, seeds=seeds, draws=draws, templates=templates, seed=seed,
        batch_size=batch_size, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), report=write_report, progress=progress)
    benched(done, as_json=as_json)
