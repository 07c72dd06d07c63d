"""Coloured patches with captions."""

import pytest
from patches import write_patches


@pytest.fixture(scope="session")
def patches(tmp_path_factory):
    """The images, and a table of captions with splits beside them."""
    return write_patches(tmp_path_factory.mktemp("patches"))
