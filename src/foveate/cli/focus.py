"""The commands of `foveate focus`: look, ask, segment.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from foveate.cli import options as o

app = typer.Typer(
    no_args_is_help=True,
    help="Choose the few regions of wide-area images that a frozen model should be shown.",
)

Goal = Annotated[str, typer.Option(help="balanced, rare, dominant, query or paper.")]
Query = Annotated[
    str, typer.Option(help='What is looked for: "storage tank". Implies --goal query.')
]
Mode = Annotated[
    str | None,
    typer.Option(
        help="zoom: native-resolution crops; window: small cells; feature: one overview. "
        "[default: zoom; feature for segment]"
    ),
]
Regions = Annotated[int, typer.Option(help="Most regions that are chosen.")]
Passes = Annotated[
    float | None,
    typer.Option(
        help="Most passes of the model for an image; 0: no limit. [default: a third of those that "
        "tiling takes, at least 24]"
    ),
]
AskPasses = Annotated[
    float | None,
    typer.Option(
        help="Most passes of all models for an image; 0: no limit. [default: 48, or as many as "
        "are needed; with a selector a third of those that tiling takes besides]"
    ),
]
Area = Annotated[str | None, typer.Option(help="Largest area of the regions: 10%.")]
Cells = Annotated[int, typer.Option(help="First cells along the longer side of an image.")]
Crop = Annotated[
    int | None,
    typer.Option(help="About the side of a crop, pixels of the image. [default: the model's]"),
]
Partition = Annotated[
    str, typer.Option(help="First cells: uniform, or significance (finer where features differ).")
]
Search = Annotated[str, typer.Option(help="top, prefix, greedy or importance (sampled).")]
Depth = Annotated[int | None, typer.Option(help="Levels below the first cells. [default: rules]")]
Epsilon = Annotated[float, typer.Option(help="Limit of the coreset check, relative loss.")]
Robust = Annotated[
    bool | None,
    typer.Option("--robust/--no-robust", help="Measure robustness. [default: where it is cheap]"),
]
Option = Annotated[
    list[str] | None,
    typer.Option(help="A form or weight of the goal: synergy=paper, weights.area=0; repeatable."),
]


@app.command()
def look(
    images: o.Images,
    out: o.Out,
    labels: o.Labels = "",
    labels_file: o.LabelsFile = None,
    probe: o.Probe = None,
    templates: o.Templates = "rs",
    goal: Goal = "",
    query: Query = "",
    mode: Mode = None,
    regions: Regions = 8,
    passes: Passes = None,
    area: Area = None,
    cells: Cells = 4,
    crop: Crop = None,
    partition: Partition = "uniform",
    search: Search = "top",
    depth: Depth = None,
    epsilon: Epsilon = 0.98,
    robust: Robust = None,
    option: Option = None,
    model: o.Model = None,
    weights: o.Weights = None,
    bands: o.Bands = "",
    scale: o.Scale = "",
    extra: o.Extra = None,
    stack: o.Stack = "",
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    seed: o.Seed = 0,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Choose regions of images, and say what the model sees with and without the choice."""
    from foveate.focus import LookJob

    job = _job(
        LookJob, images=images, labels=labels, labels_file=labels_file, probe=probe,
        templates=templates, goal=goal, query=query, mode=mode, regions=regions, passes=passes,
        area=area, cells=cells, crop=crop, partition=partition, search=search, depth=depth,
        epsilon=epsilon, robust=robust, option=option, model=model, weights=weights, bands=bands,
        scale=scale, extra=extra, stack=stack, nodata=nodata, min_valid=min_valid, seed=seed,
        batch_size=batch_size, device=device,
    )  # fmt: skip
    _run(job, out, as_json=as_json)


