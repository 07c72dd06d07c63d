"""A model under test: its spec, and comparisons of its results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.models import Embeds
from foveate.testing.rules import need

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF = 1e-3  # relative step of float16, and of a mean computed in another order


class Trial:
    """A model with its tolerance.

    Args:
        model: The model; `Any`, because each check requires another protocol.
        tolerance: See `foveate.testing.check_model`.
    """

    def __init__(self, model: Any, tolerance: float) -> None:
        self.model, self.tolerance = model, tolerance
        self.name = f"model {model.spec.name!r}"

    def near(
        self,
        a: NDArray[Any],
        b: NDArray[Any],
        rule: str,
        where: str = "",
        *,
        least: float = 0.0,
    ) -> None:
        """Check for equal bytes, or values within the tolerance, at least `least`.

        Raises:
            CheckFailed: They differ by more.
        """
        allowed = max(self.tolerance, least) * float(np.abs(b).max(initial=0))
        allowed += float(np.finfo(np.float16).smallest_subnormal) if least else 0.0
        gap = float(np.abs(np.asarray(a, np.float64) - b).max(initial=0)) if np.size(b) else 0.0
        need(
            a.shape == b.shape and gap <= allowed, f"{self.name}: {rule}", where,
            f"differs by {gap:.3g}, allowed are {allowed:.3g}",
        )  # fmt: skip

    def need_array(self, x: Any, shape: tuple[int, ...], dtype: str, call: str) -> None:
        """Check that a call returned a finite array of a shape and dtype.

        Raises:
            CheckFailed: It did not.
        """
        need(
            isinstance(x, np.ndarray) and x.shape == shape,
            f"{self.name}: {call} must return an array {shape}", "",
            f"got {type(x).__name__} of shape {np.shape(x)}",
        )  # fmt: skip
        need(x.dtype.name == dtype, f"{self.name}: {call} must return {dtype}", "", str(x.dtype))
        need(np.isfinite(x).all(), f"{self.name}: what {call} returns holds NaN or infinity")

    def check_spec(self) -> None:
        """Check that the spec is complete and survives JSON.

        Raises:
            CheckFailed: It is incomplete or does not survive JSON.
        """
        spec = self.model.spec
        for field in ("name", "fingerprint", "source", "dtype"):
            need(getattr(spec, field), f"{self.name}: spec.{field} is empty")
        embeds = isinstance(self.model, Embeds)
        need((spec.dim > 0) == embeds, f"{self.name}: spec.dim is {spec.dim}")
        need(spec.bands and min(spec.bands) > 0, f"{self.name}: spec.bands is {spec.bands}")
        for field in ("scale", "mean", "std"):
            value = getattr(spec, field)
            need(
                not value or len(value) == len(spec.bands),
                f"{self.name}: spec.{field} has {len(value or ())} entries for "
                f"{len(spec.bands)} bands",
            )
        again = EncoderSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
        need(again == spec, f"{self.name}: the spec changes on its way through JSON")


def read_only(batch: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view of the batch with the same memory layout."""
    given = batch.copy() if batch.flags.c_contiguous else batch
    given.flags.writeable = False
    return given
