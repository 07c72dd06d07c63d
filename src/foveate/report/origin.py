"""How a run was made: what was read, with which options, by which encoder, and in which time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.human import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.report.read import PoolData

LISTED = 500  # excluded tiles named
_MANY = {"select", "look", "train", "measure"}  # steps that are many: one line each
_ENCODER = {
    "name": "Name", "dim": "Dimensions", "bands": "Bands", "scale": "Raw values scaled",
    "mean": "Mean", "std": "Standard deviation", "input_size": "Input size",
    "gsd": "Ground sampling distance", "dtype": "Vectors", "precision": "Computed in",
    "resample": "Resampling", "non_negative": "Non-negative",
    "licence": "Licence", "source": "Weights", "fingerprint": "Fingerprint",
}  # fmt: skip


class Origin(NamedTuple):
    """How a run was made, as the last section of every page shows it."""

    command: str  # what repeats the run
    notes: list[str]  # what the run warned of when it read the imagery
    inputs: list[tuple[str, str]]  # every field of the job that is set
    encoder: list[tuple[str, str]]  # what the encoder took in, and how it was scaled
    versions: list[tuple[str, str]]  # of packages
    steps: list[tuple[str, str]]  # time of each step
    excluded_text: str  # what left the pool before anything was done
    excluded: list[tuple[str, str]]  # names of it, with reasons; the first of them
    excluded_more: str  # how many are not named


def origin(run: PoolData, *, one: str = "patch", many: str = "patches") -> Origin:
    """Gather how a run was made.

    Args:
        run: The run.
        one: What its pool is made of.
        many: Several of them.
    """
    named = sorted(run.excluded.items())
    rest = len(named) - LISTED
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
        excluded_more=f"and {human.count(rest)} more" if rest > 0 else "",
    )  # fmt: skip


def pool_of(run: PoolData) -> dict[str, Any]:
    """Return what the summary of a run says of its pool."""
    return run.record.get("summary", {}).get("pool", {})


def imagery(run: PoolData) -> str:
    """Say what the imagery is made of."""
    pool = pool_of(run)
    kind = "georeferenced" if pool.get("georeferenced") else "no georeference"
    bands = pool.get("bands")
    text = human.plural(bands, "band") if isinstance(bands, int) else "? bands"
    return f"{text}, {pool.get('dtype', '?')}, {kind}"


def encoder_name(run: PoolData, otherwise: str = "?") -> str:
    """Return the name of the encoder, for people."""
    return str((run.encoder or {}).get("name", otherwise))


def warnings(about: Mapping[str, Any]) -> list[str]:
    """Return what the summary of a run warns of."""
    found = about.get("warnings") or about.get("warning") or about.get("notes") or []
    return [str(text) for text in ([found] if isinstance(found, str) else found)]


def value_text(value: object) -> str:
    """Write a value of a record: a number, a text, a list, a range, or names with values."""
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
        prints = sum(1 for scene in run.scenes if scene.get("fingerprint"))
        text = f"{human.count(prints)} of {human.count(len(run.scenes))}"
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
        return f"No {one} was excluded: all of them had enough valid pixels."
    least = run.record.get("job", {}).get("min_valid")
    reason = f"less than {human.share(least)} valid" if least is not None else "too few valid"
    return f"{human.plural(gone, one, many)} with {reason} pixels left the pool at the start."
