"""The recipes of docs/segmenters.md run, on stand-ins of the projects' modules."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

PAGE = Path(__file__).parents[2] / "docs" / "segmenters.md"
TILES = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 48), np.uint8)
TILES[:, :, :32] //= 4  # dark above, bright below
BOXES = np.float32([[[0, 0, 48, 64], [4, 40, 40, 60]], [[0, 0, 48, 64], [0, 2, 30, 20]]])


def recipe(heading):
    """Return the code of a section of the page."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"```python\n(.*?)```", section[1], re.DOTALL))


def module(monkeypatch, name, **content):
    """Put a stand-in of a module where it is imported from."""
    made = ModuleType(name)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)


def run(heading):
    space = {}
    exec(compile(recipe("Helpers of all recipes"), str(PAGE), "exec"), space)  # noqa: S102
    exec(compile(recipe(heading), str(PAGE), "exec"), space)  # noqa: S102
    return space["model"]


def brightness(x, side):
    """Return (b, 1, side, side) means of images from 0 to 1."""
    return torch.nn.functional.adaptive_avg_pool2d(x.mean(dim=1, keepdim=True), side)


def lora_sam(monkeypatch):
    """Stand in for the copies of segment_anything in SAMed and BLO-SAM: bright is the class."""

    class Net(torch.nn.Module):
        def __init__(self, sam, rank):
            super().__init__()
            self.sam = sam

        def load_lora_parameters(self, file, *device):
            self.file = file

        def forward(self, x, several, size):
            assert x.shape[2:] == (size, size)
            assert 0 <= x.min() <= x.max() <= 1
            logits = 20 * (brightness(x, size // 4) - 0.3)
            return {"low_res_logits": torch.cat([-logits, logits], dim=1)}

    def build(**given):
        assert given["pixel_mean"] == [0, 0, 0]
        return SimpleNamespace(
            image_encoder=lambda x: brightness(x, given["image_size"] // 16).repeat(1, 256, 1, 1)
        ), None

    module(monkeypatch, "sam_lora_image_encoder", LoRA_Sam=Net)
    module(monkeypatch, "segment_anything", sam_model_registry={"vit_b": build})


def open_mmlab(monkeypatch):
    """Stand in for mmengine and mmdet: a box gives what is bright anywhere."""

    class Prompts:
        def __call__(self, prompts, *, image_size, with_bboxes):
            assert with_bboxes
            assert image_size == (1024, 1024)
            assert prompts.bboxes.max() <= 1024
            count = len(prompts.bboxes)
            return torch.zeros(count, 2, 8), torch.zeros(count, 8, 64, 64)

        def get_dense_pe(self):
            return torch.zeros(1, 8, 64, 64)

    class Detector:
        pe = Prompts()

        def init_weights(self):
            pass

        def eval(self):
            pass

        def backbone(self, x):
            return [brightness(x, 64)]

        def neck(self, features):
            return features[0].repeat(1, 256, 1, 1)

        def fpn_neck(self, features):
            return tuple(features)

        def mask_decoder(self, *, image_embeddings, sparse_prompt_embeddings, fpn_feats, **more):
            assert not more["multi_mask_output"]
            assert len(fpn_feats) == 1
            count = len(sparse_prompt_embeddings)
            return image_embeddings[:, :1].repeat(count, 1, 1, 1), None, None

    values = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    whole = SimpleNamespace(model=SimpleNamespace(data_preprocessor=values))
    module(monkeypatch, "mmdet")
    module(monkeypatch, "mmdet.registry", MODELS=SimpleNamespace(build=lambda _: Detector()))
    module(monkeypatch, "mmengine")
    module(monkeypatch, "mmengine.config", Config=SimpleNamespace(fromfile=lambda _: whole))
    module(monkeypatch, "mmengine.structures", InstanceData=SimpleNamespace)


@pytest.mark.parametrize(
    ("heading", "stand_in", "cuts"),
    [("BLO-SAM", lora_sam, True), ("OVSAM", open_mmlab, False), ("ClipSAM", None, True)],
)
def test_a_recipe_makes_a_model_that_segments(heading, stand_in, cuts, monkeypatch):
    if stand_in is not None:
        stand_in(monkeypatch)
    model = run(heading)
    masks, quality = model.segment(TILES, BOXES), model.mask_quality(TILES, BOXES)
    assert masks.shape == (2, 2, 64, 48)
    assert masks[:, 0, 40:].mean() > 0.8 * masks[:, 0].mean() > 0
    assert not masks[:, 0, :24].any()
    assert ((quality >= 0) & (quality <= 1)).all()
    assert (quality[:, 0] > 0.5).all()
    if cuts:  # a box has no say but where it ends
        assert not masks[0, 1, :40].any()
        assert quality[1, 1] == 0  # the dark part
    vectors = model.embed(TILES)
    assert vectors.shape == (2, model.spec.dim)
    assert np.isfinite(vectors).all()
