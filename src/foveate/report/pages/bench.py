"""The page of a benchmark of `observe`: measures, claims, and differences with intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from foveate.report import blocks as ui
from foveate.report import explain, human, svg
from foveate.report import origin as made
from foveate.report.page import Page, Section
from foveate.report.pages.train_tables import LOOKS
from foveate.report.words import bench as words
from foveate.report.words.bench import Measured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from foveate.report.read_observe import Benched, BenchTable, TableRow
    from foveate.report.svg import Interval
    from foveate.report.words import Headline

_MARKS = {True: ("yes", "\u2713 reached"), False: ("no", "\u2717 not reached"),
          None: ("so", "\u00b7 noted")}  # fmt: skip
_EQUAL = ("so", "\u00b7 not counted")  # claims that could not have failed
_KNOWN = {**LOOKS, "blend": 0}
_FREE = (2, 3, 4, 7)  # line styles of all other policies, in order
_FEWEST = 2  # smallest number of points of a line


def bench(run: Benched) -> Page:
    """Draw the page."""
    first, found = run.tables[0], headlines(run)[""]
    several = len(run.tables) > 1
    return Page.of(
        run.name, "Bench \u00b7 observe", found,
        lead=[claims(first), *([_summary(run)] if several else []), ui.Figures(_figures(first))],
        facts=_facts(run),
        sections=[
            *(_section(table, i) for i, table in enumerate(run.tables)),
        ],
        origin=_origin(run),
    )  # fmt: skip


def headlines(run: Benched) -> dict[str, Headline]:
    """Return the headline of all tables, with the key ""."""
    return {"": words.benched([Measured(t.title, t.claims, t.cautions) for t in run.tables])}


def claims(table: BenchTable) -> ui.Points:
    """Return the claims of a table, each marked as reached or not."""
    marked = [_EQUAL if c.verdict == "equal" else _MARKS[c.reached] for c in table.claims]
    return ui.Points([c.text for c in table.claims], "claims", marked)


def _summary(run: Benched) -> ui.Table:
    rows = []
    for i, table in enumerate(run.tables):
        count = words.count(table.claims)
        text = f"{count} reached" if count else "no claim"
        rows.append(ui.Row(table.title, [text], link=f"#table{i}"))
    return ui.Table("Claims of each table", ["Table", "Claims"], rows)


def _figures(table: BenchTable) -> list[ui.Figure]:
    """Return the key figures of the first table."""
    figures = [
        ui.Figure("Claims reached", words.count(table.claims), f"of the table {table.name}"),
        ui.Figure("Seeds", human.count(table.seeds), "each with its own split and training"),
        ui.Figure("Test scenes", human.count(table.test.scenes),
               f"per seed; {human.plural(table.test.groups, 'group')} in total"),
        ui.Figure("Budget share", human.share(table.obr), "observed (OBR), unless a row states "
               "another"),
    ]  # fmt: skip
    return figures if figures[0].value else figures[1:]


def _facts(run: Benched) -> list[tuple[str, str]]:
    job, pool = run.record.get("job", {}), made.pool_of(run)
    tiles, scenes = pool.get("tiles"), pool.get("scenes")
    pairs = "?"
    if isinstance(tiles, int) and isinstance(scenes, int):
        pairs = f"{human.plural(tiles, 'tile')} in {human.plural(scenes, 'scene')}"
    return [
        ("Pairs", pairs),
        ("Imagery", made.imagery(run)),
        ("Encoder", str(job.get("model", "?"))),
        ("Observer", f"{job.get('size', '?')}, {job.get('architecture', '?')}"),
        ("Supervision", str(job.get("supervision", "?"))),
        ("Tables", ", ".join(table.name for table in run.tables)),
    ]


def _section(table: BenchTable, i: int) -> Section:
    count, text = words.count(table.claims), _measured(table)
    if i:
        text += f" Claims reached: {count}." if count else ""
    columns = [c for c in table.columns if any(math.isfinite(row.means.get(c, math.nan))
                                               for row in table.rows)]  # fmt: skip
    lines = _lines(table)
    blocks: list[ui.Block] = [claims(table)] if i else []
    blocks += forests(table)
    if not i:
        terms = ["rows", "claims", "seeds and groups"]
        compared = ["mark and line", "better, worse", "tied, open"]
        blocks.append(explain.terms(*(compared if forests(table) else []), *terms))
    if lines is not None:
        blocks += lines.blocks
    blocks += [ui.Heading("Means over seeds"),
               means(table, columns, lines.samples if lines else {})]  # fmt: skip
    blocks += [ui.Text(why, "note", f"Left out: {name}.") for name, why in table.left_out.items()]
    blocks += [ui.Text(note, "note") for note in (table.how, table.note) if note]
    return Section(f"table{i}", table.title, blocks, text, table.name)


def _measured(table: BenchTable) -> str:
    test = table.test
    text = f"{human.plural(table.seeds, 'seed')} with {human.plural(test.scenes, 'test scene')} "
    text += f"each, {human.plural(test.groups, 'group')} in total"
    if table.clusters:
        text += f"; intervals resample {human.plural(table.clusters, 'group')}"
    return f"{text}."


def _title(table: BenchTable, measure: str) -> str:
    if share := _share(measure):
        return f"at {human.share(share)} observed"
    found = table.titles.get(measure, measure)
    return "budget share (OBR)" if found == "OBR" else found


# differences


def _groups(rows: Sequence[TableRow]) -> list[list[TableRow]]:
    """Return rows grouped by block and reference; the reference row is part of its group."""
    references = {(row.block, row.reference) for row in rows if row.reference}
    found: dict[tuple[str, str], list[TableRow]] = {}
    for row in rows:
        leads = row.known_verdict == "reference" and (row.block, row.label) in references
        found.setdefault((row.block, row.label if leads else row.reference), []).append(row)
    return list(found.values())


def forests(table: BenchTable) -> list[ui.Block]:
    """Draw the differences with their intervals, one table per reference."""
    over, cut = svg.forest_scale([row.gap for row in table.rows if row.gap is not None])
    blocks: list[ui.Block] = []
    for rows in _groups(table.rows):
        reference = next((row.reference for row in rows if row.reference), "")
        if not reference:
            continue
        level = next((r.means.get(table.lead, math.nan) for r in rows if r.label == reference),
                     math.nan)  # fmt: skip
        note = f"against {reference}"
        if math.isfinite(level):
            note += f", {_title(table, table.lead)} {human.decimal(level, 3)}"
        drawn = [_forest(table, row, over) for row in rows]
        caption = f"{rows[0].block}: {note}" if rows[0].block else note
        blocks.append(forest_table(caption, over, drawn))
    if not blocks:
        return []
    names = {row.known_verdict for row in table.rows}
    legend = [(svg.verdict_mark(name), name) for name in svg.VERDICTS if name in names]
    title = ui.Heading(f"Difference in {_title(table, table.lead)}",
                    "from the reference, with its 95 % interval")  # fmt: skip
    arrows = "Arrows: the interval extends beyond the scale; the table below has its figures."
    return [title, ui.Legend(legend), *blocks, *([ui.Text(arrows, "note")] if cut else [])]


def _forest(table: BenchTable, row: TableRow, over: svg.Scale) -> ui.Row:
    level = human.decimal(row.means.get(table.lead, math.nan), 3)
    label = f"{row.label}: {_title(table, table.lead)} {level}"
    return forest_row(
        over, row.label, row.gap, row.known_verdict, row.reference, label=label, level=level
    )


def forest_table(caption: str, over: svg.Scale, rows: Sequence[ui.Row]) -> ui.Table:
    """Draw differences with their intervals below an axis."""
    columns = ["Row", ui.BAR, "Difference", ui.Column("Verdict", "text")]
    axis = ui.Row("", [svg.forest_axis(over), "", ""])
    return ui.Table(f"Differences, {caption}", columns, [axis, *rows], caption=caption)


def forest_row(
    over: svg.Scale, name: str, gap: Interval | None, verdict: str, reference: str, *,
    label: str = "", level: str = "",
) -> ui.Row:  # fmt: skip
    """Draw one difference; `level` is shown instead for the reference row."""
    text = label or name
    if gap is not None:
        text += f", {written_gap(gap)} against {reference}"
    text += f", {verdict}" if verdict else ""
    short = human.NONE if gap is None else human.signed(gap.mean, 3)
    return ui.Row(name, [
        svg.forest(over, gap, verdict, text), level if verdict == "reference" else short,
        ui.Cell(verdict, f"v-{verdict or 'none'}"),
    ], lead=verdict == "reference")  # fmt: skip


def written_gap(gap: Interval | None) -> str:
    """Format a difference with its interval; "" for None."""
    if gap is None:
        return ""
    mean, low, high = (human.signed(v, 3) for v in gap)
    return f"{mean} [{low}, {high}]"


def means(table: BenchTable, columns: Sequence[str], samples: Mapping[str, Markup]) -> ui.Table:
    """Return a table of means and differences from the reference.

    Args:
        table: A table.
        columns: Measures to show.
        samples: Row label -> sample of its line in the chart above.
    """
    compared = any(row.reference for row in table.rows)
    heads = ["Row", *(ui.Column(_title(table, c)) for c in columns)]
    if compared:
        heads += [ui.Column(f"difference in {_title(table, table.lead)} [95\u00a0%]"),
                  ui.Column("p (Holm)"), ui.Column("verdict", "text")]  # fmt: skip
    rows = []
    for group in _groups(table.rows):
        for row in group:
            cells: list[str | Markup | ui.Cell] = [
                over(row.means[c], row.seeds.get(c)) if c in row.means else "" for c in columns
            ]
            if compared:
                verdict = row.known_verdict
                cells += [
                    written_gap(row.gap),
                    p_text(row.p),
                    ui.Cell(verdict, f"v-{verdict or 'none'}"),
                ]
            rows.append(ui.Row(row.label, cells, mark=samples.get(row.label), group=row.block,
                            lead=row.known_verdict == "reference"))  # fmt: skip
    return ui.Table(f"Means: {table.title}", heads, rows)


def over(mean: float, seeds: int | None) -> str:
    """Format a mean, with the number of its seeds unless it is None: all seeds."""
    return human.decimal(mean, 3) + ("" if seeds is None else f" ({human.plural(seeds, 'seed')})")


def p_text(value: float) -> str:
    """Format a p-value; "" for NaN."""
    if not math.isfinite(value):
        return ""
    return human.decimal(value, 3) if value >= 0.0005 else "<0.001"


# curves


class _Lines(NamedTuple):
    """Curves of a table, and the line sample of each row."""

    blocks: list[ui.Block]
    samples: dict[str, Markup]


def _lines(table: BenchTable) -> _Lines | None:
    """Draw the measure of each row over the observed share; None without such measures.

    Row labels are "POLICY, COMPLETION". All policies of the first completion are drawn; of the
    other completions, only random and learned tiles, dashed.
    """
    heights = {row.label: _heights(row) for row in table.rows}
    shares = sorted({share for found in heights.values() for share in found})
    looks = _looks([row.label for row in table.rows if heights[row.label]])
    if len(shares) < _FEWEST or not looks:
        return None
    lines = [
        svg.Line(name, shares, [heights[name].get(s, math.nan) for s in shares], look,
                 points="dashed" not in look)
        for name, look in looks.items()
    ]  # fmt: skip
    lines.sort(key=lambda line: (line.look.partition(" ")[0] == "k0", line.points))
    drawn = svg.lines(
        lines, f"{table.title}: one line per row; the table below has the same figures",
        ticks=[(share, human.share(share)) for share in shares], mark=table.obr, log=True,
        height=380,
    )  # fmt: skip
    if drawn is None:
        return None
    samples = {name: svg.sample(look) for name, look in looks.items()}
    dashed = any("dashed" in look for look in looks.values())
    note = "one line per row"
    note += "; dashed: the same tiles with another completion" if dashed else ""
    caption = (
        "x axis: observed share of the tiles (logarithmic); y axis: the measure, whose mean over "
        "the shares is the area. The vertical mark is the observed share of the job."
    )
    legend = [(drawn_, name) for name, drawn_ in samples.items()]
    return _Lines([ui.Heading("Over the observed share", note),
                   ui.Chart(drawn, caption, legend=legend, look="axes")], samples)  # fmt: skip


def _heights(row: TableRow) -> dict[float, float]:
    """Return observed share -> value."""
    found = {_share(name): value for name, value in row.means.items()}
    return {share: value for share, value in found.items() if share}


def _share(measure: str) -> float:
    """Return the observed share in the name of a measure ("@0.12"); 0 without a share."""
    try:
        share = float(measure[1:]) if measure.startswith("@") else 0.0
    except ValueError:
        return 0.0
    return share if math.isfinite(share) and share > 0 else 0.0


def _looks(names: Sequence[str]) -> dict[str, str]:
    """Return the rows to draw, each with its line style."""
    parts = {name: (name.rpartition(", ")[0], name.rpartition(", ")[2]) for name in names}
    first = next((how for _, how in parts.values()), "")
    policies = list(dict.fromkeys(policy or name for name, (policy, _) in parts.items()))
    others = [policy for policy in policies if policy not in _KNOWN]
    look = _KNOWN | {policy: _FREE[i % len(_FREE)] for i, policy in enumerate(others)}
    styles = {}
    for name, (policy, completion) in parts.items():
        if not policy or completion == first:
            styles[name] = f"k{look[policy or name]}"
        elif policy in {"random", "learned"}:
            styles[name] = f"k{look[policy]} dashed"
    return styles


def _origin(run: Benched) -> made.Origin:
    """Return the origin of the run: its tables and the time of its measurements."""
    found = made.origin(run, one="tile", many="tiles")
    first = [("tables", ", ".join(table.name for table in run.tables))]
    if len(run.tables) > 1:
        first.append(("table of this command", run.last))
    names = {"train": "of these, training", "measure": "measurements, including training"}
    steps = dict(found.steps)
    rows = [(names[kind], steps.get(kind, human.seconds(0))) for kind in ("measure", "train")]
    return found._replace(inputs=[*first, *found.inputs], steps=rows)
