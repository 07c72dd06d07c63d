"""Every entry of the catalogue means something."""

from __future__ import annotations

import pytest

from foveate.models import FAMILIES, capabilities, load_model, parse_name
from foveate.models.capabilities import CAPABILITIES
from foveate.models.catalogue import CATALOGUE
from foveate.models.load import build_model
from foveate.testing.tiny import tiny_model

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


KIND = {
    "timm:resnet": "timm_cnn", "timm:mobile": "timm_cnn", "timm:vit": "timm_vit",
    "timm:swin": "timm_swin", "open_clip:": "open_clip", "hf:openai/clip": "hf_clip",
    "hf:google/siglip2-base-patch16-224": "hf_siglip", "hf:llava-hf/llava-1.5": "hf_llava",
    "hf:llava-hf/llava-v1.6": "hf_llava_next", "hf:llava-hf/llama3": "hf_llava_next_llama3",
    "hf:Qwen/Qwen2-": "hf_qwen2_vl", "hf:Qwen/Qwen2.5": "hf_qwen2_5_vl",
    "hf:Salesforce/blip2": "hf_blip2", "hf:facebook/sam": "hf_sam", "torchgeo:": "torchgeo",
    "tuned:": "tuned",
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Build tiny models by kind, each once."""
    made = {}

    def one(kind):
        if kind not in made:
            name, weights = tiny_model(kind, tmp_path_factory.mktemp(kind))
            handle = load_model(name, weights=weights, device="cpu")
            bands = tuple(range(1, (handle.channels or 3) + 1))
            made[kind] = build_model(handle, bands, ((0.0, 255.0),) * len(bands))
        return made[kind]

    return one


@pytest.mark.parametrize("entry", CATALOGUE, ids=IDS)
def test_what_a_model_can_do_is_what_a_tiny_one_of_its_kind_can(entry, tiny):
    if entry.family in ("builtin", "callable"):
        return
    if entry.extra.missing():
        pytest.skip(entry.extra.why_not())
    (kind,) = [kind for start, kind in KIND.items() if entry.name.startswith(start)]
    able = capabilities(tiny(kind))
    assert set(entry.can) <= set(able)
    assert set(able) - set(entry.can) <= {"tokens", "sizes"}  # tuned: as its encoder has
