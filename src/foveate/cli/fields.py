"""Command lines generated from the fields of jobs: each field is an option.

The type of a field is the parser, its docstring the help, its default the default, and its
`Option` sets the panel of the help. Values with validators are passed to the job as text, so that
Python and the command line have the same rules.
"""

from __future__ import annotations

import importlib
import inspect
import types
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from foveate.cli.options import Json, Out, command, read_location, tell_fetched
from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic.fields import FieldInfo

    from foveate.run.job import Job
    from foveate.run.options import Option

SKIPPED = 3  # exit status of a run that skipped unreadable scenes
# Panels in the order of the help.
PANELS = ("Input", "Method", "Model", "Training", "Output", "Expert")


@dataclass(frozen=True)
class JobCommand:
    """A command that creates a job and runs it.

    Attributes:
        name: Name of the command.
        job: ``module:Class`` of the job; imported when the command is called.
        help: Help text, one sentence.
        example: Example command line.
        show: ``module:function`` that prints the run; the job is run into ``--out``.
        page: Whether a run has a report.
        finish: ``module:function`` called with the job and additional options, instead of `show`.
        only: Fields that are options; empty for all.
        without: ``module:NAME`` of fields that are not options, only set by presets or in Python.
    """

    name: str
    job: str
    help: str
    example: str
    show: str = ""
    page: bool = True
    finish: str = ""
    only: tuple[str, ...] = ()
    without: str = ""

    def build(self) -> Any:
        """Return the command; this imports the modules of the job."""
        kind = _imported(self.job)
        finish = _imported(self.finish) if self.finish else _runner(self.show, page=self.page)
        excluded = _imported(self.without) if self.without else ()
        fields = [
            name
            for name in kind.field_names()
            if (not self.only or name in self.only) and name not in excluded
        ]
        extra = list(inspect.signature(finish, eval_str=True).parameters.values())[1:]
        parameters = [_parameter(name, kind.model_fields[name]) for name in fields]

        def call(**given: Any) -> Any:
            options = {parameter.name: given.pop(parameter.name) for parameter in extra}
            return finish(_job(kind, given), **options)

        parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in extra]
        call.__signature__ = inspect.Signature(parameters)  # ty: ignore[missing-attribute]
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        text = f"{self.help}\n\n\b\nExample:\n  {self.example}"
        app.command(self.name, help=text, cls=PanelCommand)(call)
        return typer.main.get_command(app)

    def parse(self, arguments: Sequence[str]) -> Job:
        """Return the job of some arguments, without running it.

        Raises:
            ParameterError: An invalid value.
        """
        kind = _imported(self.job)
        given = self.build().make_context(self.name, list(arguments)).params
        return _job(kind, {k: v for k, v in given.items() if k in kind.field_names()})


def group(*commands: JobCommand) -> type[TyperGroup]:
    """Return a group class with these commands, in order, before its other commands.

    Commands are built on demand: ``foveate --help`` imports no job.
    """
    made = {command.name: command for command in commands}

    class JobGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*made, *super().list_commands(ctx)]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in made:
                return made[cmd_name].build()
            return super().get_command(ctx, cmd_name)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            rows = []
            for name in self.list_commands(ctx):
                found: Any = made.get(name) or super().get_command(ctx, name)
                rows.append((name, (found.help or "").split("\n")[0]))
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    return JobGroup


