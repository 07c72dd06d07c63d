"""What the command line shows of a focus run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.cli.show import result

if TYPE_CHECKING:
    from foveate.run import Run

_LISTED = 10  # images; one alone is shown with its regions


def looked(run: Run, *, as_json: bool) -> None:
    """Print what a focus run came to; one image is shown whole, of many a line each."""
    from foveate.focus.results import load_look

    summary = run.record["summary"]
    names = [look["image"] for look in summary["focus"]["looks"]]
    looks = [load_look(run.path, name) for name in names]
    content: dict[str, Any] = {
        "run": str(run.path), "report": str(run.path / "report.html"), "worked": run.worked,
    }  # fmt: skip
    content |= looks[0] if len(looks) == 1 else {**summary["focus"], "looks": looks}
    lines = []
    if not run.worked:
        lines.append("Nothing to do: this run is complete, and nothing has changed.")
    lines.append(f"Model: {summary['model']['name']}, {looks[0]['mode']}, goal {looks[0]['goal']}")
    lines += _one(looks[0]) if len(looks) == 1 else _many(looks)
    lines.append(f"Regions: {run.path / 'regions.parquet'}")
    lines.append(f"Report: {run.path / 'report.html'}")
    result(content, "\n".join(lines), as_json=as_json)


def _one(look: dict[str, Any]) -> list[str]:
    height, width = look["shape"]
    lines = [f"Image: {look['image']}, {height} x {width} pixels"]
    for kind, text in (("prediction", "With regions"), ("prediction_full", "Whole image")):
        if look[kind] is not None:
            lines.append(f"{text}: {_said(look, kind)}")
    if "query" in look:
        asked = look["query"]
        lines.append(
            f"Query {asked['text']!r}: best region {asked['best']:.3f}, whole image "
            f"{asked['full']:.3f} ({asked['unit']})"
        )
    lines.append(
        f"Passes: {look['passes']:.4g} ({look['images']} images, {look['seconds']:.2f} s in the "
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
        )
    if look["near_ties"]:
        lines.append(f"{look['near_ties']} near-ties: those ranks may swap on another machine.")
    return [*lines, *look["notes"]]


def _said(look: dict[str, Any], kind: str) -> str:
    """Write an answer with how sure it is, where that is known."""
    answers = look.get("answers", {})
    key = "full" if kind == "prediction_full" else look["forms"]["answer"]
    if key not in answers:
        return str(look[kind])
    unit = " of the votes" if key == "vote" else ""
    return f"{look[kind]} ({answers[key]['probability']:.0%}{unit})"


def _many(looks: list[dict[str, Any]]) -> list[str]:
    lines = []
    for look in looks[:_LISTED]:
        said = (
            f"{look['prediction']} (whole image: {look['prediction_full']})"
            if look["prediction"] is not None
            else f"{len(look['regions'])} regions"
        )
        lines.append(f"  {look['image']}: {said}, {look['passes']:.4g} passes")
    rest = len(looks) - _LISTED
    return [*lines, f"  and {rest} more"] if rest > 0 else lines
