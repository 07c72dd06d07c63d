"""The commands that make wide scenes of small images: `foveate mosaic` and `foveate join`.

Typer reads the annotations when the program starts: they are no comments here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveate.cli.options import Json, Out, Seed, path_argument, path_option

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox


def mosaic(  # noqa: PLR0913  (each is an option)
    folder: Annotated[Path, path_argument("Folder whose subfolders are the classes.")],
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
            help="Share of the first patches that is cut off: 0.5 puts the patches between the "
            "tiles of a grid."
        ),
    ] = 0.0,
    share: Annotated[
        float, typer.Option(help="Share of the label, of majority and blocks.")
    ] = 0.25,
    label: Annotated[
        str | None, typer.Option(help="Class that the scenes are about. [default: drawn]")
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
    head = f"{count} mosaic{'' if count == 1 else 's'} of kind {kind}, about:"
    result(content, "\n".join([head, *lines, f"Truth: {files.truth}"]), as_json=as_json)


def join(
    parts: Annotated[list[Path], path_argument("A folder of parts, or the files in their order.")],
    rows: Annotated[int, typer.Option(help="Rows of parts.")],
    cols: Annotated[int, typer.Option(help="Columns of parts.")],
    out: Annotated[Path, path_option(help="File to write: .tif or .png.")],
    ignore_georeference: Annotated[
        bool,
        typer.Option(
            "--ignore-georeference",
            help="Put parts together wherever they lie on the ground; the scene has no "
            "georeference then.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Put the parts of one scene together, row by row from the upper left.

    Georeferenced parts have to lie side by side, and the scene keeps their CRS.
    """
    from foveate.cli.show import result
    from foveate.world import join as join_parts
    from foveate.world import write_image

    folder = parts[0] if len(parts) == 1 and parts[0].is_dir() else parts
    joined = join_parts(folder, rows, cols, ignore_georeference=ignore_georeference)
    write_image(out, joined.image, joined.geobox)
    bands, height, width = joined.image.shape
    place = _place(joined.geobox, out, ignored=ignore_georeference)
    content = {
        "file": str(out), "bands": bands, "height": height, "width": width, "georeference": place
    }  # fmt: skip
    text = f"{out}: {height} x {width} pixels, {bands} bands\nGeoreference: {place}"
    result(content, text, as_json=as_json)


def _place(geobox: "GeoBox | None", out: Path, *, ignored: bool) -> str:
    """Say what became of the georeference of parts."""
    if ignored:
        return "none, as that of the parts is ignored"
    if geobox is None:
        return "none; the parts have none, and their order was not checked"
    if out.suffix.lower() == ".png":
        return "none, as a PNG holds none; write a .tif"
    return f"that of the parts, {geobox.crs or 'without a CRS'}"
