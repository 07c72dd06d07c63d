"""The command that trains: `foveate tune-text`.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from foveate.cli import options as o


def tune_text(
    images: o.Images,
    out: o.Out,
    captions: Annotated[
        Path | None, typer.Option(help="Captions: JSON (as of UCM-captions, RSICD), JSONL or CSV.")
    ] = None,
    classes_from_folders: Annotated[
        bool,
        typer.Option("--classes-from-folders", help="Learn the names of the images' folders."),
    ] = False,
    model: o.Model = None,
    weights: o.Weights = None,
    split: Annotated[
        Path | None, typer.Option(help="Which image is train, val, test. [default: the captions']")
    ] = None,
    pair: Annotated[
        str, typer.Option(help="How captions find their images: name or order.")
    ] = "name",
    labels_file: Annotated[
        Path | None, typer.Option(help="What to call the folders: folder -> name.")
    ] = None,
    templates: o.Templates = "rs",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the images. [default: 30]")
    ] = None,
    train_batch: Annotated[int | None, typer.Option(help="Images a step. [default: 128]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. [default: 0.001]")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without progress before the end. [default: 10]")
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Length of the embedding. [default: 256]")] = None,
    width: Annotated[int | None, typer.Option(help="Of the text tower. [default: 128]")] = None,
    layers: Annotated[int | None, typer.Option(help="Of the text tower. [default: 2]")] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32 or bfloat16, in training. [default: float32]")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a model that was tuned otherwise in --out.")
    ] = False,
    bands: o.Bands = "",
    scale: o.Scale = "",
    stack: o.Stack = "",
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    skip_empty: o.SkipEmpty = False,
    seed: o.Seed = 0,
    workers: o.Workers = 1,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Make any frozen image encoder understand text: minutes on a CPU, from captions or folders."""
    from foveate.cli.parse import imagery
    from foveate.cli.show import progress_bars, tuned
    from foveate.models.tune_text import TuneTextJob, run

    given: dict[str, Any] = imagery(
        images=images, captions=captions, classes_from_folders=classes_from_folders, model=model,
        weights=weights, split=split, pair=pair, labels=labels_file, templates=templates,
        epochs=epochs, train_batch=train_batch, lr=lr, patience=patience, dim=dim, width=width,
        layers=layers, precision=precision, replace=replace, bands=bands, scale=scale,
        stack=stack, nodata=nodata, min_valid=min_valid, skip_empty=skip_empty, seed=seed,
        workers=workers, batch_size=batch_size, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(TuneTextJob(**given), out, command=o.command(), progress=progress)
    tuned(done, as_json=as_json)
