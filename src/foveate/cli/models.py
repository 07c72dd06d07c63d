"""``foveate models``: the catalogue, or the check of one model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.models import ModelHandle, bind, capabilities, load_model
from foveate.models.catalogue import CATALOGUE
from foveate.models.extras import EXTRAS

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.pool import Pool

_SIDE = 64  # side of the test image, pixels
_TORCH = 1e-4  # largest relative difference between a vector alone and in a batch
_MIXED = 2e-2  # the same in half precision


def catalogue() -> dict[str, Any]:
    """Return the catalogue, and the availability of each family."""
    families = {
        name: {"available": not extra.missing(), "why_not": extra.why_not()}
        for name, extra in EXTRAS.items()
    }
    return {"families": families, "models": [entry.to_dict() for entry in CATALOGUE]}


def as_text(found: dict[str, Any]) -> str:
    """Return the catalogue as text."""
    lines = []
    for family, state in found["families"].items():
        lines.append(f"{family}  ({'available' if state['available'] else state['why_not']})")
        for entry in (e for e in found["models"] if e["family"] == family):
            size = f"{entry['size']} px" if entry["size"] else "any size"
            bands = f"{entry['bands']} bands" if entry["bands"] else "any bands"
            file = " --weights FILE" if entry["local"] else ""
            lines += [
                f"  {entry['name']}{file}",
                f"      {entry['what']}; {', '.join(entry['can'])}; {size}, {bands}",
                f"      weights: {entry['licence']}; {entry['get']}",
            ]
    lines.append("Other model names of these families work, too. Test: foveate models --check NAME")
    return "\n".join(lines)


def examine(name: str, *, weights: Path | None = None, device: str = "auto") -> dict[str, Any]:
    """Load a model, list its capabilities, and run `check_model` on it.

    Args:
        name: Model name, as for ``--model``.
        weights: Local weights.
        device: Device of the model.

    Returns:
        "ok", "failed" with the violated rule or "", and the properties and run time of the model.

    Raises:
        FoveateError: The model cannot be loaded.
    """
    from foveate.testing import CheckFailed, check_model

    start = time.perf_counter()
    handle = load_model(name, weights=weights, device=device)
    model = bind(handle, _trial_pool(handle))
    loaded = time.perf_counter() - start
    spec = model.spec
    failed = ""
    try:
        check_model(model, tolerance=_tolerance(handle, spec.precision))
    except CheckFailed as error:
        failed = str(error)
    return {
        "name": spec.name,
        "ok": not failed,
        "failed": failed,
        "can": list(capabilities(model)),
        "bands": len(spec.bands),
        "input_size": spec.input_size,
        "dim": spec.dim,
        "precision": spec.precision,
        "licence": spec.licence,
        "source": spec.source,
        "seconds_to_load": round(loaded, 2),
        "seconds": round(time.perf_counter() - start, 2),
    }


def check_text(found: dict[str, Any]) -> str:
    """Return the result of `examine` as text."""
    size = found["input_size"]
    rows = {
        "can": ", ".join(found["can"]),
        "input": f"{found['bands']} bands, "
        + (f"{size[0]} x {size[1]} pixels" if size else "any size"),
        "output": f"{found['dim']} features, computed in {found['precision']}",
        "licence": found["licence"] or "not stated",
        "weights": found["source"],
        "time": f"{found['seconds_to_load']:.1f} s to load, {found['seconds']:.1f} s in total",
    }
    verdict = "passes all checks" if found["ok"] else f"fails a check: {found['failed']}"
    return "\n".join([f"{found['name']} {verdict}", *(f"  {k:<8} {v}" for k, v in rows.items())])


def _tolerance(handle: ModelHandle, precision: str) -> float:
    if handle.family == "builtin":
        return 0.0
    return _TORCH if precision == "float32" else _MIXED


def _trial_pool(handle: ModelHandle) -> Pool:
    """Return a pool of one noise tile with the bands of the model."""
    from foveate.grid import Grid
    from foveate.pool import Pool, Scene
    from foveate.raster import ArraySource

    shape = (max(handle.bands or (handle.channels or 3,)), _SIDE, _SIDE)
    source = ArraySource(np.random.default_rng(0).integers(0, 255, shape, np.uint8))
    tiles = Grid(source.info.shape, _SIDE).tiles("trial")
    return Pool(ids=tiles.tile_id, scenes=(Scene("trial", source),), tiles=tiles)
