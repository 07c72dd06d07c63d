"""Run commands on many spoiled folders: ``python tests/fuzz/run.py --each 1000``.

Prints each fault with the seed that repeats it (``--command NAME --first SEED --each 1``) and how
often each command succeeded; the exit status is 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from check import attempt, commands
from observer import small_observer


def fuzz() -> int:
    """Read the command line, run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=1000, help="seeds for each command")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--command", action="append", help="only this one; repeatable")
    options = parser.parse_args()
    faulthandler.enable()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        names = options.command
        observer = small_observer(Path(folder)) if names is None or "select" in names else None
        known = commands(observer)
        for name in names or known:
            ended = Counter[int]()
            for seed in range(options.first, options.first + options.each):
                outcome = attempt(known[name], seed)
                ended[outcome.status] += 1
                for fault in outcome.faults:
                    bad += 1
                    _say(f"{name} {seed}: {fault}\n    input: {'; '.join(outcome.spoiled)}")
            _say(f"{name}: {dict(sorted(ended.items()))} of {options.each} by exit status")
    return 1 if bad else 0


def _say(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(fuzz())
