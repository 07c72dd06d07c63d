"""The page of a comparison: similarity and agreement of rankings (paper, Fig. 4 to 6)."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from foveate.report import blocks as ui
from foveate.report import explain, human, svg
from foveate.report import origin as made
from foveate.report.assets import Album
from foveate.report.page import Page, Section
from foveate.report.pages.curate_methods import matrix
from foveate.report.words import compare as words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.report.read_compare import Compared
    from foveate.report.words import Headline

_POINTS = 200  # number of points of the curve of the average rank
_LONG = 18  # maximum length of a column name
_DENSE = 12  # matrices with more names show no numbers


def headlines(run: Compared) -> dict[str, Headline]:
    """Return the headline of the comparison, with the key ""."""
    names = run.names
    pairs = [
        words.Pair(names[a], names[b], float(run.kendall[a, b]))
        for a, b in combinations(range(len(names)), 2) if math.isfinite(run.kendall[a, b])
    ]  # fmt: skip
    found = words.compared(
        pairs, run.n, len(names), run.kendall_sd, [words.Top(*top) for top in run.tops],
        left_out=_left_out(run),
        partial=[(one["name"], int(one["ranked"])) for one in run.rankings if not one["full"]],
        tied=[one["path"] for one in run.inputs if one.get("tied")],
    )  # fmt: skip
    return {"": found}


def _left_out(run: Compared) -> list[tuple[str, int]]:
    """Return the number of patches not compared, per ranking or once if equal for all."""
    counts = {one["name"]: int(one["left_out"]) for one in run.rankings}
    if len(counts) > 2 and len(set(counts.values())) == 1:
        return [("each pool", next(iter(counts.values())))]
    return list(counts.items())


def compare(run: Compared) -> Page:
    """Draw the page."""
    said = headlines(run)[""]
    found, pictures = sections(run)
    return Page.of(
        run.name, f"Compare \u00b7 {human.plural(len(run.names), 'ranking')}", said,
        facts=[
            ("Patches", human.count(run.n)),
            ("Rankings", human.count(len(run.names))),
            ("Inputs", human.count(len(run.inputs))),
        ],
        sections=found,
        origin=made.origin(run),
        pictures=pictures,
        script=True,
    )  # fmt: skip


def sections(run: Compared) -> tuple[list[Section], dict[str, str]]:
    """Return the sections on rankings, and their pictures."""
    album = Album()
    ends = _ends(run)
    for row in [*ends[0], *ends[1], *(r for rows in _agreed_rows(run).values() for r in rows)]:
        album.add(run.ids[row], run.tile_files.get(run.ids[row]))
    shots = ui.shots(album.uris)
    short = _short(run.names)
    found = [
        Section("order", "Same order", _order(run, short), nav="Order"),
        Section("average", "Average rank", _average(run), _average_note(run), "Average"),
        Section("ends", "Best and worst", _best_worst(run, ends, shots),
                "By the average rank over all rankings.", "Patches"),
        Section("agreed", "Agreement of all rankings", _agreed(run, shots),
                "Patches among the first of every ranking.", "Agreed"),
        Section("overlap", "Same patches", _overlaps(run, short),
                "Share of the first patches of one ranking that are among the first of another.",
                "Overlap"),
    ]  # fmt: skip
    return found, {f"p{i}": uri for i, uri in enumerate(album.uris.values())}


def _short(names: Sequence[str]) -> list[str]:
    """Return names that fit column heads: numbers if a name is too long."""
    long = max(map(len, names)) > _LONG
    return [str(i) for i in range(1, len(names) + 1)] if long else list(names)


def _key(run: Compared, short: list[str]) -> list[ui.Block]:
    if short == run.names:
        return []
    return [ui.Pairs(list(zip(short, run.names, strict=True)))]


def _order(run: Compared, short: list[str]) -> list[ui.Block]:
    if not np.isfinite(run.kendall[~np.eye(len(short), dtype=bool)]).any():
        return [
            ui.Text("No two rankings contain every patch, so there is no Kendall\u2019s \u03c4.")
        ]
    note = f"Kendall\u2019s \u03c4 over the {human.count(run.n)} patches (paper, Fig. 5)."
    blocks = [matrix("Same order", note, short, run.kendall, human.decimal)]
    rows = sorted(
        ((run.kendall[a, b], a, b) for a, b in combinations(range(len(short)), 2)
         if math.isfinite(run.kendall[a, b])), reverse=True,
    )  # fmt: skip
    listed = [
        ui.Row(f"{run.names[a]} \u2013 {run.names[b]}",
               [svg.bar(abs(float(tau)), human.decimal(float(tau))), human.decimal(float(tau), 3)])
        for tau, a, b in rows
    ]  # fmt: skip
    table = ui.Table("Pairs", ["Pair", ui.BAR, "\u03c4"], listed)
    return [*_key(run, short), *blocks, ui.Fold("All pairs", [table], open=len(short) > _DENSE),
            explain.terms("same order")]  # fmt: skip


def _average_note(run: Compared) -> str:
    return (
        f"Line: the mean of the {run.full} ranks of each patch, sorted; band: one standard "
        "deviation above and below (paper, Fig. 4). Similar rankings give a diagonal with a narrow "
        "band, unrelated rankings a flat middle with a wide band."
    )


def _average(run: Compared) -> list[ui.Block]:
    if not np.isfinite(run.average).any():
        return []
    each = math.ceil(run.n / _POINTS)
    starts = np.arange(0, run.n, each)
    size = np.diff(np.append(starts, run.n))
    mean, spread = (np.add.reduceat(v, starts) / size for v in (run.average, run.spread))
    at = starts + (size + 1) / 2
    line = svg.Line(
        "average rank", at.tolist(), mean.tolist(), "k0", points=False,
        band=list(zip((mean - spread).tolist(), (mean + spread).tolist(), strict=True)),
    )  # fmt: skip
    ticks = [(at[0], human.count(at[0])), (at[-1], human.count(at[-1]))] if at.size > 1 else []
    label = (
        f"Average rank of {human.count(run.n)} patches from {human.decimal(float(mean[0]), 1)} to "
        f"{human.decimal(float(mean[-1]), 1)}"
    )
    drawn = svg.lines([line], label, ticks=ticks)
    if drawn is None:
        return []
    caption = "Average rank and its standard deviation, patches sorted by average rank."
    caption += f" A point is the mean of {each} patches." if each > 1 else ""
    middle = float(np.median(run.spread))
    figures = [
        ui.Figure("Lowest average rank", human.decimal(float(run.average[0]), 1), run.ids[0]),
        ui.Figure("Highest average rank", human.decimal(float(run.average[-1]), 1), run.ids[-1]),
        ui.Figure("Median standard deviation", human.decimal(middle, 1),
                  f"ranks; {human.decimal(run.n / math.sqrt(12), 1)} expected for many random "
                  "rankings"),
    ]  # fmt: skip
    return [ui.Chart(drawn, caption, look="axes"), ui.Figures(figures)]


def _ends(run: Compared) -> tuple[list[int], list[int]]:
    """Return the rows of the lowest and of the highest average rank, without overlap."""
    if not np.isfinite(run.average).any():
        return [], []
    count = min(run.shown, run.n)
    last = [row for row in range(run.n - 1, run.n - 1 - count, -1) if row >= count]
    return list(range(count)), last


def _best_worst(
    run: Compared, ends: tuple[list[int], list[int]], shots: dict[str, ui.Shot]
) -> list[ui.Block]:
    first, last = ends
    if not first:
        return []
    blocks: list[ui.Block] = []
    for title, note, rows in (
        ("Best", "lowest average rank", first), ("Worst", "highest average rank", last)
    ):  # fmt: skip
        if rows:
            blocks += [ui.Heading(title, note), *_patches(run, rows, shots, title)]
    return [*blocks, *([] if shots else [ui.Text(_NO_PICTURES, "note")])]


_NO_PICTURES = "Pictures are taken from the runs; lists have no pictures."


def _patches(
    run: Compared, rows: Sequence[int], shots: dict[str, ui.Shot], label: str
) -> list[ui.Block]:
    """Return pictures of the patches that have one, and a table of all patches."""
    drawn = [row for row in rows if run.ids[row] in shots]
    found: list[ui.Block] = []
    if drawn:
        found.append(ui.Pictures([_picture(run, row, shots[run.ids[row]]) for row in drawn]))
    names = _short(run.names)
    table = ui.Table(f"{label}: ranks", ["Patch", "Average", "SD", *names], [
        ui.Row(run.ids[row], [human.decimal(float(run.average[row]), 1),
                              human.decimal(float(run.spread[row]), 1), *_places(run, row)])
        for row in rows
    ], wide=True)  # fmt: skip
    return [*found, ui.Fold("Ranks in each ranking", [table]) if drawn else table]


def _places(run: Compared, row: int) -> list[str]:
    return [human.count(v) if math.isfinite(v) else human.NONE for v in run.place[:, row]]


def _picture(run: Compared, row: int, shot: ui.Shot) -> ui.Picture:
    about = list(zip(run.names, _places(run, row), strict=True))
    return ui.Picture(
        shot, f"Patch {run.ids[row]}", human.decimal(float(run.average[row]), 1),
        f"\u00b1{human.decimal(float(run.spread[row]), 1)}", run.ids[row], about=about,
    )  # fmt: skip


def _agreed_rows(run: Compared) -> dict[str, list[int]]:
    """Return the patches that all rankings agree on, at the smallest k with any."""
    row_of = {name: row for row, name in enumerate(run.ids)}
    for top, _, agreed in run.tops:
        if agreed:
            return {top: [row_of[name] for name in run.agreed[top][: run.shown]]}
    return {}


def _agreed(run: Compared, shots: dict[str, ui.Shot]) -> list[ui.Block]:
    rows = []
    for top, k, agreed in run.tops:
        usual = run.n * (k / run.n) ** len(run.names)
        text = "<1" if usual < 1 else human.count(usual)
        bar = svg.bar(agreed / k, f"{human.count(agreed)} of {human.count(k)}", usual / k)
        rows.append(ui.Row(_top(top, k), [bar, human.count(agreed), ui.Cell(text, "soft")]))
    columns = ["First", ui.BAR, "In every ranking", "By chance"]
    blocks: list[ui.Block] = [ui.Table("Agreement of all rankings", columns, rows)]
    for top, found in _agreed_rows(run).items():
        blocks += [ui.Heading(f"Among the first {top} of every ranking"),
                   *_patches(run, found, shots, f"Agreed at {top}")]  # fmt: skip
    return blocks


def _top(top: str, k: int) -> str:
    if top == str(k):
        return human.count(k)
    return f"{top.replace('%', f'{human.GAP}%')} ({human.count(k)})"


def _overlaps(run: Compared, short: list[str]) -> list[ui.Block]:
    matrices = [
        matrix(f"First {_top(top, k)}", f"By chance {human.share(k / run.n)}.", short,
                run.overlap[top], human.share)
        for top, k, _ in run.tops
    ]  # fmt: skip
    return [*_key(run, short), ui.Grid(matrices, 1 if len(short) > _DENSE else 2)]
