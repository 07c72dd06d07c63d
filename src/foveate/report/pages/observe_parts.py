"""Shared parts of the pages of `observe`: overviews with outlined tiles, and heat maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.report import assets, human, marks
from foveate.report import blocks as ui
from foveate.report import origin as made
from foveate.report.page import Page, Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.report.assets import Album
    from foveate.report.read_observe import Gridded
    from foveate.report.svg import Box
    from foveate.report.words import Headline

SCENES = 12  # maximum number of scenes drawn
ROOM, SIDE = 8 << 20, 720  # maximum bytes of pictures; longest side for several scenes, pixels


def tile_page(
    run: Gridded, kind: str, said: Headline, sections: Sequence[Section], *,
    figures: Sequence[ui.Figure], facts: Sequence[tuple[str, str]] = (),
) -> Page:  # fmt: skip
    """Return the page of a run over tiles of overviews.

    Args:
        run: The run.
        kind: Kind of the page, for its title.
        said: The headline.
        sections: Sections of the page.
        figures: Key figures.
        facts: Facts about the run besides imagery, encoder, observer and seed.
    """
    summary = run.record.get("summary", {})
    common = [
        ("Imagery", made.imagery(run)),
        ("Encoder", made.encoder_name(run)),
        ("Observer", str(run.about.get("observer", "?"))),
        ("Seed", str(summary.get("seed", "?"))),
    ]
    return Page.of(
        run.name, f"Observe \u00b7 {kind}", said,
        warnings=made.warnings(run.about), lead=[ui.Figures(figures)], facts=[*facts, *common],
        sections=sections, origin=made.origin(run, one="tile", many="tiles"),
    )  # fmt: skip


def drawn_note(run: Gridded, what: str) -> str:
    """Return a sentence about the drawn scenes; "" if all scenes are drawn."""
    if len(run.scenes) <= SCENES:
        return ""
    return f" Shown: the {SCENES} scenes with the most {what} tiles; all are in the folder maps."


def most_first(run: Gridded, tiles: NDArray[np.int64]) -> list[int]:
    """Return the scenes sorted by their number of `tiles`, at most `SCENES`."""
    per_scene = np.bincount(run.scene[tiles], minlength=len(run.scenes))
    return np.argsort(-per_scene, kind="stable")[:SCENES].tolist()


def overview(  # noqa: PLR0917  (plain values)
    title: str, name: str, shape: Sequence[float], boxes: Sequence[Box], texts: Sequence[str],
    picture: str, element: str, note: str,
) -> ui.Overlay:  # fmt: skip
    """Draw an overview with outlined tiles, the remaining area slightly dimmed.

    Args:
        title: Caption.
        name: Name of the scene.
        shape: ``(height, width)`` of the ground in any unit.
        boxes: The tiles.
        texts: Tooltips of the first tiles.
        picture: Data URI, or "".
        element: Id of the picture, unique on the page.
        note: Meaning of the outlines.
    """
    width, height = marks.size(shape)
    drawn = marks.dimmed(boxes, width, height) if boxes else ""
    return ui.Overlay(
        title, width, height, f"{name} with {human.plural(len(boxes), 'outlined tile')}", picture,
        element if picture else "", drawn + marks.outlines(boxes, texts), note=note,
    )  # fmt: skip


def scene_overview(  # noqa: PLR0917  (context shared by all scenes)
    run: Gridded, scene: int, rows: NDArray[np.int64], texts: Sequence[str], album: Album,
    note: str,
) -> ui.Overlay:  # fmt: skip
    """Draw the overview of a scene of a run with some of its tiles outlined."""
    entry = run.scenes[scene]
    name, shape = str(entry["scene"]), (entry["height"], entry["width"])
    picture = album.uri(name, run.overview(scene), SIDE if len(run.scenes) > 1 else None)
    boxes = marks.pixel_boxes(run.windows[rows], shape)
    return overview("Overview", name, shape, boxes, texts, picture, f"scene{scene}", note)


def heat_map(
    title: str, values: NDArray[np.floating], high: float, *, shape: Sequence[float] | None = None
) -> ui.Overlay:
    """Draw (R, C) values from 0 to `high`; NaN is transparent.

    Args:
        title: Name of the quantity.
        values: One value per tile.
        high: Value of the lightest colour.
        shape: ``(height, width)`` of the ground in any unit; None for square tiles.
    """
    width, height = marks.size(values.shape if shape is None else shape)
    known = values[np.isfinite(values)]
    alt = f"{title}: no values"
    if known.size:
        alt = f"{title}: {human.decimal(float(known.min()))} to "
        alt += f"{human.decimal(float(known.max()))}, mean {human.decimal(float(known.mean()))}"
    ends = (human.decimal(0.0), human.decimal(high))
    return ui.Overlay(
        title, width, height, alt, assets.heat(values, 0.0, high),
        marks=_texts(title, values, width, height), ramp=(*ends, marks.tint_scale()), fine=True,
    )  # fmt: skip


def _texts(title: str, values: NDArray[np.floating], width: float, height: float) -> str:
    if values.size > marks.TIPS:
        return ""
    texts = [
        f"row {row}, column {col}: {title} {human.decimal(float(v))}" if math.isfinite(v) else ""
        for (row, col), v in np.ndenumerate(values)
    ]
    return marks.tips(marks.grid_boxes(values.shape, width, height), texts)


def highest(values: Sequence[NDArray[np.floating]]) -> float:
    """Return the maximum over several maps, for a common scale."""
    return max((float(np.nanmax(v)) for v in values if np.isfinite(v).any()), default=1.0) or 1.0
