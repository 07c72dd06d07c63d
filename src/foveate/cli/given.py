"""Paths as they were typed: an empty one is refused, whatever the option.

Typer makes a `Path` of every text, and the path of an empty text is the current folder. So each
option and argument that is annotated as a path reads its text here first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args, get_origin

import typer
from typer.models import OptionInfo

from foveate.errors import ParameterError
from foveate.files import refuse_empty


def read_path(text: str) -> Path:
    """Return the path that was typed.

    Raises:
        BadParameter: Nothing was.
    """
    try:
        refuse_empty(text, "path")
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    return Path(text)


def read_paths(app: typer.Typer) -> None:
    """Let every path of the commands of an app, and of its groups, be read by `read_path`."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            read_paths(group.typer_instance)
    for command in app.registered_commands:
        for annotation in getattr(command.callback, "__annotations__", {}).values():
            if get_origin(annotation) is Annotated and _is_path(annotation):
                for info in annotation.__metadata__:
                    info.parser = read_path
                    if isinstance(info, OptionInfo):  # else it is called by the parser
                        info.metavar = info.metavar or "<path>"


def _is_path(annotation: object) -> bool:
    return annotation is Path or any(_is_path(part) for part in get_args(annotation))
