"""Entry point: runs the app and turns every failure into one paragraph and an exit status."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, cast

from foveate.errors import FoveateError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from foveate.cli.streams import Stream

OK, FAILED, USAGE, INTERNAL, STOPPED = 0, 1, 2, 70, 130  # and `fields.SKIPPED`


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process when None.

    Returns:
        0 on success, 1 when the input or the machine stood in the way, 2 for a wrong command
        line, 3 when scenes were left out that cannot be read, 70 for a defect of foveate, 130 when
        interrupted.
    """
    from foveate.cli.streams import standard_streams

    if argv is None:
        _start_in_utf8()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with standard_streams() as (out, err), _logged_to(err):
        status = _run(arguments)
        if lost := out.lost():
            done = "the work is done, but " if status == OK else ""
            err.write(f"foveate: {done}standard output cannot be written: {lost}.\n")
        # A closed stream is closed on purpose; a full one is not.
        return FAILED if status == OK and out.broken else status


def _start_in_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has file names in another encoding.

    GDAL and Arrow take all names as UTF-8: under LC_ALL=C or a locale of Latin-1 they would not
    find a file that has a letter in its name. What is printed stays in the locale's encoding.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    letters = {} if sys.stdout is None else {"PYTHONIOENCODING": sys.stdout.encoding}
    environment = {**letters, **os.environ, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606


def _run(arguments: list[str]) -> int:
    """Run a command; whatever stops it is told on the standard streams."""
    import typer

    from foveate.cli.app import app

    as_json = "--json" in arguments
    try:
        # Outside its standalone mode typer returns what an Exit carries, and makes one of Ctrl-C.
        status = app(arguments, standalone_mode=False, prog_name="foveate")
        if status == STOPPED:
            return _fail(*_explain(KeyboardInterrupt()), as_json=as_json)
    except typer.Exit as error:
        return error.exit_code
    except BaseException as error:
        if isinstance(error, SystemExit) or os.environ.get("FOVEATE_DEBUG"):
            raise
        return _fail(*_explain(error), as_json=as_json)
    return status if isinstance(status, int) else OK


@contextlib.contextmanager
def _logged_to(stream: Stream) -> Generator[None]:
    """Show foveate's own messages; other libraries raise what matters, or retry noisily."""
    own = logging.getLogger("foveate")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    own.propagate = False
    for name in ("rasterio", "huggingface_hub", "timm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        own.removeHandler(handler)


def _explain(error: BaseException) -> tuple[dict[str, str], int]:
    """What to tell the user, and the exit status."""
    import typer

    from foveate.models.extras import missing_extra

    if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
        error = missing
    if isinstance(error, FoveateError):
        return error.to_dict(), FAILED
    tell = getattr(error, "format_message", None)  # click's; typer brings its own click
    if callable(tell):
        context = getattr(error, "ctx", None)
        message = str(tell())
        if not message.startswith("Usage:"):
            path = context.command_path if context is not None else "foveate"
            message += f" See: {path} --help"
        return {"error": "UsageError", "message": message}, USAGE
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        message = "Stopped. The same command goes on where it was."
        return {"error": "Stopped", "message": message}, STOPPED
    if isinstance(error, MemoryError):
        message = (
            "Not enough memory. Use a smaller --batch-size, fewer --workers or a smaller --tile; "
            "what was embedded so far is kept."
        )
        return {"error": "MemoryError", "message": message}, FAILED
    message = (
        f"This is a defect of foveate: {type(error).__name__}: {error}. Please report it with "
        "the command and the output of FOVEATE_DEBUG=1 foveate ..."
    )
    return {"error": type(error).__name__, "message": message}, INTERNAL


def _fail(content: dict[str, str], status: int, *, as_json: bool) -> int:
    from foveate.cli.show import as_json_text

    if as_json:
        sys.stdout.write(as_json_text(content) + "\n")
        if not cast("Stream", sys.stdout).lost():
            return status
    message = content["message"]
    # `foveate` alone asks for help: that is no error to be introduced as one.
    sys.stderr.write(f"{'' if message.startswith('Usage:') else 'foveate: '}{message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
