"""The tables and curves of a trained observer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import blocks as ui
from foveate.report import explain, human, svg
from foveate.report.human import number
from foveate.report.words import observer
from foveate.report.words.scenes import OFF

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEW_TILES = 20  # with fewer tiles that show a concept, its average precision is unreliable
WAYS = {
    "none": "None (0 where not observed)", "nearest": "Nearest observed tile",
    "LR only": "LR fill, nothing observed", "fill": "LR fill", "ours": "Completed",
    "full": "All observed",
}  # fmt: skip
LOOKS = {
    "random": 1, "uniform": 2, "lr-entropy": 3, "design": 4, "oracle-gain": 5, "oracle-greedy": 6,
    "learned": 0,
}  # fmt: skip
_DASHED = ("random", "learned")  # policies that are also drawn with the LR fill
_MEASURES = ("tiles", "unseen", "regions", "scenes_max", "scenes_mean", "cosine", "norm")
_AGREE = {
    "HR only": "Nearest observed tile", "fill": "LR fill", "ours": "Completed", "true": "True HR",
}  # fmt: skip
_NAMES = {
    "predictor": "Stage I", "predictor-stage-II": "Stage II", "fill": "LR fill",
    "kriging": "kriging", "blocks": "blocks",
}  # fmt: skip


def _decimals(values: Sequence[float]) -> list[str]:
    return [human.decimal(v, 3) for v in values]


def _fitting(values: object, n: int) -> list[float]:
    """Return `n` numbers, padded with NaN."""
    found = human.numbers(values)[:n]
    return found + [math.nan] * (n - len(found))


# the budget


class _Policy(NamedTuple):
    """A policy over the observed shares."""

    name: str
    look: str
    ours: list[float]
    fill: list[float]
    captured: list[float]


def budget(evaluation: Mapping[str, Any], found: observer.Worth) -> list[ui.Block]:
    """Return the measure over the observed share for each policy, and their efficiencies."""
    entry = evaluation.get("curve") or {}
    shares = human.numbers(entry.get("shares"))
    policies = _policies(entry, len(shares))
    labels = [human.share(v) for v in shares]
    rows, captured = [], []
    for one in policies:
        lead = one.name == "learned"
        rows.append(ui.Row(one.name, _decimals(one.ours), lead=lead, mark=svg.sample(one.look)))
        if one.name in _DASHED:
            look = svg.sample(f"{one.look} dashed")
            rows.append(ui.Row(f"{one.name}, LR fill", _decimals(one.fill), mark=look))
        if any(map(math.isfinite, one.captured)):
            captured.append(ui.Row(one.name, [human.share(v) for v in one.captured], lead=lead))
    blocks: list[ui.Block] = []
    if drawn := _curve(policies, shares, labels, found):
        blocks.append(ui.Chart(drawn, (
            f"x axis: observed share of the tiles (logarithmic); y axis: {found.measure}. "
            "Dashed: the same tiles with the LR fill. The vertical mark is the share that the "
            "observer was trained for."), look="axes",
            legend=[(svg.sample(one.look), one.name) for one in policies]))  # fmt: skip
    if rows:
        columns = [found.measure, *labels]
        blocks.append(ui.Table("Budget curve", columns, rows))
    sides: list[list[ui.Block]] = []
    if efficiency := _efficiency(evaluation):
        columns = ["Policy", ui.BAR, "Efficiency"]
        sides.append([ui.Heading("Efficiency", "0: random tiles, 1: tiles by true gain"),
                      ui.Table("Efficiency", columns, efficiency)])  # fmt: skip
    if captured:
        columns = ["Policy", *labels]
        sides.append([ui.Heading("Captured gain", "share of the true gain of all tiles"),
                      ui.Table("Captured gain", columns, captured)])  # fmt: skip
    terms = ["budget share", *(["tile mAP"] if found.measure == "tile mAP" else []), "efficiency"]
    blocks += [ui.Grid(sides, 2)] if sides else []
    return [*blocks, explain.terms(*terms)] if blocks else []


def _policies(entry: Mapping[str, Any], n: int) -> list[_Policy]:
    given = {str(k): v for k, v in (entry.get("policies") or {}).items() if isinstance(v, dict)}
    order = sorted(given, key=lambda name: (name != "learned", name == "random"))
    return [
        _Policy(name, f"k{LOOKS.get(name, svg.LOOKS - 1)}",
                *(_fitting(given[name].get(key), n) for key in ("ours", "fill", "captured")))
        for name in order
    ]  # fmt: skip


def _curve(
    policies: Sequence[_Policy], shares: list[float], labels: list[str], found: observer.Worth
) -> svg.Markup | None:
    if not shares or min(shares) <= 0:
        return None
    lines = []
    for one in policies:
        lines.append(svg.Line(one.name, shares, one.ours, one.look))
        if one.name in _DASHED:
            name, look = f"{one.name}, LR fill", f"{one.look} dashed"
            lines.append(svg.Line(name, shares, one.fill, look, points=False))
    levels = [("overviews alone", found.lr), ("all observed", found.full)]
    return svg.lines(
        lines[::-1],
        f"{found.measure.capitalize()} over the observed share, one line per policy; the table "
        "below has the same figures",
        levels=levels if found.measure == "tile mAP" else [],
        ticks=list(zip(shares, labels, strict=True)), mark=found.obr, log=True, height=360,
    )  # fmt: skip


def _efficiency(evaluation: Mapping[str, Any]) -> list[ui.Row]:
    found = {str(k): number(v) for k, v in (evaluation.get("efficiency") or {}).items()}
    found = {name: value for name, value in found.items() if math.isfinite(value)}
    rows = []
    for name in sorted(found, key=lambda k: -found[k]):
        text = human.decimal(found[name])
        bar = svg.bar(found[name], f"{name}: efficiency {text}")
        rows.append(ui.Row(name, [bar, text], lead=name == "learned"))
    return rows


def budget_note(evaluation: Mapping[str, Any]) -> str:
    """Return the number of shares at which learned tiles beat random tiles, and the efficiency."""
    found = (evaluation.get("curve") or {}).get("policies") or {}
    try:
        learned, chance = found["learned"]["ours"], found["random"]["ours"]
    except KeyError:
        return ""
    above = sum(number(a) > number(b) for a, b in zip(learned, chance, strict=True))
    text = f"Learned tiles score higher than random tiles at {above} of "
    text += human.plural(len(learned), "share")
    value = number((evaluation.get("efficiency") or {}).get("learned"))
    if math.isfinite(value):
        text += f" and reach {human.share(value) if value > 0 else 'none'} of the improvement of "
        text += "tiles selected by the true gain"
    return f"{text}."


# thresholds


def thresholds(evaluation: Mapping[str, Any], pictures: Sequence[ui.Block]) -> list[ui.Block]:
    """Return pictures and a table for several thresholds."""
    rows = []
    for row in evaluation.get("sweep") or []:
        drift = number(row.get("drift"))
        text = human.share(abs(drift)) if math.isfinite(drift) else human.NONE
        sign = "" if not math.isfinite(drift) or not drift else "\u2212" if drift < 0 else "+"
        cells = [
            human.share(number(row.get("obr"))), human.share(number(row.get("expected"))),
            sign + text, *_decimals([number(row.get(k)) for k in ("tiles", "cosine")]),
        ]  # fmt: skip
        rows.append(ui.Row(f"{number(row.get('tau')):g}", cells))
    columns = ["\u03c4", "Observed", "Expected", "Drift", "Tile mAP", "Cosine"]
    table = [ui.Table("Thresholds", columns, rows), explain.terms("drift")] if rows else []
    return [*pictures, *table]


def thresholds_note(evaluation: Mapping[str, Any]) -> str:
    """Return the largest deviation of the observed share from the expected one."""
    rest = "Tiles that score above \u03c4 are observed; the other tiles are completed."
    drifts = {number(r.get("tau")): abs(number(r.get("drift")))
              for r in evaluation.get("sweep") or []}  # fmt: skip
    drifts = {tau: d for tau, d in drifts.items() if math.isfinite(d)}
    if not drifts:
        return rest
    tau = max(drifts, key=lambda t: drifts[t])
    text = (
        f"The observed share deviates from the expected one by at most {human.share(drifts[tau])} "
    )
    text += f"(\u03c4 = {tau:g})"
    if drifts[tau] > OFF:
        text += ": thresholds do not transfer to these scenes; use a budget instead."
        return f"{text} {rest}"
    return f"{text}: thresholds transfer to these scenes. {rest}"


# concepts


def concepts(evaluation: Mapping[str, Any]) -> tuple[list[ui.Block], str]:
    """Return a table of concepts, the most common first, and its description."""
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
        if share * tiles < FEW_TILES:
            rare.append(name)
            notes.append(human.plural(round(share * tiles), "tile"))
        label = f"{name}: completed {human.decimal(ours)}, overviews alone {human.decimal(low)}"
        cells = [svg.bar(ours, label, low), human.share(share), *_decimals([low, fill, ours, full]),
                 observer.signed(ours - fill)]  # fmt: skip
        rows.append(ui.Row(name, cells, ", ".join(notes)))
    if not rows:
        return [], ""
    note = _about(change, absent, rare)
    note += " Bar: average precision of completed scenes; mark: of the overviews "
    columns = ["Concept", ui.BAR, "Tiles", "Overviews", "LR fill",
               "Completed", "All observed", "Completion adds"]  # fmt: skip
    return [ui.Table("Concepts", columns, rows)], f"{note}alone."


def _about(change: Mapping[str, float], absent: list[str], rare: list[str]) -> str:
    more = sum(v > observer.NOTHING for v in change.values())
    less = sum(v < -observer.NOTHING for v in change.values())
    text = f"Completion scores higher than the LR fill in {more} of "
    text += f"{human.plural(len(change), 'concept')} and lower in {less}"
    if more or less:
        best, worst = (f(change, key=lambda k: change[k]) for f in (max, min))
        text += f", from {observer.signed(change[worst])} ({worst}) to "
        text += f"{observer.signed(change[best])} ({best})"
    text += "."
    if rare:
        text += f" Fewer than {FEW_TILES} tiles show {human.listed(rare)}, so these values vary by "
        text += "chance."
    return f"{text} No tile shows {human.listed(absent)}." if absent else text


def _or_less(value: float) -> float:
    return value if math.isfinite(value) else -1.0


# completions


def completions(evaluation: Mapping[str, Any]) -> list[ui.Block]:
    """Compare completions of the same observed tiles, and their nearest neighbours."""
    found = evaluation.get("completions") or {}
    names = [*(n for n in WAYS if n in found), *(n for n in found if n not in WAYS)]
    rows = [
        ui.Row(
            WAYS.get(name, str(name)),
            _decimals([number(found[name].get(k)) for k in _MEASURES]),
            lead=name == "ours",
        )
        for name in names
    ]
    columns = ["Completion", "Tiles", "Unobserved tiles", "Regions",
               "Scenes, best tile", "Scenes, mean", "Cosine", "Length"]  # fmt: skip
    note = (
        "Mean average precision of all tiles, of unobserved tiles, of regions of 2 \u00d7 2 tiles, "
        "and of scenes by their best tile or their mean. The unobserved tiles differ between rows "
        "if no tile is observed: compare that column only between rows with the same tiles."
    )
    return [
        ui.Table("Comparison of completions", columns, rows, wide=True), ui.Text(note, "note"),
        explain.terms("length"), *_neighbours(evaluation.get("neighbours") or {}),
    ]  # fmt: skip


def completions_note(evaluation: Mapping[str, Any]) -> str:
    """Return a warning about pooled scene retrieval, with the figures of this evaluation."""
    found = evaluation.get("completions") or {}
    warning = "Pooled scene retrieval hides errors of tiles: compare by tiles."
    rest = "Unless the name states otherwise, the same tiles are observed."
    ours, none = (number((found.get(k) or {}).get("scenes_mean")) for k in ("ours", "none"))
    if none >= ours - observer.NOTHING:
        warning += (
            f" Here scenes without information on unobserved tiles have {human.decimal(none, 3)} "
            f"by their mean, completed scenes {human.decimal(ours, 3)}."
        )
    return f"{warning} {rest}"


def _neighbours(found: Mapping[str, Any]) -> list[ui.Block]:
    rows = []
    for key, name in _AGREE.items():
        value = number(found.get(key))
        if math.isfinite(value):
            text = human.decimal(value, 3)
            rows.append(ui.Row(name, [svg.bar(value, text), text], lead=key == "ours"))
    columns = ["Features", ui.BAR, "Agreement"]
    note = "Jaccard index of the concepts of an unobserved tile and of its nearest training tiles."
    table = [ui.Table("Neighbours", columns, rows), ui.Text(note, "note")] if rows else []
    return [ui.Heading("Nearest neighbours of completed tiles"),
            ui.Text(neighbours_note(found)), *table]  # fmt: skip


def neighbours_note(found: Mapping[str, Any]) -> str:
    """Return whether the neighbours of completed tiles share their concepts, as a sentence."""
    ours, fill, true = (number(found.get(name)) for name in ("ours", "fill", "true"))
    if not math.isfinite(ours) or not math.isfinite(fill):
        return "There are no labels, so neighbours cannot be evaluated."
    if ours < fill - observer.NOTHING:
        return (
            "The neighbours of completed tiles share fewer concepts than those of the LR fill: "
            "completion changes the semantics of tiles."
        )
    if true - ours <= observer.NOTHING:
        return "The neighbours of completed tiles share as many concepts as those of true tiles."
    how = "as many concepts as" if ours - fill <= observer.NOTHING else "more concepts than"
    text = f"The neighbours of completed tiles share {how} those of the LR fill, "
    return f"{text}but fewer than those of true tiles."


# training


def training(stages: Mapping[str, Any]) -> list[ui.Block]:
    """Return the curves of all training stages, in order."""
    phases = []
    for stem, facts in stages.items():
        if not isinstance(facts, dict):
            continue
        form = stem.partition("sampler-")[2]
        name = f"Sampler: {form}" if form else _NAMES.get(stem, stem)
        parts = {part: inner for part, inner in facts.items() if isinstance(inner, dict)}
        found = {name: facts, **{f"{name}, {_NAMES.get(p, p)}": v for p, v in parts.items()}}
        phases += [_phase(title, phase, sampler=bool(form)) for title, phase in found.items()
                   if "epochs" in phase]  # fmt: skip
    return [ui.Grid(phases, 2), explain.terms("spread")] if phases else []


def _phase(name: str, facts: Mapping[str, Any], *, sampler: bool) -> list[ui.Block]:
    epochs = [e for e in facts["epochs"] if isinstance(e, dict)]
    x = [float(i + 1) for i in range(len(epochs))]
    score, spread = ([number(e.get(key)) for e in epochs] for key in ("score", "spread"))
    best, before = number(facts.get("best")), number(facts.get("before"))
    what = "captured gain" if sampler else "centred cosine"
    ticks = [(1.0, "epoch 1"), (x[-1], str(len(x)))] if len(x) > 1 else []
    blocks: list[ui.Block] = [
        ui.Heading(name),
        ui.Text(_phase_text(facts, score, spread, what), "note"),
    ]
    for label, y, look, least in ((what, score, "k0", 0.05), ("spread", spread, "k4", 0.2)):
        levels = [("", before)] if y is score and math.isfinite(before) else []
        line = svg.Line(label, x, y, look, points=len(x) == 1)
        drawn = svg.lines([line], f"{name}: {label} over epochs", levels=levels, ticks=ticks,
                          mark=best, height=120, least=least)  # fmt: skip
        if drawn is not None:
            blocks.append(ui.Chart(drawn, look="small", legend=[(svg.sample(look), label)]))
    return blocks


def _phase_text(
    facts: Mapping[str, Any], score: list[float], spread: list[float], what: str
) -> str:  # fmt: skip
    best, before = number(facts.get("best")), number(facts.get("before"))
    at = int(best) - 1 if math.isfinite(best) and 1 <= best <= len(score) else -1
    text = f"Best of {human.plural(len(score), 'epoch')}: {at + 1}" if at >= 0 else ""
    if at >= 0:
        text += f", {what} {human.decimal(score[at], 3)}"
    if math.isfinite(before):
        text += f" (dotted line: before training, {human.decimal(before, 3)})"
    if facts.get("kept") is False:
        text += (
            "; not significantly better than the linear part, which is used alone"
            if (what == "captured gain")
            else "; no better than before, so the stage was discarded"
        )
    text += "." if text else ""
    low = min((v for v in spread if math.isfinite(v)), default=math.nan)
    if low < 0.1:
        text += " Collapse: completed features are nearly identical."
    return text
