"""The page of selected tiles: how many, where, by which scores, and how to go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from foveate.report import charts, human, numbers
from foveate.report.observed_choice import as_area, chosen_tiles, command
from foveate.report.observed_choice import chosen as said
from foveate.report.observed_draw import TIPS, Board, Heat, board, heat, pixel_boxes, ramp, to_grid
from foveate.report.observed_guides import SELECTED
from foveate.report.observed_origin import imagery, origin, warnings
from foveate.report.observed_page import Page
from foveate.report.observed_tables import Row
from foveate.report.panels import Figure
from foveate.report.pictures import Album
from foveate.report.stage import number

if TYPE_CHECKING:
    from markupsafe import Markup
    from numpy.typing import NDArray

    from foveate.report.observed_data import Gridded

SCENES, TILES = 12, 30  # shown, listed
_ROOM, _SIDE = 8 << 20, 720  # bytes of pictures on the page; longest side where there are many
_BINS = 8  # of tiles a scene


class SceneCard(NamedTuple):
    """One scene."""

    name: str
    caption: str
    board: Board
    heats: list[Heat]


@dataclass(frozen=True)
class SelectedView(Page):
    """The page."""

    template: ClassVar[str] = "selected.html.j2"

    next: str
    outlines: str
    scenes: list[SceneCard]
    scenes_note: str
    histogram: Markup | None
    histogram_low: str
    histogram_high: str
    spread: list[Row]
    spread_note: str
    tiles: list[Row]
    tiles_note: str


def build(run: Gridded) -> SelectedView:
    """Turn a run into the page's content."""
    picks = chosen_tiles(run)
    headline, chosen = said(run, picks), np.isin(np.arange(run.n), picks)
    per_scene = np.bincount(run.scene[picks], minlength=len(run.scenes))
    album = Album(_ROOM)
    order = np.argsort(-per_scene, kind="stable")[:SCENES].tolist()
    scenes = [_scene(run, i, chosen, album) for i in order]
    bins = numbers.histogram(run.columns["score"], picks)
    threshold = number(run.about.get("threshold"))
    if bins is not None and math.isfinite(threshold):
        bins = bins._replace(line=min(max(threshold, bins.low), bins.high))
    cut = "threshold" if math.isfinite(threshold) else "last chosen tile"
    return SelectedView(
        title=run.name,
        headline=headline.text,
        verdicts=headline.notes,
        warnings=warnings(run.about),
        figures=_figures(run, picks.size),
        facts=_facts(run),
        ramp=ramp(),
        next=command(run),
        outlines=_outlines(run.record.get("summary", {}).get("pool", {})),
        scenes=scenes,
        scenes_note=_scenes_note(len(run.scenes), len(scenes)),
        histogram=None
        if bins is None
        else charts.histogram(bins, cut=cut, one="tile", many="tiles"),
        histogram_low="" if bins is None else human.decimal(bins.low),
        histogram_high="" if bins is None else human.decimal(bins.high),
        spread=_spread(per_scene),
        spread_note=_spread_note(per_scene),
        tiles=[_tile(run, row) for row in picks[:TILES].tolist()],
        tiles_note=_tiles_note(picks.size),
        reading=SELECTED,
        pictures_note=_left_out(len(album.left_out)),
        origin=origin(run),
        pictures={},
        shots={},
    )  # fmt: skip


def _figures(run: Gridded, chosen: int) -> list[Figure]:
    about = run.about
    area = about.get("area")
    shares = [
        ("Observed share", human.share(number(about.get("obr"))), "OBR, by area"),
        (
            "Cost",
            human.share(number(about.get("mocr"))),
            "MOCR, of everything in high resolution",
        ),
    ]
    found = [Figure("Tiles chosen", human.count(chosen), f"of {human.count(run.n)}")]
    found += [Figure(*row) for row in shares if row[1] != human.NONE]
    if math.isfinite(threshold := number(about.get("threshold"))):
        found.append(Figure("Threshold", human.decimal(threshold, 3), "on the calibrated score"))
    if math.isfinite(drift := number(about.get("drift"))):
        sign = "\u2212" if drift < 0 else "+" if drift > 0 else ""
        found.append(Figure("Drift", sign + human.share(abs(drift)), "of the expected share"))
    if isinstance(area, dict):
        text = as_area(number(area.get("chosen")), metres=area.get("unit") == "m2")
        whole = as_area(number(area.get("all")), metres=area.get("unit") == "m2")
        found.append(Figure("Area chosen", text, f"of {whole}"))
    return found


