"""`Job`: what a run is asked for, declared once, and the one driver of every run.

A field is an option: its type is the parser, its docstring the help, its default the default. The
command line is generated from these fields, ``run.json`` stores them, and reports list them.

pydantic takes a fifth of a second to load: only jobs import this module.
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

    A kind of job has fields, `check` and `steps`.

    Attributes:
        absent: Fields of its parents that this kind does not have: they cannot be stated, stay at
            their defaults, and are not stored.
        renamed: Fields of earlier versions, and what they are called now.

    Raises:
        ParameterError: No such option, or a value of another type or out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    absent: ClassVar[frozenset[str]] = frozenset()
    renamed: ClassVar[dict[str, str]] = {}

    def __init__(self, **given: Any) -> None:
        for name in sorted(self.absent & given.keys()):
            # The default is let pass: it is in records of earlier versions.
            if given[name] != type(self).model_fields[name].get_default():
                raise SettingError(
                    name, repr(given[name]),
                    f"{type(self).__name__} has no such setting: it would change nothing.",
                    "Leave it out.",
                )  # fmt: skip
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise _refused(error, self.field_names()) from error

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of all fields that this kind of job has."""
        return tuple(name for name in cls.model_fields if name not in cls.absent)

    @classmethod
    def typed(cls, **given: Any) -> Self:
        """Make a job from what was typed on the command line; by default as it is."""
        return cls(**given)

    @classmethod
    def stored(cls, record: dict[str, Any]) -> Self:
        """Make a job from the record of a run, which may be of an earlier version."""
        job = dict(record["job"])
        for old, new in cls.renamed.items():
            value = job.pop(old, None)
            if value is not None:
                job[new] = value
        return cls(**job)

    def check(self) -> Any:
        """Refuse what cannot be, before anything is written.

        Returns:
            What was opened on the way (models, headers), for `steps`.
        """
        return None

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Do the work in an open run.

        Args:
            run: Open for writing.
            ready: What `check` returned.
            progress: Called with ticks.

        Returns:
            The summary of the run, JSON-ready.
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
        """Do the job.

        Args:
            out: Run directory: new, empty, or an earlier run to go on with.
            command: The command that repeats the job, for the record.
            report: Renders a page of the run directory into it and returns the file:
                `foveate.write_report`. Called at the end, still under the lock, unless the page
                shows the run as it is.
            progress: Called with ticks.

        Returns:
            The closed run; ``run.worked`` says whether anything was done.

        Raises:
            FoveateError: Anything that is wrong with the input, before anything is written where
                that can be known; steps that were finished are kept.
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
    """Return what a run that has worked fetched of remote files, over all times that it did."""
    if not (run.worked and run.fetched.requests):
        return {}
    earlier = Traffic(**run.record.get("fetched", {}))
    return {"fetched": vars(earlier + run.fetched)}


class SettingError(ParameterError):
    """A field of a job has a value that cannot be used.

    Args:
        setting: Name of the field; of an entry of it, with a dot: ``options.fd``.
        value: The value, or what the field's own parser says of it.
        allowed: What is allowed.
        hint: What to type instead.
    """

    def __init__(self, setting: str, value: str, allowed: str = "", hint: str = "") -> None:
        super().__init__(f"{setting}={value}", allowed, hint)
        self.setting, self.value = setting, value


def _refused(error: ValidationError, known: Collection[str]) -> ParameterError:
    """Say which setting was refused and why."""
    first, *others = error.errors()
    # Of a field with several types pydantic names the type, too.
    parts = [part for part in first["loc"] if isinstance(part, int) or part.isidentifier()]
    name = ".".join(map(str, parts))
    if first["type"] == "missing":
        return ParameterError(f"a job without {name!r}", "This setting has no default.")
    if first["type"] == "extra_forbidden":
        return SettingError(
            name, repr(first["input"]), "A job has no such setting.", suggest(name, known)
        )
    if isinstance(own := first.get("ctx", {}).get("error"), FoveateError):
        return SettingError(name, own.given, own.allowed, own.hint)
    if first["type"] == "literal_error":
        same = [one for one in others if one["loc"][:1] == first["loc"][:1]]
        named = " ".join(one.get("ctx", {}).get("expected", "") for one in (first, *same))
        choices = re.findall(r"'([^']*)'", named)
        return SettingError(
            name, repr(first["input"]), f"Allowed: {', '.join(choices)}.",
            suggest(str(first["input"]), choices),
        )  # fmt: skip
    return SettingError(name, repr(first["input"]), f"{first['msg']}.")
