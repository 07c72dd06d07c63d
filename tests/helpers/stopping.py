"""Stop a training after a step: by Ctrl-C in this process, or by SIGKILL in another one."""

from __future__ import annotations

import signal
import subprocess
import sys
from unittest import mock

import pytest

_KILLED = """
import os, signal, sys
import torch
from foveate.cli.main import main

left, step = int(sys.argv[1]), torch.optim.AdamW.step
def dying(self, *more, **named):
    global left
    found = step(self, *more, **named)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
torch.optim.AdamW.step = dying
main(sys.argv[2:])
"""


def interrupt(arguments, steps):
    """Run a command in this process; Ctrl-C comes after so many steps of an optimiser."""
    import torch

    from foveate.cli.main import main

    left, step = steps, torch.optim.AdamW.step

    def interrupted(self, *more, **named):
        nonlocal left
        found = step(self, *more, **named)
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return found

    with mock.patch.object(torch.optim.AdamW, "step", interrupted):
        assert main(arguments) == 130


def kill(arguments, steps):
    """Run a command in another process, which kills itself after so many steps."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(steps), *arguments], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


either_way = pytest.mark.parametrize(
    "stop", [interrupt, pytest.param(kill, marks=pytest.mark.slow)]
)
