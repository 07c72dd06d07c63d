"""What the command line shows of a focus run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.cli.show import count, result, said_json

if TYPE_CHECKING:
    from foveate.run import Run

_LISTED = 10  # images; one alone is shown with its regions
_REGIONS = ("regions.parquet", "regions.geojson")
_LINE = 60  # characters of an answer among those of other images
_KINDS = {
    "prediction": "With regions", "prediction_full": "Whole image",
    "prediction_tile": "Best single tile",
}  # fmt: skip
_SCORES = {"loss": "loss", "mask_quality": "quality"}


def looked(run: Run, *, as_json: bool) -> None:
    """Print what a focus run came to."""
    result(*look_text(run), as_json=as_json)


def scorer_trained(run: Run, *, as_json: bool) -> None:
    """Print what the training of a scorer came to."""
    summary = run.record["summary"]
    worth, training, images = (summary[name] for name in ("measures", "training", "images"))
    held_out = count(worth["images"], "image")
    lines = [] if run.worked else ["Nothing to do: this run is complete, and nothing has changed."]
    agrees = (
        f"rank correlation {worth['spearman']:.2f}; of the {worth['regions']} best cells "
        f"{worth['recall']:.0%} are the same (by chance {worth['recall_chance']:.0%})"
    )
    saves = (
        f"{worth['passes']:.4g} passes instead of {worth['passes_engine']:.4g}; "
        f"{worth['regions_shared']:.0%} of the area of the regions is the same (regions are "
        f"{worth['area_share']:.0%} of an image)"
    )
    lines += [
        f"Model: {summary['model']['name']}, {summary['mode']}, goal {summary['goal']}",
        f"Images: {images['train']} train, {images['val']} val, {images['test']} test",
        f"Training: {count(training['epochs'], 'epoch')}, the best was {training['best_epoch']}",
        f"On {held_out} held out, against measured scores: {agrees}",
        f"Looks at them: {saves}",
        f"Use it: foveate focus look ... --scorer {run.path}",
    ]
    if worth["recall"] <= worth["recall_chance"]:
        lines.insert(-1, "It finds the best cells no better than chance: train it on more images.")
    content = {"run": str(run.path), "worked": run.worked, **summary}
    result(content, "\n".join(lines), as_json=as_json)


def look_text(run: Run) -> tuple[dict[str, Any], str]:
    """Return what a focus run came to, for programs and for people.

    One image is shown whole, of many a line each.
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
            f"Answers: {look['generated']} generated, {look['judged']} judged"
            + (f"; regions by {chose}, {look['selector_passes']:.4g} passes" if chose else "")
        )
    tiled = look.get("passes_tiling")
    lines.append(
        f"Passes: {look['passes']:.4g}"
        + (f", tiling takes {tiled:.4g}" if tiled else "")
        + f" ({look['images']} images, {look['seconds']:.2f} s in the "
        f"model" + (f"; {look['remembered']:.4g} remembered" if look["remembered"] else "") + ")"
    )
    lines.append(
        f"Regions: {len(look['regions'])} of {look['cells']} cells, {look['area_share']:.1%} of "
        f"the area; epsilon {look['epsilon']:+.3f}" + ("" if look["coreset_ok"] else " (missed)")
    )
    lines.append(f"Stopped: {look['stop_reason']}")
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
        lines.append(f"{look['near_ties']} near-{ties}: those ranks are as good as equal.")
    return [*lines, *look["notes"]]


def _said(look: dict[str, Any], kind: str) -> str:
    """Write an answer; of a class also how sure it is, of masks how many they are."""
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
    if key not in answers:  # words of a model, which a terminal must not take for commands
        return "".join(c if c.isprintable() else " " for c in str(found))
    unit = " of the votes" if key == "vote" else ""
    return f"{found} ({answers[key]['probability']:.0%}{unit})"


def _brief(look: dict[str, Any], kind: str) -> str:
    """Write an answer on one line."""
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
    rest = len(looks) - _LISTED
    return [*lines, f"  and {rest} more"] if rest > 0 else lines


def benched(run: Run, *, as_json: bool) -> None:
    """Print what a benchmark of `focus` came to: as JSON, a list of measurements."""
    from foveate.bench.write import markdown
    from foveate.files import read_json
    from foveate.report import headlines

    stem = run.path / "tables" / run.record["summary"]["bench_focus"]["table"]
    found = read_json(f"{stem}.json")
    lines = [] if run.worked else ["Nothing to do: this table is complete.", ""]
    lines += [*headlines(run.path)[""].lines, "", markdown(found)]
    lines += [f"Measurements: {stem}-cells.csv", f"Report: {run.path / 'report.html'}"]
    result(found["cells"], "\n".join(lines), as_json=as_json)
