"""The page of a benchmark: what was measured, which claims were reached, and every difference."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from foveate.report import benched_charts as charts
from foveate.report import human, observed_origin
from foveate.report.benched_curves import Curves, curves
from foveate.report.benched_data import VERDICTS, Benched, read_benched
from foveate.report.benched_guides import BENCHED
from foveate.report.panels import Figure
from foveate.report.words import bench as words
from foveate.report.words.bench import Measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from foveate.report.benched_data import Row, Table
    from foveate.report.provenance import Origin
    from foveate.report.view import Shot
    from foveate.report.words import Headline

__all__ = ["BenchedView", "build", "headlines", "read_benched"]

_MARKS = {True: "✓", False: "✗", None: "·"}
_SAID = {True: "reached", False: "not reached", None: "noted"}
_EQUAL = "not counted"  # what could not have failed
_LOOKS = {True: "yes", False: "no", None: "so"}


class ClaimView(NamedTuple):
    """What a table says: its text, and the mark, word and look of whether it was reached."""

    text: str
    mark: str
    said: str
    look: str


class RowView(NamedTuple):
    """A row: its interval, and its figures in words."""

    label: str
    chart: Markup
    short: str
    verdict: str
    sample: Markup | None
    cells: list[str]
    full: str
    p: str


class Group(NamedTuple):
    """Rows that are compared with the same one."""

    title: str
    note: str
    scale: Markup
    rows: list[RowView]
    compared: bool


class TableView(NamedTuple):
    """A table."""

    anchor: str
    name: str
    title: str
    measured: str
    count: str
    claims: list[ClaimView]
    lead: str
    groups: list[Group]
    compared: bool
    cut: bool
    legend: list[tuple[str, Markup]]
    curves: Curves | None
    columns: list[str]
    small: list[str]
    left_out: list[tuple[str, str]]


@dataclass(frozen=True)
class BenchedView:
    """The page."""

    template: ClassVar[str] = "benched.html.j2"
    styles: ClassVar[tuple[str, ...]] = ("focused.css", "observed.css", "benched.css")
    script: ClassVar[dict[str, Any]] = {}  # the page is complete without one

    title: str
    headline: str
    verdicts: tuple[str, ...]
    figures: list[Figure]
    facts: list[tuple[str, str]]
    tables: list[TableView]
    origin: Origin
    reading: list[tuple[str, str]] = field(default_factory=lambda: BENCHED)
    pictures_note: str = ""
    pictures: dict[str, str] = field(default_factory=dict)
    shots: dict[str, Shot] = field(default_factory=dict)


def build(run: Benched) -> BenchedView:
    """Turn a run into the page's content."""
    first, headline = run.tables[0], headlines(run)[""]
    return BenchedView(
        title=run.name,
        headline=headline.text,
        verdicts=headline.notes,
        figures=_figures(first),
        facts=_facts(run),
        tables=[_table(table, i) for i, table in enumerate(run.tables)],
        origin=_origin(run),
    )


def headlines(run: Benched) -> dict[str, Headline]:
    """Return what is said of all tables, as ""."""
    return {"": words.benched([Measured(t.title, t.says, t.cautions) for t in run.tables])}


def _figures(table: Table) -> list[Figure]:
    """Return the large numbers, of the first table."""
    figures = [
        Figure("Claims reached", words.count(table.says), f"of the table {table.name}"),
        Figure("Seeds", human.count(table.seeds), "each with a split and a training of its own"),
        Figure(
            "Test scenes", human.count(table.scenes),
            f"under each seed; {human.plural(table.groups, 'group')} of them in all",
        ),
        Figure("Observed share", human.share(table.obr), "OBR, where a row states no other"),
    ]  # fmt: skip
    return figures if figures[0].value else figures[1:]


def _facts(run: Benched) -> list[tuple[str, str]]:
    job, pool = run.record.get("job", {}), run.record.get("summary", {}).get("pool", {})
    tiles, scenes = pool.get("tiles"), pool.get("scenes")
    pairs = "?"
    if isinstance(tiles, int) and isinstance(scenes, int):
        pairs = f"{human.plural(tiles, 'tile')} in {human.plural(scenes, 'scene')}"
    return [
        ("Pairs", pairs),
        ("Imagery", observed_origin.imagery(run)),
        ("Encoder", str(job.get("model", "?"))),
        ("Observer", f"{job.get('size', '?')}, {job.get('form', '?')}"),
        ("Supervision", str(job.get("supervision", "?"))),
        ("First seed", str(job.get("seed", "?"))),
    ]


