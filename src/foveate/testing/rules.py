"""How a broken rule is told, and what every extension must leave alone."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import FoveateError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class CheckFailed(FoveateError, AssertionError):  # noqa: N818  (it reads: the check failed)
    """An extension breaks a rule; the text names the rule and where it broke."""


def need(holds: object, rule: str, where: str = "", found: str = "") -> None:
    """Raise unless `holds`: `rule` is what should be true, `where` and `found` tell the case.

    Raises:
        CheckFailed: It does not hold.
    """
    if not holds:
        raise CheckFailed(rule + (f" ({where})" if where else ""), found)


def need_refusal(function: Callable[[], object], rule: str) -> None:
    """Raise unless a call ends in a FoveateError.

    Args:
        function: The call, with something that cannot be used.
        rule: What must be refused, as the beginning of a sentence.

    Raises:
        CheckFailed: It returns, or raises something that a user cannot read.
    """
    try:
        function()
    except FoveateError:
        return
    except Exception as error:
        raise CheckFailed(
            f"{rule} must be refused with a FoveateError", f"got {type(error).__name__}: {error}"
        ) from error
    raise CheckFailed(f"{rule} must be refused")


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