def _facts(run: Gridded) -> list[tuple[str, str]]:
    about, summary = run.about, run.record.get("summary", {})
    spread = about.get("per_scene") or {}
    rows = [
        ("Mode", str(about.get("mode", "?"))),
        ("Budget", str(about.get("budget") or "none")),
        ("Share a scene", " / ".join(
            human.share(number(spread.get(k))) for k in ("min", "median", "max")
        ) + " (least, median, most)" if spread else ""),
        ("Imagery", imagery(run)),
        ("Encoder", str((run.encoder or {}).get("name", "?"))),
        ("Observer", str(about.get("observer", "?"))),
        ("Supervision", str(about.get("supervision", "?"))),
        ("Seed", str(summary.get("seed", "?"))),
        ("Overviews suffice for", ", ".join(map(str, about.get("lr_suffices") or []))),
    ]  # fmt: skip
    return [row for row in rows if row[1]]


def _scene(run: Gridded, index: int, chosen: NDArray[Any], album: Album) -> SceneCard:
    scene, rows = run.scenes[index], run.rows(index)
    name, shape = str(scene["scene"]), (scene["height"], scene["width"])
    file = run.overview(index)
    uri = album.uris[name] if album.add(name, file, _SIDE if len(run.scenes) > 1 else None) else ""
    own = rows[chosen[rows]]
    texts = [
        f"rank {human.count(run.columns['rank'][row])}, row {run.place[row, 0]}, column "
        f"{run.place[row, 1]}: score {human.decimal(float(run.columns['score'][row]), 3)}"
        for row in own[:TIPS].tolist()
    ]
    drawn = board(f"scene{index}", name, shape, pixel_boxes(run.windows[own], shape), texts, uri)
    heats = []
    sd = run.columns["sd"]
    most = float(np.nanmax(sd)) if np.isfinite(sd).any() else 1.0
    for title, key, high in (("Score", "score", 1.0), ("Uncertainty (sd)", "sd", most or 1.0)):
        if rows.size and np.isfinite(run.columns[key][rows]).any():
            grid = to_grid(run.place[rows], run.columns[key][rows])
            heats.append(heat(title, grid, (0.0, high), shape=shape))
    caption = f"{human.count(own.size)} of {human.plural(rows.size, 'tile')} chosen"
    return SceneCard(name, caption, drawn, heats)


def _spread(per_scene: NDArray[Any]) -> list[Row]:
    """Return how many scenes give so many tiles."""
    if per_scene.size < 2:
        return []
    most = int(per_scene.max())
    edges = np.unique(np.linspace(0, most + 1, min(_BINS, most + 1) + 1).astype(int))
    count, _ = np.histogram(per_scene, edges)
    rows = []
    for low, high, scenes in zip(
        edges[:-1].tolist(), edges[1:].tolist(), count.tolist(), strict=True
    ):
        name = f"{low}" if high - low == 1 else f"{low} to {high - 1}"
        text = human.plural(scenes, "scene")
        share = scenes / max(int(count.max()), 1)
        rows.append(Row(name, [human.count(scenes)], bar=charts.bar(share, text)))
    return rows


def _spread_note(per_scene: NDArray[Any]) -> str:
    low, middle, high = per_scene.min(), float(np.median(per_scene)), per_scene.max()
    return (
        f"Scenes give {human.count(low)} to {human.count(high)} tiles, the median scene "
        f"{middle:g}: tiles go where scores are highest, not evenly."
    )


def _tile(run: Gridded, row: int) -> Row:
    values = run.columns
    area = values["area"][row]
    return Row(
        human.count(values["rank"][row]) if math.isfinite(values["rank"][row]) else human.NONE,
        [
            str(run.scenes[run.scene[row]]["scene"]), str(run.place[row, 0]),
            str(run.place[row, 1]), human.decimal(float(values["score"][row]), 3),
            human.decimal(float(values["raw"][row]), 3),
            human.decimal(float(values["sd"][row]), 3),
            as_area(float(area), metres=True) if math.isfinite(area) else human.NONE,
        ],
    )  # fmt: skip


def _tiles_note(chosen: int) -> str:
    if chosen <= TILES:
        return "All chosen tiles, in their order."
    return (
        f"The first {TILES} of {human.count(chosen)}; all are in selection/tiles.parquet and "
        "tables/scores.parquet."
    )


def _scenes_note(all_: int, shown: int) -> str:
    text = "Outlined: chosen. Lighter squares score higher."
    if all_ > shown:
        text += f" The {shown} scenes with most chosen tiles; all are in the folder maps."
    return text


def _outlines(pool: dict[str, Any]) -> str:
    if pool.get("georeferenced"):
        return "tiles.geojson has their outlines"
    return "selection/tiles.parquet has their windows in pixels"


def _left_out(count: int) -> str:
    return f"{human.plural(count, 'picture')} missing, or left out for size." if count else ""
