"""foveate: choose, under a budget, what to look at in Earth observation.

Names are imported when they are first used (PEP 562): ``import foveate`` loads neither torch nor
rasterio nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveate import classify, curate, focus, observe
    from foveate.budget import Budget, Ledger
    from foveate.embeddings import Embeddings, EncoderSpec
    from foveate.errors import FoveateError
    from foveate.export import export_run
    from foveate.grid import Grid, Tiles
    from foveate.labels import Legend
    from foveate.models import bind, embed, from_answers, from_callable, load_model
    from foveate.models.heads import text_head
    from foveate.models.probe import fit_probe
    from foveate.pool import Pool, inspect, open_embeddings, open_pool, read_coordinates
    from foveate.raster import Raster, Source
    from foveate.report import write_report
    from foveate.run import Run, load_embeddings
    from foveate.selection import Ranking, Selection

_HOME = {
    "Budget": "budget", "Ledger": "budget", "Embeddings": "embeddings",
    "EncoderSpec": "embeddings", "FoveateError": "errors", "export_run": "export",
    "Grid": "grid", "Tiles": "grid", "Legend": "labels", "bind": "models", "embed": "models",
    "from_answers": "models", "from_callable": "models", "load_model": "models",
    "fit_probe": "models.probe", "text_head": "models.heads", "Pool": "pool", "inspect": "pool",
    "open_embeddings": "pool", "open_pool": "pool",
    "read_coordinates": "pool", "Raster": "raster", "Source": "raster",
    "write_report": "report", "Run": "run", "load_embeddings": "run", "Ranking": "selection",
    "Selection": "selection",
}  # fmt: skip
_MODULES = ("classify", "curate", "focus", "observe")

__all__ = [
    "Budget",
    "Embeddings",
    "EncoderSpec",
    "FoveateError",
    "Grid",
    "Ledger",
    "Legend",
    "Pool",
    "Ranking",
    "Raster",
    "Run",
    "Selection",
    "Source",
    "Tiles",
    "bind",
    "classify",
    "curate",
    "embed",
    "export_run",
    "fit_probe",
    "focus",
    "from_answers",
    "from_callable",
    "inspect",
    "load_embeddings",
    "load_model",
    "observe",
    "open_embeddings",
    "open_pool",
    "read_coordinates",
    "text_head",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _MODULES:
        return importlib.import_module(f"foveate.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"foveate.{_HOME[name]}"), name)
    raise AttributeError(f"module 'foveate' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
