"""Fixtures of every test: repeatable properties, the real imagery, no fsync, no open file."""

import os
from pathlib import Path

# Before numpy or torch is loaded, and for every process that a test starts. Tests run side by side,
# and the bits of a trained network depend on the number of threads that its sums were split over.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from foveate import files
from foveate.raster import close_files

# `make test` tries 20 examples of each property; `make test-slow` the 120 of "thorough".
for name, examples in (("default", 20), ("thorough", 120)):
    settings.register_profile(
        name, deadline=None, max_examples=examples, derandomize=True, database=None
    )
settings.register_profile("nightly", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("default")

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def realdata():
    """The folder of real imagery beside the checkout."""
    if not _DATA.is_dir():
        pytest.skip(f"no real imagery at {_DATA}")
    return _DATA


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """Files are written without fsync: on a busy disk it takes longer than the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_sync", lambda path: None)
        yield


@pytest.fixture(autouse=True)
def _close_files():
    yield
    close_files()
