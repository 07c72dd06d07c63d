"""An archive of imagery and the pairs built from it, shared by all tests of `observe build`."""

from __future__ import annotations

import pytest
from command import here
from pair_archive import OPTIONS, write_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """OSM extract, rules, catalogues and imagery; tests must not modify it."""
    pytest.importorskip("osmium")
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def built(archive, tmp_path_factory):
    """Pairs of the archive and the JSON output of the command; tests must not modify them."""
    out = tmp_path_factory.mktemp("built") / "pairs"
    answer = here("observe", "build", *archive.sources, *OPTIONS, "--out", out, "--json")
    assert answer.status == 0, answer.err
    return out, answer.json
