"""Fixtures of every test: repeatable properties, the real imagery, no file left open."""

from pathlib import Path

import pytest
from hypothesis import settings

from foveate.raster import close_files

settings.register_profile(
    "default", deadline=None, max_examples=60, derandomize=True, database=None
)
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
