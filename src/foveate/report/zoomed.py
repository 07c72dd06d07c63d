"""The chosen regions, zoomed: what was seen of each, its scores, and where it lies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import charts, human
from foveate.report.said import Line
from foveate.report.stage import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.report.look_data import LookData
    from foveate.report.pictures import Album

SHOWN = 24  # regions with a picture
_PARTS = ("utility", "representativeness", "robustness", "synergy")
_KNOWN = {
    "rank", "tile_id", "scene", "y", "x", "h", "w", "cell_y", "cell_x", "cell_h", "cell_w", "level",
    "valid_share", "importance", "weight", "label", "probability", "fit", "bounds", "crs", "lon",
    "lat", *_PARTS,
}  # fmt: skip


class Card(NamedTuple):
    """One chosen region.

    Attributes:
        key: Of its picture.
        rank: 1 for the most important.
        title: What the model takes it for, or its place in the order.
        sure: How sure it is of that, or "".
        importance: The score.
        parts: The four scores that it is made of.
        place: Where it lies, line by line.
        alt: All of it in words.
    """

    key: str
    rank: int
    title: str
    sure: str
    importance: str
    parts: list[Line]
    place: list[str]
    alt: str


def zoomed(look: LookData, album: Album) -> tuple[list[Card], str]:
    """Show the regions of one image.

    Args:
        look: The image.
        album: Takes the pictures.

    Returns:
        A card for each of the first regions, and a sentence on how to read them.
    """
    regions = look.result["regions"]
    shown = [_card(look, region, album) for region in regions[:SHOWN]]
    return shown, _note(len(regions) - len(shown), look.result)


def _card(look: LookData, region: Mapping[str, Any], album: Album) -> Card:
    rank = int(region["rank"])
    key = f"{look.name}\n{rank}"  # no file has such a name
    album.add(key, look.crops.get(rank), look.crop_side)
    label, sure = region.get("label"), number(region.get("probability"))
    fit = number(region.get("fit"))
    surety = human.share(sure) if math.isfinite(sure) else ""
    if math.isfinite(fit):
        surety += f"{' \u00b7 ' if surety else ''}fit {human.decimal(fit, 3)}"
    value = human.decimal(number(region.get("importance")))
    title = str(label) if label else f"Region {rank}"
    weights = (look.result.get("forms") or {}).get("weights") or {}
    parts = [_part(name, number(region.get(name)), weights) for name in _PARTS]
    alt = f"Region {rank}: {label or 'no label'} {surety}, importance {value}"
    return Card(key, rank, title, surety, value, parts, _place(region), alt)


def _part(name: str, value: float, weights: Mapping[str, Any]) -> Line:
    """Show one score; the bar is full where it is as large as it can be."""
    weight = 1.0 if name == "utility" else number(weights.get(name, math.nan))
    title = name.capitalize()
    if not math.isfinite(value):
        return Line(title, None, "not measured")
    title += "" if weight else ", counts 0"
    area = number(weights.get("area", 0.0))
    most = 1 + (area if name == "utility" and math.isfinite(area) else 0)
    bar = charts.bar(min(value / most, 1), f"{name} {human.decimal(value)} of at most {most:g}")
    return Line(title, bar, human.decimal(value))


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
    for name, value in region.items():  # what a task adds to its regions
        if name not in _KNOWN and isinstance(value, int | float | str):
            text = human.decimal(value) if isinstance(value, float) else str(value)
            rows.append(f"{name} {text}")
    return rows


def _note(rest: int, result: Mapping[str, Any]) -> str:
    text = "What was seen of each region. A bar is full where its score is as large as it can be"
    weights = (result.get("forms") or {}).get("weights") or {}
    counted = [f"{name} \u00d7 {weights[name]:g}" for name in _PARTS if weights.get(name)]
    text += f"; importance is utility + {' + '.join(counted)}." if counted else "; importance is "
    text += "" if counted else "the utility alone."
    if rest > 0:
        text += f" {human.plural(rest, 'more region')} in regions.parquet."
    return text
