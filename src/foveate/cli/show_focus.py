"""Output of the command line for focus runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.cli.show import result, said_json
from foveate.wording import plural

if TYPE_CHECKING:
    from foveate.run import Run

_LISTED = 10  # maximum number of listed images; a single image is shown with its regions
_REGIONS = ("regions.parquet", "regions.geojson")
_LINE = 60  # maximum length of an answer in a list of images
_KINDS = {
    "prediction": "With regions", "prediction_full": "Whole image",
    "prediction_tile": "Best single tile",
}  # fmt: skip
_SCORES = {"loss": "loss", "mask_quality": "quality"}


def looked(run: Run, *, as_json: bool) -> None:
    """Print the result of a focus run."""
    result(*look_text(run), as_json=as_json)


def scorer_trained(run: Run, *, as_json: bool) -> None:
    """Print the result of the training of a scorer."""
    summary = run.record["summary"]
    measures, training, images = (summary[name] for name in ("measures", "training", "images"))
    held_out = plural(measures["images"], "image")
    lines = [] if run.worked else ["Nothing to do: this run is complete, and nothing has changed."]
    agrees = (
        f"rank correlation {measures['spearman']:.2f}; of the {measures['regions']} best cells "
        f"{measures['recall']:.0%} are the same (by chance {measures['recall_chance']:.0%})"
    )
    saves = (
        f"{measures['passes']:.4g} passes instead of {measures['passes_engine']:.4g}; "
        f"{measures['regions_shared']:.0%} of the area of the regions is the same (regions are "
        f"{measures['area_share']:.0%} of an image)"
    )
    lines += [
        f"Model: {summary['model']['name']}, {summary['mode']}, goal {summary['goal']}",
        f"Images: {images['train']} train, {images['val']} val, {images['test']} test",
        f"Training: {plural(training['epochs'], 'epoch')}, best epoch {training['best_epoch']}",
        f"On {held_out} held out, compared with computed scores: {agrees}",
        f"Looks at these images: {saves}",
        f"Usage: foveate focus look ... --scorer {run.path}",
    ]
    if measures["recall"] <= measures["recall_chance"]:
        lines.insert(-1, "The best cells are predicted no better than by chance: train on more "
                     "images.")  # fmt: skip
    content = {"run": str(run.path), "worked": run.worked, **summary}
    result(content, "\n".join(lines), as_json=as_json)


def look_text(run: Run) -> tuple[dict[str, Any], str]:
    """Return the result of a focus run as JSON-ready content and as text.

    A single image is shown in detail, several images with one line each.
    """
    from foveate.focus.store import load_look
    from foveate.report import headlines

    summary = run.record["summary"]
    names = [look["image"] for look in summary["focus"]["looks"]]
    looks = [load_look(run.path, name) for name in names]
    content: dict[str, Any] = {
        "run": str(run.path), "report": str(run.path / "report.html"), "worked": run.worked,
    }  # fmt: skip
    said = headlines(run.path)
    content |= looks[0] if len(looks) == 1 else {**summary["focus"], "looks": looks}
    content["headlines"] = {name: said_json(one) for name, one in said.items()}
    lines = []
    if not run.worked:
        lines.append("Nothing to do: this run is complete, and nothing has changed.")
    lines.append(f"Model: {summary['model']['name']}, {looks[0]['mode']}, goal {looks[0]['goal']}")
    lines += said[""].lines
    lines += _one(looks[0]) if len(looks) == 1 else _many(looks)
    regions = [name for name in _REGIONS if (run.path / name).exists()]
    lines.append(f"Regions: {', '.join(str(run.path / name) for name in regions)}")
    lines.append(f"Importance: {run.path / 'maps'}")
    lines.append(f"Report: {run.path / 'report.html'}")
    return content, "\n".join(lines)


def _one(look: dict[str, Any]) -> list[str]:
    height, width = look["shape"]
    lines = [f"Image: {look['image']}, {height} x {width} pixels"]
    if "prompt" in look:
        lines.append(f"Question: {look['prompt']}")
    for kind, text in _KINDS.items():
        if look.get(kind) is not None:
            lines.append(f"{text}: {_said(look, kind)}")
    if "query" in look:
        asked = look["query"]
        lines.append(
            f"Query {asked['text']!r}: best region {asked['best']:.3f}, whole image "
            f"{asked['full']:.3f} ({asked['unit']})"
        )
    if "judged" in look:
        chose = look["selector"]
        lines.append(
            f"Answers: {look['generated']} generated, {look['judged']} scored"
            + (f"; regions by {chose}, {look['selector_passes']:.4g} passes" if chose else "")
        )
    tiled = look.get("passes_tiling")
    lines.append(
        f"Passes: {look['passes']:.4g}"
        + (f", tiling takes {tiled:.4g}" if tiled else "")
        + f" ({look['images']} images, {look['seconds']:.2f} s in the "
        f"model" + (f"; {look['remembered']:.4g} cached" if look["remembered"] else "") + ")"
    )
    lines.append(
        f"Regions: {len(look['regions'])} of {look['cells']} cells, {look['area_share']:.1%} of "
        f"the area; epsilon {look['epsilon']:+.3f}"
        + ("" if look["coreset_ok"] else " (limit exceeded)")
    )
    lines.append(f"Stop reason: {look['stop_reason']}")
    for region in look["regions"]:
        label = region.get("label")
        fit = region.get("fit")
        lines.append(
            f"  {region['rank']:>2}  y {region['y']:>6} x {region['x']:>6}  {region['h']} x "
            f"{region['w']}  importance {region['importance']:.3f}"
            + (f"  {label} {region['probability']:.2f}" if label else "")
            + (f"  fit {fit:.3f}" if fit is not None else "")
            + "".join(
                f"  {text} {region[name]:.3f}" for name, text in _SCORES.items() if name in region
            )
        )
    if look["near_ties"]:
        ties = "tie" if look["near_ties"] == 1 else "ties"
        lines.append(f"{look['near_ties']} near-{ties}: these ranks are practically equal.")
    return [*lines, *look["notes"]]


def _said(look: dict[str, Any], kind: str) -> str:
    """Format an answer: a class with its probability, or the number of masks."""
    found = look[kind]
    if isinstance(found, dict):
        noun = "mask" if found["masks"] == 1 else "masks"
        quality = found["quality"]
        return f"{found['masks']} {noun}" + (
            f", mean quality {quality:.3f}" if quality is not None else ""
        )
    answers = look.get("answers", {})
    single = {"prediction_full": "full", "prediction_tile": "tile"}
    key = single.get(kind, look["forms"]["answer"])
    if key not in answers:  # generated text: escape terminal control characters
        return "".join(c if c.isprintable() else " " for c in str(found))
    unit = " of the votes" if key == "vote" else ""
    return f"{found} ({answers[key]['probability']:.0%}{unit})"


def _brief(look: dict[str, Any], kind: str) -> str:
    """Format an answer on one line."""
    found = look[kind]
    line = _said(look, kind) if isinstance(found, dict) else " ".join(str(found).split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."


def _many(looks: list[dict[str, Any]]) -> list[str]:
    lines = []
    for look in looks[:_LISTED]:
        said = (
            f"{_brief(look, 'prediction')} (whole image: {_brief(look, 'prediction_full')})"
            if look["prediction"] is not None
            else f"{len(look['regions'])} regions"
        )
        lines.append(f"  {look['image']}: {said}, {look['passes']:.4g} passes")
    more = len(looks) - _LISTED
    return [*lines, f"  and {more} more"] if more > 0 else lines


def benched(run: Run, *, as_json: bool) -> None:
    """Print the result of a benchmark of `focus`; as JSON, a list of measurements."""
    from foveate.bench.write import markdown
    from foveate.files import read_json
    from foveate.report import headlines

    stem = run.path / "tables" / run.record["summary"]["bench_focus"]["table"]
    found = read_json(f"{stem}.json")
    lines = [] if run.worked else ["Nothing to do: this table is complete.", ""]
    lines += [*headlines(run.path)[""].lines, "", markdown(found)]
    lines += [f"Measurements: {stem}-cells.csv", f"Report: {run.path / 'report.html'}"]
    result(found["cells"], "\n".join(lines), as_json=as_json)
