"""The command `foveate observe estimate`.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated

import typer

from foveate.cli import options as o


def estimate(
    pairs: Annotated[Path, typer.Argument(help="A folder of pairs.")],
    what: Annotated[str, typer.Option(help="Name of a concept.")],
    of: Annotated[
        str, typer.Option(help="area (by masks), tiles that show it, or count (of objects).")
    ] = "area",
    budget: Annotated[str, typer.Option(help="Tiles to look at: 5%, 200.")] = "5%",
    confidence: Annotated[str, typer.Option(help="Of the interval: 95%.")] = "95%",
    model: Annotated[
        Path | None, typer.Option(help="A trained observer says where to look.")
    ] = None,
    covariate: Annotated[
        Path | None, typer.Option(help="A georeferenced raster says it: night lights.")
    ] = None,
    floor: Annotated[
        float | None,
        typer.Option(help="Least probability, a share of that of an even draw. [default: 0.3]"),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Draws to compare with all labels, and with even draws.")
    ] = 0,
    plan: Annotated[
        Path | None, typer.Option(help="Write the drawn tiles for a person: .csv or .geojson.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="CSV of what was found: tile_id, value.")
    ] = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the result to this file, JSON.")] = None,
    as_json: o.Json = False,
) -> None:
    """Say how much of a concept there is, with an interval, from tiles drawn at random."""
    from foveate.cli import observed_estimate
    from foveate.cli.show import progress_bars

    job = observed_estimate.estimate_job(
        pairs=pairs.absolute(), what=what, of=of, budget=budget, confidence=confidence,
        model=model, covariate=covariate, floor=floor, seed=seed, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        observed_estimate.estimate(
            job, repeats=repeats, plan=plan, answers=answers, out=out, as_json=as_json,
            progress=progress,
        )  # fmt: skip
