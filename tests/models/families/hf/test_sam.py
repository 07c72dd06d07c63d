"""SAM from a folder: masks from boxes, as transformers itself makes them."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.models import capabilities, load_model
from foveate.models.load import FAMILIES
from foveate.testing import check_model
from foveate.testing.tiny import hf as tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
BOXES = np.array([[[4, 8, 40, 50], [0, 0, 64, 64]], [[10, 20, 30, 60], [32, 0, 64, 16]]], float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam")
    tiny.sam(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return build(folder)


@pytest.fixture(scope="module")
def expected(folder):
    """Everything by transformers alone, on tiles of the size that the network takes."""
    net = transformers.SamModel.from_pretrained(folder).eval()
    processor = transformers.SamImageProcessor.from_pretrained(folder)
    inputs = processor(list(BATCH), return_tensors="pt")
    with torch.inference_mode():
        output = net(
            pixel_values=inputs["pixel_values"],
            input_boxes=torch.from_numpy(BOXES.astype(np.float32)),
        )
        grid = net.get_image_embeddings(inputs["pixel_values"])
    masks = processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    return {"grid": grid, "quality": output.iou_scores, "masks": torch.stack(list(masks))}


def build(folder, name="hf"):
    handle = load_model(name, weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def near(found, expected):
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def test_it_passes_the_suite(folder):
    check_model(load_model("hf", weights=folder, device="cpu"), tolerance=1e-5)


def test_vectors_are_the_mean_of_the_tokens(model, expected):
    near(model.tokens(BATCH), expected["grid"].permute(0, 2, 3, 1))
    near(model.embed(BATCH), expected["grid"].mean(dim=(2, 3)))
    assert model.token_spec.pooled
    assert capabilities(model) == ("embed", "tokens", "masks")


def test_the_quality_is_that_of_the_best_mask(model, expected):
    near(model.mask_quality(BATCH, BOXES), expected["quality"].amax(dim=2))


def test_the_mask_is_the_best_one(model, expected):
    best = expected["quality"].argmax(dim=2)[:, :, None, None, None]
    masks = expected["masks"].to(torch.uint8).take_along_dim(best, dim=2)[:, :, 0].numpy()
    found = model.segment(BATCH, BOXES)
    assert found.dtype == np.bool_
    assert 0.01 < found.mean() < 0.99
    np.testing.assert_array_equal(found, masks == 1)


def test_boxes_and_masks_are_in_pixels_of_the_tile(model):
    tiles = np.random.default_rng(1).integers(0, 255, (2, 3, 128, 192)).astype(np.float32)
    squares = torch.nn.functional.interpolate(
        torch.from_numpy(tiles), (64, 64), mode="bilinear", antialias=True
    ).numpy()
    boxes = BOXES * [3, 2, 3, 2]
    near(model.mask_quality(tiles, boxes), torch.from_numpy(model.mask_quality(squares, BOXES)))
    large, small = model.segment(tiles, boxes), model.segment(squares, BOXES)
    assert large.shape == (2, 2, 128, 192)
    assert (large == small.repeat(2, axis=2).repeat(3, axis=3)).mean() > 0.9


def test_images_are_encoded_once_for_all_boxes(model, monkeypatch):
    calls = []
    encode = model._net.get_image_embeddings
    monkeypatch.setattr(
        model._net, "get_image_embeddings", lambda x: calls.append(len(x)) or encode(x)
    )
    model.mask_quality(BATCH, np.repeat(BOXES, 5, axis=1))
    assert calls == [2]


def test_another_size_than_the_networks(folder):
    with pytest.raises(ParameterError, match="only supports images of 64 pixels"):
        build(folder, "hf?size=128")


def test_boxes_outside_of_the_tile(model):
    with pytest.raises(DataError, match=r"box 0 of image 0 is \(4, 8, 40, 50\).*64 x 32"):
        model.segment(BATCH[:, :, :32], BOXES)
