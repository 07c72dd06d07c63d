"""What the files beside the weights say of images."""

from __future__ import annotations

import json

import pytest

from foveate.models.families.hf.common import pooled, read_image_settings
from foveate.models.families.hf.family import Checkpoint

STATED = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
CROP = {"height": 224, "width": 224}


def settings(folder, **entries):
    (folder / "preprocessor_config.json").write_text(json.dumps(entries))
    return read_image_settings(Checkpoint(folder, {"model_type": "clip"}, "here"))


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        ({"size": 224}, (224, 224)),
        ({"size": {"height": 336, "width": 448}}, (336, 448)),
        ({"size": {"shortest_edge": 224}}, (224, 224)),
        ({"size": {"longest_edge": 1024}}, (1024, 1024)),
        ({"size": {"shortest_edge": 256}, "crop_size": CROP}, (224, 224)),
        ({"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": True}, (224, 224)),
        ({"size": {"shortest_edge": 256}, "crop_size": CROP, "do_center_crop": False}, (256, 256)),
        # Limits on the number of pixels: the size is that of the image.
        ({"size": {"shortest_edge": 3136, "longest_edge": 12845056}}, None),
        ({"min_pixels": 3136}, None),
    ],
)
def test_the_size_of_the_input(tmp_path, entries, size):
    assert settings(tmp_path, **STATED, **entries).size == size


@pytest.mark.parametrize(
    ("entries", "resample"),
    [({"resample": 3}, "bicubic"), ({"resample": 2}, "bilinear"), ({}, "bicubic")],
)
def test_resampling(tmp_path, entries, resample):
    assert settings(tmp_path, **STATED, **entries).resample == resample


def test_normalisation_may_be_switched_off(tmp_path):
    found = settings(tmp_path, do_normalize=False)
    assert (found.mean, found.std) == ((0.0,), (1.0,))


def test_outputs_of_any_version_hold_a_vector():
    class Output:
        pooler_output = "vector"

    assert pooled(Output()) == "vector"
    assert pooled("vector") == "vector"
