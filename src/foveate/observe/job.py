"""`run`: does a job of `observe`, whichever it is."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.pool.settings import JobSettings
    from foveate.run import Run

_HOMES = {
    "PrepareJob": "prepare", "TrainJob": "train", "SelectJob": "select", "CompleteJob": "complete",
}  # fmt: skip


def run(job: JobSettings, out: str | Path, **more: Any) -> Run:
    """Do a job: a `PrepareJob`, a `TrainJob`, a `SelectJob` or a `CompleteJob`.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with.
        more: "command", "progress" and, for all but a `PrepareJob`, "report"; see the ``run`` of
            the job's own module.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        ParameterError: It is no job of `observe`.
        FoveateError: Anything that is wrong with the input; what was done before is kept.
    """
    home = _HOMES.get(type(job).__name__)
    if home is None:
        raise ParameterError(
            f"{type(job).__name__} is no job of observe", f"Those are {', '.join(_HOMES)}."
        )
    return importlib.import_module(f"foveate.observe.{home}").run(job, out, **more)
