"""Models of transformers from folders and the hub: which are built, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models import load_model
from foveate.models.families.hf.family import BUILDERS
from foveate.models.load import FAMILIES
from foveate.testing.tiny import hf as tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

SCALE = ((0.0, 255.0),) * 3
BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    tiny.clip(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny-clip")


def build(folder, name="hf"):
    handle = load_model(name, weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), SCALE)


def change(folder, name="config.json", **entries):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def change_weights(folder, change):
    state = safetensors.load_file(folder / "model.safetensors")
    safetensors.save_file(change(state), folder / "model.safetensors", {"format": "pt"})


# --- folders -------------------------------------------------------------------------------


def test_a_folder_is_a_model_whatever_its_name(folder):
    plain, named = build(folder), build(folder, "hf:someone/tiny-clip")
    assert plain.spec.source == "tiny-clip"
    assert plain.spec.fingerprint == named.spec.fingerprint
    np.testing.assert_array_equal(plain.embed(BATCH), named.embed(BATCH))


def test_other_weights_have_another_fingerprint(folder):
    before = build(folder).spec.fingerprint
    change_weights(folder, lambda state: {**state, "logit_scale": torch.tensor(1.0)})
    assert build(folder).spec.fingerprint != before


def test_weights_in_half_precision_are_computed_in_full(folder):
    full = build(folder).embed(BATCH)
    change_weights(folder, lambda state: {k: v.bfloat16() for k, v in state.items()})
    change(folder, dtype="bfloat16")
    half = build(folder).embed(BATCH)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.05 * np.abs(full).max())


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "sam"])
def test_mixed_precision_changes_the_third_digit(kind, tmp_path):
    getattr(tiny, kind)(tmp_path)
    full, mixed = (
        build(tmp_path).embed(BATCH),
        build(tmp_path, "hf?precision=bfloat16").embed(BATCH),
    )
    assert mixed.dtype == np.float32
    assert 0 < np.abs(mixed - full).max() < 0.1 * np.abs(full).max()


def test_a_folder_may_be_the_one_we_are_in(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert build(".").spec.source == "tiny-clip"


def test_loading_draws_nothing_and_leaves_the_settings_of_transformers(folder):
    from transformers.utils import logging

    logging.set_verbosity_info()
    before = torch.random.get_rng_state(), logging.get_verbosity()
    build(folder)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert logging.get_verbosity() == before[1]
    assert logging.is_progress_bar_enabled()
    logging.set_verbosity_warning()


def test_a_processor_that_holds_the_image_settings(folder):
    before = build(folder).embed(BATCH)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    np.testing.assert_array_equal(build(folder).embed(BATCH), before)


# --- what is no model ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda f: (f / "config.json").unlink(), DataError, "no config.json in"),
        (lambda f: (f / "config.json").write_text("{"), DataError, r"cannot read .*config\.json"),
        (lambda f: (f / "config.json").write_text("[]"), DataError, "not contain a JSON object"),
        (lambda f: (f / "config.json").write_text("{}"), DataError, "no model_type"),
        (lambda f: change(f, model_type=None), DataError, "no model_type"),
        (lambda f: change(f, auto_map={"AutoModel": "mine.Model"}), DataError, "not run code"),
        (
            lambda f: change(f, model_type="clipp"),
            UnknownNameError,
            r"'clipp'.*Known: clip, siglip, .*blip-2.*mean 'clip'",
        ),
    ],
)
def test_a_config_that_cannot_be_is_seen_before_anything_is_built(folder, spoil, error, message):
    spoil(folder)
    with pytest.raises(error, match=message):
        load_model("hf", weights=folder)


def test_a_file_is_no_folder(folder):
    with pytest.raises(DataError, match=r"are a file.*folder written by save_pretrained"):
        load_model("hf", weights=folder / "model.safetensors")


def test_missing_parameters_are_not_drawn_at_random(folder):
    change_weights(folder, lambda state: {k: v for k, v in state.items() if "text_model" not in k})
    with pytest.raises(
        DataError, match=r"do not match the architecture 'clip': \d+ parameters miss"
    ):
        build(folder)


def test_parameters_that_nothing_takes(folder):
    lora = {"visual_projection.lora_A.weight": torch.zeros(4, 32)}
    change_weights(folder, lambda state: {**state, **lora})
    with pytest.raises(DataError, match=r"1 unknown \(first .*lora_A.*, 0 of another shape"):
        build(folder)


def test_parameters_of_another_shape(folder):
    change(folder, projection_dim=8)
    with pytest.raises(DataError, match=r"0 parameters missing, 0 unknown, 2 of another shape"):
        build(folder)


def test_pickles_are_not_loaded(folder):
    state = safetensors.load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        DataError, match=r"no \.safetensors.*does not unpickle files.*save_pretrained"
    ):
        build(folder)


def test_weights_that_end_early(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot read the model"):
        build(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json"])
def test_files_that_belong_to_a_model(folder, name):
    (folder / name).unlink()
    what = {
        "tokenizer.json": "there is no tokenizer",
        "preprocessor_config.json": "image normalisation",
    }
    with pytest.raises(DataError, match=what[name]):
        build(folder)


def test_a_tokenizer_that_cannot_be_read(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        build(folder)


def test_the_tokenizer_of_another_model(folder):
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens(["forest"])
    tokenizer.save_pretrained(folder)
    model = build(folder)
    assert model.embed_text(["water"]).shape == (1, 16)
    with pytest.raises(DataError, match=r"260 tokens, its network 259.*different models"):
        model.embed_text(["forest"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("size=60", "multiple of the patch size, 8"),
        ("size=native", "multiple of the patch size, 8"),
        ("wings=2", "the option 'wings'"),
        ("precision=int8", "precision"),
    ],
)
def test_options_that_cannot_be(folder, option, message):
    with pytest.raises(ParameterError, match=message):
        build(folder, f"hf?{option}")


# --- the hub -------------------------------------------------------------------------------


def test_a_hub_that_cannot_be_reached(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"'hf:google/none@main'.*hub.*--weights DIR"):
        load_model("hf:google/none@main")


@pytest.mark.parametrize("name", ["hf:a/b/c", "hf:no such/name"])
def test_an_id_that_is_none(name):
    with pytest.raises(DataError, match="--weights DIR"):
        load_model(name)


def test_neither_a_name_nor_a_folder():
    with pytest.raises(ParameterError, match=r"hf --weights FOLDER"):
        load_model("hf")


def test_a_snapshot_of_the_hub_says_its_commit(saved, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "models--someone--tiny"
    shutil.copytree(saved, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "v1").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    handle = load_model("hf:someone/tiny@v1", device="cpu")
    model = FAMILIES.get("hf").build(handle, (1, 2, 3), SCALE)
    assert model.spec.name == "hf:someone/tiny@v1"
    assert model.spec.source == f"hub: someone/tiny@{commit}"


def test_every_architecture_has_its_builder():
    assert {"clip", "siglip", "siglip2", "sam", "llava", "qwen2_vl", "blip-2"} <= set(BUILDERS)
    for name in ("clip", "siglip", "siglip2", "sam"):
        assert callable(BUILDERS.get(name))


def test_the_config_is_part_of_the_fingerprint(saved, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    config = json.loads((other / "config.json").read_text())
    config["transformers_version"] = "9"
    (other / "config.json").write_text(json.dumps(config))
    prints = [build(saved).spec.fingerprint, build(other).spec.fingerprint]
    assert prints[0] == prints[1]
    for entry in ({"hidden_act": "relu"}, {"num_attention_heads": 2}, {"layer_norm_eps": 0.1}):
        changed = {**config, "vision_config": {**config["vision_config"], **entry}}
        (other / "config.json").write_text(json.dumps(changed))
        prints.append(build(other).spec.fingerprint)
    assert len(set(prints[1:])) == 4


def test_the_tokenizer_is_part_of_what_reads_texts(saved, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    text = (other / "tokenizer_config.json").read_text()
    (other / "tokenizer_config.json").write_text(text + "\n")
    assert build(other).text_spec.fingerprint != build(saved).text_spec.fingerprint
