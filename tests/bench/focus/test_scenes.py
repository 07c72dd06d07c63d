"""Where scenes come from, and what is known of them."""

import json

import numpy as np
import pytest
from scene_sets import SIDE, write_classes

from foveate.bench.focus.scenes import (
    LabelledScenes,
    MosaicScenes,
    StitchedScenes,
    Stitching,
    open_dataset,
    open_scenes,
)
from foveate.errors import DataError, ParameterError
from foveate.world.mosaic_files import write_mosaics

HOW = Stitching(("rare", "one"), count=2, grid=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("patches") / "classes")


def test_patches_are_stitched_anew_under_each_seed(folder):
    scenes = open_scenes(folder, HOW, stated=True)
    assert isinstance(scenes, StitchedScenes)
    first, second = scenes.scenes(0), scenes.scenes(1)
    assert [s.kind for s in first] == ["rare", "rare", "one", "one"]
    assert not {s.name for s in first} & {s.name for s in second}
    opened = first[0].open()
    assert opened.source.info.shape == (4 * SIDE, 4 * SIDE)
    assert len(opened.planted) == 1
    again = open_scenes(folder, HOW, stated=True).scenes(0)[0].open()
    assert np.array_equal(opened.source.read().data, again.source.read().data)
    assert scenes.key != open_scenes(folder, Stitching(("rare",), 2, 4), stated=True).key


def test_an_offset_cuts_scenes_off_the_grid(folder):
    scenes = open_scenes(folder, Stitching(("rare",), 2, 4, 0.5), stated=True)
    opened = scenes.scenes(0)[0].open()
    assert opened.source.info.shape == (4 * SIDE, 4 * SIDE)
    assert all(w.y % SIDE == SIDE // 2 and w.x % SIDE == SIDE // 2 for w in opened.planted)


def test_kinds_that_take_more_classes_are_left_out_unless_stated(folder):
    kinds = ("one", "rare", "rare-mixed")
    found = open_scenes(folder, Stitching(kinds, 1, 4), stated=False).scenes(0)
    assert [s.kind for s in found] == ["one", "rare"]
    stated = open_scenes(folder, Stitching(kinds, 1, 4), stated=True).scenes(0)
    with pytest.raises(ParameterError, match="3 class"):
        stated[2].open()


def test_each_class_is_drawn_before_any_is_drawn_again(folder):
    scenes = open_scenes(folder, Stitching(("one",), 6, 2), stated=True).scenes(3)
    labels = [s.label for s in scenes]
    assert set(labels[:3]) == set(labels[3:]) == {"red", "green", "blue"}


def test_scenes_of_foveate_mosaic_have_their_truth(folder, tmp_path):
    write_mosaics(folder, tmp_path / "made", "rare", 3, rows=4, cols=4)
    scenes = open_scenes(tmp_path / "made", HOW, stated=False)
    assert isinstance(scenes, MosaicScenes)
    assert scenes.classes == ("blue", "green", "red")
    found = scenes.scenes(0)
    assert [s.name for s in found] == [s.name for s in scenes.scenes(7)]
    truth = json.loads((tmp_path / "made/truth.json").read_text())["mosaics"]
    assert [s.label for s in found] == [m["label"] for m in truth]
    assert found[0].open().planted[0]._asdict() == truth[0]["planted"][0]
    fewer = open_scenes(tmp_path / "made", HOW, stated=False, count=2)
    assert len(fewer.scenes(0)) == 2
    with pytest.raises(ParameterError, match="stitched already"):
        open_scenes(tmp_path / "made", HOW, stated=True)


@pytest.mark.parametrize("content", ["[]", '{"mosaics": []}', '{"mosaics": [{"file": "a.tif"}]}'])
def test_invalid_truth_json_raises(tmp_path, content):
    (tmp_path / "truth.json").write_text(content)
    with pytest.raises(DataError, match=r"truth\.json"):
        open_scenes(tmp_path, HOW, stated=False).scenes(0)


def test_whole_scenes_have_a_class_only(folder):
    scenes = open_scenes(folder, Stitching(("whole",)), stated=True, count=2)
    assert isinstance(scenes, LabelledScenes)
    found = scenes.scenes(0)
    assert [s.label for s in found] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2
    assert found[0].open().planted == ()
    with pytest.raises(ParameterError, match="whole,rare"):
        open_scenes(folder, Stitching(("whole", "rare")), stated=True)


def test_data_sets_are_class_folders_or_named_in_the_error(folder, tmp_path):
    assert open_dataset("aid", folder, HOW, stated=True).name == "aid"
    with pytest.raises(DataError, match="does not exist"):
        open_dataset("rsi-cb", tmp_path / "none", HOW, stated=True)
    pytest.importorskip("torchgeo")
    with pytest.raises(DataError, match="no RESISC45"):
        open_dataset("resisc45", tmp_path, HOW, stated=True)
