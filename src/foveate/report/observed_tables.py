"""The tables of a trained observer, row by row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import charts, human
from foveate.report import observed_said as said
from foveate.report.observed_lines import KINDS, Level, Line, chart, known, sample
from foveate.report.stage import number
from foveate.report.words import observer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

WAYS = {
    "none": "Nothing, 0 where not observed", "nearest": "Nearest observed tile",
    "LR only": "LR fill, nothing observed", "fill": "LR fill", "ours": "Completed",
    "full": "All observed",
}  # fmt: skip
_LOOKS = {
    "random": 1, "uniform": 2, "lr-entropy": 3, "design": 4, "oracle-gain": 5, "oracle-greedy": 6,
    "learned": 0,
}  # fmt: skip
_DASHED = ("random", "learned")  # drawn with the LR fill too
_MEASURES = ("tiles", "unseen", "regions", "scenes_max", "scenes_mean", "cosine", "norm")
_AGREE = {
    "HR only": "Nearest observed tile", "fill": "LR fill", "ours": "Completed", "true": "True HR",
}  # fmt: skip


class Row(NamedTuple):
    """A row of a table: its name, its cells, what marks it, and pictures of it."""

    name: str
    cells: list[str]
    note: str = ""
    lead: bool = False
    bar: Markup | None = None
    sample: Markup | None = None


class Curve(NamedTuple):
    """The budget curve with its table."""

    chart: Markup | None
    shares: list[str]
    rows: list[Row]
    captured: list[Row]
    efficiency: list[Row]


def curve(evaluation: Mapping[str, Any], found: observer.Worth) -> Curve:
    """Return how good scenes are known over observed shares, policy by policy."""
    entry = evaluation.get("curve") or {}
    shares = known(entry.get("shares"))
    policies = {str(k): v for k, v in (entry.get("policies") or {}).items() if isinstance(v, dict)}
    order = sorted(policies, key=lambda name: (name != "learned", name == "random"))
    lines, rows, captured = [], [], []
    for name in order:
        look = f"k{_LOOKS.get(name, KINDS - 1)}"
        ours, fill = (_fitting(policies[name].get(key), len(shares)) for key in ("ours", "fill"))
        lines.append(Line(name, shares, ours, look))
        rows.append(Row(name, _cells(ours), lead=name == "learned", sample=sample(look)))
        if name in _DASHED:
            lines.append(Line(f"{name}, LR fill", shares, fill, f"{look} dashed", points=False))
            rows.append(Row(f"{name}, LR fill", _cells(fill), sample=sample(f"{look} dashed")))
        gain = _fitting(policies[name].get("captured"), len(shares))
        if any(map(math.isfinite, gain)):
            cells = [human.share(v) for v in gain]
            captured.append(Row(name, cells, lead=name == "learned"))
    labels = [human.share(v) for v in shares]
    drawn = chart(
        lines[::-1],
        f"{found.measure.capitalize()} over the observed share, a line a policy; the table below "
        "has the same figures",
        levels=[Level("overviews alone", found.lr), Level("all observed", found.full)]
        if found.measure == "tile mAP" else [],
        ticks=list(zip(shares, labels, strict=True)), mark=found.obr, log=bool(shares),
        height=360,
    ) if shares and min(shares) > 0 else None  # fmt: skip
    return Curve(drawn, labels, rows, captured, _efficiency(evaluation))


def _efficiency(evaluation: Mapping[str, Any]) -> list[Row]:
    rows = []
    found = {str(k): number(v) for k, v in (evaluation.get("efficiency") or {}).items()}
    found = {name: value for name, value in found.items() if math.isfinite(value)}
    for name in sorted(found, key=lambda k: -found[k]):
        value = found[name]
        text = f"{name}: efficiency {human.decimal(value)}"
        rows.append(
            Row(name, [human.decimal(value)], lead=name == "learned", bar=charts.bar(value, text))
        )
    return rows


def concepts(evaluation: Mapping[str, Any]) -> tuple[list[Row], str]:
    """Return a row a concept, the most common first, and what the table says."""
    tiles = number(evaluation.get("tiles"))
    found = [(str(k), v) for k, v in (evaluation.get("concepts") or {}).items()]
    found.sort(key=lambda item: -_or_less(number(item[1].get("prevalence"))))
    rows, absent, change, rare = [], [], {}, []
    for name, entry in found:
        share = number(entry.get("prevalence"))
        low, fill, ours, full = (
            number(entry.get(key)) for key in ("LR only", "fill", "ours", "full")
        )
        if not math.isfinite(ours):
            absent.append(name)
            continue
        change[name] = ours - fill
        notes = ["novel: not in training"] if entry.get("novel") else []
        if share * tiles < said.FEW_TILES:
            rare.append(name)
            notes.append(human.plural(round(share * tiles), "tile"))
        label = f"{name}: completed {human.decimal(ours)}, overviews alone {human.decimal(low)}"
        cells = [human.share(share), *_cells([low, fill, ours, full]), observer.signed(ours - fill)]
        rows.append(Row(name, cells, ", ".join(notes), bar=charts.bar(ours, label, low)))
    return rows, _about(change, absent, rare)


def _about(change: Mapping[str, float], absent: list[str], rare: list[str]) -> str:
    if not change:
        return f"No tile shows {_list(absent)}." if absent else ""
    more = sum(v > observer.NOTHING for v in change.values())
    less = sum(v < -observer.NOTHING for v in change.values())
    text = f"Completion scores higher than the LR fill in {more} of "
    text += f"{human.plural(len(change), 'concept')} and lower in {less}"
    if more or less:
        best, worst = (f(change, key=lambda k: change[k]) for f in (max, min))
        text += (
            f", from {observer.signed(change[worst])} ({worst}) to {observer.signed(change[best])} "
        )
        text += f"({best})"
    text += "."
    if rare:
        text += f" Fewer than {said.FEW_TILES} tiles show {_list(rare)}: chance rules there."
    return f"{text} No tile shows {_list(absent)}." if absent else text


def ways(evaluation: Mapping[str, Any]) -> list[Row]:
    """Return a row for each way of completing the same observed tiles."""
    found = evaluation.get("completions") or {}
    names = [*(n for n in WAYS if n in found), *(n for n in found if n not in WAYS)]
    return [
        Row(
            WAYS.get(name, str(name)),
            [human.decimal(number(found[name].get(key)), 3) for key in _MEASURES],
            lead=name == "ours",
        )
        for name in names
    ]


def sweep(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a row a threshold."""
    found = []
    for row in rows:
        drift = number(row.get("drift"))
        text = human.share(abs(drift)) if math.isfinite(drift) else human.NONE
        sign = "" if not math.isfinite(drift) or not drift else "\u2212" if drift < 0 else "+"
        cells = [
            human.share(number(row.get("obr"))), human.share(number(row.get("expected"))),
            sign + text, *(human.decimal(number(row.get(k)), 3) for k in ("tiles", "cosine")),
        ]  # fmt: skip
        found.append(Row(f"{number(row.get('tau')):g}", cells))
    return found


