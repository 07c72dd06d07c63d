"""The page of a benchmark of `focus`: accuracy against passes, differences, and every figure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from foveate.report import blocks as ui
from foveate.report import explain, human, svg
from foveate.report import origin as made
from foveate.report.page import Page, Section
from foveate.report.pages import bench
from foveate.report.words import bench_focus as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from foveate.report.read_bench_focus import FocusBenched, FocusTable, Paper
    from foveate.report.read_observe import TableRow
    from foveate.report.words import Headline

_OWN = "look-balanced"
_WHOLE = "the whole image"
_RIVALS = {
    "looks": "the best other method", "main": _WHOLE, "backbones": _WHOLE, "cost": _WHOLE,
    "share": _WHOLE,
}  # fmt: skip
_ROUND = [m * 10.0**k for k in range(-4, 5) for m in (1, 2, 5)]  # ticks of a time axis, seconds
_PARTS = ": "  # separates a measure and its kind of scenes


def bench_focus(run: FocusBenched) -> Page:
    """Draw the page."""
    first = run.tables[0]
    return Page.of(
        run.name, "Bench \u00b7 focus", headlines(run)[""],
        lead=[ui.Figures(_figures(first))],
        facts=_facts(run),
        sections=[_section(table, i) for i, table in enumerate(run.tables)],
        origin=made.origin(run, one="scene", many="scenes"),
    )  # fmt: skip


def headlines(run: FocusBenched) -> dict[str, Headline]:
    """Return the headline of the table of the last command, with the key ""."""
    table = run.tables[0]
    rival = _RIVALS.get(table.name, "")
    if not rival:
        return {"": words.said_of(table.title, table.claims, table.cautions)}
    measure = table.titles.get(table.lead, table.lead)
    kinds = [
        words.on_kind(kind, _compared(one.rows, one.lead), rival)
        for kind, one in table.by_kind.items()
    ]
    rows = _compared(table.rows, table.lead)
    return {"": words.looked(rows, measure, table.cautions, rival=rival, kinds=kinds)}


def _compared(rows: Sequence[TableRow], lead: str) -> list[words.Ahead]:
    """Return the looks that have a reference, with both values."""
    level = {(r.block, r.label): r.means.get(lead, math.nan) for r in rows}
    return [
        words.Ahead(
            r.label, r.block, r.known_verdict, level[r.block, r.label], r.reference,
            level[r.block, r.reference],
        )
        for r in rows if words.LOOK in r.label and r.reference
    ]  # fmt: skip


def _figures(table: FocusTable) -> list[ui.Figure]:
    """Return the key figures: the best look, and the best other method."""
    measure = table.titles.get(table.lead, table.lead)
    figures = []
    rows = [r for r in table.rows if not words.is_told(r.block) and table.name == "looks"]
    for title, is_look in (("Best look", True), ("Best other", False)):
        known = [
            r for r in rows
            if r.label.startswith(words.LOOK) == is_look and math.isfinite(_value(table, r))
        ]  # fmt: skip
        if known:
            best = max(known, key=lambda r: r.means[table.lead])
            note = f"{measure}, {best.label}, {best.block}"
            figures.append(ui.Figure(title, human.decimal(best.means[table.lead], 3), note))
    return [
        *figures,
        ui.Figure("Scenes", human.count(table.test.scenes), "per seed"),
        ui.Figure("Seeds", human.count(table.seeds), "for scenes and methods"),
    ]


def _facts(run: FocusBenched) -> list[tuple[str, str]]:
    table = run.tables[0]
    return [
        ("Scenes", ", ".join(table.sets)),
        ("Kinds", ", ".join(table.kinds)),
        ("Imagery", made.imagery(run)),
        ("Model", ", ".join(table.models)),
        ("Tables", ", ".join(one.name for one in run.tables)),
    ]


def _section(table: FocusTable, i: int) -> Section:
    blocks: list[ui.Block] = []
    blocks += _lines(table)
    blocks += bench.forests(table)
    if not i and bench.forests(table):
        blocks.append(explain.terms("mark and line", "better, worse", "tied, open"))
    blocks.append(bench.claims(table))
    blocks += [ui.Heading("Means over seeds"), bench.means(table, _columns(table), {})]
    blocks += _kinds(table)
    if table.paper is not None:
        blocks.append(_paper(table.paper))
    blocks += [ui.Text(why, "note", f"Left out: {name}.") for name, why in table.left_out.items()]
    blocks += [ui.Text(note, "note") for note in (table.how, table.note) if note]
    return Section(f"table{i}", table.title, blocks, "", table.name)


def _there(table: FocusTable) -> list[str]:
    return [
        c for c in table.columns
        if any(math.isfinite(row.means.get(c, math.nan)) for row in table.rows)
    ]  # fmt: skip


def _columns(table: FocusTable) -> list[str]:
    """Return the measures over all scenes; those of one kind have a separate table."""
    return [c for c in _there(table) if _PARTS not in c]


def _kinds(table: FocusTable) -> list[ui.Block]:
    """Return the comparisons and figures for each kind of scene."""
    parts = [c for c in _there(table) if _PARTS in c]
    folds: list[ui.Block] = [
        ui.Fold(f"Differences on scenes of the kind {kind}", found)
        for kind, one in table.by_kind.items()
        if (found := bench.forests(replace(table, lead=one.lead, rows=one.rows)))
    ]
    area = table.by_area
    if area and (found := bench.forests(replace(table, lead=area.lead, rows=area.rows))):
        folds.append(ui.Fold("Differences with one value per folder of scenes", found))
    if parts:
        folds.append(ui.Fold("Figures by kind of scene", [bench.means(table, parts, {})]))
    return folds


def _paper(paper: Paper) -> ui.Table:
    heads = ["Row", *(ui.Column(name) for name in paper.columns)]
    rows = [
        ui.Row(label, [v if isinstance(v, str) else human.decimal(v) for v in figures])
        for label, figures in paper.rows.items()
    ]
    caption = f"The paper, measured on other data: {paper.source}."
    return ui.Table("Figures of the paper", heads, rows, caption=caption)


# curves


class _Series(NamedTuple):
    """Curves of one chart: name -> x -> leading measure."""

    title: str
    across: str  # label of the x axis
    curves: dict[str, dict[float, float]]
    levels: Sequence[tuple[str, float]] = ()
    log: bool = False
    ticks: Sequence[float] = ()  # empty: a tick at every x


def _lines(table: FocusTable) -> list[ui.Block]:
    """Draw the leading measure over the varied parameter; nothing if it has one value."""
    blocks: list[ui.Block] = []
    for series in _SERIES.get(table.name, lambda _: [])(table):
        if (drawn := _chart(table, series)) is not None:
            blocks += [ui.Heading(series.title), drawn]
    return blocks


def _chart(table: FocusTable, series: _Series) -> ui.Chart | None:
    curves = {name: curve for name, curve in series.curves.items() if len(curve) > 1}
    ticks = series.ticks or sorted({x for curve in curves.values() for x in curve})
    if not curves:
        return None
    looks = _looks(list(curves))
    lines = [
        svg.Line(name, list(curve), list(curve.values()), looks[name])
        for name, curve in curves.items()
    ]
    lines.sort(key=lambda line: line.name == _OWN)
    drawn = svg.lines(
        lines, "The table below has the same figures", levels=series.levels,
        ticks=[(x, f"{x:g}") for x in ticks], log=series.log, height=340,
    )  # fmt: skip
    if drawn is None:
        return None
    legend = [(svg.sample(look), name) for name, look in looks.items()]
    caption = f"x axis: {series.across}; y axis: {table.titles.get(table.lead, table.lead)}."
    return ui.Chart(drawn, caption, legend=legend, look="axes")


def _value(table: FocusTable, row: TableRow) -> float:
    return row.means.get(table.lead, math.nan)


def _gathered(points: Iterable[tuple[str, float, float]]) -> dict[str, dict[float, float]]:
    """Return name -> x -> value, sorted by x, without NaN."""
    found: dict[str, dict[float, float]] = {}
    for name, x, value in points:
        if math.isfinite(value):
            found.setdefault(name, {})[x] = value
    return {name: dict(sorted(curve.items())) for name, curve in found.items()}


def _over_passes(table: FocusTable) -> list[_Series]:
    series = []
    for told, title in (
        (False, "Accuracy against passes"), (True, "Methods that are given the class to find")
    ):  # fmt: skip
        points = [
            (r.label, passes, _value(table, r))
            for r in table.rows
            if words.is_told(r.block) == told
            and (passes := table.passes.get(f"{r.block}: {r.label}")) is not None
        ]
        across = "budget of passes (logarithmic; dashed: other methods)"
        series.append(_Series(title, across, _gathered(points), log=True))
    return [*series[:1], _over_seconds(table), *series[1:]]


def _over_seconds(table: FocusTable) -> _Series:
    rows = [r for r in table.rows if not words.is_told(r.block) and r.means.get("seconds", 0) > 0]
    points = [(r.label, r.means["seconds"], _value(table, r)) for r in rows]
    times = [seconds for _, seconds, _ in points]
    ticks = [t for t in _ROUND if times and min(times) <= t <= max(times)]
    across = "seconds per scene (logarithmic; dashed: other methods)"
    title = "Accuracy against time"
    return _Series(title, across, _gathered(points), log=True, ticks=ticks or times[:1])


def _over_weights(table: FocusTable) -> list[_Series]:
    points = [
        (r.block, float(r.label), _value(table, r))
        for r in table.rows
        if r.label.replace(".", "").isdigit()
    ]
    ticks = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    across = "value of one weight, the others as in the paper"
    return [_Series("Accuracy against weights", across, _gathered(points), ticks=ticks)]


def _over_shares(table: FocusTable) -> list[_Series]:
    series = []
    for block in dict.fromkeys(r.block for r in table.rows):
        rows = [r for r in table.rows if r.block == block]
        points = [
            (name, float(percent.removesuffix(" %")), _value(table, r))
            for r in rows
            for name, comma, percent in [r.label.rpartition(", ")]
            if comma
        ]
        levels = [(r.label, _value(table, r)) for r in rows if ", " not in r.label]
        across = "share of the image that is kept, %"
        series.append(_Series(f"{block} patches", across, _gathered(points), levels))
    return series


_SERIES: Mapping[str, Callable[[FocusTable], list[_Series]]] = {
    "looks": _over_passes, "lambda": _over_weights, "share": _over_shares,
}  # fmt: skip


def _looks(names: Sequence[str]) -> dict[str, str]:
    """Return name -> line style; methods other than looks are dashed."""
    looks = sorted((n for n in names if n.startswith(words.LOOK)), key=lambda n: n != _OWN)
    if not looks:
        return {name: f"k{i % 8}" for i, name in enumerate(names)}
    others = [name for name in names if name not in looks]
    return {name: f"k{i % 8}" for i, name in enumerate(looks)} | {
        name: f"k{(i + len(looks)) % 8} dashed" for i, name in enumerate(others)
    }
