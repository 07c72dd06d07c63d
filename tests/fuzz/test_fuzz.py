"""Spoiled folders, twenty by default and a hundred with the slow tests; ``run.py`` tries more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from check import attempt, commands

COMMANDS = commands(None)
EACH = 100 // len(COMMANDS) + 1
FIRST = 3  # folders a command in the default suite


@pytest.mark.parametrize(
    "seeds",
    [range(FIRST), pytest.param(range(FIRST, EACH), marks=pytest.mark.slow)],
    ids=["first", "others"],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_spoiled_input_ends_in_a_result_or_a_clear_error(name, seeds):
    for seed in seeds:
        outcome = attempt(COMMANDS[name], seed)
        assert not outcome.faults, f"{name} {seed}: {outcome.faults}; {outcome.spoiled}"
