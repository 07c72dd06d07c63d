"""One image of a focus run: its picture with the regions, its answers, and its search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from foveate.report import assets, explain, human, marks, svg
from foveate.report import blocks as ui
from foveate.report.human import number, signed
from foveate.report.read import fits
from foveate.report.words import focus as words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.report.assets import Album
    from foveate.report.read import Focused, LookData
    from foveate.report.words import Headline

CARDS = 24  # regions with a picture
OUTLINES = 1500  # maximum number of thin outlines, and of cells with a tooltip
_CELL, _WINDOW = ("cell_y", "cell_x", "cell_h", "cell_w"), ("y", "x", "h", "w")
_PARTS = ("utility", "representativeness", "robustness", "synergy")
_KNOWN = {
    "rank", "tile_id", "scene", "level", "valid_share", "importance", "weight", "label",
    "probability", "fit", "bounds", "crs", "lon", "lat", *_CELL, *_WINDOW, *_PARTS,
}  # fmt: skip
_LEAST = 1e-3  # smaller probabilities are shown as "<0.1 %"
_KINDS = {
    "full": ("Whole image", "the image resized to the model input, one pass"),
    "vote": (
        "Vote of all tiles",
        "shares of the votes; each encoded tile distributes its vote by probability",
    ),
    "fused": ("Mean of the regions", "mean features of the selected regions"),
    "confident": ("Most confident region", "selected region with the highest label probability"),
    "first": ("First region", "the most important region alone"),
    "tile": ("Best single tile", "the most confident of all encoded tiles"),
}  # fmt: skip
_TEXTS = (
    ("Whole image", "prediction_full"),
    ("With regions", "prediction"),
    ("First region alone", "prediction_tile"),
)


def headline(run: Focused, i: int) -> Headline:
    """Return the headline of one image."""
    result = run.looks[i].result
    return words.look(result, tiling(result, run.side), task=run.task)


def tiling(result: Mapping[str, Any], side: int) -> float:
    """Return the number of passes that tiling an image takes.

    The number that the look stored; without it, one pass per window of `side` pixels.
    """
    known = number(result.get("passes_tiling"))
    if known > 0:
        return known
    return math.prod(-(-length // side) for length in result["shape"])


def opening(run: Focused, i: int, album: Album) -> ui.Grid:
    """Return the picture with its regions, and the key figures."""
    look = run.looks[i]
    picture = overlay(look, i, album.uris.get(look.name, ""))
    return ui.Grid(
        [picture, ui.Figures(_figures(look.result, tiling(look.result, run.side)), tall=True)],
        "aside",
    )


def overlay(look: LookData, i: int, picture: str) -> ui.Overlay:
    """Draw the image with outlined, numbered regions and a switchable importance map."""
    columns, shape = look.columns, look.result["shape"]
    score = np.array(columns["importance"], np.float64)
    ranks = [int(rank) if rank else 0 for rank in columns["rank"]]
    cells, windows = (_boxes(columns, names, shape) for names in (_CELL, _WINDOW))
    width, height = marks.size(shape)
    tips = [_tip(columns, row, rank) for row, rank in enumerate(ranks)]
    chosen = [row for row, rank in enumerate(ranks) if rank]
    others = [row for row, rank in enumerate(ranks) if not rank][:OUTLINES]
    mask = assets.masks(look.mask) if look.mask else ""
    drawn = [
        svg.tag("image", class_="masks", href=mask, width=width, height=height,
                preserveAspectRatio="none") if mask else Markup(),
        svg.tag("path", class_="edges", d=marks.path([windows[row] for row in others])),
        marks.tips(cells, tips),
        marks.numbered([windows[row] for row in chosen], [ranks[row] for row in chosen],
                       [tips[row] for row in chosen], width, height),
    ]  # fmt: skip
    known = score[np.isfinite(score)]
    low, high = (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
    key = "Numbered: selected regions, 1 is the most important. Thin outlines: other cells."
    key += " Coloured: masks." if mask else ""
    key += f" {note}" if (note := _surprise(columns, score, ranks, look.result)) else ""
    return ui.Overlay(
        "", width, height,
        f"{look.name} with {human.plural(len(chosen), 'selected region')}, numbered by importance",
        picture, f"scene{i}" if picture else "", Markup().join(drawn),
        marks.cells(cells, marks.tinted(score)),
        ramp=(f"importance {human.decimal(low)}", human.decimal(high), marks.tint_scale()),
        switch=f"look{i}", key=key,
    )  # fmt: skip


def _boxes(
    columns: Mapping[str, Sequence], names: Sequence[str], shape: Sequence[int]
) -> list[svg.Box]:
    windows = np.stack([np.array(columns[name], np.float64) for name in names], axis=1)
    return marks.pixel_boxes(windows, shape)


def _tip(columns: Mapping[str, Sequence], row: int, rank: int) -> str:
    parts = [f"#{rank}"] if rank else []
    parts.append(f"importance {human.decimal(number(columns['importance'][row]), 3)}")
    if "label" in columns and columns["label"][row] is not None:
        value = number(columns["probability"][row]) if "probability" in columns else math.nan
        probability = f" {human.share(value)}" if math.isfinite(value) else ""
        parts.append(f"{columns['label'][row]}{probability}")
    if "fit" in columns:
        parts.append(f"fit {human.decimal(number(columns['fit'][row]), 3)}")
    return " \u00b7 ".join(parts)


def _surprise(
    columns: Mapping[str, Sequence], score: NDArray[np.float64], ranks: list[int],
    result: Mapping[str, Any],
) -> str:  # fmt: skip
    """Explain why cells that score higher than a selected cell were not selected."""
    chosen = np.array(ranks) > 0
    if not chosen.any():
        return ""
    passed = ~chosen & (score > np.nanmin(score[chosen]))
    stated = words.higher(result)
    count = int(passed.sum()) if stated is None else stated
    if not count or not passed.any():
        return ""
    area = np.array(columns["h"], np.float64) * np.array(columns["w"], np.float64)
    verb, was = ("scores", "was") if count == 1 else ("score", "were")
    start = f"{human.plural(count, 'cell')} {verb} higher than a selected cell but {was} "
    if (area[passed] > 1.5 * area[chosen].max()).all():
        return f"{start}encoded at reduced resolution only, too coarse to be selected."
    return (
        f"{start}not selected: the search may score regions jointly, and regions are weighted by "
        "area."
    )


def _figures(result: Mapping[str, Any], tiles: float) -> list[ui.Figure]:
    found, full = words.with_and_without(result)
    rows = []
    if found:
        rows.append(ui.Figure("With regions", found, _sure(result, words.answer_kind(result))))
    if full:
        rows.append(ui.Figure("Whole image", full, _sure(result, "full")))
    if asked := result.get("query"):
        note = f"fits \u201c{asked.get('text', '')}\u201d; the whole image "
        position = 0 if result.get("goal") == "query" else len(rows)
        best = ui.Figure("Best region", words.fit(asked, "best"), note + words.fit(asked, "full"))
        rows.insert(position, best)
    area = human.share(number(result.get("area_share")))
    note = f"of the model; tiling takes {words.amount(tiles)}"
    return [
        *rows, ui.Figure("Passes", words.amount(number(result.get("passes"))), note),
        ui.Figure("Regions", human.count(len(result["regions"])),
               f"of {human.plural(result['cells'], 'cell')}, {area} of the area"),
    ]  # fmt: skip


def _sure(result: Mapping[str, Any], kind: str) -> str:
    """Return the probability of an answer; "" if not known."""
    value = number((result.get("answers") or {}).get(kind, {}).get("probability"))
    if not math.isfinite(value):
        return ""
    return f"{human.share(value)} {'of the votes' if kind == 'vote' else 'probability'}"


# answers


def answers(look: LookData) -> list[ui.Block]:
    """Return the answers with and without the regions; the parts depend on the task."""
    result = look.result
    found: list[ui.Block] = []
    if texts := [] if result.get("answers") else _texts(result):
        found.append(ui.Grid(texts, 2))
    found += _counts(result)
    if result.get("query"):
        found.append(_query(result["query"], fits(look)))
    if classes := _classes(result):
        found += [ui.Grid(classes[:2], 2), *([ui.Grid(classes[2:], 4)] if classes[2:] else [])]
    if found and result.get("prompt"):
        found.insert(0, ui.Text(str(result["prompt"]), "large", "Prompt:"))
    return found


def _classes(result: Mapping[str, Any]) -> list[ui.Lines]:
    given = {k: v for k, v in (result.get("answers") or {}).items() if isinstance(v, dict)}
    lead = words.answer_kind(result)
    order = [kind for kind in ("full", lead) if kind in given]
    order += [kind for kind in _KINDS if kind in given and kind not in order]
    order += [kind for kind in given if kind not in order]
    return [_answer(kind, given[kind], lead=kind in ("full", lead)) for kind in order]


def _answer(kind: str, given: Mapping[str, Any], *, lead: bool) -> ui.Lines:
    title, note = _KINDS.get(kind, (kind, ""))
    if lead and kind != "full":
        title, note = "With regions", f"{title.lower()}: {note}"
    ranked = [(given.get("label"), given.get("probability")), *(given.get("next") or [])]
    lines = []
    for i, (name, value) in enumerate(ranked):
        share = number(value)
        text = human.share(share) if share == 0 or not share < _LEAST else f"<0.1{human.GAP}%"
        lines.append(ui.Line(str(name), svg.bar(share, f"{name} {text}"), text, i == 0))
    return ui.Lines(lines, title, note, lead)


def _texts(result: Mapping[str, Any]) -> list[ui.Text]:
    found = [(title, result.get(key)) for title, key in _TEXTS]
    return [
        ui.Text(value.strip() or human.NONE, "quote", title)
        for title, value in found
        if isinstance(value, str)
    ]


def _query(given: Mapping[str, Any], known: list[float]) -> ui.Lines:
    best, full = number(given.get("best")), number(given.get("full"))
    chance = given.get("unit") == "probability"
    known = [v for v in (*known, best, full) if math.isfinite(v)]
    low, high = (0.0, 1.0) if chance else (min(known, default=0), max(known, default=1))
    span = (high - low) or 1.0
    lines = []
    for name, value in (("Whole image", full), ("Best region", best)):
        text = human.share(value) if chance else human.decimal(value, 3)
        bar = svg.bar((value - low) / span, f"{name}: {text}")
        lines.append(ui.Line(name, bar, text, name == "Best region"))
    note = "Probability among the classes." if chance else (
        "Cosine similarity of text and image. Its order is more meaningful than its size: the bars "
        "range from the lowest to the highest value of this image.")  # fmt: skip
    return ui.Lines(lines, f"Similarity to \u201c{given.get('text', '')}\u201d", note, lead=True)


def _counts(result: Mapping[str, Any]) -> list[ui.Block]:
    """Return a table of the masks of an answer and other counts of the task."""
    one, two = result.get("prediction_full"), result.get("prediction")
    if not isinstance(two, dict):
        return []
    full = one if isinstance(one, dict) else {}
    names = {"masks": "Masks", "quality": "Quality, estimated by the model"}
    keys = [*names, *(key for key in two if key not in names)]
    rows = [
        ui.Row(names.get(key, key), [_plain(full.get(key)), _plain(two.get(key))])
        for key in keys
        if key in two or key in full
    ]
    return [ui.Table("Masks", ["", "Whole image", "With regions"], rows)]


def _plain(value: Any) -> str:
    """Format a value of a record: a number, the mean of several, or text."""
    if isinstance(value, list):
        known = [number(v) for v in value if math.isfinite(number(v))]
        return f"{human.decimal(sum(known) / len(known))} on average" if known else human.NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return human.NONE if value is None else str(value)
    return human.count(value) if value == round(value) else human.decimal(value)


# regions


def regions(look: LookData, found: Mapping[str, ui.Shot]) -> list[ui.Block]:
    """Return crops of the selected regions, the most important first, and their scores."""
    every = look.result["regions"]
    weights = (look.result.get("forms") or {}).get("weights") or {}
    cards = [_card(look, region, found) for region in every[:CARDS]]
    blocks: list[ui.Block] = [
        ui.Text("The crop of each region as encoded."), ui.Pictures(cards, "cards")
    ]  # fmt: skip
    if len(every) > CARDS:
        text = f"{human.plural(len(every) - CARDS, 'more region')} in regions.parquet."
        blocks.append(ui.Text(text, "note"))
    rows = [ui.Row(f"Region {region['rank']}", [_part(name, region, weights) for name in _PARTS])
            for region in every[:CARDS]]  # fmt: skip
    counted = [f"{name} \u00d7 {weights[name]:g}" for name in _PARTS if weights.get(name)]
    text = f"Importance is {' + '.join(['utility', *counted])}."
    text = text if counted else "Importance is the utility alone; the other scores have weight 0."
    columns = ["Region", *(name.capitalize() for name in _PARTS)]
    table = ui.Table("Scores of the regions", columns, rows)
    return [*blocks, ui.Fold("Details: the four scores of the paper", [
        ui.Text(text), table, explain.terms("synergy")])]  # fmt: skip


def _card(look: LookData, region: Mapping[str, Any], found: Mapping[str, ui.Shot]) -> ui.Picture:
    rank, label = int(region["rank"]), region.get("label")
    sure, fit = number(region.get("probability")), number(region.get("fit"))
    parts = [human.share(sure)] if math.isfinite(sure) else []
    parts += [f"fit {human.decimal(fit, 3)}"] if math.isfinite(fit) else []
    surety, value = " \u00b7 ".join(parts), human.decimal(number(region.get("importance")))
    alt = f"Region {rank}: {label or 'no label'} {surety}, importance {value}"
    note = "\n".join([f"importance {value}", *_place(region)])
    return ui.Picture(
        found.get(f"{look.name}\n{rank}"), alt, str(label) if label else f"Region {rank}", surety,
        note, badge=str(rank),
    )  # fmt: skip


def _part(name: str, region: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    value = number(region.get(name))
    weight = 1.0 if name == "utility" else number(weights.get(name, math.nan))
    if not math.isfinite(value):
        return "not computed"
    return human.decimal(value) + ("" if weight else ", weight 0")


def _place(region: Mapping[str, Any]) -> list[str]:
    x, y, w, h = (human.count(region[name]) for name in "xywh")
    rows = [f"x {x}, y {y}, {w} \u00d7 {h} px"]
    lon, lat = number(region.get("lon")), number(region.get("lat"))
    if math.isfinite(lon) and math.isfinite(lat):
        north, east = "N" if lat >= 0 else "S", "E" if lon >= 0 else "W"
        rows.append(f"{abs(lat):.5f}\u00b0 {north}, {abs(lon):.5f}\u00b0 {east}")
    weight = number(region.get("weight"))
    if math.isfinite(weight):
        rows.append(f"weight {human.decimal(weight)}")
    for name, value in region.items():  # task-specific fields
        if name not in _KNOWN and isinstance(value, int | float | str):
            text = human.decimal(value) if isinstance(value, float) else str(value)
            rows.append(f"{name} {text}")
    return rows


# search


def search(run: Focused, i: int) -> list[ui.Block]:
    """Return the passes and the stop reason of a search; rounds and epsilon are folded."""
    result = run.looks[i].result
    tiles, limit = tiling(result, run.side), number(run.record.get("job", {}).get("epsilon"))
    spent = number(result.get("passes"))
    most = max(spent, tiles, 1)
    lines = [
        ui.Line(name, svg.bar(value / most, f"{name}: {words.passes(value)}"), words.passes(value),
             name == "This look")
        for name, value in (("This look", spent), ("Tiling", tiles),
                            ("Whole image, once", 1))
    ]  # fmt: skip
    return [
        ui.Grid([ui.Lines(lines, "Passes of the model"), ui.Pairs(_notes(result), "guide")], 2),
        ui.Fold(
            "Details: rounds of the search and \u03b5",
            [_rounds(result), ui.Pairs(_epsilon(result, limit), "guide"), explain.terms("epsilon")],
        ),
    ]


def _rounds(result: Mapping[str, Any]) -> ui.Table:
    rounds = result.get("rounds") or []
    top = max([number(one["importance"]) for one in rounds], default=1.0)
    rows = [
        ui.Row(str(i + 1), [
            human.count(one["cells"]), human.count(one["chosen"]),
            svg.bar(number(one["importance"]) / top if top > 0 else 0, "importance"),
            human.decimal(number(one["importance"]), 3), signed(number(one.get("epsilon"))),
            f"{one['passes']:.4g}",
        ])
        for i, one in enumerate(rounds)
    ]  # fmt: skip
    return ui.Table(
        "Rounds of the search",
        [
            "Round",
            "Cells",
            "Selected",
            ui.Column("Importance of the regions", "bar"),
            "",
            "\u03b5",
            "Passes",
        ],
        rows,
    )


def _notes(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("Stop reason", _sentence(result.get("stop_reason", human.NONE)))]
    work = []
    if number(result.get("remembered")) > 0:
        count = words.passes(result["remembered"])
        work.append(f"{count} of these were cached from earlier looks.")
    if result.get("images") and result.get("seconds") is not None:
        images = human.plural(result["images"], "image")
        work.append(f"{images} encoded in {human.seconds(result['seconds'])}.")
    if result.get("generated") is not None and result.get("judged") is not None:
        made = human.plural(result["generated"], "answer was", "answers were")
        work.append(f"{made} generated, {human.count(result['judged'])} scored.")
    if result.get("selector"):
        spent = words.passes(number(result.get("selector_passes")))
        work.append(f"The regions were selected by {result['selector']}, using {spent} of these.")
    rows += [("Work", " ".join(work))] if work else []
    if ties := int(number(result.get("near_ties", 0)) or 0):
        text = f"{human.plural(ties, 'pair')} of adjacent ranks differ only by rounding and may "
        rows.append(("Near ties", f"{text}be swapped on another machine."))
    return rows + [("Note", str(note)) for note in result.get("notes") or []]


def _epsilon(result: Mapping[str, Any], limit: float) -> list[tuple[str, str]]:
    value = number(result.get("epsilon"))
    rows = [(f"\u03b5 = {signed(value)}", _coreset(result, value, limit))]
    if result.get("removal"):
        text = f"{_sentence(result['removal'])} No region was removed from the picture itself."
        rows.append(("Removal of a region", text))
    return rows


def _coreset(result: Mapping[str, Any], value: float, limit: float) -> str:
    if not math.isfinite(value):
        return "The loss of the whole image under this goal is zero, so \u03b5 is undefined."
    text = f"In the quantities that the goal preserves, the regions lose {human.share(abs(value))} "
    text += f"{'more' if value >= 0 else 'less'} than the whole image "
    text += f"({human.decimal(number(result.get('loss_set')))} against "
    text += f"{human.decimal(number(result.get('loss_full')))}). "
    bound = f" of {limit:g}" if math.isfinite(limit) else ""
    if result.get("coreset_ok"):
        return f"{text}The limit{bound} is satisfied: the regions may represent the image."
    return f"{text}The limit{bound} is exceeded: the regions do not represent the image."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
