"""`Job`: the options of a run, declared once, and the driver of every run.

Each field is an option: its type is the parser, its docstring the help text, its default the
default. The command line is generated from the fields, ``run.json`` stores them, and reports list
them.

Only jobs import this module, because loading pydantic takes 0.2 s.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from foveate.errors import FoveateError, ParameterError
from foveate.registry import suggest
from foveate.remote import Traffic, keep_headers, load_headers, look_again, traffic
from foveate.run.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from foveate.progress import ProgressFn


class Job(BaseModel):
    """Everything that a run depends on.

    Subclasses declare fields and implement `check` and `steps`.

    Attributes:
        absent: Inherited fields that this class does not offer: they cannot be set, keep their
            defaults, and are not stored.
        renamed: Field names of earlier versions mapped to the current names.

    Raises:
        ParameterError: An option does not exist, or its value has a wrong type or is out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    absent: ClassVar[frozenset[str]] = frozenset()
    renamed: ClassVar[dict[str, str]] = {}

    def __init__(self, **given: Any) -> None:
        for name in sorted(self.absent & given.keys()):
            # The default is accepted, because records of earlier versions contain it.
            if given[name] != type(self).model_fields[name].get_default():
                raise SettingError(
                    name, repr(given[name]),
                    f"{type(self).__name__} has no such setting: it would change nothing.",
                    "Omit it.",
                )  # fmt: skip
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise _to_parameter_error(error, self.field_names()) from error

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of all fields that this class offers."""
        return tuple(name for name in cls.model_fields if name not in cls.absent)

    @classmethod
    def typed(cls, **given: Any) -> Self:
        """Create a job from command line options. Subclasses may complete them first."""
        return cls(**given)

    @classmethod
    def stored(cls, record: dict[str, Any]) -> Self:
        """Create a job from the record of a run, possibly of an earlier version."""
        job = dict(record["job"])
        for old, new in cls.renamed.items():
            value = job.pop(old, None)
            if value is not None:
                job[new] = value
        return cls(**job)

    def check(self) -> Any:
        """Check the options and inputs before anything is written.

        Returns:
            Objects opened for the checks (models, headers), passed to `steps`.
        """
        return None

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Run the steps in an open run.

        Args:
            run: Run opened for writing.
            ready: Return value of `check`.
            progress: Called with ticks.

        Returns:
            The summary of the run, JSON-serialisable.
        """
        raise NotImplementedError

    def run(
        self,
        out: str | Path,
        *,
        command: str = "",
        report: Callable[[Path], Path] | None = None,
        progress: ProgressFn | None = None,
    ) -> Run:
        """Run the job.

        Args:
            out: Run directory: new, empty, or an earlier run to resume.
            command: The command that repeats the job, for the record.
            report: Renders the report of a run directory and returns its file, for example
                `foveate.write_report`. Called last, under the lock, unless the report is current.
            progress: Called with ticks.

        Returns:
            The closed run; ``run.worked`` is True if any step was run.

        Raises:
            FoveateError: An input is invalid. Raised before anything is written if the error can be
                detected then; completed steps are kept.
        """
        look_again()
        load_headers(out)
        before = traffic()
        ready = self.check()
        with Run.create(out, job=self.model_dump(mode="json"), command=command) as run:
            try:
                summary = self.steps(run, ready, progress)
            finally:
                if run.record["steps"]:
                    keep_headers(run.path)
            run.fetched = traffic() - before
            run.describe(summary=summary, **_fetched(run))
            if report is not None:
                run.draw("report", lambda: [str(report(run.path).relative_to(run.path))])
        return run

    @model_serializer(mode="wrap")
    def _stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in handler(self).items() if k not in self.absent}


def _fetched(run: Run) -> dict[str, Any]:
    """Return the total remote traffic of a run, or {} if this time nothing was run or fetched."""
    if not (run.worked and run.fetched.requests):
        return {}
    earlier = Traffic(**run.record.get("fetched", {}))
    return {"fetched": vars(earlier + run.fetched)}


class SettingError(ParameterError):
    """A field of a job has an invalid value.

    Args:
        setting: Name of the field, or of an entry of it, with a dot: ``options.fd``.
        value: The value, or the message of the parser of the field.
        allowed: Allowed values.
        hint: What to type instead.
    """

    def __init__(self, setting: str, value: str, allowed: str = "", hint: str = "") -> None:
        super().__init__(f"{setting}={value}", allowed, hint)
        self.setting, self.value = setting, value


def _to_parameter_error(error: ValidationError, known: Collection[str]) -> ParameterError:
    """Convert the first error of pydantic to a ParameterError."""
    first, *others = error.errors()
    # The location includes the type if a field has several types.
    location = [key for key in first["loc"] if isinstance(key, int) or key.isidentifier()]
    name = ".".join(map(str, location))
    if first["type"] == "missing":
        return ParameterError(f"a job without {name!r}", "This setting has no default.")
    if first["type"] == "extra_forbidden":
        return SettingError(
            name, repr(first["input"]), "A job has no such setting.", suggest(name, known)
        )
    if isinstance(cause := first.get("ctx", {}).get("error"), FoveateError):
        return SettingError(name, cause.given, cause.allowed, cause.hint)
    if first["type"] == "literal_error":
        same = [other for other in others if other["loc"][:1] == first["loc"][:1]]
        expected = " ".join(err.get("ctx", {}).get("expected", "") for err in (first, *same))
        choices = re.findall(r"'([^']*)'", expected)
        return SettingError(
            name, repr(first["input"]), f"Allowed: {', '.join(choices)}.",
            suggest(str(first["input"]), choices),
        )  # fmt: skip
    return SettingError(name, repr(first["input"]), f"{first['msg']}.")
