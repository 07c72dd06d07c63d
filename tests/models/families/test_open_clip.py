"""open_clip models: its own numbers, and the files that remote sensing publishes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models import TokenSpec, capabilities, load_model
from foveate.models.load import FAMILIES
from foveate.testing import check_model

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
safetensors = pytest.importorskip("safetensors.torch")

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
SCALE = ((0.0, 255.0),) * 3
TEXTS = ["a dense forest", "an airport beside a river"]
TEXT = {"context_length": 16, "width": 32, "heads": 4, "layers": 2}
VIT = {"image_size": 64, "patch_size": 8, "layers": 2, "width": 32, "head_width": 8}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}
TIMM = {"image_size": 224, "timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear"}


def seeded(kind, **config):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return kind(**config).eval()


def described(folder, vision=VIT, **more):
    path = folder / "config.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT, **more}))
    return path


def build(name, weights=None):
    handle = load_model(name, device="cpu", weights=weights)
    return FAMILIES.get("open_clip").build(handle, (1, 2, 3), SCALE)


def prepared(mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    return (torch.from_numpy(BATCH.astype(np.float32)) / 255 - mean) / std


def near(found, expected, gap=1e-5):
    expected = expected.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=gap * np.abs(expected).max())


@pytest.fixture(scope="module")
def net():
    return seeded(open_clip.CLIP, embed_dim=16, vision_cfg=VIT, text_cfg=TEXT)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return described(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def weights(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "clip.safetensors"
    safetensors.save_file(net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(config, weights):
    return build(f"open_clip:{config}", weights)


# --- the numbers of open_clip --------------------------------------------------------------


def test_vectors_of_images_are_those_of_encode_image(net, model):
    near(model.embed(BATCH), net.encode_image(prepared()))
    assert model.spec.dim == 16
    assert model.spec.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    assert (model.spec.input_size, model.spec.resample) == ((64, 64), "bicubic")


def test_vectors_of_texts_are_those_of_encode_text(net, model):
    ids = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    near(model.embed_text(TEXTS), net.encode_text(ids, normalize=True))
    assert model.text_spec.scale == pytest.approx(1 / 0.07)
    assert (model.text_spec.head, model.text_spec.bias) == ("cosine", 0)
    assert model.text_spec.context == 16


def test_tokens_are_the_features_of_the_last_layer(net, model):
    found = net.visual.forward_intermediates(prepared(), indices=1, normalize_intermediates=True)
    near(model.tokens(BATCH), found["image_intermediates"][-1].permute(0, 2, 3, 1))
    assert model.token_spec == TokenSpec(32, "backbone")


def test_tokens_whose_projections_average_to_the_vector_are_projected(tmp_path):
    pooled = build(f"open_clip:{described(tmp_path, {**VIT, 'pool_type': 'avg'})}@random")
    assert pooled.token_spec == TokenSpec(16, "embedding", pooled=True)
    near(pooled.tokens(BATCH).mean(axis=(1, 2)), torch.from_numpy(pooled.embed(BATCH)))


def test_a_convolutional_tower_has_tokens(tmp_path):
    name = f"open_clip:{described(tmp_path, RESNET)}@random"
    assert build(name).tokens(BATCH).shape == (2, 2, 2, 256)
    check_model(load_model(name, device="cpu"), tolerance=1e-5)


def test_a_tower_of_timm_has_tokens(tmp_path):
    found = build(f"open_clip:{described(tmp_path, TIMM)}@random")
    assert capabilities(found) == ("embed", "tokens", "text", "sizes")
    assert found.tokens(BATCH).shape[1:3] == (14, 14)


def test_a_model_that_also_writes_captions_embeds(tmp_path):
    path = described(
        tmp_path,
        {**VIT, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        text_cfg={**TEXT, "embed_cls": True, "output_tokens": True},
        multimodal_cfg={**TEXT, "attn_pooler_heads": 4},
        custom_text=True,
    )
    found = build(f"open_clip:{path}@random")
    assert found.tokens(BATCH).shape == (2, 8, 8, 32)
    # CoCa normalises unless told otherwise; embeddings are what stands before.
    assert (abs(np.linalg.norm(found.embed(BATCH), axis=1) - 1) > 1e-3).all()


def test_a_bias_makes_a_sigmoid_head(tmp_path):
    path = described(tmp_path, custom_text=True, init_logit_bias=-10)
    found = build(f"open_clip:{path}@random").text_spec
    assert (found.head, found.bias) == ("sigmoid", -10)


def test_the_normalisation_of_a_configuration_is_taken(tmp_path):
    inner = json.loads(described(tmp_path).read_text())
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
    path = tmp_path / "open_clip_config.json"
    path.write_text(json.dumps({"model_cfg": inner, "preprocess_cfg": preprocess}))
    spec = build(f"open_clip:{path}@random").spec
    assert (spec.mean, spec.std, spec.resample) == ((0.5,) * 3, (0.5,) * 3, "bilinear")


def test_random_weights_are_the_same_every_time(config):
    a, b = (build(f"open_clip:{config}@random") for _ in range(2))
    assert a.spec == b.spec
    np.testing.assert_array_equal(a.embed_text(TEXTS), b.embed_text(TEXTS))


# --- files as they are published -----------------------------------------------------------


def test_a_training_checkpoint_in_half_precision_is_read(net, config, model, tmp_path):
    state = {f"module.{name}": tensor.half() for name, tensor in net.state_dict().items()}
    torch.save({"epoch": 20, "name": "x", "state_dict": state}, tmp_path / "epoch_20.pt")
    found = build(f"open_clip:{config}", tmp_path / "epoch_20.pt")
    assert found.spec.precision == "float32"
    np.testing.assert_allclose(found.embed(BATCH), model.embed(BATCH), atol=0.02)


def test_a_file_from_before_the_text_tower_stood_apart_is_read(net, model, weights, tmp_path):
    apart = build(f"open_clip:{described(tmp_path, custom_text=True)}", weights)
    np.testing.assert_allclose(apart.embed_text(TEXTS), model.embed_text(TEXTS), atol=1e-6)


def test_a_clip_model_of_transformers_is_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    both = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2}
    both |= {"num_attention_heads": 4, "hidden_act": "quick_gelu"}
    config = transformers.CLIPConfig(
        text_config={**both, "vocab_size": 49408, "max_position_embeddings": 16,
                     "bos_token_id": 49406, "eos_token_id": 49407},
        vision_config={**both, "image_size": 64, "patch_size": 8},
        projection_dim=16,
    )  # fmt: skip
    original = seeded(transformers.CLIPModel, config=config)
    state = {**original.state_dict(), "text_model.embeddings.position_ids": torch.arange(16)[None]}
    torch.save(state, tmp_path / "pytorch_model.bin")

    path = described(tmp_path, {**VIT, "head_width": 8}, quick_gelu=True)
    found = build(f"open_clip:{path}", tmp_path / "pytorch_model.bin")

    ids = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    # Padding comes after the end of the text, where nothing looks at it.
    text = original.get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids))
    image = original.get_image_features(pixel_values=prepared())
    text, image = (getattr(x, "pooler_output", x) for x in (text, image))
    near(found.embed(BATCH), image)
    near(found.embed_text(TEXTS), text / text.norm(dim=-1, keepdim=True))


def test_weights_of_another_architecture(weights, tmp_path):
    path = described(tmp_path, {**VIT, "layers": 3})
    with pytest.raises(DataError, match=r"do not match the architecture.*parameters missing"):
        build(f"open_clip:{path}", weights)


def test_weights_for_another_size_are_not_interpolated_unasked(weights, tmp_path):
    path = described(tmp_path, {**VIT, "image_size": 96})
    with pytest.raises(DataError, match="1 of another shape"):
        build(f"open_clip:{path}", weights)


# --- sizes ---------------------------------------------------------------------------------


def test_position_embeddings_are_interpolated_to_another_size(net, config, weights):
    from open_clip.model import resize_pos_embed

    larger = seeded(
        open_clip.CLIP, embed_dim=16, vision_cfg={**VIT, "image_size": 96}, text_cfg=TEXT
    )
    state = net.state_dict()
    resize_pos_embed(state, larger)
    larger.load_state_dict(state)
    x = torch.nn.functional.interpolate(
        torch.from_numpy(BATCH.astype(np.float32)), (96, 96), mode="bicubic", antialias=True
    )
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1)
        for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    found = build(f"open_clip:{config}?size=96", weights)
    near(found.embed(BATCH), larger.encode_image((x / 255 - mean) / std))
    assert found.tokens(BATCH).shape == (2, 12, 12, 32)


def test_a_transformer_of_timm_takes_other_sizes(tmp_path):
    found = build(f"open_clip:{described(tmp_path, TIMM)}@random?size=64")
    assert found.tokens(BATCH).shape[1:3] == (4, 4)


def test_sizes_that_cannot_be(config, tmp_path):
    with pytest.raises(ParameterError, match="fixed image size"):
        build(f"open_clip:{config}@random?size=native")
    path = described(tmp_path, RESNET)
    state = seeded(open_clip.CLIP, embed_dim=16, vision_cfg=RESNET, text_cfg=TEXT).state_dict()
    safetensors.save_file(state, tmp_path / "resnet.safetensors")
    with pytest.raises(ParameterError, match="only supports the training size, 64"):
        build(f"open_clip:{path}?size=96", tmp_path / "resnet.safetensors")


# --- names ---------------------------------------------------------------------------------


def test_an_unknown_architecture_comes_with_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"no model 'ViT-B32'.*Did you mean 'ViT-B-32'"):
        load_model("open_clip:ViT-B32@openai")
    with pytest.raises(ParameterError, match="name of the"):
        load_model("open_clip")


def test_an_unknown_tag_lists_those_that_exist():
    with pytest.raises(
        UnknownNameError, match=r"no weights 'laion2b'.*laion2b_s34b_b79k.*Did you mean 'laion2b"
    ):
        load_model("open_clip:ViT-B-32@laion2b")
    with pytest.raises(ParameterError, match=r"not select weights.*openai.*--weights PATH"):
        load_model("open_clip:ViT-B/32")


def test_the_tag_says_which_activation():
    from open_clip.pretrained import get_pretrained_cfg

    from foveate.models.families._open_clip import describe

    assert get_pretrained_cfg("ViT-B-32", "openai")["quick_gelu"]
    for name, quick in [
        ("ViT-B-32@openai", True),
        ("ViT-B-32@laion2b_s34b_b79k", False),
        ("ViT-B-32@random?quick_gelu=true", True),
    ]:
        assert describe(load_model(f"open_clip:{name}")).config["quick_gelu"] is quick


def test_options_and_files_that_cannot_be(config, tmp_path):
    with pytest.raises(ParameterError, match=r"options wings.*quick_gelu"):
        load_model(f"open_clip:{config}@random?wings=2")
    with pytest.raises(DataError, match="cannot read the configuration"):
        load_model(f"open_clip:{tmp_path / 'nowhere.json'}@random")
    (tmp_path / "half.json").write_text('{"embed_dim": 4}')
    with pytest.raises(DataError, match="has no vision_cfg, text_cfg"):
        load_model(f"open_clip:{tmp_path / 'half.json'}@random")
    path = described(tmp_path, {**VIT, "wings": 2})
    with pytest.raises(ParameterError, match=r"cannot build.*wings"):
        build(f"open_clip:{path}@random")


# --- the hub -------------------------------------------------------------------------------


@pytest.fixture
def hub(net, tmp_path, monkeypatch):
    """A cache of the hub with one repository, on a machine without a network."""
    folder = tmp_path / "models--org--clip" / "snapshots" / ("c0ffee" * 7)[:40]
    folder.mkdir(parents=True)
    (tmp_path / "models--org--clip" / "refs").mkdir()
    (tmp_path / "models--org--clip" / "refs" / "main").write_text(folder.name)
    config = {
        "model_cfg": {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": TEXT},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    safetensors.save_file(net.state_dict(), folder / "open_clip_model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


def test_a_repository_on_the_hub(hub, net):
    found = build("open_clip:hf-hub:org/clip")
    near(found.embed(BATCH), net.encode_image(prepared([0.5] * 3, [0.25] * 3)))
    assert found.spec.source == f"hub: org/clip@{hub.name}"


@pytest.mark.parametrize("name", ["hf-hub:org/none", "ViT-B-32@openai"])
def test_a_hub_that_cannot_be_reached(hub, name):
    with pytest.raises(DataError, match=r"could not be loaded.*--weights PATH"):
        build(f"open_clip:{name}")


def test_a_tokenizer_that_cannot_be_had_is_missed_only_by_texts(tmp_path):
    text = {**TEXT, "hf_tokenizer_name": str(tmp_path / "none")}
    found = build(f"open_clip:{described(tmp_path, text_cfg=text)}@random")
    assert found.embed(BATCH).shape == (2, 16)
    with pytest.raises(DataError, match=r"the tokenizer .* could not be loaded"):
        found.embed_text(TEXTS)


def test_a_tokenizer_beside_the_configuration_is_part_of_what_reads_texts(tmp_path):
    text = {**TEXT, "hf_tokenizer_name": "org/tokenizer"}
    name = f"open_clip:{described(tmp_path, text_cfg=text)}@random"
    assert build(name).text_spec.fingerprint == ""  # it is the hub's
    prints = set()
    for content in ("{}", '{"do_lower_case": true}'):
        (tmp_path / "tokenizer_config.json").write_text(content)
        prints.add(build(name).text_spec.fingerprint)
    assert len(prints) == 2
