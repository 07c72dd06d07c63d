"""``foveate inspect``: print what a run would read.

Typer evaluates the annotations at start-up, so they must be importable.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from foveate.cli.options import Json
from foveate.pool.settings import PoolJob
from foveate.wording import plural

_LISTED = 12  # maximum number of listed names
_PLAIN = ("mask", "image", "other")  # reasons for which files are counted, not named
_REASONS = {
    "run": "in runs of foveate", "link": "broken links",
    "pointer": "not fetched", "empty": "of zero bytes", "special": "special files",
    "folder": "unreadable folders", "hidden": "hidden", "system": "in system folders",
    "preview": "previews of other files", "again": "listed twice",
    "format": "of unsupported formats", "mask": "masks", "image": "images",
    "other": "not imagery by name",
}  # fmt: skip


def inspect(job: PoolJob, as_json: Json = False) -> None:
    """Inspect the imagery of a job, and print what a run would read."""
    from foveate.cli.show import progress_bars, result
    from foveate.pool import inspect as inspect_pool

    with progress_bars(quiet=as_json) as progress:
        found = inspect_pool(
            job.images, masks=job.masks or None, mask_suffix=job.mask_suffix,
            classes=job.classes, extra=[[path] for path in job.extra], stack=job.stack,
            bands=job.bands or None, nodata=job.nodata, tile=job.tile or 256,
            min_valid=job.min_valid, search=job.item_search(), progress=progress,
        )  # fmt: skip
    content = found.to_dict()
    result(content, as_text(content), as_json=as_json)
    if content["stops"]:
        raise typer.Exit(1)


def as_text(content: Mapping[str, Any]) -> str:
    """Return an inspection as text."""
    parts = [
        _files("Images", content["images"]),
        _files("Masks", content["masks"]) if content["masks"] else [],
        _scenes(content["scenes"]),
        _classes(content["classes"]),
        _places(content["places"]),
        _notes(content["notes"]),
        _end(content),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _files(title: str, found: Mapping[str, Any]) -> list[str]:
    lines = [f"{title}: {found['read']:,} files"]
    reasons = Counter(found["reasons"])
    if reasons:
        listed = ", ".join(f"{n:,} {_REASONS[why]}" for why, n in reasons.items())
        lines.append(f"  ignored: {listed}")
        names = [f"{one['path']} ({one['reason']})" for one in found["left_out"]
                 if one["reason"] not in _PLAIN]  # fmt: skip
        lines += [f"    {name}" for name in _some(names)]
    return lines


def _scenes(scenes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how images are read: one group of lines per combination of properties."""
    lines = []
    pairs = [s for s in scenes if s.get("mask")]
    if pairs:
        lines.append(
            f"Pairs: {plural(len(pairs), 'image', separators=True)} with a mask, for example"
        )
        lines += [f"    {s['file']} <- {s['mask']}" for s in pairs[:2]]
    broken = [f"    {s['file']}: {s['error']}" for s in scenes if "error" in s]
    if broken:
        lines += [
            f"Unreadable: {len(broken):,}", *_some(broken),
            "  embed, curate and classify skip these images with --on-error skip",
        ]  # fmt: skip
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for scene in scenes:
        if "error" not in scene:
            groups.setdefault(_description(scene), []).append(scene)
    for description, members in groups.items():
        first = members[0]["scene"]
        more = f" and {len(members) - 1:,} more" if len(members) > 1 else ""
        lines += [description, f"    {first}{more}{_sizes(members)}{_ranges(members)}"]
        lines += [f"    {line}" for line in _ground(members)]
    return lines


