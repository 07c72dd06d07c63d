"""A job with a field of each kind, as small as a job can be."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from foveate.files import write_json
from foveate.run.job import Job
from foveate.run.options import Bands, Names, Option, PathText, Scale


class ToyJob(Job):
    """What a toy run is asked for."""

    inputs: Annotated[list[PathText], Option("Input", argument=True)]
    """Files to count."""
    table: Annotated[PathText | None, Option("Input")] = None
    """A table beside them."""
    more: Annotated[list[PathText], Option("Input", repeated=True)] = Field([])
    """Further files; repeatable."""
    names: Annotated[Names, Option("Method", name="name", repeated=True)] = Field([])
    """Names with commas, or repeated."""
    kind: Annotated[Literal["sum", "mean"], Option("Method")] = "sum"
    """How they are joined."""
    limit: Annotated[float | None, Option("Method", default="no limit")] = None
    """Largest value."""
    fresh_field: Annotated[int, Option("Model")] = Field(3, ge=1)
    """The option that was added last."""
    bands: Annotated[Bands, Option("Model", default="all")] = Field([])
    """Bands."""
    scale: Scale = Field([])
    """Values."""
    exact: bool = False
    """Count exactly."""
    quick: bool = True
    """Count quickly."""
    careful: Annotated[bool | None, Option(default="where it is cheap")] = None
    """Count carefully."""

    def steps(self, run: Any, ready: Any, progress: Any) -> dict[str, Any]:
        """Write what was asked for."""
        del ready, progress
        asked = self.model_dump(mode="json")

        def work() -> list[str]:
            write_json(run.path / "asked.json", asked)
            return ["asked.json"]

        run.do("ask", json.dumps(asked), work)
        return {"asked": asked}


def show(run: Any, *, as_json: bool) -> None:
    """Print a run."""
    print(json.dumps(run.record["summary"]) if as_json else "done")  # noqa: T201
