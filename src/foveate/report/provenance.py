"""Where a selection comes from: inputs, encoder, steps, and what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human

if TYPE_CHECKING:
    from foveate.report.data import PoolData, RunData

LISTED = 500  # excluded tiles named
_INPUTS = (
    "images", "masks", "classes", "labels_file", "probe", "tile", "stride", "edge", "min_valid",
    "preset", "max_overlap", "query", "prompt", "regions", "area", "cells", "crop", "partition",
    "search", "neighbours", "depth", "forms", "feed", "selector",
)  # fmt: skip


class Origin(NamedTuple):
    """How a run was made, as the last section of every page shows it."""

    command: str
    notes: list[str]
    inputs: list[tuple[str, str]]
    encoder: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    steps: list[tuple[str, str]]
    excluded_text: str
    excluded: list[tuple[str, str]]
    excluded_more: str


def origin(run: PoolData) -> Origin:
    """Gather how a run was made."""
    listed = sorted(run.excluded.items())
    rest = len(listed) - LISTED
    return Origin(
        command=run.record.get("command", ""),
        notes=imagery_notes(run),
        inputs=inputs(run),
        encoder=encoder(run),
        versions=[(k, str(v)) for k, v in run.record.get("environment", {}).items()],
        steps=steps(run),
        excluded_text=excluded(run),
        excluded=listed[:LISTED],
        excluded_more=f"and {human.count(rest)} more" if rest > 0 else "",
    )


def facts(run: RunData) -> list[tuple[str, str]]:
    """The few facts that stand under the headline."""
    job = run.record.get("job", {})
    summary = run.record.get("summary", {})
    pool = summary.get("pool", {})
    where = human.plural(len(run.scenes), "scene")
    kind = "georeferenced" if pool.get("georeferenced") else "no georeference"
    budget = str(summary.get("budget", job.get("budget", "?")))
    found = [
        ("Pool", f"{human.plural(run.n, 'patch', 'patches')} in {where}"),
        ("Imagery", f"{pool.get('bands', '?')} bands, {pool.get('dtype', '?')}, {kind}"),
        ("Budget", budget.replace("%", f"{human.GAP}%")),
        ("Encoder", run.encoder.get("name", "?") if run.encoder else "none needed"),
        ("Seed", str(summary.get("seed", job.get("seed", "?")))),
    ]
    if len(run.methods) > 1:
        found.insert(3, ("Methods", human.count(len(run.methods))))
    if summary.get("default_reason"):
        found.insert(3, ("Method", f"{summary['default_method']}, the default without masks"))
    if repeated := put_back(run):
        found.append(("Put back", repeated))
    if summary.get("preset", "default") != "default":
        found.append(("Preset", summary["preset"]))
    least = job.get("min_valid")
    gone = human.plural(len(run.excluded), "patch", "patches") if run.excluded else "nothing"
    if run.excluded and least is not None:
        gone += f", under {human.share(least)} valid"
    found.append(("Excluded", gone))
    return found


def imagery_notes(run: PoolData) -> list[str]:
    """Return what the run warned of when it read the imagery."""
    notes = run.record.get("summary", {}).get("pool", {}).get("notes") or []
    return [str(note) for note in notes]


def put_back(run: RunData) -> str:
    """Say how many patches went to the end of the order; "" where none could."""
    share = run.record.get("summary", {}).get("max_overlap", 1)
    numbers = [int(m.report["put_back"]) for m in run.methods if "put_back" in m.report]
    if share >= 1 or not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    number = human.plural(high, "near-duplicate") if high else "no near-duplicate"
    if low < high:
        number = f"{human.count(low)} to {number}, by method"
    return f"{number} (over {human.share(share)} of their ground shared)"


def excluded(run: PoolData) -> str:
    """Say how many patches left the pool before the ranking, and why."""
    if not run.excluded:
        return "No patch was excluded: all of them had enough valid pixels."
    least = run.record.get("job", {}).get("min_valid")
    reason = f" with less than {human.share(least)} valid pixels" if least is not None else ""
    count = human.plural(len(run.excluded), "patch", "patches")
    return f"{count}{reason} left the pool before anything was ranked."


def encoder(run: PoolData) -> list[tuple[str, str]]:
    """The encoder's spec: what it saw and how it was scaled."""
    if not run.encoder:
        return []

    def text(value: Any) -> str:
        if isinstance(value, list):
            pairs = [text(v) for v in value]
            if pairs and isinstance(value[0], list):
                return pairs[0] + " (each)" if len(set(pairs)) == 1 else "; ".join(pairs)
            return (" to " if len(pairs) == 2 and isinstance(value[0], float) else ", ").join(pairs)
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    labels = {
        "name": "Name", "dim": "Dimensions", "bands": "Bands", "scale": "Raw values scaled",
        "mean": "Mean", "std": "Standard deviation", "input_size": "Input size",
        "gsd": "Ground sampling distance", "dtype": "Vectors", "precision": "Computed in",
        "resample": "Resampling", "non_negative": "Non-negative",
        "licence": "Licence", "source": "Weights", "fingerprint": "Fingerprint",
    }  # fmt: skip
    return [
        (labels.get(key, key), text(value))
        for key, value in run.encoder.items()
        if value not in (None, [], "")
    ]


def steps(run: PoolData) -> list[tuple[str, str]]:
    """Seconds per step; selections and looks, which are many and short, in one line each."""
    found: dict[str, float] = {}
    for name, step in run.record.get("steps", {}).items():
        kind = name.partition(" ")[0]
        label = kind if kind in {"select", "look"} else name
        found[label] = found.get(label, 0) + step["seconds"]
    return [(name, human.seconds(value)) for name, value in found.items()]


def inputs(run: PoolData) -> list[tuple[str, str]]:
    """What was read and how it was cut."""
    job = run.record.get("job", {})
    printed = sum(1 for s in run.scenes if s.get("fingerprint"))
    found = f"{human.count(printed)} of {human.count(len(run.scenes))}"
    rows = [("Scenes with a fingerprint", found)]
    for key in _INPUTS:
        value = job.get(key)
        if isinstance(value, dict):
            value = [f"{name}={one}" for name, one in value.items()]
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if value is not None and text:
            rows.append((key.replace("_", " "), text))
    return rows