def _description(scene: Mapping[str, Any]) -> str:
    rules = " and ".join(scene["valid_by"]) or "all pixels"
    stated = {tuple(pair) for pair in scene.get("scaling") or ()}
    scaling = "".join(f"; scale {a:g}, offset {b:g}" for a, b in sorted(stated))
    orientation = scene.get("orientation", 1)
    turn = f"; rotated upright (EXIF orientation {orientation})" if orientation != 1 else ""
    bands = "1 band" if scene["bands"] == 1 else f"{scene['bands']} bands"
    return f"Read as {bands} of {scene['dtype']}, valid by {rules}{scaling}{turn}:"


def _sizes(members: Sequence[Mapping[str, Any]]) -> str:
    shapes = sorted({tuple(s["shape"]) for s in members})
    text = f", {shapes[0][0]:,} x {shapes[0][1]:,} pixels"
    return text if len(shapes) == 1 else f"{text} to {shapes[-1][0]:,} x {shapes[-1][1]:,}"


def _ranges(members: Sequence[Mapping[str, Any]]) -> str:
    known = [s["values"] for s in members if s.get("values")]
    if not known:
        return ""
    bands = zip(*known, strict=True)
    ranges = [(min(low for low, _ in b), max(high for _, high in b)) for b in bands]
    text = ", ".join(f"{low:g} to {high:g}" for low, high in ranges[:_LISTED])
    sampled = (
        f" (from {plural(len(known), 'image', separators=True)})"
        if len(known) < len(members)
        else ""
    )
    return f", values by band {text}{sampled}"


def _ground(members: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for crs, count in Counter(s.get("crs") for s in members if s.get("bounds")).most_common(3):
        gsd = sorted({round(s["metres_per_pixel"], 3) for s in members
                      if s.get("crs") == crs and s["metres_per_pixel"]})  # fmt: skip
        metres = f", {gsd[0]:g} m per pixel" if gsd else ""
        metres += f" to {gsd[-1]:g} m" if len(gsd) > 1 else ""
        name = "no CRS" if crs is None else crs if len(crs) < 40 else f"{crs[:40]}..."
        lines.append(f"{name} ({plural(count, 'image', separators=True)}){metres}")
    bare = sum(not s.get("bounds") for s in members)
    if bare:
        lines.append(f"no georeference ({plural(bare, 'image', separators=True)})")
    dates = sorted({s["date"] for s in members if s["date"]})
    if dates:
        lines.append(f"dates: {', '.join(_some(dates))}")
    return lines


def _classes(classes: Sequence[Mapping[str, Any]] | None) -> list[str]:
    if classes is None:
        return []
    width = max(len(c["name"]) for c in classes)
    lines = [
        f"  {c['name']:<{width}}  {c['pixels']:>14,}  {c['share']:>6.1%}  {c['values']}"
        for c in classes
    ]
    return [f"Classes: {len(classes)}, by counted pixels", *lines]


def _places(places: Sequence[Mapping[str, Any]]) -> list[str]:
    if not places:
        return []
    lines = [f"Locations with several images: {len(places):,}"]
    for place in places[:_LISTED]:
        named = [f"{n} ({d})" if d else n
                 for n, d in zip(place["scenes"], place["dates"], strict=True)]  # fmt: skip
        lines.append(f"  {', '.join(_some(named))}")
    return lines


def _notes(notes: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"Notes: {len(notes)}"] if notes else []
    for note in notes:
        lines.append(f"  {note['topic']}: {note['text'].rstrip('.')}.")
        if note["hint"]:
            lines.append(f"    {note['hint'].rstrip('.')}.")
    return lines


def _end(content: Mapping[str, Any]) -> list[str]:
    stops, pool = content["stops"], content["pool"]
    if stops:
        return [f"A run would fail: {stops['message']}"]
    left = f", {pool['excluded']:,} excluded as mostly invalid" if pool["excluded"] else ""
    return [f"A run would start with {pool['tiles']:,} tiles of {pool['scenes']:,} images{left}."]


def _some(names: Sequence[str]) -> list[str]:
    more = len(names) - _LISTED
    return [*names[:_LISTED], f"... and {more:,} more"] if more > 0 else list(names)
