"""The commands of `foveate observe`.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated

import typer

from foveate.cli import options as o
from foveate.cli.observe_complete import classify, complete, search
from foveate.cli.observe_estimate import estimate
from foveate.cli.observe_select import select
from foveate.cli.observe_train import train

app = typer.Typer(
    no_args_is_help=True,
    help="Choose which tiles to observe in high resolution, from an overview.",
)

Concepts = Annotated[
    str, typer.Option(help="What is to be found: forest,water,road; or a file with weights.")
]


@app.command()
def prepare(
    images: Annotated[list[Path], typer.Argument(help="Folders or files of high resolution.")],
    out: o.Out,
    tiles: Annotated[str, typer.Option(help="Tiles of a scene: ROWSxCOLS.")] = "10x10",
    ratio: Annotated[
        float | None,
        typer.Option(help="Side of a pixel of the overview, pixels of the scene. [default: 10]"),
    ] = None,
    lr: Annotated[
        list[Path] | None,
        typer.Option(help="Real overviews, paired by name, instead of simulated; repeatable."),
    ] = None,
    masks: o.Masks = None,
    mask_suffix: o.MaskSuffix = "",
    classes: o.Classes = None,
    concepts: Concepts = "",
    objects: Annotated[
        Path | None, typer.Option(help="GeoJSON of objects with a property 'kind'.")
    ] = None,
    mtf: Annotated[
        float, typer.Option(help="Modulation of simulated overviews at their Nyquist frequency.")
    ] = 0.25,
    snr: Annotated[
        float, typer.Option(help="Signal to noise of simulated overviews; 0: no noise.")
    ] = 100.0,
    extra: o.Extra = None,
    stack: o.Stack = "",
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    skip_empty: o.SkipEmpty = False,
    seed: o.Seed = 0,
    as_json: o.Json = False,
) -> None:
    """Pair high resolution with overviews, simulated or real, and label the tiles."""
    from foveate.cli.observed import prepare_job, prepared
    from foveate.cli.show import progress_bars
    from foveate.observe.prepare import run

    job = prepare_job(
        images=images, tiles=tiles, ratio=ratio, lr=lr, masks=masks, mask_suffix=mask_suffix,
        classes=classes, concepts=concepts, objects=objects, mtf=mtf, snr=snr, extra=extra,
        stack=stack, nodata=nodata, min_valid=min_valid, skip_empty=skip_empty, seed=seed,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), progress=progress)
    prepared(done, as_json=as_json)


app.command()(train)
app.command()(select)
app.command()(estimate)
app.command()(complete)
app.command()(search)
app.command()(classify)
