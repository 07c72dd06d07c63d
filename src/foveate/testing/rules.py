"""Reporting of violated rules, and the global state that extensions must not change."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import FoveateError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class CheckFailed(FoveateError, AssertionError):  # noqa: N818  (reads as "the check failed")
    """An extension violates a rule; the message names the rule and the case."""


def need(holds: object, rule: str, where: str = "", found: str = "") -> None:
    """Raise unless `holds`: `rule` is the requirement, `where` and `found` describe the case.

    Raises:
        CheckFailed: It does not hold.
    """
    if not holds:
        raise CheckFailed(rule + (f" ({where})" if where else ""), found)


def need_refusal(function: Callable[[], object], rule: str) -> None:
    """Raise unless a call ends in a FoveateError.

    Args:
        function: The call with an invalid argument.
        rule: Input that must be rejected, as the beginning of a sentence.

    Raises:
        CheckFailed: It returns, or raises another error.
    """
    try:
        function()
    except FoveateError:
        return
    except Exception as error:
        raise CheckFailed(
            f"{rule} must be rejected with a FoveateError", f"got {type(error).__name__}: {error}"
        ) from error
    raise CheckFailed(f"{rule} must be rejected")


@contextlib.contextmanager
def untouched_random_state(name: str) -> Generator[None]:
    """Fail if a block draws from or seeds a global random generator."""
    before = _random_state()
    yield
    for library, state in _random_state().items():
        need(
            library not in before or before[library] == state,
            f"{name!r} uses the global random state of {library}", "",
            "Draw from foveate.seeds.rng(seed, name) instead",
        )  # fmt: skip


def _random_state() -> dict[str, Any]:
    state = np.random.get_state(legacy=True)  # noqa: NPY002  (inspected, not drawn from)
    found: dict[str, Any] = {
        "numpy": (state[1].tobytes(), state[2:]),
        "random": random.getstate(),
    }
    if torch := sys.modules.get("torch"):
        found["torch"] = torch.random.get_rng_state().numpy().tobytes()
    return found
