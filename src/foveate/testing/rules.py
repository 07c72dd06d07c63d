"""How a broken rule is told, and what every extension must leave alone."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import FoveateError

if TYPE_CHECKING:
    from collections.abc import Generator


class CheckFailed(FoveateError, AssertionError):  # noqa: N818  (it reads: the check failed)
    """An extension breaks a rule; the text names the rule and where it broke."""


def need(holds: object, rule: str, where: str = "", found: str = "") -> None:
    """Raise unless `holds`: `rule` is what should be true, `where` and `found` tell the case.

    Raises:
        CheckFailed: It does not hold.
    """
    if not holds:
        raise CheckFailed(rule + (f" ({where})" if where else ""), found)


@contextlib.contextmanager
def untouched_random_state(name: str) -> Generator[None]:
    """Fail when a block draws from or seeds a global random generator."""
    before = _random_state()
    yield
    for library, state in _random_state().items():
        need(
            library not in before or before[library] == state,
            f"{name!r} uses the global random state of {library}", "",
            "Draw from foveate.seeds.rng(seed, name) instead",
        )  # fmt: skip


def _random_state() -> dict[str, Any]:
    state = np.random.get_state(legacy=True)  # noqa: NPY002  (looked at, not drawn from)
    found: dict[str, Any] = {
        "numpy": (state[1].tobytes(), state[2:]),
        "random": random.getstate(),
    }
    if torch := sys.modules.get("torch"):
        found["torch"] = torch.random.get_rng_state().numpy().tobytes()
    return found


@contextlib.contextmanager
def untouched_torch(model: object) -> Generator[None]:
    """Fail when a block changes torch's modes, or the train mode of the model's networks."""
    before = _torch_state(model)
    yield
    for what, state in _torch_state(model).items():
        need(
            what not in before or before[what] == state, f"embed changes {what}", "",
            f"from {before.get(what)} to {state}",
        )  # fmt: skip


def _torch_state(model: object) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    held = [v for v in vars(model).values() if isinstance(v, torch.nn.Module)]
    return {
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "the train mode of its network": [m.training for net in held for m in net.modules()],
    }
