"""What the report says about one method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.report import charts, human, numbers
from foveate.report.guides import GUIDES, Guide

if TYPE_CHECKING:
    from markupsafe import Markup
    from numpy.typing import NDArray

    from foveate.report.data import MethodData, RunData
    from foveate.report.pictures import Album
    from foveate.report.words import Headline
    from foveate.report.words.curate import Picks

SHOWN = 12  # thumbnails of the best and of the worst
MANY = 12  # above so many methods, fewer thumbnails each


class Figure(NamedTuple):
    """One large number."""

    label: str
    value: str
    note: str


class Thumb(NamedTuple):
    """One patch; `tile` is its row."""

    tile: int
    name: str
    scene: str
    rank: str
    score: str
    bar: Markup | None
    alt: str


class ClassRow(NamedTuple):
    """One class, before and after."""

    name: str
    color: str
    pool: str
    kept: str
    factor: str
    trend: str
    bars: Markup


@dataclass(frozen=True)
class Panel:
    """One method, ready for the page; text is plain, charts are markup."""

    index: int
    name: str
    title: str
    short: str
    source: str
    headline: str
    verdicts: tuple[str, ...]
    pool: Markup
    pool_note: str
    figures: list[Figure]
    best: list[Thumb]
    worst: list[Thumb]
    order_note: str
    classes: list[ClassRow]
    classes_note: str
    histogram: Markup | None
    histogram_low: str
    histogram_high: str
    histogram_note: str
    overlap: float
    overlap_text: str
    overlap_chance: str
    overlap_bar: Markup
    entropy: float
    entropy_text: str
    entropy_bar: Markup | None
    rare: str
    scenes: str
    kept: str
    seconds: str
    budget: str
    guide: Guide | None
    options: list[tuple[str, str]]


def panel(  # noqa: PLR0917  (what all panels share)
    run: RunData,
    method: MethodData,
    index: int,
    album: Album,
    compared: Picks,
    said: Headline,
    *,
    repeats: bool,
) -> Panel:
    """Build the panel of one method.

    Args:
        run: The run.
        method: The method.
        index: Its place.
        album: Takes the pictures.
        compared: Its selection against random ones.
        said: What is said of that.
        repeats: Whether windows of the pool share pixels.
    """
    picks = method.picks
    part = compared.repeated if picks.size else math.nan
    usual = compared.repeated_by_chance
    balance = None if run.counts is None else numbers.balance(run.counts, picks)
    if balance is not None and not balance.pool.sum() > 0:
        balance = None  # masks without one counted pixel
    found = numbers.histogram(method.score, picks)
    best, worst, note = _thumbs(run, method, album)
    reached = np.unique(run.scene[picks]).size
    per_scene = np.bincount(run.scene[picks], minlength=1)
    figures = [] if balance is None else _class_figures(run, balance, compared)
    figures += [
        Figure(
            "Scenes reached",
            human.count(reached),
            f"of {human.plural(len(run.scenes), 'scene')}"
            + (
                f"; the busiest gives {human.share(per_scene.max() / picks.size)} of the picks"
                if reached > 1
                else ""
            ),
        ),
        Figure(
            "Overlapping picks",
            human.share(part),
            "share pixels with another pick"
            + (f"; by chance {human.share(usual)}" if repeats else ", as none can here"),
        ),
    ]
    short = compared.method
    return Panel(
        index=index,
        name=method.name,
        title=method.title,
        short=short,
        source=method.source,
        headline=said.text,
        verdicts=said.notes,
        pool=charts.pool(_strength(run, method), f"{short}: which patches of the pool were kept"),
        pool_note="The pool in the order of its scenes; the stronger, the earlier chosen."
        + (f" One square is {each} patches." if (each := charts.per_square(run.n)) > 1 else ""),
        figures=figures,
        best=best,
        worst=worst,
        order_note=note,
        classes=[] if balance is None else _class_rows(run, balance),
        classes_note="" if balance is None else _classes_note(run, balance),
        histogram=None if found is None else charts.histogram(found),
        histogram_low="" if found is None else human.decimal(found.low),
        histogram_high="" if found is None else human.decimal(found.high),
        histogram_note=_histogram_note(short, method, found, run.n),
        overlap=part,
        overlap_text=human.share(part),
        overlap_chance=human.share(usual),
        overlap_bar=charts.bar(
            part,
            f"{short}: {human.share(part)} of the picks overlap, {human.share(usual)} by chance",
            usual,
        ),
        entropy=math.nan if balance is None else balance.entropy_kept,
        entropy_text="" if balance is None else human.decimal(balance.entropy_kept),
        entropy_bar=None
        if balance is None
        else charts.bar(
            balance.entropy_kept,
            f"{short}: {human.decimal(balance.entropy_kept)}; "
            f"pool {human.decimal(balance.entropy_pool)}",
            balance.entropy_pool,
        ),
        rare="" if balance is None else human.factor(float(balance.factor[balance.rarest])),
        scenes=f"{human.count(reached)} of {human.count(len(run.scenes))}",
        kept=human.count(picks.size),
        seconds=human.seconds(method.seconds) if math.isfinite(method.seconds) else human.NONE,
        budget=_budget(method),
        guide=GUIDES.get(method.name),
        options=_options(method),
    )


def _strength(run: RunData, method: MethodData) -> NDArray[np.float64]:
    """Return (n,): 1 for the first pick falling to 0.3 for the last, 0 for what was not kept."""
    strength = np.zeros(run.n)
    strength[method.picks] = np.linspace(1, 0.3, method.picks.size)
    return strength


def _class_figures(run: RunData, found: numbers.Balance, compared: Picks) -> list[Figure]:
    rarest, even, rare = found.rarest, compared.evenness, compared.rare
    entropy = "1 means all classes equally common"
    share = f"{human.share(float(found.pool[rarest]))} of the pool \u2192 "
    share += f"{human.share(float(found.kept[rarest]))} of the selection"
    if even is not None and rare is not None:
        entropy += f"; random picks: {human.decimal(even.low)} to {human.decimal(even.high)}"
        share += f"; random picks: {human.factor(rare.low)} to {human.factor(rare.high)}"
    return [
        Figure(
            "Class entropy",
            f"{human.decimal(found.entropy_pool)} \u2192 {human.decimal(found.entropy_kept)}",
            f"pool \u2192 selection; {entropy}",
        ),
        Figure(
            f"Rarest class: {run.classes[rarest]}",
            human.factor(float(found.factor[rarest])),
            share,
        ),
    ]


def _class_rows(run: RunData, found: numbers.Balance) -> list[ClassRow]:
    largest = float(np.nanmax([*found.pool, *found.kept]))
    rows = []
    for i in np.argsort(-found.pool, kind="stable").tolist():
        pool, kept, times = (float(v[i]) for v in (found.pool, found.kept, found.factor))
        trend = "" if not math.isfinite(times) or 0.95 < times < 1.05 else "up"
        rows.append(
            ClassRow(
                run.classes[i], charts.colour(run.colors[i]), human.share(pool), human.share(kept),
                human.factor(times), "down" if trend and times < 1 else trend,
                charts.twin(pool, kept, largest, run.colors[i], run.classes[i]),
            )
        )  # fmt: skip
    return rows


def _classes_note(run: RunData, found: numbers.Balance) -> str:
    absent = [run.classes[i] for i in np.flatnonzero(found.pool == 0)]
    lost = [run.classes[i] for i in np.flatnonzero((found.pool > 0) & ~(found.kept > 0))]
    note = "Shares of counted pixels."
    if lost:
        note += f" Not in the selection: {', '.join(lost)}."
    if absent:
        note += f" Not in the pool at all: {', '.join(absent)}."
    return note


def _histogram_note(short: str, method: MethodData, found: numbers.Histogram | None, n: int) -> str:
    if found is None:
        return f"{short} gives no scores."
    note = ""
    if found.places:
        note = (
            f"{short} scores by place in the order, so this is flat by construction: the score "
            "says which patch comes first, not by how much."
        )
    if method.depth < n:
        note += f" It ranked {human.count(method.depth)} of {human.count(n)} patches."
    elif found.unscored:
        note += f" {human.plural(found.unscored, 'patch', 'patches')} could not be scored."
    return note.strip()


def _thumbs(run: RunData, method: MethodData, album: Album) -> tuple[list[Thumb], list[Thumb], str]:
    shown = SHOWN if len(run.methods) <= MANY else SHOWN // 2
    best = [_thumb(run, method, row, album) for row in method.picks[:shown].tolist()]
    if method.depth < run.n:
        note = (
            f"The order is known for the first {human.count(method.depth)} of "
            f"{human.count(run.n)} patches only, so there is no last place to show."
        )
        return best, [], note
    last = np.argsort(-method.rank, kind="stable")[:shown]
    last = last[~np.isin(last, method.picks)]
    return best, [_thumb(run, method, row, album) for row in last.tolist()], ""


def _thumb(run: RunData, method: MethodData, row: int, album: Album) -> Thumb:
    tile = run.ids[row]
    album.add(tile, run.tile_files.get(tile))
    rank = human.count(method.rank[row]) if math.isfinite(method.rank[row]) else human.NONE
    score = human.decimal(float(method.score[row]), 3)
    bars = None if run.counts is None else class_bar(run, row)
    scene = run.scenes[run.scene[row]]["scene"]
    alt = f"Rank {rank}: patch {tile}"
    return Thumb(row, tile, scene, rank, score, bars, alt)


def class_bar(run: RunData, row: int) -> Markup:
    """Draw the class shares of one patch."""
    return charts.stacked(shares(run, row), run.classes, run.colors)


def shares(run: RunData, row: int) -> list[float]:
    """Return the class shares of one patch, NaN without a counted pixel."""
    assert run.counts is not None  # noqa: S101  (asked for only with masks)
    counts = run.counts[row]
    return (counts / counts.sum() if counts.sum() else np.full(counts.size, np.nan)).tolist()


def _budget(method: MethodData) -> str:
    parts = []
    for unit, left in method.unspent.items():
        spent = human.amount(method.spent.get(unit, 0), unit)
        parts.append(f"{spent}, {human.amount(left, unit) if left else 'nothing'} left")
    return "; ".join(parts) or human.plural(method.picks.size, "patch", "patches")


def _options(method: MethodData) -> list[tuple[str, str]]:
    def text(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.6g}"
        if isinstance(value, list):
            return f"{len(value)} values" if len(value) > 8 else ", ".join(map(text, value))
        return "\u2013" if value is None else str(value)

    known = {"preset", "seed", "budget"}
    found = {k: v for k, v in method.report.items() if k not in known}
    return [(k, text(v)) for k, v in (method.options | found).items()]
