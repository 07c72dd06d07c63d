"""Where the results of an observer come from, and its facts, as the other pages show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.report import human, provenance
from foveate.report.stage import number

if TYPE_CHECKING:
    from foveate.report.data import PoolData
    from foveate.report.provenance import Origin

_INPUTS = (
    "overviews", "pairs", "run", "tiles", "images", "model", "lr_model", "saliency_model", "text",
    "concepts", "templates", "bands", "scale", "size", "form", "fill", "supervision", "similarity",
    "reference", "lam", "over", "target_scale", "align", "norm", "obr", "budget", "threshold",
    "policy", "covariate", "per_scene", "lr_cost", "min_valid", "init", "val", "test", "epochs",
    "train_batch", "lr", "patience", "seed",
)  # fmt: skip


def origin(run: PoolData) -> Origin:
    """Return how a run was made, with the inputs that its job states."""
    found = provenance.origin(run)
    job = run.record.get("job", {})
    rows = found.inputs[:1] if run.scenes else []
    for key in _INPUTS:
        value = job.get(key)
        if value not in (None, "", [], {}):
            rows.append((key.replace("_", " "), _text(value)))
    return found._replace(inputs=rows, excluded_text=excluded(run))


def excluded(run: PoolData) -> str:
    """Say how many tiles were left out before anything was done."""
    pool = run.record.get("summary", {}).get("pool", {})
    gone = len(run.excluded) or int(number(pool.get("excluded") or 0))
    if not gone:
        return "No tile was excluded: all of them had enough valid pixels."
    return f"{human.plural(gone, 'tile')} with too few valid pixels left the pool."


def imagery(run: PoolData) -> str:
    """Say what the pool is made of."""
    pool = run.record.get("summary", {}).get("pool", {})
    kind = "georeferenced" if pool.get("georeferenced") else "no georeference"
    bands = pool.get("bands")
    text = human.plural(bands, "band") if isinstance(bands, int) else "? bands"
    return f"{text}, {pool.get('dtype', '?')}, {kind}"


def warnings(about: dict[str, Any]) -> list[str]:
    """Return what the summary of a run warns of."""
    found = about.get("warnings") or about.get("warning") or about.get("notes") or []
    return [str(text) for text in ([found] if isinstance(found, str) else found)]


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(one)}" for name, one in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
