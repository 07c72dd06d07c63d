"""The commands that build wide scenes from small images: `foveate mosaic` and `foveate join`.

Typer evaluates the annotations at start-up, so they must be importable.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveate.cli.options import Json, Out, Seed, path_argument, path_option

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox


def mosaic(  # noqa: PLR0913  (each is an option)
    folder: Annotated[Path, path_argument("Folder with one subfolder per class.")],
    out: Out,
    kind: Annotated[
        str, typer.Option(help="one, majority, rare, rare-mixed, clutter or blocks.")
    ] = "majority",
    count: Annotated[int, typer.Option(help="Number of mosaics.")] = 4,
    grid: Annotated[int, typer.Option(help="Rows and columns of patches.")] = 8,
    rows: Annotated[
        int | None, typer.Option(help="Rows of patches. [default: those of --grid]")
    ] = None,
    cols: Annotated[
        int | None, typer.Option(help="Columns of patches. [default: those of --grid]")
    ] = None,
    offset: Annotated[
        float,
        typer.Option(
            help="Share of the first row and column of patches to crop: 0.5 places patch borders "
            "in the middle of grid tiles."
        ),
    ] = 0.0,
    share: Annotated[
        float, typer.Option(help="Share of patches of the label, for majority and blocks.")
    ] = 0.25,
    label: Annotated[
        str | None, typer.Option(help="Class used as label of the scenes. [default: random]")
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of a patch, pixels. [default: the most frequent]")
    ] = None,
    form: Annotated[str, typer.Option(help="tif or png.")] = "tif",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Stitch wide scenes with known content from class folders of patches."""
    from foveate.cli.show import progress_bars, result
    from foveate.world import write_mosaics

    with progress_bars(quiet=as_json) as progress:
        files = write_mosaics(
            folder, out, kind, count, rows=grid if rows is None else rows,
            cols=grid if cols is None else cols, seed=seed, share=share, label=label,
            tile=tile, offset=offset, form=form, progress=progress,
        )  # fmt: skip
    about = [
        {"file": str(path), "label": name}
        for path, name in zip(files.images, files.labels, strict=True)
    ]
    lines = [f"  {found['label']:<24} {found['file']}" for found in about]
    content = {"kind": kind, "mosaics": about, "truth": str(files.truth)}
    head = f"{count} mosaic{'' if count == 1 else 's'} of kind {kind}, by label:"
    result(content, "\n".join([head, *lines, f"Ground truth: {files.truth}"]), as_json=as_json)


def join(
    parts: Annotated[list[Path], path_argument("A folder of parts, or the files in order.")],
    rows: Annotated[int, typer.Option(help="Rows of parts.")],
    cols: Annotated[int, typer.Option(help="Columns of parts.")],
    out: Annotated[Path, path_option(help="File to write: .tif or .png.")],
    ignore_georeference: Annotated[
        bool,
        typer.Option(
            "--ignore-georeference",
            help="Join parts in the given order regardless of their georeference; the scene has "
            "no georeference then.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Join the parts of a scene, row by row from the upper left.

    Georeferenced parts must be adjacent; the scene keeps their CRS.
    """
    from foveate.cli.show import result
    from foveate.world import join as join_parts
    from foveate.world import write_image

    folder = parts[0] if len(parts) == 1 and parts[0].is_dir() else parts
    joined = join_parts(folder, rows, cols, ignore_georeference=ignore_georeference)
    write_image(out, joined.image, joined.geobox)
    bands, height, width = joined.image.shape
    georeference = _georeference(joined.geobox, out, ignored=ignore_georeference)
    content = {
        "file": str(out), "bands": bands, "height": height, "width": width,
        "georeference": georeference,
    }  # fmt: skip
    text = f"{out}: {height} x {width} pixels, {bands} bands\nGeoreference: {georeference}"
    result(content, text, as_json=as_json)


def _georeference(geobox: "GeoBox | None", out: Path, *, ignored: bool) -> str:
    """Return a description of the georeference of the joined scene."""
    if ignored:
        return "none, that of the parts was ignored"
    if geobox is None:
        return "none; the parts have none, so their order was not checked"
    if out.suffix.lower() == ".png":
        return "none, PNG does not support it; use .tif"
    return f"from the parts, {geobox.crs or 'without a CRS'}"
