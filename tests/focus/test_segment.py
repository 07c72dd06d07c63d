"""Masks of chosen regions from a scripted model that segments what is red."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from looks import RED, land

from foveate.errors import BudgetError, DataError, MissingCapabilityError
from foveate.focus.config import GOALS, FocusConfig, SearchConfig
from foveate.focus.segment import paste_mask, segment_image
from foveate.grid import Window
from foveate.models import from_callable
from foveate.raster import ArraySource, SourceInfo

PATCH = (164, 36, 24, 24)  # inside of the cell 160-192, 32-64
IMAGE = land(256, 256, patch=PATCH)
INSIDE = np.zeros((256, 256), bool)
INSIDE[164:188, 36:60] = True


@dataclass
class Encoded:
    """What a scripted model was given."""

    images: list = field(default_factory=list)
    boxes: list = field(default_factory=list)


def scripted(size=64):
    """Return a model whose quality is the share of a box that is red, and its record."""
    seen = Encoded()

    def segmenter(batch, boxes):
        seen.images.extend(batch)
        seen.boxes.extend(boxes)
        is_red = np.abs(batch.astype(int) - np.array(RED)[:, None, None]).max(axis=1) < 60
        masks = np.zeros((*boxes.shape[:2], *batch.shape[2:]), bool)
        for i, own in enumerate(boxes):
            for k, box in enumerate(own):
                x0, y0, x1, y1 = np.rint(box).astype(int)
                masks[i, k, y0:y1, x0:x1] = is_red[i, y0:y1, x0:x1]
        area = np.maximum((boxes[..., 2:] - boxes[..., :2]).prod(axis=2), 1)
        return masks, (masks.sum(axis=(2, 3)) / area).astype(np.float32)

    model = from_callable(
        lambda batch: batch.mean(axis=(2, 3)), name="reds", dim=3, bands=(1, 2, 3),
        fingerprint="1", input_size=None if size is None else (size, size), segmenter=segmenter,
    )  # fmt: skip
    return model, seen


def segment(model, *, image=IMAGE, valid=None, mode="feature", regions=2, **config):
    goal = GOALS[config.pop("goal", "balanced")]
    return segment_image(
        ArraySource(image, valid),
        model,
        FocusConfig(goal, mode=mode, search=SearchConfig(regions), **config),
    )


@pytest.mark.parametrize(
    ("mode", "config"), [("feature", {}), ("zoom", {"crop": 32, "passes": 60})]
)
def test_the_object_is_found_and_its_mask_lies_where_it_is(mode, config):
    model, _ = scripted()
    done = segment(model, mode=mode, regions=1, **config)
    (window,) = done.windows
    assert window.y <= 164 < window.y + window.h
    assert window.x <= 36 < window.x + window.w
    assert np.array_equal(done.scene_mask == 1, INSIDE & _in_box(done.masks[0].box))
    assert done.masks[0].pixels == int((done.scene_mask == 1).sum()) > 100
    assert done.prediction == {"masks": 1, "quality": done.masks[0].quality}
    assert done.prediction["quality"] > done.prediction_full["quality"] > 0


def _in_box(box):
    found = np.zeros((256, 256), bool)
    x0, y0, x1, y1 = (round(value) for value in box)
    found[y0:y1, x0:x1] = True
    return found


def test_feature_encodes_the_overview_once_and_each_region_twice():
    model, seen = scripted()
    done = segment(model, regions=3)
    assert len(seen.images) == done.passes == done.work.images == 1 + 2 * 3
    assert seen.boxes[0].shape == (1 + 16 + 64 + 256, 4)
    assert [len(boxes) for boxes in seen.boxes[1:]] == [5, 1] * 3
    assert np.array_equal(seen.boxes[0][0], [0, 0, *seen.images[0].shape[:0:-1]])


@pytest.mark.parametrize("passes", [20, 23, 40, 0])
def test_zoom_encodes_each_cell_once_and_each_region_once_more(passes):
    model, seen = scripted()
    done = segment(model, mode="zoom", crop=32, passes=passes)
    assert done.passes == len(seen.images) == done.work.images
    assert not passes or done.passes <= passes
    if not passes:
        assert len(seen.images) == 1 + 16 + 64 + 2


def test_masks_have_the_number_of_their_region_and_losses_are_of_the_box():
    image = land(256, 256, patch=PATCH)
    image[:, 36:60, 164:188] = np.array(RED)[:, None, None]
    model, _ = scripted()
    done = segment(model, image=image, mode="zoom", crop=32, passes=0)
    assert done.prediction["masks"] == 2
    for number, window in enumerate(done.windows, start=1):
        y, x, h, w = window
        part = np.zeros((256, 256), bool)
        part[y : y + h, x : x + w] = True
        assert not (done.scene_mask[~part] == number).any()
        assert done.masks[number - 1].pixels == (done.scene_mask == number).sum() > 100
    state = done.result.state
    assert np.allclose(state.features.x[:, 0], np.maximum(1 - done.quality, 0), atol=1e-6)
    outcome = done.stored()
    row = int(state.chosen.rows[0])
    assert outcome.columns["mask_quality"][row] == done.masks[0].quality
    assert outcome.columns["mask_pixels"].count(None) == len(state.tiles) - 2
    assert outcome.mask is done.scene_mask


def test_nodata_is_in_no_mask():
    valid = np.ones((256, 256), bool)
    valid[:, 50:] = False
    model, _ = scripted()
    done = segment(model, valid=valid, regions=4, min_valid=0.3)
    assert (done.scene_mask > 0).any()
    assert not (done.scene_mask[~valid] > 0).any()


def test_images_without_masks():
    model, _ = scripted()
    done = segment(model, image=land(256, 256))
    assert done.prediction == {"masks": 0, "quality": None}
    assert not done.scene_mask.any()


def test_a_model_of_any_size_and_batches_give_the_same():
    model, _ = scripted(None)
    one, two = (
        segment(model, mode="zoom", crop=32, passes=30, batch_size=size) for size in (1, 16)
    )
    assert one.windows == two.windows
    assert np.array_equal(one.scene_mask, two.scene_mask)


def test_a_mask_is_pasted_at_the_size_of_its_window():
    scene = np.zeros((10, 10), np.uint16)
    assert paste_mask(np.array([[True, False]]), Window(2, 4, 3, 4), scene, 7) == 6
    assert scene[2:5, 4:6].tolist() == [[7, 7]] * 3
    assert scene.sum() == 6 * 7


def test_what_it_cannot_do_is_refused_with_what_works():
    model, seen = scripted()
    cases = [
        ({"goal": "rare"}, MissingCapabilityError, "--goal balanced"),
        ({"mode": "window"}, MissingCapabilityError, "--mode feature"),
        ({"partition": "significance"}, MissingCapabilityError, "--partition uniform"),
        ({"passes": 4}, BudgetError, "Type --passes 5"),
        ({"mode": "zoom", "crop": 32, "passes": 18}, BudgetError, "Type --passes 19"),
        ({"mode": "zoom", "crop": 200}, DataError, "--crop"),
    ]
    for config, kind, text in cases:
        with pytest.raises(kind, match=text):
            segment(model, **config)
    huge = SimpleNamespace(info=SourceInfo((20_000, 20_000), 3, "uint8"))
    with pytest.raises(DataError, match="gdal_translate"):
        segment_image(huge, model, FocusConfig(GOALS["balanced"], mode="feature"))
    assert not seen.images
    plain = from_callable(lambda b: b, name="plain", dim=3, bands=(1, 2, 3), fingerprint="1")
    with pytest.raises(MissingCapabilityError, match="SAM"):
        segment(plain)
