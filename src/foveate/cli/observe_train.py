"""The command `foveate observe train`.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from foveate.cli import observe_options as t
from foveate.cli import options as o


def train(
    pairs: Annotated[Path, typer.Argument(help="Folder that 'foveate observe prepare' wrote.")],
    out: o.Out,
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
        typer.Option(help="kriged, residual, cross, plain or literal. [default: kriged]"),
    ] = None,
    fill: Annotated[str | None, typer.Option(help="linear or conv. [default: linear]")] = None,
    supervision: Annotated[
        str | None,
        typer.Option(
            help="blend, semantic, surprise, structural, additive, product, task-delta, or auto: "
            "the best on the validation scenes. [default: blend]"
        ),
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
        float | None, typer.Option(help="Observed share to train for. [default: 0.12]")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="A trained observer to start from.")] = None,
    val: t.Val = None,
    test: Annotated[
        float | None, typer.Option(help="Share of the groups to judge by; 0: none. [default: 0.2]")
    ] = None,
    epochs: t.Epochs = None,
    train_batch: t.TrainBatch = None,
    lr: t.Lr = None,
    patience: t.Patience = None,
    precision: t.Precision = None,
    templates: o.Templates = "rs",
    bands: o.Bands = "",
    scale: o.Scale = "",
    seed: o.Seed = 0,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an observer that was trained otherwise.")
    ] = False,
    as_json: o.Json = False,
) -> None:
    """Train a sampler and a predictor on pairs, and judge them on scenes held out."""
    from foveate.cli.observed_train import trained, training_settings
    from foveate.cli.show import progress_bars
    from foveate.observe.settings import TrainJob
    from foveate.observe.train import run
    from foveate.report import write_report

    typed: dict[str, Any] = {
        "pairs": pairs, "model": model, "weights": weights, "text": text,
        "text_weights": text_weights, "lr_model": lr_model, "lr_weights": lr_weights,
        "target_model": target_model, "target_weights": target_weights,
        "saliency_model": saliency_model, "saliency_weights": saliency_weights, "size": size,
        "form": form, "fill": fill, "supervision": supervision, "similarity": similarity,
        "reference": reference, "lam": lam, "over": over, "target_scale": target_scale,
        "align": align, "norm": norm, "observed_weight": observed_weight, "obr": obr,
        "init": init, "val": val, "test": test, "epochs": epochs,
        "train_batch": train_batch, "lr": lr, "patience": patience, "precision": precision,
    }  # fmt: skip
    given = training_settings(typed, concepts=concepts, scale=scale, bands=bands)
    job = TrainJob(
        **given, templates=templates, seed=seed,
        batch_size=batch_size, device=device, replace=replace,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), report=write_report, progress=progress)
    trained(done, as_json=as_json)