def neighbours(evaluation: Mapping[str, Any]) -> list[Row]:
    """Return a row a way of completing: how often its neighbours are of its kind."""
    found = evaluation.get("neighbours") or {}
    rows = []
    for key, name in _AGREE.items():
        value = number(found.get(key))
        if math.isfinite(value):
            text = human.decimal(value, 3)
            rows.append(Row(name, [text], lead=key == "ours", bar=charts.bar(value, text)))
    return rows


class Phase(NamedTuple):
    """One phase of training: curves over its epochs."""

    name: str
    text: str
    score: Markup | None
    spread: Markup | None


_NAMES = {
    "predictor": "Stage I", "predictor-stage-II": "Stage II", "fill": "LR fill",
    "kriging": "kriging", "blocks": "blocks",
}  # fmt: skip


def training(stages: Mapping[str, Any]) -> list[Phase]:
    """Return the phases of training, in their order."""
    found = []
    for stem, facts in stages.items():
        if not isinstance(facts, dict):
            continue
        form = stem.partition("sampler-")[2]
        name = f"Sampler: {form}" if form else _NAMES.get(stem, stem)
        if "epochs" in facts:
            found.append(_phase(name, facts, sampler=bool(form)))
        for part, inner in facts.items():
            if isinstance(inner, dict) and "epochs" in inner:
                found.append(_phase(f"{name}, {_NAMES.get(part, part)}", inner, sampler=bool(form)))
    return found


def _phase(name: str, facts: Mapping[str, Any], *, sampler: bool) -> Phase:
    epochs = [e for e in facts["epochs"] if isinstance(e, dict)]
    x = [float(i + 1) for i in range(len(epochs))]
    score, spread = ([number(e.get(key)) for e in epochs] for key in ("score", "spread"))
    best, before = number(facts.get("best")), number(facts.get("before"))
    at = int(best) - 1 if math.isfinite(best) and 1 <= best <= len(score) else -1
    what = "captured gain" if sampler else "centred cosine"
    text = f"Best of {human.plural(len(epochs), 'epoch')}: {at + 1}" if at >= 0 else ""
    if at >= 0:
        text += f", {what} {human.decimal(score[at], 3)}"
    if math.isfinite(before):
        text += f" (dotted, before: {human.decimal(before, 3)})"
    if facts.get("kept") is False:
        text += "; " + (
            "not clearly better than the linear part, which is used alone"
            if sampler
            else "it was no better than before, so it was put back"
        )
    text += "." if text else ""
    low = min((v for v in spread if math.isfinite(v)), default=math.nan)
    if low < 0.1:
        text += " Collapse: completed tokens hardly differ from each other."
    ticks = [(1.0, "epoch 1"), (x[-1], str(len(x)))] if len(x) > 1 else []
    levels = [Level("", before)] if math.isfinite(before) else []

    def drawn(label: str, y: list[float], look: str, least: float) -> Markup | None:
        lines = [Line(label, x, y, look, points=len(x) == 1)]
        return chart(
            lines, f"{name}: {label} over epochs", levels=levels if y is score else [],
            ticks=ticks, mark=best, height=120, least=least,
        )  # fmt: skip

    return Phase(name, text, drawn(what, score, "k0", 0.05), drawn("spread", spread, "k4", 0.2))


def _cells(values: Sequence[float]) -> list[str]:
    return [human.decimal(v, 3) for v in values]


def _fitting(values: object, n: int) -> list[float]:
    """Return as many numbers as there are shares."""
    found = known(values)[:n]
    return found + [math.nan] * (n - len(found))


def _or_less(value: float) -> float:
    return value if math.isfinite(value) else -1.0


def _list(names: Sequence[str]) -> str:
    """Return names as people list them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
