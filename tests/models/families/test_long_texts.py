"""Texts longer than a model reads are reported, in every family with a text encoder."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.grid import Grid
from foveate.models import bind, load_model
from foveate.pool import Pool, Scene
from foveate.raster import ArraySource
from foveate.testing.tiny import tiny_model

pytest.importorskip("torch")


def pool():
    source = ArraySource(np.zeros((3, 32, 32), np.uint8))
    tiles = Grid.split((32, 32), 1, 1).tiles("image")
    return Pool(ids=tiles.tile_id, scenes=(Scene("image", source),), tiles=tiles)


@pytest.mark.parametrize("kind", ["open_clip", "hf_clip", "hf_siglip", "tuned"])
def test_long_texts_are_reported(kind, tmp_path, caplog):
    pytest.importorskip("transformers" if kind.startswith("hf") else "open_clip")
    name, weights = tiny_model(kind, tmp_path / kind)
    model = bind(load_model(name, weights=weights, device="cpu"), pool())
    with caplog.at_level("WARNING", "foveate"):
        model.embed_text(["a lake"])
        assert "are longer than" not in caplog.text
        model.embed_text(["a lake", "a lake and " * 100 + "a river"])
    assert f"1 of 2 texts are longer than the {model.text_spec.context} tokens" in caplog.text
    assert "'a lake and a lake" in caplog.text


def test_a_folder_of_pointers_has_not_been_fetched(tmp_path):
    pytest.importorskip("transformers")
    name, folder = tiny_model("hf_clip", tmp_path / "clip")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="git lfs pull"):
        bind(load_model(name, weights=folder, device="cpu"), pool())
