"""The commands that look at imagery: each parses, runs one job, and prints what came of it.

Typer reads the annotations when the program starts: they are no comments here.
"""

from typing import Annotated

import typer

from foveate.cli import options as o


def curate(
    images: o.Images,
    out: o.Out,
    masks: o.Masks = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="lc, fd, lc-fd, fa, cb, fa-cb, random, kcenter, or all; several with commas or "
            "repeated. [default: fa-cb with masks, random without]"
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="10%, 500 (tiles), pixels=1e9, area=25%; several with commas.")
    ] = "10%",
    classes: o.Classes = None,
    model: o.Model = None,
    weights: o.Weights = None,
    bands: o.Bands = "",
    scale: o.Scale = "",
    tile: o.Tile = None,
    stride: o.Stride = None,
    edge: o.Edge = None,
    extra: o.Extra = None,
    stack: o.Stack = "",
    coordinates: o.Coordinates = None,
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    min_labelled: o.MinLabelled = 0.0,
    skip_empty: o.SkipEmpty = False,
    max_overlap: Annotated[
        float | None,
        typer.Option(
            help="A tile is put last if an earlier pick covers more of it than this share; 1: "
            "never. [default: 0.5; 1 with the presets]"
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of a method: fd.max_k=20; repeatable.")
    ] = None,
    preset: Annotated[str, typer.Option(help="default, paper or released.")] = "default",
    seed: o.Seed = 0,
    workers: o.Workers = 1,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Rank the tiles of a labelled pool and keep the best under a budget."""
    from foveate.cli.parse import curate_job
    from foveate.cli.show import finished, progress_bars
    from foveate.curate import run
    from foveate.report import write_report

    job = curate_job(
        preset=preset, images=images, masks=masks, classes=classes, methods=method,
        budget=budget, model=model, weights=weights, bands=bands, scale=scale, tile=tile,
        stride=stride, edge=edge, extra=extra, stack=stack, coordinates=coordinates,
        nodata=nodata, min_valid=min_valid, min_labelled=min_labelled, skip_empty=skip_empty,
        max_overlap=max_overlap, options=option, seed=seed, workers=workers,
        batch_size=batch_size, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), report=write_report, progress=progress)
    finished(done, as_json=as_json)


def embed(
    images: o.Images,
    out: o.Out,
    model: o.Model = None,
    weights: o.Weights = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Keep a vector for each place of a tile.")
    ] = False,
    bands: o.Bands = "",
    scale: o.Scale = "",
    tile: o.Tile = None,
    stride: o.Stride = None,
    edge: o.Edge = None,
    extra: o.Extra = None,
    stack: o.Stack = "",
    coordinates: o.Coordinates = None,
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    skip_empty: o.SkipEmpty = False,
    workers: o.Workers = 1,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Turn the tiles of imagery into vectors, for other commands and other programs."""
    from foveate.cli.parse import imagery
    from foveate.cli.show import embedded, progress_bars
    from foveate.models.job import EmbedJob, run

    given = imagery(
        images=images, model=model, weights=weights, bands=bands, scale=scale, tile=tile,
        stride=stride, edge=edge, extra=extra, stack=stack, coordinates=coordinates,
        nodata=nodata, min_valid=min_valid, skip_empty=skip_empty, tokens=tokens,
        workers=workers, batch_size=batch_size, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(EmbedJob(**given), out, command=o.command(), progress=progress)
    embedded(done, as_json=as_json)


def classify(
    images: o.Images,
    out: o.Out,
    labels: o.Labels = "",
    labels_file: o.LabelsFile = None,
    probe: o.Probe = None,
    model: o.Model = None,
    weights: o.Weights = None,
    templates: o.Templates = "rs",
    head: Annotated[
        str | None,
        typer.Option(
            help="cosine: shares among the labels; sigmoid: each alone. [default: cosine]"
        ),
    ] = None,
    masks: o.Masks = None,
    classes: o.Classes = None,
    truth_from_folders: Annotated[
        bool,
        typer.Option("--truth-from-folders", help="Compare with the folder that an image is in."),
    ] = False,
    bands: o.Bands = "",
    scale: o.Scale = "",
    tile: o.TileOrWhole = None,
    stride: o.Stride = None,
    edge: o.Edge = None,
    extra: o.Extra = None,
    stack: o.Stack = "",
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    skip_empty: o.SkipEmpty = False,
    workers: o.Workers = 1,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Say what each image shows: by class names (no training), or by a linear probe."""
    from foveate.classify import run
    from foveate.cli.parse import classify_job
    from foveate.cli.show import classified, progress_bars
    from foveate.report import write_report

    job = classify_job(
        images=images, labels=labels, labels_file=labels_file, probe=probe, model=model,
        weights=weights, templates=templates, head=head, masks=masks, classes=classes,
        truth_from_folders=truth_from_folders, bands=bands, scale=scale, tile=tile,
        stride=stride, edge=edge, extra=extra, stack=stack, nodata=nodata, min_valid=min_valid,
        skip_empty=skip_empty, workers=workers, batch_size=batch_size, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), report=write_report, progress=progress)
    classified(done, as_json=as_json)
