"""Segmentation with and without regions, on drawn images and a tiny random SAM."""

from __future__ import annotations

import numpy as np
import pytest
from trash import COLOURS, SIDE, write_trash

from foveate.bench.focus.segmentation import (
    DecoderTask,
    compare_segmentation,
    segmentation_table,
    tune_decoder,
)
from foveate.bench.focus.segmentation_data import (
    IGNORED,
    hide,
    read_data,
    split_data,
    truth,
)
from foveate.errors import DataError, ParameterError
from foveate.focus.config import GOALS, FocusConfig, SearchConfig
from foveate.models import from_callable, load_model
from foveate.models.fit import FitSettings
from foveate.models.load import FAMILIES
from foveate.testing.tiny import tiny_model

pytest.importorskip("torch")
pytest.importorskip("transformers")

CONFIG = FocusConfig(
    GOALS["balanced"], mode="zoom", search=SearchConfig(regions=2), cells=2, crop=32
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_trash(tmp_path_factory.mktemp("trash"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    _, folder = tiny_model("hf_sam", tmp_path_factory.mktemp("sam"))
    handle = load_model("hf", weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def test_classes_and_videos_are_split_in_halves(root):
    data = read_data(root)
    assert (len(data.images), set(data.videos)) == (8, {f"video{i}" for i in range(4)})
    seen = set()
    for seed in range(12):
        split = split_data(data, seed)
        assert {*split.base, *split.target} == {"can", "net"}
        assert len(split.base) == len(split.target) == 1
        assert sorted((*split.train, *split.test)) == list(range(8))
        videos = [{data.videos[row] for row in rows} for rows in (split.train, split.test)]
        assert not videos[0] & videos[1]
        assert split_data(data, seed) == split
        seen.add((split.base, split.train))
    assert len(seen) > 3


def test_one_class_is_base_and_target(root, tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "classes.yaml").write_text("person: [1, 2]\n")
    split = split_data(read_data(tmp_path), 0)
    assert split.base == split.target == ("person",)
    assert not set(split.train) & set(split.test)


def test_other_classes_do_not_count(root):
    data = read_data(root)
    mask = data.mask(0)
    found = truth(data, 0, ["net"])
    assert ((found == 1) == (mask == 2)).all()
    assert ((found == IGNORED) == (mask == 1)).all()
    assert ((found == 0) == (mask == 0)).all()


@pytest.mark.parametrize("shape", [(64, 64), (50, 90)])
def test_a_share_of_an_image_is_hidden_in_squares(shape):
    image = np.full((3, *shape), 7, np.uint8)
    assert np.array_equal(hide(image, 0, 0, "a"), image)
    assert not hide(image, 1, 0, "a").any()
    gone = (hide(image, 0.3, 0, "a") == 0).all(axis=0)
    assert gone.mean() == pytest.approx(0.3, abs=0.03)
    assert not np.array_equal(gone, (hide(image, 0.3, 0, "b") == 0).all(axis=0))
    with pytest.raises(ParameterError):
        hide(image, 1.5, 0, "a")


def test_invalid_layouts_raise(root, tmp_path):
    with pytest.raises(DataError, match="no images"):
        read_data(tmp_path)
    (tmp_path / "images").symlink_to(root / "images")
    with pytest.raises(DataError, match=r"mask of .* is missing"):
        read_data(tmp_path)
    (tmp_path / "masks").symlink_to(root / "masks")
    for text, says in (("- can", "no classes"), ("can: 0", "positive integers")):
        (tmp_path / "classes.yaml").write_text(text)
        with pytest.raises(DataError, match=says):
            read_data(tmp_path)
    (tmp_path / "classes.yaml").write_text("can: 1\nship: 9\n")
    with pytest.raises(DataError, match=r"no (training|test) image"):
        split_data(read_data(tmp_path), 0)


def test_a_decoder_learns_what_is_foreground_and_the_model_stays(root, model):
    data = read_data(root)
    split = split_data(data, 0)
    before = {name: t.clone() for name, t in model.network.state_dict().items()}
    settings = FitSettings(epochs=25, batch_size=2, learning_rate=5e-3, weight_decay=0.0)
    tuned, history = tune_decoder(model, data, split, settings)
    scores = [epoch["score"] for epoch in history.epochs]
    assert max(scores) > 2 * scores[0]
    assert history.epochs[-1]["loss"] < 0.8 * history.epochs[0]["loss"]
    assert tuned.spec.fingerprint != model.spec.fingerprint
    for name, tensor in tuned.network.state_dict().items():
        assert (before[name] == model.network.state_dict()[name]).all()
        if not name.startswith("mask_decoder."):
            assert (tensor == before[name]).all()
    assert not any(p.requires_grad for p in tuned.network.parameters())
    image = data.image(split.train[0])
    mask = tuned.segment(image[None], np.float32([[[0, 0, SIDE, SIDE]]]))[0, 0]
    wanted = truth(data, split.train[0], split.base)
    assert mask[wanted == 1].mean() > mask[wanted == 0].mean() + 0.2


def test_what_is_not_in_the_box_or_does_not_count_is_no_loss(root, model):
    data = read_data(root)
    images, truths = [data.image(0)], [truth(data, 0, ["can"])]
    task = DecoderTask(model, images, truths)
    whole = np.float64([[[0, 0, 1, 1], [0.5, 0.5, 1, 1]]])
    _, _, target, counts = task._prompted(np.array([0]), whole)
    assert target.shape == (1, 2, 1, 32, 32)
    assert target[0, 1, 0, :16].sum() == target[0, 1, 0, :, :16].sum() == 0
    assert target[0, 0].sum() == pytest.approx((truths[0] == 1).sum() / 4, rel=0.05)
    hidden = (truths[0] == IGNORED).mean()
    assert 1 - float(counts.mean()) == pytest.approx(hidden, abs=0.05)


def test_rows_compare_a_model_with_itself(root, model):
    data = read_data(root)
    split = split_data(data, 0)
    rows = compare_segmentation(model, data, split, CONFIG)
    assert [(r.selection, r.hidden) for r in rows] == [
        ("none", 0.0), ("focus", 0.0), ("none", 0.3), ("focus", 0.3),
    ]  # fmt: skip
    for row in rows:
        assert row.matrices.shape == (len(split.test), 2, 2)
        total = row.matrices.sum(axis=0)
        counted = sum((truth(data, r, split.target) != IGNORED).sum() for r in split.test)
        assert total.sum() == counted
        assert row.dice == pytest.approx(2 * total[1, 1] / (total[1].sum() + total[:, 1].sum()))
        assert row.passes == 1 if row.selection == "none" else row.passes > 1
    again = compare_segmentation(model, data, split, CONFIG)
    assert [r.dice for r in again] == [r.dice for r in rows]


def test_a_segmenter_that_finds_all_has_a_dice_of_1(root):
    data = read_data(root)
    split = split_data(data, 0)
    colour = np.uint8(COLOURS[split.target[0]])[:, None, None]

    def segmenter(batch, boxes):
        masks = np.repeat((batch == colour).all(axis=1)[:, None], boxes.shape[1], axis=1)
        return masks, np.ones(boxes.shape[:2], np.float32)

    perfect = from_callable(
        lambda batch: batch.mean(axis=(2, 3)), name="perfect", dim=3, bands=(1, 2, 3),
        fingerprint="1", input_size=(64, 64), segmenter=segmenter,
    )  # fmt: skip
    (row, _) = compare_segmentation(perfect, data, split, CONFIG, hidden=(0.0,))
    assert row.dice == 1
    with pytest.raises(ParameterError, match="perfect"):
        tune_decoder(perfect, data, split)


def test_the_whole_table_in_one_call(root, model):
    settings = FitSettings(epochs=1, batch_size=4)
    rows = segmentation_table(model, root, CONFIG, settings=settings, hidden=(0.0,), seed=1)
    assert [row.selection for row in rows] == ["none", "focus"]
    assert all(0 <= row.dice <= 1 for row in rows)
    assert {row.data for row in rows} == {root.name}
