"""The one place that decides on which device torch works."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from foveate.errors import ParameterError

if TYPE_CHECKING:
    import torch

_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device(name: str) -> None:
    """Check the form of a device's name, without loading torch.

    torch knows further ones: they show no images ("meta"), or need packages of their own.

    Raises:
        ParameterError: Models do not run on such a device.
    """
    if not _NAMES.fullmatch(name):
        raise _unusable(name, "there is no such kind")


def resolve_device(name: str = "auto") -> torch.device:
    """Return the torch device for a name.

    Args:
        name: "auto" takes CUDA, then MPS, then the CPU; else "cpu", "cuda", "cuda:1", "mps".

    Raises:
        ParameterError: The device does not exist on this machine.
    """
    import torch

    check_device(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _unusable(name, str(error).splitlines()[0]) from error
    return device


def _unusable(name: str, why: str) -> ParameterError:
    return ParameterError(
        f"the device {name!r} cannot be used: {why}",
        "Allowed: auto, cpu, cuda, cuda:N, mps.",
        "Use --device auto.",
    )
