"""The page of selected tiles: counts, maps, scores, and the next command."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import numpy as np

from foveate.report import blocks as ui
from foveate.report import explain, human, numbers, svg
from foveate.report import origin as made
from foveate.report.assets import Album
from foveate.report.human import number
from foveate.report.page import Section
from foveate.report.pages.observe_parts import (
    ROOM,
    drawn_note,
    heat_map,
    highest,
    most_first,
    scene_overview,
    tile_page,
)  # fmt: skip
from foveate.report.words.scenes import Chosen, selected, told

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.page import Page
    from foveate.report.read_observe import Gridded
    from foveate.report.words import Headline

TILES = 30  # maximum number of listed tiles
_BINS = 8  # bins of the histogram of tiles per scene


def select(run: Gridded) -> Page:
    """Draw the page."""
    picks, found, album = chosen_tiles(run), headline(run), Album(ROOM)
    scenes = _scenes(run, picks, album)
    scenes += ui.left_out(len(album.left_out))
    note = "Outlined: selected. Lighter squares of the maps have higher values."
    note += drawn_note(run, "selected")
    listed = "All selected tiles, by rank." if picks.size <= TILES else (
        f"The first {TILES} of {human.count(picks.size)}; all are in selection/tiles.parquet and "
        "tables/scores.parquet.")  # fmt: skip
    return tile_page(run, "selected tiles", found, [
        Section("scenes", "Selected tiles by scene", scenes, note, "Scenes"),
        Section("next", "Next step", _next(run), nav="Next step"),
        Section("scores", "Scores", [
            *_histogram(run, picks), *_per_scene(run, picks),
            explain.terms("score", "uncertainty", "budget share", "cost", "drift"),
        ], "Histogram of the scores of all tiles; filled: selected.", "Scores"),
        Section("tiles", "Selected tiles by rank", _tiles(run, picks), listed, "Tiles"),
    ], figures=_figures(run, picks.size), facts=_facts(run))  # fmt: skip


def headline(run: Gridded) -> Headline:
    """Return the headline of the selection."""
    picks = chosen_tiles(run)
    per_scene = np.bincount(run.scene[picks], minlength=len(run.scenes))
    repeated = run.record.get("summary", {}).get("training") or {}
    fell_back = str(repeated.get("policy")) if repeated.get("fallback") else ""
    return selected(
        Chosen(
            run.about, run.n, picks.size, len(run.scenes), int((per_scene == 0).sum()),
            _interchangeable(run, picks), told(repeated), fell_back,
        )
    )  # fmt: skip


def chosen_tiles(run: Gridded) -> NDArray[np.int64]:
    """Return the (k,) rows of the selected tiles, by rank."""
    picks = np.flatnonzero(run.columns["chosen"] > 0)  # False for NaN
    rank = run.columns["rank"][picks]
    return picks[np.argsort(np.where(np.isfinite(rank), rank, np.inf), kind="stable")]


def _interchangeable(run: Gridded, picks: NDArray[np.int64]) -> int:
    """Return the number of other selected tiles within their uncertainty of the last one."""
    raw, sd = run.columns["raw"], run.columns["sd"]
    if not picks.size or picks.size == run.n or not np.isfinite(raw[picks]).all():
        return 0
    return int((raw[picks] - raw[picks].min() < sd[picks])[:-1].sum())


def _figures(run: Gridded, chosen: int) -> list[ui.Figure]:
    about, area = run.about, run.about.get("area")
    shares = [
        ui.Figure("Budget share", human.share(number(about.get("obr"))), "observed area (OBR)"),
        ui.Figure("Cost", human.share(number(about.get("mocr"))),
               "of everything in high resolution (MOCR)"),
    ]  # fmt: skip
    found = [ui.Figure("Selected tiles", human.count(chosen), f"of {human.count(run.n)}")]
    found += [figure for figure in shares if figure.value != human.NONE]
    if math.isfinite(threshold := number(about.get("threshold"))):
        found.append(ui.Figure("Threshold", human.decimal(threshold, 3), "on the calibrated score"))
    if math.isfinite(drift := number(about.get("drift"))):
        sign = "\u2212" if drift < 0 else "+" if drift > 0 else ""
        found.append(ui.Figure("Drift", sign + human.share(abs(drift)), "of the expected share"))
    if isinstance(area, dict):
        texts = [human.area(number(area.get(key)), metres=area.get("unit") == "m2")
                 for key in ("chosen", "all")]  # fmt: skip
        found.append(ui.Figure("Selected area", texts[0], f"of {texts[1]}"))
    return found


def _facts(run: Gridded) -> list[tuple[str, str]]:
    about, spread = run.about, run.about.get("per_scene") or {}
    ends = " / ".join(human.share(number(spread.get(k))) for k in ("min", "median", "max"))
    rows = [
        ("Mode", str(about.get("mode", "?"))),
        ("Budget", str(about.get("budget") or "none")),
        ("Policy", str(about.get("policy") or "")),
        ("Share per scene", f"{ends} (minimum, median, maximum)" if spread else ""),
        ("Supervision", str(about.get("supervision", "?"))),
        ("Overviews suffice for", ", ".join(map(str, about.get("lr_suffices") or []))),
    ]
    return [row for row in rows if row[1]]


def _scenes(run: Gridded, picks: NDArray[np.int64], album: Album) -> list[ui.Block]:
    chosen, most = np.isin(np.arange(run.n), picks), highest([run.columns["sd"]])
    blocks: list[ui.Block] = []
    for scene in most_first(run, picks):
        rows = run.rows(scene)
        selected_rows = rows[chosen[rows]]
        texts = [_text(run, row) for row in selected_rows[: svg.TIPS].tolist()]
        drawn = [scene_overview(run, scene, selected_rows, texts, album, "outlined: selected")]
        entry = run.scenes[scene]
        shape = (entry["height"], entry["width"])
        for title, key, high in (("Score", "score", 1.0), ("Uncertainty (sd)", "sd", most)):
            grid = run.grid(scene, key)
            if np.isfinite(grid).any():
                drawn.append(heat_map(title, grid, high, shape=shape))
        note = f"{human.count(selected_rows.size)} of {human.plural(rows.size, 'tile')} selected"
        blocks += [ui.Heading(str(entry["scene"]), note), ui.Grid(drawn, 3)]
    return blocks


def _text(run: Gridded, row: int) -> str:
    rank, (r, c) = run.columns["rank"][row], run.grid_index[row]
    score = human.decimal(float(run.columns["score"][row]), 3)
    place = f"rank {human.count(rank)}, " if math.isfinite(rank) else ""
    return f"{place}row {r}, column {c}: score {score}"


def _histogram(run: Gridded, picks: NDArray[np.int64]) -> list[ui.Block]:
    bins = numbers.histogram(run.columns["score"], picks)
    if bins is None:
        return [ui.Text("No tile has a score.", "note")]
    threshold = number(run.about.get("threshold"))
    cut = "last selected tile"
    if math.isfinite(threshold):
        bins, cut = bins._replace(line=min(max(threshold, bins.low), bins.high)), "threshold"
    drawn = svg.histogram(bins, cut=cut, one="tile", many="tiles")
    return [ui.Chart(drawn, ends=(human.decimal(bins.low), "score", human.decimal(bins.high)))]


def _per_scene(run: Gridded, picks: NDArray[np.int64]) -> list[ui.Block]:
    """Return a histogram of the number of selected tiles per scene."""
    per_scene = np.bincount(run.scene[picks], minlength=len(run.scenes))
    if per_scene.size < 2:
        return []
    most = int(per_scene.max())
    edges = np.unique(np.linspace(0, most + 1, min(_BINS, most + 1) + 1).astype(int))
    count, _ = np.histogram(per_scene, edges)
    rows = []
    ends = zip(edges[:-1].tolist(), edges[1:].tolist(), count.tolist(), strict=True)
    for low, high, scenes in ends:
        name = f"{low}" if high - low == 1 else f"{low} to {high - 1}"
        bar = svg.bar(scenes / max(int(count.max()), 1), human.plural(scenes, "scene"))
        rows.append(ui.Row(name, [bar, human.count(scenes)]))
    low, middle, high = np.quantile(per_scene, [0, 0.5, 1]).tolist()
    note = f"{human.count(low)} to {human.count(high)} selected tiles per scene, median "
    note += f"{middle:g}: tiles are selected by score, not evenly."
    columns = ["Tiles", ui.BAR, "Scenes"]
    table = ui.Table("Tiles per scene", columns, rows)
    return [ui.Heading("Tiles per scene"), ui.Text(note), table]


def _tiles(run: Gridded, picks: NDArray[np.int64]) -> list[ui.Block]:
    rows = []
    for row in picks[:TILES].tolist():
        rank, (r, c) = run.columns["rank"][row], run.grid_index[row]
        values = [human.decimal(float(run.columns[k][row]), 3) for k in ("score", "raw", "sd")]
        area = human.area(float(run.columns["area"][row]), metres=True)
        name = human.count(rank) if math.isfinite(rank) else human.NONE
        rows.append(ui.Row(name, [ui.Cell(run.scene_name(row)), str(r), str(c), *values, area]))
    columns = [
        "Rank",
        ui.Column("Scene", "text"),
        "Row",
        "Column",
        "Score",
        "Raw",
        "Uncertainty (sd)",
        "Area",
    ]
    return [ui.Table("Selected tiles", columns, rows)] if rows else []


def _next(run: Gridded) -> list[ui.Block]:
    georeferenced = made.pool_of(run).get("georeferenced")
    where = "tiles.geojson has their outlines" if georeferenced else (
        "selection/tiles.parquet has their windows in pixels")  # fmt: skip
    text = f"Acquire the selected tiles in high resolution: {where}. Put the files into a folder "
    return [ui.Text(f"{text}DIR, and complete the scenes:"), ui.Text(command(run), "code")]


def command(run: Gridded) -> str:
    """Return the next command; the folder is that of the command of the run."""
    folder = run.name
    try:
        parts = shlex.split(str(run.record.get("command", "")))
    except ValueError:  # not a shell command
        parts = []
    for i, part in enumerate(parts):
        if "select" not in parts:  # a command that wrote several runs
            break
        if part == "--out" and i + 1 < len(parts):
            folder = parts[i + 1]
        elif part.startswith("--out="):
            folder = part.removeprefix("--out=")
    model = str(run.about.get("observer") or "OBSERVER")
    return (
        f"foveate observe complete {shlex.quote(folder)} --observer {shlex.quote(model)} "
        "--tiles DIR --out SCENES"
    )
