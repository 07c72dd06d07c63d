"""``foveate doctor``: versions, device, and availability of models in this installation."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from typing import Any


def examine() -> dict[str, Any]:
    """Return versions, the machine, the device, and the availability of each model family."""
    import rasterio

    from foveate.models.extras import EXTRAS
    from foveate.run.run import environment

    found: dict[str, Any] = {
        "versions": environment() | {"gdal": rasterio.__gdal_version__},
        "cores": os.cpu_count(),
        "temporary_folder": tempfile.gettempdir(),
        "free_disk_gb": round(shutil.disk_usage(tempfile.gettempdir()).free / 1e9, 1),
        "device": None,
        "models": {
            name: {"available": not extra.missing(), "why_not": extra.why_not()}
            for name, extra in EXTRAS.items()
        },
    }
    if importlib.util.find_spec("torch") is not None:
        from foveate.models.runtime import resolve_device

        found["device"] = str(resolve_device())
    return found


def as_text(found: dict[str, Any]) -> str:
    """Return the result of `examine` as text."""
    lines = [f"{name:<16} {version}" for name, version in found["versions"].items()]
    lines += [
        f"{'cores':<16} {found['cores']}",
        f"{'temp folder':<16} {found['temporary_folder']} ({found['free_disk_gb']} GB free)",
        f"{'device':<16} {found['device'] or 'no torch: builtin runs on the CPU'}",
    ]
    for name, state in found["models"].items():
        lines.append(f"model {name:<9} {'available' if state['available'] else state['why_not']}")
    return "\n".join(lines)