@app.command()
def ask(
    images: o.Images,
    out: o.Out,
    prompt: Annotated[str, typer.Option(help="The question.")],
    feed: Annotated[
        str,
        typer.Option(help="How regions are shown: overview+crops, canvas (one image) or mask."),
    ] = "overview+crops",
    selector: Annotated[
        str | None,
        typer.Option(help="Another model that chooses the regions. [default: the model itself]"),
    ] = None,
    selector_weights: Annotated[
        Path | None, typer.Option(help="Local weights of the selector.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, tokens.")] = 64,
    side: Annotated[
        int | None,
        typer.Option(help="Longest side of an image that is shown. [default: the model's]"),
    ] = None,
    goal: Annotated[
        str, typer.Option(help="balanced, rare or query; with a selector also dominant, paper.")
    ] = "",
    query: Query = "",
    mode: Mode = None,
    regions: Regions = 4,
    passes: AskPasses = None,
    area: Area = None,
    cells: Cells = 4,
    crop: Crop = None,
    partition: Partition = "uniform",
    search: Search = "top",
    depth: Depth = None,
    epsilon: Epsilon = 0.98,
    robust: Robust = None,
    option: Option = None,
    model: o.Model = None,
    weights: o.Weights = None,
    bands: o.Bands = "",
    scale: o.Scale = "",
    extra: o.Extra = None,
    stack: o.Stack = "",
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    seed: o.Seed = 0,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Ask a generative model about images, with and without the regions that matter."""
    from foveate.focus import AskJob

    job = _job(
        AskJob, images=images, prompt=prompt, feed=feed, selector=selector,
        selector_weights=selector_weights, max_tokens=max_tokens, side=side, goal=goal,
        query=query, mode=mode, regions=regions, passes=passes, area=area, cells=cells, crop=crop,
        partition=partition, search=search, depth=depth, epsilon=epsilon, robust=robust,
        option=option, model=model, weights=weights, bands=bands, scale=scale, extra=extra,
        stack=stack, nodata=nodata, min_valid=min_valid, seed=seed, batch_size=batch_size,
        device=device,
    )  # fmt: skip
    _run(job, out, as_json=as_json)


@app.command()
def segment(
    images: o.Images,
    out: o.Out,
    mode: Mode = None,
    regions: Regions = 8,
    passes: Passes = None,
    area: Area = None,
    cells: Cells = 4,
    crop: Crop = None,
    search: Search = "top",
    depth: Depth = None,
    epsilon: Epsilon = 0.98,
    option: Option = None,
    model: o.Model = None,
    weights: o.Weights = None,
    bands: o.Bands = "",
    scale: o.Scale = "",
    extra: o.Extra = None,
    stack: o.Stack = "",
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    seed: o.Seed = 0,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Choose regions of images by the masks that a model expects there, and segment them."""
    from foveate.focus import SegmentJob

    job = _job(
        SegmentJob, images=images, goal="", mode=mode, regions=regions, passes=passes, area=area,
        cells=cells, crop=crop, search=search, depth=depth, epsilon=epsilon, option=option,
        model=model, weights=weights, bands=bands, scale=scale, extra=extra, stack=stack,
        nodata=nodata, min_valid=min_valid, seed=seed, batch_size=batch_size, device=device,
    )  # fmt: skip
    _run(job, out, as_json=as_json)


def _job(kind: Any, *, labels: str = "", goal: str, option: Any, **rest: Any) -> Any:
    """Make a job of a kind from what was typed.

    Raises:
        ParameterError: Something cannot be read, or a value is out of range.
    """
    from foveate.cli.parse import form_options, imagery
    from foveate.models.heads import labels_from

    given = imagery(**rest)
    given["goal"] = goal or ("query" if rest.get("query") else "balanced")
    given["forms"] = form_options(option or ())
    if labels:
        given["labels"] = list(labels_from(labels))
    return kind(**given)


def _run(job: Any, out: Path, *, as_json: bool) -> None:
    from foveate.cli.looked import looked
    from foveate.cli.show import progress_bars
    from foveate.focus import run
    from foveate.report import write_report

    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), report=write_report, progress=progress)
    looked(done, as_json=as_json)