class PanelCommand(TyperCommand):
    """A command with options grouped in panels in its help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel, in the order of `PANELS`."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                if parameter.param_type_name == "argument":
                    record = (parameter.metavar or parameter.name.upper(), record[1])
                panel = getattr(parameter, "rich_help_panel", None) or "Output"
                rows.setdefault(panel, []).append(record)
        for panel in (*PANELS, *(name for name in rows if name not in PANELS)):
            if panel in rows:
                with formatter.section(panel):
                    formatter.write_dl(rows[panel])


def _runner(show: str, *, page: bool) -> Callable[..., None]:
    """Return a function that runs a job into ``--out`` and prints the result."""

    def finish(job: Any, out: Out, as_json: Json = False) -> None:
        from foveate.cli.show import progress_bars

        report = _imported("foveate.report:write_report") if page else None
        with progress_bars(quiet=as_json) as progress:
            run = job.run(out, command=command(), report=report, progress=progress)
        _imported("foveate.cli.show:part_made" if run.part else show)(run, as_json=as_json)
        tell_fetched(run)
        failed = (run.part or run.record.get("summary", {})).get("failed")
        if failed:
            _imported("foveate.cli.show:list_failed")(failed)
            raise typer.Exit(SKIPPED)

    return finish


def _job(kind: Any, given: Mapping[str, Any]) -> Any:
    """Create a job; errors name the option as on the command line, not the field."""
    from foveate.run.job import SettingError

    # Options that were not given are omitted: the job defines the defaults.
    typed = {name: value for name, value in given.items() if value not in (None, [], ())}
    try:
        return kind.typed(**typed)
    except SettingError as error:
        name, _, entry = error.setting.partition(".")
        if name not in kind.model_fields:
            raise
        field = kind.model_fields[name]
        option = _option_of(field)
        shown = name.upper() if option.argument else _flags(name, field, option)[0].split("/")[0]
        # An error in one entry of several shows the value of that entry.
        value = f"{entry}={error.value}" if entry and not entry.isdigit() else error.value
        raise ParameterError(f"{shown} {value}", error.allowed, error.hint) from error


def _imported(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(importlib.import_module(module), name)


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return the typer parameter of a field."""
    option = _option_of(field)
    kind = _kind(field)
    required = field.is_required()
    info: Any
    settings: dict[str, Any] = {
        "help": _help(field, option), "rich_help_panel": option.panel, "show_default": False,
    }  # fmt: skip
    if kind is not bool:
        settings["metavar"] = option.metavar or _metavar(name, field.annotation, kind)
    if _is_path(field.annotation):
        settings["parser"] = read_location
        if option.argument and _is_list(field.annotation):
            kind = list[str]
    if option.repeated:
        kind = list[str]
    if option.argument:
        info = typer.Argument(**settings)
    else:
        info = typer.Option(*_flags(name, field, option), **settings)
    default = inspect.Parameter.empty if required else None
    typed: Any = kind if required else kind | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[typed, info]
    )


def _option_of(field: FieldInfo) -> Option:
    """Return the command line options of a field; later marks extend earlier ones."""
    from foveate.run.options import Option

    found = Option()
    for mark in (mark for mark in field.metadata if isinstance(mark, Option)):
        stated = {k: v for k, v in vars(mark).items() if v != getattr(Option(), k)}
        found = replace(found, **stated)
    return found


def _flags(name: str, field: FieldInfo, option: Option) -> list[str]:
    flag = (option.name or name).replace("_", "-")
    if _kind(field) is not bool:
        return [f"--{flag}"]
    # A flag that is off by default needs no --no-flag.
    return [f"--{flag}"] if field.default is False else [f"--{flag}/--no-{flag}"]


def _help(field: FieldInfo, option: Option) -> str:
    text = " ".join((field.description or "").split())
    default = option.default or _shown(field)
    if field.is_required():
        return text  # click marks required options
    return f"{text} [default: {default}]" if default else text


def _shown(field: FieldInfo) -> str:
    """Return the default as it would be typed; empty if there is none to show."""
    value = field.get_default(call_default_factory=True)
    if value is None or value is False or value in ("", [], {}, ()):
        return ""
    if value is True:
        return "yes"
    if isinstance(value, list | tuple):
        shape = isinstance(value, tuple) and all(isinstance(v, int) for v in value)  # ROWSxCOLS
        return ("x" if shape else ",").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(annotation: Any) -> list[Any]:
    """Return the members of a union without None and without annotations."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for one in get_args(annotation) for part in _plain(one)]
        return [part for part in parts if part is not type(None)]
    return [annotation]


def _kind(field: FieldInfo) -> Any:
    """Return the type that typer parses; str for values that the job parses, such as "12%"."""
    from pydantic import BeforeValidator

    parsed = any(_marked(part, BeforeValidator) for part in (field.annotation, *field.metadata))
    parts = _plain(field.annotation)
    if len(parts) == 1 and parts[0] in (bool, int, float) and not parsed:
        return parts[0]
    return str


def _is_list(annotation: Any) -> bool:
    return any(get_origin(part) is list for part in _plain(annotation))


def _is_path(annotation: Any) -> bool:
    from foveate.run.options import IsPath

    return _marked(annotation, IsPath)


def _marked(annotation: Any, mark: type) -> bool:
    """Return whether a type, or a part of it, is annotated with a mark of this kind."""
    if isinstance(annotation, mark):
        return True
    marks = annotation.__metadata__ if get_origin(annotation) is Annotated else ()
    return any(_marked(part, mark) for part in (*marks, *get_args(annotation)))


def _metavar(name: str, annotation: Any, kind: Any) -> str:
    """Return the placeholder of a value in the help."""
    if choices := _choices(annotation):
        return "|".join(choices)
    if _is_path(annotation):
        return "PATH"
    return {int: "N", float: "X"}.get(kind, name.upper())


def _choices(annotation: Any) -> Sequence[str]:
    parts = _plain(annotation)
    literal = len(parts) == 1 and get_origin(parts[0]) is Literal
    return [str(choice) for choice in get_args(parts[0])] if literal else []
