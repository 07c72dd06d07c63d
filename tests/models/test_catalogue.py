"""Every entry of the catalogue means something."""

from __future__ import annotations

import pytest

from foveate.models import FAMILIES, load_model, parse_name
from foveate.models.capabilities import CAPABILITIES
from foveate.models.catalogue import CATALOGUE

IDS = [entry.what for entry in CATALOGUE]


@pytest.mark.parametrize("entry", CATALOGUE, ids=IDS)
def test_every_name_can_be_read_and_its_family_is_known(entry):
    assert str(parse_name(entry.name)) == entry.name
    assert entry.family in {*FAMILIES, "callable"}
    assert set(entry.can) <= set(CAPABILITIES)
    assert entry.to_dict()["licence"]


def offline(entry):
    """Names that their family judges without a file or the hub."""
    return entry.family in ("builtin", "timm", "open_clip", "torchgeo")


@pytest.mark.parametrize("entry", list(filter(offline, CATALOGUE)), ids=lambda e: e.what)
def test_the_family_accepts_the_name(entry):
    if entry.extra.missing():
        pytest.skip(entry.extra.why_not())
    name = entry.name
    if entry.local:  # the file is the user's: the architecture is checked with random weights
        name += "@random"
    handle = load_model(name)
    assert handle.channels == entry.bands


def test_what_timm_says_of_its_weights_is_what_the_catalogue_says():
    timm = pytest.importorskip("timm")
    for entry in CATALOGUE:
        if entry.family == "timm":
            found = timm.get_pretrained_cfg(entry.name.removeprefix("timm:"))
            assert found.license.lower() == entry.licence.lower()
            assert found.input_size == (entry.bands, entry.size, entry.size)
