"""Comparison of the selections of a curate run with each other and with random selections."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np

from foveate.report import blocks as ui
from foveate.report import explain, human, numbers, svg
from foveate.report import origin as made
from foveate.report.chance import against, judged, random_picks
from foveate.report.words.curate import Picks, WrongLabels, kept, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup
    from numpy.typing import NDArray

    from foveate.report.chance import Against
    from foveate.report.read import Curated, MethodData
    from foveate.report.words import Headline

AGREED = 12  # number of patches shown that most methods selected
RANDOM = "random"  # method that draws at random


def compare_picks(run: Curated, degree: NDArray[np.int64]) -> list[Picks]:
    """Compare the selection of each method with random ones.

    Args:
        run: The run.
        degree: (n,) `numbers.overlaps` of the whole pool.
    """
    even, rare = _classes(run)
    balance = None if run.counts is None else numbers.balance(run.counts, np.arange(run.n))
    found, bound = [], run.record.get("summary", {}).get("max_overlap")
    bound = 1.0 if bound is None else float(bound)
    for i, method in enumerate(run.methods):
        shared = numbers.overlaps(run.scene[method.picks], run.windows[method.picks]) > 0
        found.append(
            Picks(
                method=short_title(method),
                kept=method.picks.size,
                pool=run.n,
                drawn=method.name == RANDOM,
                evenness=even[i],
                entropy_pool=math.nan if balance is None else balance.entropy_pool,
                rare=rare[i],
                rarest=run.classes[balance.rarest] if balance is not None and even[i] else "",
                repeated=float(shared.mean()) if method.picks.size else 0.0,
                repeated_by_chance=numbers.overlap_by_chance(degree, method.picks.size),
                put_back=method.put_back - method.constant,
                repeats=method.repeats - method.constant_picks,
                overlap=bound,
                rules="quota" in run.record.get("summary", {}),  # present if the run has any rules
                wrong=_wrong_labels(method),
                constant=method.constant,
                constant_picks=method.constant_picks,
            )
        )
    return found


def _wrong_labels(method: MethodData) -> WrongLabels | None:
    """Return the results of a method that detects wrong labels; None for other methods."""
    if "wrong_share" not in method.report:
        return None
    clean, pool = method.options.get("order") == "clean", method.report["wrong_share"]
    share = 1 - method.score if clean else method.score
    picked = share[method.picks]
    picked, first = picked[np.isfinite(picked)], share[method.picks[:1]]
    return WrongLabels(
        math.nan if pool is None else float(pool),
        float(picked.mean()) if picked.size else math.nan,
        float(first[0]) if first.size else math.nan,
        int(np.isnan(method.score[np.isfinite(method.rank)]).sum()), clean,
    )  # fmt: skip


def method_headlines(run: Curated, found: list[Picks]) -> dict[str, Headline]:
    """Return the headline of each method, by its name."""
    summary = run.record.get("summary", {})
    reason = summary.get("default_reason") or ""
    said = {}
    for method, one in zip(run.methods, found, strict=True):
        headline = kept(one)
        if reason and summary.get("default_method") == method.name:
            headline = headline._replace(notes=(reason, *headline.notes))
        said[method.name] = headline
    return said


def together(run: Curated, found: list[Picks]) -> str:
    """Return the headline that compares all methods; "" for a single method."""
    if len(found) < 2:
        return ""
    names = [one.method for one in found]
    same = [
        (names[i], names[j])
        for i in range(len(found)) for j in range(i + 1, len(found))
        if np.array_equal(np.sort(run.methods[i].picks), np.sort(run.methods[j].picks))
    ]  # fmt: skip
    verdicts = [
        (one.method, one.evenness.verdict if one.evenness else "")
        for one in found if not one.drawn
    ]  # fmt: skip
    return side_by_side(verdicts, same)


def short_title(method: MethodData) -> str:
    """Return the abbreviation in brackets at the end of a title, else the title: "Random"."""
    found = re.search(r"\(([^()]{1,16})\)\s*$", method.title)
    return found.group(1) if found else method.title


def _classes(run: Curated) -> tuple[list[Against | None], list[Against | None]]:
    """Return the evenness and the share of the rarest class of each selection.

    All methods are one family of comparisons.
    """
    nothing: list[Against | None] = [None] * len(run.methods)
    if run.counts is None or not run.counts.any() or len(run.classes) < 2:
        return nothing, nothing
    balances = [numbers.balance(run.counts, method.picks) for method in run.methods]
    baselines = {k: random_picks(run.counts, k) for k in {m.picks.size for m in run.methods} if k}
    rows, family = [], []
    for i, (method, balance) in enumerate(zip(run.methods, balances, strict=True)):
        drawn = baselines.get(method.picks.size)
        if drawn is None or not math.isfinite(balance.entropy_kept):
            continue
        rows.append(i)
        by_chance = drawn.share[:, balance.rarest] / balance.pool[balance.rarest]
        family += [
            against(balance.entropy_kept, drawn.entropy),
            against(float(balance.factor[balance.rarest]), by_chance),
        ]
    even, rare = [*nothing], [*nothing]
    if family:
        known = judged(family)
        for i, row in enumerate(rows):
            even[row], rare[row] = known[2 * i], known[2 * i + 1]
    return even, rare


# parts of the page


class Method(NamedTuple):
    """A method with the results that several parts of the page use."""

    data: MethodData
    picks: Picks
    headline: Headline
    balance: numbers.Balance | None

    @property
    def short(self) -> str:
        """Short name of the method."""
        return self.picks.method


def methods_of(run: Curated, degree: NDArray[np.int64]) -> list[Method]:
    """Compute the results of each method that the page shows."""
    picks = compare_picks(run, degree)
    texts = method_headlines(run, picks)
    found = []
    for method, one in zip(run.methods, picks, strict=True):
        balance = None if run.counts is None else numbers.balance(run.counts, method.picks)
        if balance is not None and not balance.pool.sum() > 0:
            balance = None  # masks without counted pixels
        found.append(Method(method, one, texts[method.name], balance))
    return found


def choice(methods: Sequence[Method], panel: Any) -> ui.Choice:
    """Return a part of the page for each method, with its name as heading if there are several."""
    several = len(methods) > 1
    heads = [[ui.Heading(m.data.title)] if several else [] for m in methods]
    return ui.Choice([[*head, *panel(m)] for head, m in zip(heads, methods, strict=True)])


def repeated(method: Method) -> float:
    """Return the share of the picks that overlap another one; NaN without picks."""
    return method.picks.repeated if method.data.picks.size else math.nan


def spent(method: MethodData) -> str:
    """Return the cost of a selection and the remaining budget."""
    parts = []
    for unit, left in method.unspent.items():
        spent = human.amount(method.spent.get(unit, 0), unit)
        parts.append(f"{spent}, {human.amount(left, unit) if left else 'nothing'} left")
    return "; ".join(parts) or human.plural(method.picks.size, "patch", "patches")


def agreed(run: Curated) -> list[int]:
    """Return the patches selected by most methods: by at least two, of at least three methods."""
    if len(run.methods) < 3:
        return []
    votes = numbers.consensus(run.n, [m.picks for m in run.methods])
    drawn = np.array([i in run.tile_files for i in run.ids])
    places = np.sum([np.nan_to_num(m.rank, nan=run.n) for m in run.methods], axis=0)
    order = np.lexsort((np.arange(run.n), places, ~drawn, -votes))
    return [int(i) for i in order[:AGREED] if votes[i] >= 2]


def compare_note(run: Curated, degree: NDArray[np.int64]) -> str:
    """Explain the table of methods."""
    text = "The selections of all methods with the same budget."
    if run.counts is not None:
        entropy = numbers.balance(run.counts, np.arange(run.n)).entropy_pool
        if math.isfinite(entropy):
            text += f" The mark on the evenness bars is the pool, {human.decimal(entropy)}."
    if degree.any():
        text += " The mark on the overlap bars is the expectation for random picks."
    return f"{text} Choose a method at the top to show it on the whole page."


def compared(run: Curated, methods: Sequence[Method]) -> ui.Table:
    """Return a table of all methods."""
    classes = any(m.balance for m in methods)
    columns: list[ui.Column | str] = ["Method", "Kept"]
    if classes:
        columns += ["Evenness", ui.BAR, "Rarest class"]
    columns += ["Overlapping", ui.BAR, "Scenes with picks"] if run.scenes else []
    columns.append("Time")
    return ui.Table("Comparison of methods", columns, [
        ui.Row(m.data.title, _compared_cells(run, m, classes=classes), option=i,
            link=f"#method={quote(m.data.name)}")
        for i, m in enumerate(methods)
    ], wide=True)  # fmt: skip


def _compared_cells(run: Curated, method: Method, *, classes: bool) -> list[str | Markup | ui.Cell]:
    found, part, short = method.balance, repeated(method), method.short
    usual = method.picks.repeated_by_chance
    cells: list[str | Markup | ui.Cell] = [human.count(method.data.picks.size)]
    if classes and found is None:
        cells += ["", "", ""]
    elif found is not None:
        text = f"{short}: {human.decimal(found.entropy_kept)}; "
        text += f"pool {human.decimal(found.entropy_pool)}"
        cells += [human.decimal(found.entropy_kept),
                  svg.bar(found.entropy_kept, text, found.entropy_pool),
                  human.factor(float(found.factor[found.rarest]))]  # fmt: skip
    text = f"{short}: {human.share(part)} of the picks overlap, {human.share(usual)} by chance"
    reached, seconds = np.unique(run.scene[method.data.picks]).size, method.data.seconds
    if run.scenes:
        cells += [human.share(part), svg.bar(part, text, usual),
                  f"{human.count(reached)} of {human.count(len(run.scenes))}"]  # fmt: skip
    return [*cells, human.seconds(seconds) if math.isfinite(seconds) else human.NONE]


def balance(run: Curated, methods: Sequence[Method]) -> list[ui.Block]:
    """Return the class shares of each selection and of the pool."""
    if not any(m.balance for m in methods):
        return []
    return [choice(methods, lambda m: _class_table(run, m)), explain.terms("evenness", "factor")]


def _class_table(run: Curated, method: Method) -> list[ui.Block]:
    found = method.balance
    if found is None:
        return []
    largest = float(np.nanmax([*found.pool, *found.kept]))
    rows = []
    for i in np.argsort(-found.pool, kind="stable").tolist():
        pool, kept, times = (float(v[i]) for v in (found.pool, found.kept, found.factor))
        trend = "" if not math.isfinite(times) or 0.95 < times < 1.05 else "up"
        trend = "down" if trend and times < 1 else trend
        bars = svg.before_after(pool, kept, largest, run.colors[i], run.classes[i])
        cells = [bars, ui.Cell(human.share(pool), "soft"), human.share(kept),
                 ui.Cell(human.factor(times), trend)]  # fmt: skip
        rows.append(ui.Row(run.classes[i], cells, mark=svg.swatch(run.colors[i])))
    lost = [run.classes[i] for i in np.flatnonzero((found.pool > 0) & ~(found.kept > 0))]
    absent = [run.classes[i] for i in np.flatnonzero(found.pool == 0)]
    note = f"Thin line: pool. Bar: selection of {method.short}. Shares of counted pixels."
    note += f" Not in the selection: {', '.join(lost)}." if lost else ""
    note += f" Not in the pool: {', '.join(absent)}." if absent else ""
    columns = ["Class", ui.Column("Pool and selection", "bar"), "Pool", "Kept",
               "Factor"]  # fmt: skip
    return [ui.Text(note), ui.Table("Class balance", columns, rows)]


def score(run: Curated, method: Method) -> list[ui.Block]:
    """Return the histogram of the scores, with the selected patches filled."""
    found, data = numbers.histogram(method.data.score, method.data.picks), method.data
    if found is None:
        return [ui.Text(f"{method.short} has no scores.")]
    note = f"Number of patches by {method.short} score; filled: selected patches."
    if found.places:
        note += f" The {method.short} score is the position in the order, so the histogram is flat "
        note += "by construction: it has no information about the size of differences."
    if data.depth < run.rankable:
        note += f" It ranked {human.count(data.depth)} of {human.count(run.n)} patches."
    elif found.unscored:
        note += f" {human.plural(found.unscored, 'patch', 'patches')} could not be scored."
    ends = (human.decimal(found.low), "score", human.decimal(found.high))
    return [ui.Text(note), ui.Chart(svg.histogram(found), ends=ends)]


def how_it_works(method: Method) -> list[ui.Block]:
    """Return the explanation of a method and its options."""
    data, guide = method.data, explain.method(method.data.name)
    facts = [("Source", data.source or human.NONE), ("Spent", spent(data))]
    known = {"preset", "seed", "budget"}
    reported = {k: v for k, v in data.report.items() if k not in known}
    options = [(k, _option(v)) for k, v in (data.options | reported).items()]
    blocks: list[ui.Block] = []
    if guide:
        texts = [("Criterion", guide[0]), ("Limitations", guide[1])]
        blocks.append(ui.Pairs(texts, "guide"))
    title = "Options and output of the method"
    return [*blocks, ui.Fold(title, [ui.Pairs([*facts, *options])])]


def _option(value: Any) -> str:
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values"
    return human.NONE if value is None else made.value_text(value)


# agreement


def agreement(
    run: Curated, methods: Sequence[Method], picture: Callable[[int, str], ui.Picture]
) -> list[ui.Block]:
    """Return the similarity of the selections and orders of methods.

    Args:
        run: The run.
        methods: Its methods.
        picture: Function that draws a patch, given its row and a title.
    """
    if len(methods) < 2:
        return []
    names = [m.short for m in methods]
    matrices = [matrix("Same patches", "Share of the smaller selection that is in the other.",
                        names, run.overlap, human.share)]  # fmt: skip
    if np.isfinite(run.kendall).any():
        matrices.append(matrix("Same order", "Kendall\u2019s \u03c4 over the whole pool.", names,
                                run.kendall, human.decimal))  # fmt: skip
    votes = numbers.consensus(run.n, [m.data.picks for m in methods])
    blocks: list[ui.Block] = [ui.Grid(matrices, 1 if len(names) > 12 else 2)]
    blocks += _votes(run, methods, votes)
    if rows := agreed(run):
        text = f"Selected by up to {int(votes.max())} of {len(methods)} methods."
        pictures = [picture(row, f"{votes[row]} of {len(methods)}") for row in rows]
        blocks += [ui.Heading("Selected by most methods"), ui.Text(text), ui.Pictures(pictures)]
    return [*blocks, explain.terms("same order")] if len(matrices) > 1 else blocks


def matrix(
    title: str, note: str, names: list[str], values: NDArray[np.float64], text: Any
) -> ui.Matrix:  # fmt: skip
    """Return the similarity matrix of rankings.

    Args:
        title: Title of the table.
        note: Text after the title.
        names: Names of the M rankings.
        values: (M, M), NaN where not known.
        text: Function that formats a value.
    """
    rows = [
        [ui.Cell("", "self", names[i]) if i == j else
         ui.Cell(text(v), svg.tint(v), f"{names[i]} and {names[j]}: {text(v)}")
         for j, v in enumerate(row)]
        for i, row in enumerate(values.tolist())
    ]  # fmt: skip
    return ui.Matrix(title, note, names, rows)


def _votes(run: Curated, methods: Sequence[Method], votes: NDArray[np.int64]) -> list[ui.Block]:
    many = len(methods)
    tiles = np.bincount(votes, minlength=many + 1).tolist()
    chance = numbers.votes_by_chance(run.n, [m.data.picks.size for m in methods]).tolist()
    note = f"{human.plural(tiles[0], 'patch', 'patches')} ({human.share(tiles[0] / run.n)}) "
    note += f"were selected by no method; {human.count(chance[0])} are expected for independent "
    note += "methods. The marks show this expectation."
    listed = [v for v in range(1, many + 1) if tiles[v] or chance[v] >= 0.5]
    top = max([1.0, *(max(tiles[v], chance[v]) for v in listed)])
    rows = []
    for v in listed:
        label = "all methods" if v == many else human.plural(v, "method")
        text = f"{human.plural(tiles[v], 'patch', 'patches')} selected by {label}"
        usual = "<1" if chance[v] < 0.5 else human.count(chance[v])
        bar = svg.bar(tiles[v] / top, text, chance[v] / top)
        rows.append(ui.Row(label, [bar, human.count(tiles[v]), ui.Cell(usual, "soft")]))
    columns = ["Selected by", ui.BAR, "Patches", "By chance"]
    table = ui.Table("Number of methods that selected a patch", columns, rows)
    return [ui.Heading("Number of methods that selected a patch"), ui.Text(note), table]


def repeats(methods: Sequence[Method], degree: NDArray[np.int64]) -> list[ui.Block]:
    """Return the share of picks that overlap another pick, per method."""
    if not degree.any():
        return [ui.Text("No two windows of this pool share a pixel, so picks do not overlap. "
                     "Neighbours may still look alike.")]  # fmt: skip
    text = (
        f"In this pool {human.share(float((degree > 0).mean()))} of the windows share pixels with "
        "another window; methods that score each patch independently select many of them. The mark "
        "is the expectation for the same number of random picks. A smaller max_overlap ranks more "
        "of them last; tiling without overlap (a stride of the tile side and edge=drop) avoids "
        "them."
    )
    rows = []
    for i, m in enumerate(methods):
        part, expected = repeated(m), m.picks.repeated_by_chance
        bar = svg.bar(part, f"{m.short}: {human.share(part)} overlap", expected)
        cells = [bar, human.share(part), ui.Cell(human.share(expected), "soft")]
        rows.append(ui.Row(m.short, cells, option=i))
    columns = ["Method", ui.BAR, "Overlapping picks", "By chance"]
    return [ui.Text(text), ui.Table("Overlapping picks", columns, rows), explain.terms("overlap")]
