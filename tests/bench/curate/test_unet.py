"""The U-Net judge: shapes, that it learns, pairing by seed, and samplers."""

# ruff: noqa: E402  (torch and its packages are extras)
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("segmentation_models_pytorch")

from foveate.bench.curate.design import Fold
from foveate.bench.curate.unet import StagedEncoder, Tiles, UNet, UNetJudge, UNetSettings
from foveate.embeddings import EncoderSpec
from foveate.errors import ParameterError
from foveate.models import load_model
from foveate.stats import mean_iou

HANDLE = load_model("timm:resnet10t@random", bands=[1, 2, 3])
SPEC = EncoderSpec("timm", 512, (1, 2, 3), ((0.0, 255.0),) * 3, (0.5,) * 3, (0.25,) * 3)
FOLD = Fold("all", np.arange(6), np.arange(6, 8))
CLUSTER = np.array(["a", "a", "a", "b", "b", "b", "a", "b"])


@pytest.fixture(scope="module")
def tiles():
    """Tiles of 32 px whose left half is dark and right half is bright, with noise."""
    draw = np.random.default_rng(0)
    codes = np.zeros((8, 32, 32), np.int16)
    codes[:, :, 16:] = 1
    codes[:, :2] = -1
    pixels = (codes[:, None].clip(0) * 120 + draw.integers(0, 60, (8, 3, 32, 32))).astype(np.uint8)
    once = np.ones(codes.shape, bool)
    once[7, :16] = False
    counts = np.stack([(codes == k).sum(axis=(1, 2)) for k in range(2)], axis=1)
    return Tiles(pixels, codes, once, counts)


def _judge(tiles, **settings):
    given = UNetSettings(**{"steps": 40, "batch_size": 4, "device": "cpu", **settings})
    return UNetJudge(tiles, FOLD, CLUSTER, handle=HANDLE, spec=SPEC, settings=given)


def test_it_learns_and_counts_each_labelled_pixel_once(tiles):
    found = _judge(tiles).judge(FOLD.train, "none", 0).matrices
    total = sum(found.values())
    assert set(found) == {"a", "b"}
    assert total.sum() == 30 * 32 + 16 * 32
    assert mean_iou(total) > 0.8


def test_one_seed_one_result_and_epochs_are_another_protocol(tiles):
    judge = _judge(tiles, steps=2)
    first, again = (judge.judge(FOLD.train[:2], "balanced", 3).matrices for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
    assert sum(_judge(tiles, epochs=1).judge(FOLD.train, "none", 0).matrices.values()).sum() > 0


def test_tiles_of_validation_choose_the_epoch(tiles, monkeypatch):
    from foveate.bench.curate import unet

    kept = []
    fit = unet.fit
    monkeypatch.setattr(unet, "fit", lambda *a, **k: kept.append(fit(*a, **k)))
    for val in (np.array([6]), np.empty(0, np.int64)):
        fold = Fold("all", np.arange(6), np.array([7]), val)
        settings = UNetSettings(epochs=4, batch_size=2, learning_rate=0.01, device="cpu")
        judge = UNetJudge(tiles, fold, CLUSTER, handle=HANDLE, spec=SPEC, settings=settings)
        assert judge.judge(FOLD.train, "none", 0).seconds["epoch"] > 0
    scores = [epoch["score"] for epoch in kept[0].epochs]
    assert len(set(scores)) > 1
    assert scores[kept[0].best - 1] == max(scores)
    assert kept[1].best == 4  # the last one, where nothing validates


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "mobilenetv2_035"])
def test_any_backbone_with_stages_keeps_the_size_of_the_image(name):
    import timm

    net = StagedEncoder(timm.create_model(name, pretrained=False, num_classes=0, in_chans=4), 4)
    with torch.no_grad():
        found = UNet(net, 5).eval()(torch.zeros(1, 4, 40, 72))
    assert found.shape == (1, 5, 40, 72)


def test_a_backbone_without_stages_raises_with_hint():
    import timm

    net = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    with pytest.raises(ParameterError, match="strides") as caught:
        StagedEncoder(net, 3)
    assert "resnet18" in caught.value.hint
