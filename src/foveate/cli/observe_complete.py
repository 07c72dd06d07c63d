"""`foveate observe complete`, `search` and `classify`: what is done with what was bought.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import Annotated

import typer

from foveate.cli import options as o

Scenes = Annotated[Path, typer.Argument(help="A run of foveate observe complete.")]
Model = Annotated[
    Path | None, typer.Option(help="Folder of a trained observer. [default: that of the run]")
]


def complete(
    selection: Annotated[Path, typer.Argument(help="A run of foveate observe select.")],
    out: o.Out,
    model: Model = None,
    tiles: Annotated[
        list[Path] | None,
        typer.Option(
            help="High resolution: scenes or pairs, files SCENE_r03_c07.tif, or georeferenced "
            "rasters; repeatable. Without it nothing is observed."
        ),
    ] = None,
    only_chosen: Annotated[
        bool, typer.Option("--only-chosen", help="Look at no tile that was not chosen.")
    ] = False,
    bands: Annotated[
        str, typer.Option(help="Bands of the high resolution in the order of the training, from 1.")
    ] = "",
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Complete scenes of high-resolution features from overviews and the tiles that were bought."""
    from foveate.cli.observed_complete import complete_job, completed
    from foveate.cli.show import progress_bars
    from foveate.observe.complete import run
    from foveate.report import write_report

    job = complete_job(
        selection=selection, model=model, tiles=tiles, only_chosen=only_chosen, bands=bands,
        batch_size=batch_size, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=o.command(), report=write_report, progress=progress)
    completed(done, as_json=as_json)


def search(
    scenes: Scenes,
    text: Annotated[str, typer.Option(help="What to look for, in words.")] = "",
    concept: Annotated[
        str, typer.Option(help="Or a concept that the observer has learnt from labels.")
    ] = "",
    within: Annotated[str, typer.Option("--in", help="What is ranked: tiles or scenes.")] = "tiles",
    top: Annotated[int, typer.Option(help="Most hits.")] = 20,
    out: Annotated[Path | None, typer.Option(help="File of the hits: .csv or .geojson.")] = None,
    model: Model = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Find the tiles or scenes that show most of a text or a concept."""
    from foveate.cli.observed_complete import searched

    searched(
        scenes, within=within, out=out, as_json=as_json, text=text, concept=concept, top=top,
        model=None if model is None else str(model), seed=seed, device=device,
    )  # fmt: skip


def classify(
    scenes: Annotated[
        Path | None, typer.Argument(help="A run of foveate observe complete; or --dataset.")
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(
            help="What is to be found: forest,water,road; or a file. [default: the observer's]"
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="auto, texts, or labels that the observer has learnt from. [default: auto]"
        ),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Zero-shot on a whole data set instead: eurosat, bigearthnet.")
    ] = "",
    root: Annotated[Path | None, typer.Option(help="Folder of that data set.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Part of that data set: train, val, test. [default: test]"),
    ] = None,
    bands: Annotated[
        str, typer.Option(help="Its bands in the order of the training: B04,B03,B02.")
    ] = "",
    scale: Annotated[
        str, typer.Option(help="Its values for 0 and 255 of pictures. [default: 0,3000]")
    ] = "",
    model: Model = None,
    templates: Annotated[
        str, typer.Option(help="Sentences around a name. [default: those of the training]")
    ] = "",
    device: o.Device = "auto",
    as_json: o.Json = False,
) -> None:
    """Score completed scenes for concepts, or classify a data set from overviews alone."""
    from foveate.cli.observed_complete import classified

    classified(
        scenes=scenes, concepts=concepts, by=by, dataset=dataset, root=root, split=split,
        bands=bands, scale=scale, model=model, templates=templates, device=device, as_json=as_json,
    )  # fmt: skip
