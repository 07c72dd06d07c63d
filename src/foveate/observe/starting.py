"""What a training may start from: an observer of the same make."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.errors import ParameterError
from foveate.observe.networks.sizes import architecture_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.observe.jobs import TrainJob
    from foveate.observe.networks.sizes import Shape
    from foveate.observe.observer import Observer
    from foveate.observe.record import Encoder


def check_start(
    start: Observer, job: TrainJob, shape: Shape, encoders: Mapping[str, Encoder]
) -> None:
    """Check that the weights of an observer fit a training.

    Args:
        start: The observer to start from.
        job: The training.
        shape: Its sizes.
        encoders: Its encoders, role by role.

    Raises:
        ParameterError: Sizes, form, fill or encoders are others, or targets have one of their own.
    """
    own = start.record
    if job.target_model is not None:
        raise ParameterError(
            f"--init {job.init} with --target-model {job.target_model}",
            "An observer does not keep the encoder of its targets, only the way to their space.",
            "Leave out --target-model: the training goes on in the space of the observer.",
        )
    fill = "conv" if own.conv_fill else "linear"
    for what, theirs, wanted in (
        ("the sizes", replace(own.shape, concepts=0), replace(shape, concepts=0)),
        ("the form", own.form, architecture_of(job.architecture)),
        ("the fill", fill, job.fill),
        *(
            (f"the {role.upper()} encoder", _print(own.encoders[role]), _print(encoders[role]))
            for role in ("lr", "hr")
        ),
    ):
        if theirs != wanted:
            raise ParameterError(
                f"--init {job.init} has {what} {theirs}",
                f"This training has {wanted}.",
                "Start from an observer of the same size and form over the same encoders.",
            )


def _print(encoder: Encoder) -> str:
    return f"{encoder.name} ({encoder.spec.fingerprint})"
