"""Provenance of a run: command, inputs, options, encoder, versions, and time per step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.human import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.report.read import PoolData

LISTED = 500  # maximum number of excluded tiles that are named
_MANY = {"select", "look", "train", "measure"}  # repeated steps, summed in one line each
_ENCODER = {
    "name": "Name", "dim": "Dimensions", "bands": "Bands", "scale": "Raw values scaled",
    "mean": "Mean", "std": "Standard deviation", "input_size": "Input size",
    "gsd": "Ground sampling distance", "dtype": "Vectors", "precision": "Computed in",
    "resample": "Resampling", "non_negative": "Non-negative",
    "licence": "Licence", "source": "Weights", "fingerprint": "Fingerprint",
}  # fmt: skip


class Origin(NamedTuple):
    """Provenance of a run, the last section of every page."""

    command: str  # command line of the run
    notes: list[str]  # warnings about the imagery
    inputs: list[tuple[str, str]]  # every field of the job that is set
    encoder: list[tuple[str, str]]  # properties of the encoder
    versions: list[tuple[str, str]]  # versions of packages
    steps: list[tuple[str, str]]  # time of each step
    excluded_text: str  # number of excluded tiles, as a sentence
    excluded: list[tuple[str, str]]  # first excluded tiles, with reasons
    excluded_more: str  # number of excluded tiles that are not named


def origin(run: PoolData, *, one: str = "patch", many: str = "patches") -> Origin:
    """Return the provenance of a run.

    Args:
        run: The run.
        one: Name of an element of its pool.
        many: Plural of that name.
    """
    named = sorted(run.excluded.items())
    more = len(named) - LISTED
    return Origin(
        command=str(run.record.get("command", "")),
        notes=[str(note) for note in pool_of(run).get("notes") or []],
        inputs=_inputs(run),
        encoder=[(_ENCODER.get(k, k), value_text(v)) for k, v in (run.encoder or {}).items()
                 if v not in (None, [], "")],
        versions=[(k, str(v)) for k, v in run.record.get("environment", {}).items()],
        steps=_steps(run),
        excluded_text=_excluded(run, one, many),
        excluded=named[:LISTED],
        excluded_more=f"and {human.count(more)} more" if more > 0 else "",
    )  # fmt: skip


def pool_of(run: PoolData) -> dict[str, Any]:
    """Return the summary of the pool of a run."""
    return run.record.get("summary", {}).get("pool", {})


def imagery(run: PoolData) -> str:
    """Return bands, dtype and georeference of the imagery, as text."""
    pool = pool_of(run)
    kind = "georeferenced" if pool.get("georeferenced") else "no georeference"
    bands = pool.get("bands")
    text = human.plural(bands, "band") if isinstance(bands, int) else "? bands"
    return f"{text}, {pool.get('dtype', '?')}, {kind}"


def encoder_name(run: PoolData, otherwise: str = "?") -> str:
    """Return the display name of the encoder."""
    return str((run.encoder or {}).get("name", otherwise))


def warnings(about: Mapping[str, Any]) -> list[str]:
    """Return the warnings in the summary of a run."""
    found = about.get("warnings") or about.get("warning") or about.get("notes") or []
    return [str(text) for text in ([found] if isinstance(found, str) else found)]


def value_text(value: object) -> str:
    """Format a value of a record: a number, a text, a list, a range, or names with values."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={value_text(one)}" for name, one in value.items())
    if not isinstance(value, list):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    parts = [value_text(one) for one in value]
    if parts and isinstance(value[0], list):
        return f"{parts[0]} (each)" if len(set(parts)) == 1 else "; ".join(parts)
    is_range = len(parts) == 2 and isinstance(value[0], float)
    return (" to " if is_range else ", ").join(parts)


def _inputs(run: PoolData) -> list[tuple[str, str]]:
    rows = []
    if run.scenes:
        known = sum(1 for scene in run.scenes if scene.get("fingerprint"))
        text = f"{human.count(known)} of {human.count(len(run.scenes))}"
        rows.append(("Scenes with a fingerprint", text))
    job = run.record.get("job", {})
    for key, value in job.items():
        if value is not None and value is not False and value not in ("", [], {}):
            text = "yes" if value is True else value_text(value)
            rows.append((key.replace("_", " "), text))
    return rows


def _steps(run: PoolData) -> list[tuple[str, str]]:
    found: dict[str, float] = {}
    for name, step in run.record.get("steps", {}).items():
        kind = name.partition(" ")[0]
        label = kind if kind in _MANY else name
        found[label] = found.get(label, 0) + number(step.get("seconds") or 0)
    return [(name, human.seconds(value)) for name, value in found.items()]


def _excluded(run: PoolData, one: str, many: str) -> str:
    gone = len(run.excluded) or int(number(pool_of(run).get("excluded") or 0))
    if not gone:
        return f"No {one} was excluded: all have enough valid pixels."
    least = run.record.get("job", {}).get("min_valid")
    reason = f"less than {human.share(least)} valid" if least is not None else "too few valid"
    verb = "was" if gone == 1 else "were"
    return f"{human.plural(gone, one, many)} with {reason} pixels {verb} excluded from the pool."
