"""A hundred spoiled folders; ``run.py`` beside this file tries as many as one likes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from check import attempt, commands

COMMANDS = commands(None)
EACH = 100 // len(COMMANDS) + 1


@pytest.mark.parametrize("name", COMMANDS)
def test_spoiled_input_ends_in_a_result_or_a_clear_error(name):
    for seed in range(EACH):
        outcome = attempt(COMMANDS[name], seed)
        assert not outcome.faults, f"{name} {seed}: {outcome.faults}; {outcome.spoiled}"
