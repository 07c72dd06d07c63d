"""Entry point: run the app and convert every error to one paragraph and an exit status."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
from typing import TYPE_CHECKING, cast

from foveate.errors import FoveateError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from foveate.cli.streams import Stream

OK, FAILED, USAGE, INTERNAL, STOPPED = 0, 1, 2, 70, 130  # and `fields.SKIPPED`


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program name; None for ``sys.argv[1:]``.

    Returns:
        0 on success, 1 for errors of the input or the environment, 2 for a wrong command line, 3 if
        unreadable scenes were skipped, 70 for an internal error, 130 if interrupted.
    """
    from foveate.cli.streams import standard_streams

    if argv is None:
        _start_in_utf8()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with standard_streams() as (out, err), _logged_to(err):
        status = _run(arguments)
        if lost := out.lost():
            done = "the command succeeded, but " if status == OK else ""
            err.write(f"foveate: {done}standard output cannot be written: {lost}.\n")
        # A closed stream was closed on purpose and is not an error.
        return FAILED if status == OK and out.broken else status


def _start_in_utf8() -> None:
    """Restart in UTF-8 mode of Python if the file system encoding is not UTF-8.

    GDAL and Arrow interpret all file names as UTF-8: with LC_ALL=C or a Latin-1 locale, they cannot
    open files with non-ASCII names. Output keeps the encoding of the locale.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    letters = {} if sys.stdout is None else {"PYTHONIOENCODING": sys.stdout.encoding}
    environment = {**letters, **os.environ, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606


def _run(arguments: list[str]) -> int:
    """Run a command, print its error if it fails, and return the exit status."""
    import typer

    from foveate.cli.app import app

    as_json = "--json" in arguments
    try:
        _refuse_empty(arguments)
        # Outside of standalone mode typer returns the code of an Exit, also for Ctrl-C.
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


def _refuse_empty(arguments: list[str]) -> None:
    """Check that no option has an empty value: it would count as not given.

    Raises:
        ParameterError: The value of an option is empty.
    """
    for before, argument in itertools.pairwise(["", *arguments]):
        flag = before if argument == "" else argument.removesuffix("=")
        if flag.startswith("--") and flag != argument and "=" not in flag:
            raise ParameterError(
                f"{flag} ''",
                "The value of an option must not be empty.",
                "Check that shell variables are set, or omit the option.",
            )


@contextlib.contextmanager
def _logged_to(stream: Stream) -> Generator[None]:
    """Show log messages of foveate; other libraries raise their errors, or log every retry."""
    logger = logging.getLogger("foveate")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for name in ("rasterio", "huggingface_hub", "timm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _explain(error: BaseException) -> tuple[dict[str, str], int]:
    """Return an error as JSON-ready content, and the exit status."""
    import typer

    from foveate.models.extras import missing_extra

    if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
        error = missing
    if isinstance(error, FoveateError):
        return error.to_dict(), FAILED
    format_message = getattr(error, "format_message", None)  # of click, which typer vendors
    if callable(format_message):
        context = getattr(error, "ctx", None)
        message = str(format_message())
        if not message.startswith("Usage:"):
            path = context.command_path if context is not None else "foveate"
            message = f"{message.removesuffix('.')}. See: {path} --help"
        return {"error": "UsageError", "message": message}, USAGE
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        message = "Interrupted. Run the same command again to resume."
        return {"error": "Stopped", "message": message}, STOPPED
    if isinstance(error, MemoryError):
        message = (
            "Not enough memory. Use a smaller --batch-size, fewer --workers or a smaller --tile. "
            "Finished shards are kept."
        )
        return {"error": "MemoryError", "message": message}, FAILED
    message = (
        f"Internal error of foveate: {type(error).__name__}: {error}. Please report it with the "
        "command and the output of FOVEATE_DEBUG=1 foveate ..."
    )
    return {"error": type(error).__name__, "message": message}, INTERNAL


def _fail(content: dict[str, str], status: int, *, as_json: bool) -> int:
    from foveate.cli.show import as_json_text

    if as_json:
        sys.stdout.write(as_json_text(content) + "\n")
        if not cast("Stream", sys.stdout).lost():
            return status
    message = content["message"]
    # The help printed by `foveate` alone is not an error.
    sys.stderr.write(f"{'' if message.startswith('Usage:') else 'foveate: '}{message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
