"""The one place that decides on which device torch works."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

from foveate.errors import MissingExtraError, ParameterError

if TYPE_CHECKING:
    import torch


_NAMES = r"cpu|cuda(:\d+)?|mps"


def need_extra(extra: str, *packages: str) -> None:
    """Raise a clear error when an extra is not installed.

    Args:
        extra: "models", "hf" or "torchgeo".
        packages: What must be importable.

    Raises:
        MissingExtraError: A package is missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"this model needs {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            "",
            f'Install with: pip install "foveate[{extra}]", or use --model builtin.',
        )


def resolve_device(name: str = "auto") -> torch.device:
    """Return the torch device for a name.

    Args:
        name: "auto" takes CUDA, then MPS, then the CPU; else a torch device name.

    Raises:
        ParameterError: The device does not exist on this machine.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        # Others are none that images can be shown to ("meta"), or need packages of their own.
        device = torch.device(name if re.fullmatch(_NAMES, name) else f"{name} is none")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(
            f"the device {name!r} cannot be used: {str(error).splitlines()[0]}",
            "Allowed: auto, cpu, cuda, cuda:N, mps.",
            "Use --device auto.",
        ) from error
    return device
