"""The command `foveate observe select`.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated

import typer

from foveate.cli import options as o


def select(
    images: Annotated[
        list[Path], typer.Argument(help="Overviews, files or folders; or a folder of pairs.")
    ],
    model: Annotated[Path, typer.Option(help="Folder of a trained observer.")],
    out: o.Out,
    budget: Annotated[
        str | None, typer.Option(help="Never exceeded: 12%, 500 (tiles), area=25%, area=2e6.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Choose what scores above: 0 for all, 1 for nothing.")
    ] = None,
    obr: Annotated[
        str | None,
        typer.Option(help="Share of the area: the threshold is set on the scores found here."),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="learned, design, or a baseline: random, uniform, lr-entropy, covariate."
        ),
    ] = "learned",
    covariate: Annotated[
        Path | None, typer.Option(help="A raster for that policy: night lights, population.")
    ] = None,
    tile: Annotated[
        float | None,
        typer.Option(help="Side of a tile, pixels of the overview. [default: as in training]"),
    ] = None,
    lr_cost: Annotated[
        float, typer.Option(help="Price of the overview per area, that of a tile being 1.")
    ] = 0.0,
    bands: Annotated[
        str, typer.Option(help="Bands of the overviews in the order of the training, from 1.")
    ] = "",
    extra: o.Extra = None,
    stack: o.Stack = "",
    nodata: o.Nodata = None,
    min_valid: o.MinValid = 0.5,
    skip_empty: o.SkipEmpty = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Choose the tiles of overviews that are worth seeing in high resolution."""
    from foveate.cli.observed_select import select_job, selected
    from foveate.cli.show import progress_bars
    from foveate.observe.select import run
    from foveate.report import write_report

    job = select_job(
        images=images, model=model, budget=budget, threshold=threshold, obr=obr, policy=policy,
        covariate=covariate, tile=tile, lr_cost=lr_cost, bands=bands, extra=extra, stack=stack,
        nodata=nodata, min_valid=min_valid, skip_empty=skip_empty, seed=seed, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), report=write_report, progress=progress)
    selected(done, as_json=as_json)
