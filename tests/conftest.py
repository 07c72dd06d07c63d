"""Fixtures of every test: repeatable properties, the real imagery, no file left open."""

import os
from pathlib import Path

# Before numpy or torch is loaded, and for every process that a test starts. Tests run side by side,
# and the bits of a trained network depend on the number of threads that its sums were split over.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from foveate.raster import close_files

settings.register_profile(
    "default", deadline=None, max_examples=60, derandomize=True, database=None
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


@pytest.fixture(autouse=True)
def _close_files():
    yield
    close_files()
