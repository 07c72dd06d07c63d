"""One archive, and the pairs that are built of it, for all tests of the builder."""

from __future__ import annotations

import pytest
from command import here
from pair_archive import OPTIONS, write_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Extract, rules, catalogues and imagery; tests write nothing into it."""
    pytest.importorskip("osmium")
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def built(archive, tmp_path_factory):
    """The pairs of it, and what the command said as JSON; tests write nothing into them."""
    out = tmp_path_factory.mktemp("built") / "pairs"
    answer = here("observe", "build", *archive.sources, *OPTIONS, "--out", out, "--json")
    assert answer.status == 0, answer.err
    return out, answer.json
