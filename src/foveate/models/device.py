"""The one place that decides on which device torch works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.errors import MissingExtraError, ParameterError

if TYPE_CHECKING:
    import torch


def need_torch() -> None:
    """Raise a clear error when the models extra is not installed.

    Raises:
        MissingExtraError: torch or timm is missing.
    """
    try:
        import timm  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"this model needs {error.name}, which is not installed",
            "",
            'Install it with: pip install "foveate[models]", or use --model builtin.',
        ) from error


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
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(
            f"the device {name!r} cannot be used: {str(error).splitlines()[0]}",
            "Allowed: auto, cpu, cuda, cuda:N, mps.",
            "Use --device auto.",
        ) from error
    return device
