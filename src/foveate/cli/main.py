"""Entry point: runs the app and turns every failure into one paragraph and an exit status."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING

from foveate.errors import FoveateError

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, FAILED, USAGE, INTERNAL, STOPPED = 0, 1, 2, 70, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process when None.

    Returns:
        0 on success, 1 when the input or the machine stood in the way, 2 for a wrong command
        line, 70 for a defect of foveate, 130 when interrupted.
    """
    import typer

    from foveate.cli.app import app

    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    _log_to_stderr()
    try:
        # Outside its standalone mode typer returns what an Exit carries, and makes one of Ctrl-C.
        status = app(arguments, standalone_mode=False, prog_name="foveate")
        if status == STOPPED:
            return _fail(*_explain(KeyboardInterrupt()), as_json=as_json)
    except typer.Exit as error:
        return error.exit_code
    except BrokenPipeError:
        # The reader of a pipe has gone; Python would complain again when flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except BaseException as error:
        if isinstance(error, SystemExit) or os.environ.get("FOVEATE_DEBUG"):
            raise
        return _fail(*_explain(error), as_json=as_json)
    return status if isinstance(status, int) else OK


def _log_to_stderr() -> None:
    """Show foveate's own messages; other libraries raise what matters, or retry noisily."""
    own = logging.getLogger("foveate")
    if not own.handlers:
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(message)s"))
        own.addHandler(handler)
    own.setLevel(logging.INFO)
    own.propagate = False
    for name in ("rasterio", "huggingface_hub", "timm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class _Stderr(logging.StreamHandler):
    """Writes to what `sys.stderr` is when something is said, not when it was made."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def _explain(error: BaseException) -> tuple[dict[str, str], int]:
    """What to tell the user, and the exit status."""
    import typer

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
    if as_json:
        sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    else:
        message = content["message"]
        # `foveate` alone asks for help: that is no error to be introduced as one.
        sys.stderr.write(f"{'' if message.startswith('Usage:') else 'foveate: '}{message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