def _table(table: Table, place: int) -> TableView:
    columns = [c for c in table.columns if any(c in row.means for row in table.rows)]
    over = charts.span([row.gap for row in table.rows if row.gap is not None])
    drawn = curves(table)
    seen = {row.verdict for row in table.rows}
    groups = [
        _group(table, rows, columns, over, drawn.samples if drawn else {})
        for rows in _grouped(table.rows)
    ]
    return TableView(
        anchor=f"table{place}",
        name=table.name,
        title=table.title,
        measured=_measured(table),
        count=words.count(table.says),
        claims=[
            ClaimView(
                c.text,
                _MARKS[c.reached],
                _EQUAL if c.verdict == "equal" else _SAID[c.reached],
                _LOOKS[c.reached],
            )
            for c in table.says
        ],
        lead=_title(table, table.lead),
        groups=groups,
        compared=any(group.compared for group in groups),
        cut=over.cut,
        legend=[(name, charts.mark(name)) for name in VERDICTS if name in seen],
        curves=drawn,
        columns=[_title(table, c) for c in columns],
        small=[text for text in (table.how, table.note) if text],
        left_out=list(table.left_out.items()),
    )


def _measured(table: Table) -> str:
    text = f"{human.plural(table.seeds, 'seed')} with {human.plural(table.scenes, 'test scene')} "
    text += f"each, {human.plural(table.groups, 'group')} of them in all"
    if table.clusters:
        text += f"; intervals draw {human.plural(table.clusters, 'group')}"
    return f"{text}."


def _grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """Return rows by their block and what they are compared with, which stands among them."""
    references = {(row.block, row.reference) for row in rows if row.reference}
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        leads = row.verdict == "reference" and (row.block, row.label) in references
        key = (row.block, row.label if leads else row.reference)
        found.setdefault(key, []).append(row)
    return list(found.values())


def _group(
    table: Table, rows: Sequence[Row], columns: Sequence[str], over: charts.Span,
    samples: dict[str, Markup],
) -> Group:  # fmt: skip
    reference = next((row.reference for row in rows if row.reference), "")
    level = next(
        (r.means.get(table.lead, math.nan) for r in rows if r.label == reference), math.nan
    )
    note = ""
    if reference:
        note = f"against {reference}"
        if math.isfinite(level):
            note += f", {_title(table, table.lead)} {human.decimal(level, 3)}"
    return Group(
        title=rows[0].block,
        note=note,
        scale=charts.scale(over),
        rows=[_row(table, row, columns, over, samples.get(row.label)) for row in rows],
        compared=bool(reference),
    )


def _row(
    table: Table, row: Row, columns: Sequence[str], over: charts.Span, sample: Markup | None
) -> RowView:
    level = human.decimal(row.means.get(table.lead, math.nan), 3)
    label = f"{row.label}: {_title(table, table.lead)} {level}"
    if row.gap is not None:
        label += f", {charts.written(row.gap)} against {row.reference}"
    if row.verdict:
        label += f", {row.verdict}"
    short = level if row.verdict == "reference" else charts.short(row.gap)
    return RowView(
        label=row.label,
        chart=charts.interval(over, row.gap, row.verdict, label),
        short=short,
        verdict=row.verdict,
        sample=sample,
        cells=[_cell(row, c) for c in columns],
        full=charts.written(row.gap) if row.gap is not None else "",
        p=_p(row.p),
    )


def _cell(row: Row, column: str) -> str:
    return human.decimal(row.means[column], 3) if column in row.means else ""


def _p(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return human.decimal(value, 3) if value >= 0.0005 else "<0.001"


def _title(table: Table, measure: str) -> str:
    found = table.titles.get(measure, measure)
    return f"at OBR {found[1:]}" if found.startswith("@") else found


def _origin(run: Benched) -> Origin:
    """Return how the run was made; steps are many, and summed over seeds."""
    found = observed_origin.origin(run)
    job = run.record.get("job", {})
    first = [("tables", ", ".join(table.name for table in run.tables))]
    if len(run.tables) > 1:
        first.append(("of this command", run.last))
    more = [(key, str(job[key])) for key in ("seeds", "draws") if key in job]
    return found._replace(inputs=[*first, *more, *found.inputs], steps=_steps(run))


def _steps(run: Benched) -> list[tuple[str, str]]:
    """Return how long it took; a step that measures holds the trainings that it needs."""
    spent = {"train": 0.0, "measure": 0.0}
    for name, step in run.record.get("steps", {}).items():
        kind = name.partition(" ")[0]
        if kind in spent:
            spent[kind] += float(step.get("seconds") or 0.0)
    return [
        ("measuring, with trainings", human.seconds(spent["measure"])),
        ("of that training", human.seconds(spent["train"])),
    ]
