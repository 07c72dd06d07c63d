"""Shared options of commands, parsers of paths, and the command line as text.

Typer evaluates the annotations at start-up, so they must be importable.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from foveate.errors import ParameterError
from foveate.files import refuse_empty
from foveate.location import Location, is_url, locate, redact, refuse_url


def read_path(text: str) -> Path:
    """Return a path; an empty text, which would be the current folder, is refused.

    Raises:
        BadParameter: The text is empty, or a URL.
    """
    try:
        refuse_empty(text, "path")
        refuse_url(text, "this is a file or folder")
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    return Path(text)


def read_location(text: str) -> Location:
    """Return a path or URL; see `read_path`.

    Raises:
        BadParameter: The text is empty, or a URL of an unsupported scheme.
    """
    try:
        return locate(text) if is_url(text) else read_path(text)
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error


def path_option(*names: str, help: str, panel: str | None = None) -> typer.models.OptionInfo:  # noqa: A002
    """Return an option whose value is a path."""
    return typer.Option(
        *names, help=help, parser=read_path, metavar="PATH", rich_help_panel=panel
    )  # fmt: skip


def path_argument(help: str) -> typer.models.ArgumentInfo:  # noqa: A002
    """Return an argument that is a path."""
    return typer.Argument(help=help, parser=read_path)


Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON.", rich_help_panel="Output"),
]
Out = Annotated[
    Path,
    path_option(
        "--out", help="Folder to write to: new, empty, or an earlier run to resume.",
        panel="Output",
    ),
]  # fmt: skip
Seed = Annotated[int, typer.Option(help="Random seed.")]
Weights = Annotated[
    Path | None, path_option(help="Local weights: .safetensors, .pt; a folder for hf.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


def command() -> str:
    """Return the current command line, quoted for a shell, with credentials in URLs hidden.

    Arguments are bytes. Python decodes those that are not valid in the encoding of the locale with
    surrogates, which cannot be written as UTF-8; they are escaped.
    """
    given = ["foveate", *(a for a in sys.argv[1:] if a != "--json")]
    return redact(" ".join(map(_quoted, given)))


def _quoted(argument: str) -> str:
    raw = os.fsencode(argument)
    try:
        return shlex.quote(raw.decode("utf-8"))
    except UnicodeDecodeError:
        plain = (chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\x{b:02x}" for b in raw)
        return "$'" + "".join(plain) + "'"


def tell_fetched(run: Any) -> None:
    """Print the requests and bytes fetched from remote files, if any."""
    if run.fetched.requests:
        typer.echo(f"Fetched from remote files: {run.fetched}", err=True)
