"""The command line as a user calls it: the real entry point, in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

_WIDE = {"COLUMNS": "200"}


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def start(*arguments):
    """Start the real entry point and leave it running."""
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "foveate"), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Started in the background, a shell's children ignore Ctrl-C, and so would theirs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip


def foveate(*arguments, cwd=None, environment=None):
    """Run the real entry point in a process of its own."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "foveate"), *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, check=False,
        env=os.environ | _WIDE | (environment or {}),
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def here(*arguments):
    """Run a command in this process: the same, without the seconds that a start takes."""
    from foveate.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, _WIDE), contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):  # fmt: skip
        status = main([str(argument) for argument in arguments])
    return Answer(status, out.getvalue(), err.getvalue())


def curate(root, out, *more, run=here):
    """Rank a folder that has images, masks and classes.yaml."""
    return run(
        "curate", root / "images", "--masks", root / "masks", "--classes",
        root / "classes.yaml", "--out", out, "--tile", "32", *more,
    )  # fmt: skip
