"""What this installation can do, and why not where it cannot."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from foveate.errors import FoveateError


def examine() -> dict[str, Any]:
    """Return versions, the machine, the device, and each model family with its state."""
    import rasterio

    from foveate.run.run import environment

    found: dict[str, Any] = {
        "versions": environment() | {"gdal": rasterio.__gdal_version__},
        "cores": os.cpu_count(),
        "temporary_folder": tempfile.gettempdir(),
        "free_disk_gb": round(shutil.disk_usage(tempfile.gettempdir()).free / 1e9, 1),
        "device": None,
        "models": {"builtin": {"available": True, "why_not": ""}},
    }
    try:
        from foveate.models.device import need_torch, resolve_device

        need_torch()
        found["device"] = str(resolve_device())
        found["models"]["timm"] = {"available": True, "why_not": ""}
    except FoveateError as error:
        found["models"]["timm"] = {"available": False, "why_not": str(error)}
    return found


def as_text(found: dict[str, Any]) -> str:
    """Write the examination for a person."""
    lines = [f"{name:<14} {version}" for name, version in found["versions"].items()]
    lines += [
        f"{'cores':<14} {found['cores']}",
        f"{'temp folder':<14} {found['temporary_folder']} ({found['free_disk_gb']} GB free)",
        f"{'device':<14} {found['device'] or 'no torch: builtin runs on the CPU'}",
    ]
    for name, state in found["models"].items():
        lines.append(f"model {name:<8} {'available' if state['available'] else state['why_not']}")
    return "\n".join(lines)
