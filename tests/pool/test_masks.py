"""From masks of any kind to class counts: what is counted and what is not."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.labels import Legend
from foveate.pool import open_pool
from foveate.raster import FileSource, write_cog

infer_module = importlib.import_module("foveate.pool.infer")
COLOURS = {"water": "#E2A929", "road": "#6EC1E4", "field": "#3C1098"}
RGB = np.array([[int(v[i : i + 2], 16) for i in (1, 3, 5)] for v in COLOURS.values()], np.uint8)
INDEX = np.repeat([[0, 1, 2, 2]], 16, axis=0).repeat(4, axis=1)  # 16 x 16: 64, 64, 128


def open_(tmp_path, **options):
    return open_pool(tmp_path / "images", masks=tmp_path / "masks", tile=16, **options)


@pytest.fixture
def image(picture):
    return picture("images/a.png")


def test_values_of_index_masks_become_classes(image, picture, tmp_path):
    picture("masks/a.png", INDEX * 10)
    pool = open_(tmp_path)
    assert pool.legend.names == ("class 0", "class 10", "class 20")
    assert pool.counts.tolist() == [[64, 64, 128]]


def test_rgb_masks_with_a_classes_file(image, picture, tmp_path):
    picture("masks/a.png", RGB[INDEX])
    pool = open_(tmp_path, classes=Legend.from_dict({"classes": COLOURS}))
    assert pool.counts.tolist() == [[64, 64, 128]]


def test_rgb_masks_without_a_classes_file_say_what_to_write(image, picture, tmp_path):
    picture("masks/a.png", RGB[INDEX])
    with pytest.raises(DataError, match=r"RGB and there is no classes file.*#3C1098.*--classes"):
        open_(tmp_path)


@pytest.mark.parametrize("classes", [COLOURS, {"water": 0, "road": 1, "field": 2}])
def test_palette_masks_are_colours_or_indices_as_the_classes_say(image, picture, tmp_path, classes):
    picture("masks/a.png", INDEX, palette=RGB.tolist())
    pool = open_(tmp_path, classes=Legend.from_dict({"classes": classes}))
    assert pool.counts.tolist() == [[64, 64, 128]]


def test_palette_masks_without_classes_are_indices(image, picture, tmp_path):
    picture("masks/a.png", INDEX, palette=RGB.tolist())
    assert open_(tmp_path).counts.tolist() == [[64, 64, 128]]


CONTENT = {"classes": {"water": 0, "both": [1, 7]}, "ignore": [2]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", json.dumps(CONTENT)),
        ("c.yaml", "classes: {water: 0, both: [1, 7]}\nignore: [2]"),
        ("c.yml", "classes:\n  water: 0\n  both: [1, 7]\nignore: [2]"),
        ("c.toml", "ignore = [2]\n[classes]\nwater = 0\nboth = [1, 7]"),
    ],
)
def test_classes_files_in_any_format(image, picture, tmp_path, name, text):
    picture("masks/a.png", INDEX)
    (tmp_path / name).write_text(text)
    pool = open_(tmp_path, classes=tmp_path / name)
    assert pool.legend.names == ("water", "both")
    assert pool.counts.tolist() == [[64, 64]]  # the ignored half is in no count


def test_ignored_classes_do_not_count_for_complexity(image, picture, tmp_path):
    from foveate.curate import rank

    picture("masks/a.png", np.where(INDEX == 2, 9, INDEX))
    legend = Legend.from_dict({"classes": {"a": 0, "b": 1, "other": 9}, "ignore": ["other"]})
    found = rank(open_(tmp_path, classes=legend), "lc")
    assert found.score.tolist() == [1.0]


def test_a_value_without_a_class_is_named(image, picture, tmp_path):
    picture("masks/a.png", INDEX)
    with pytest.raises(DataError, match=r"mask of 'a' has 128 pixels.*most often 2"):
        open_(tmp_path, classes=Legend.from_dict({"classes": {"water": 0, "road": 1}}))


# --- nodata --------------------------------------------------------------------------------


def scene(tmp_path, valid, name="a", shape=(16, 64), **options):
    """A 16 x 64 image (four tiles); `valid` are the shares of valid rows of each tile."""
    data = np.full((2, *shape), 5, np.uint16)
    for i, share in enumerate(valid):
        data[:, round(16 * share) :, i * 16 : (i + 1) * 16] = 0
    (tmp_path / "images").mkdir(exist_ok=True)
    write_cog(tmp_path / f"images/{name}.tif", data, **options)


def mask(tmp_path, values, name="a", **options):
    (tmp_path / "masks").mkdir(exist_ok=True)
    write_cog(tmp_path / f"masks/{name}.tif", np.asarray(values, np.uint8), **options)


def test_mostly_empty_tiles_leave_the_pool_and_are_named(tmp_path):
    scene(tmp_path, [1, 0.5, 0.25, 0], nodata=0)
    pool = open_pool(tmp_path / "images", tile=16)
    assert pool.tiles.x.tolist() == [0, 16]
    assert pool.tiles.valid_share.tolist() == [1, 0.5]
    assert pool.excluded == {
        "a/y000000_x000032_16x16": "25.0% valid pixels, under 50%",
        "a/y000000_x000048_16x16": "0.0% valid pixels, under 50%",
    }
    assert len(open_pool(tmp_path / "images", tile=16, min_valid=0)) == 4
    assert pool.costs()["pixels"].tolist() == [256, 128]


def test_nodata_by_the_user(tmp_path):
    scene(tmp_path, [1, 0.5, 0.25, 0])
    assert len(open_pool(tmp_path / "images", tile=16)) == 4
    pool = open_pool(tmp_path / "images", tile=16, nodata=0)
    assert pool.tiles.valid_share.tolist() == [1, 0.5]


def test_a_scene_of_nothing_but_nodata(tmp_path):
    scene(tmp_path, [1] * 4)
    scene(tmp_path, [0] * 4, name="b")
    with pytest.raises(DataError, match=r"scene 'b' has no valid pixel.*--nodata"):
        open_pool(tmp_path / "images", tile=16, nodata=0)


def test_patches_of_nothing_but_nodata_leave_the_pool(tmp_path, caplog):
    for name, value in (("a", 1), ("b", 0), ("c", 0)):
        scene(tmp_path, [value], name=name, shape=(16, 16), nodata=0)
    with pytest.raises(DataError, match=r"scene 'b' .*1 more.*--skip-empty"):
        open_pool(tmp_path / "images", tile=16)
    pool = open_pool(tmp_path / "images", tile=16, skip_empty=True)
    assert pool.tiles.scene.tolist() == ["a"]
    assert [i.split("/")[0] for i in pool.excluded] == ["b", "c"]
    assert "2 of 3 images contain only nodata and are not used, the first is 'b'" in caplog.text


@pytest.mark.parametrize(
    ("min_valid", "text"), [(0.5, "all 1 tiles have less"), (0, "contain only nodata")]
)
def test_a_pool_of_nothing_but_nodata(tmp_path, min_valid, text):
    scene(tmp_path, [0], shape=(16, 16), nodata=0)
    with pytest.raises(DataError, match=f"{text}.*--nodata, nodata="):
        open_pool(tmp_path / "images", tile=16, min_valid=min_valid, skip_empty=True)


def test_a_threshold_that_leaves_nothing(tmp_path):
    scene(tmp_path, [0.5] * 4, nodata=0)
    with pytest.raises(DataError, match=r"all 4 tiles have less than 90%.*--min-valid"):
        open_pool(tmp_path / "images", tile=16, min_valid=0.9)


def test_pixels_without_image_or_label_are_in_no_count(tmp_path):
    scene(tmp_path, [1, 0.5, 1, 1], nodata=0)
    labels = np.ones((16, 64))
    labels[:, 32:40] = 255
    labels[:8, 60:] = 2
    mask(tmp_path, labels, nodata=255)
    pool = open_(tmp_path)
    assert pool.legend.names == ("class 1", "class 2")
    assert pool.counts.tolist() == [[256, 0], [128, 0], [128, 0], [224, 32]]


def test_masks_agree_with_counts_also_beyond_the_edge(tmp_path):
    scene(tmp_path, [1, 0.5, 1, 1], nodata=0)
    labels = np.ones((16, 64))
    labels[12:, 16:32] = 99  # no class, but under nodata
    mask(tmp_path, labels)
    legend = Legend.from_dict({"classes": {"one": 1}})
    pool = open_pool(
        tmp_path / "images", masks=tmp_path / "masks", tile=24, edge="pad", classes=legend,
        min_valid=0,
    )  # fmt: skip
    codes = list(pool.masks())
    assert {c.shape for c in codes} == {(24, 24)}
    assert [int((c == 0).sum()) for c in codes] == pool.counts[:, 0].tolist()
    only = list(pool.masks(np.array([False, True, False])))
    assert len(only) == 1
    assert (only[0] == codes[1]).all()


# --- masks as they come --------------------------------------------------------------------


def raw_mask(tmp_path, data):
    (tmp_path / "masks").mkdir(exist_ok=True)
    write_cog(tmp_path / "masks/a.tif", data)


def test_a_mask_is_read_in_blocks(image, tmp_path, picture, monkeypatch):
    picture("masks/a.png", INDEX)
    monkeypatch.setattr(infer_module, "_BLOCK", 48)
    windows = []
    read = FileSource.read

    def spy(self, window=None, **options):
        windows.append(window)
        return read(self, window, **options)

    monkeypatch.setattr(FileSource, "read", spy)
    legend = infer_module.infer_legend([FileSource(str(tmp_path / "masks/a.png"))])
    assert legend.names == ("class 0", "class 1", "class 2")
    assert [w.h for w in windows] == [3, 3, 3, 3, 3, 1]


def test_a_mask_of_floats_is_one_of_classes_only_when_whole(image, tmp_path):
    raw_mask(tmp_path, INDEX.astype(np.float32))
    assert open_(tmp_path).counts.tolist() == [[64, 64, 128]]
    broken = INDEX.astype(np.float32)
    broken[3, 3] = 0.5
    raw_mask(tmp_path, broken)
    for classes in (None, Legend.of_indices([0, 1, 2])):
        with pytest.raises(
            DataError, match=r"contains 0.5 and 0 more values that are not integers"
        ):
            open_(tmp_path, classes=classes)


def test_missing_pixels_of_a_mask_of_floats_are_no_values(image, tmp_path):
    holes = INDEX.astype(np.float32)
    holes[:4, :4] = np.nan
    raw_mask(tmp_path, holes)
    assert open_(tmp_path).counts.tolist() == [[48, 64, 128]]


def test_a_mask_of_measurements_is_refused(image, tmp_path, monkeypatch):
    monkeypatch.setattr(infer_module, "_MANY_VALUES", 100)
    raw_mask(tmp_path, np.arange(256, dtype=np.uint16).reshape(16, 16))
    with pytest.raises(DataError, match=r"more than 100 different values, up to 255.*--masks"):
        open_(tmp_path)


def test_a_mask_of_two_bands_is_refused(image, tmp_path):
    raw_mask(tmp_path, np.zeros((2, 16, 16), np.uint8))
    with pytest.raises(DataError, match="a mask of 2 bands"):
        open_(tmp_path)


def test_patches_with_few_labelled_pixels_leave_the_pool_when_asked(tmp_path):
    scene(tmp_path, [1] * 4)
    labels = np.ones((16, 64))
    labels[:, 16:28] = 255  # three quarters of the second tile
    mask(tmp_path, labels, nodata=255)
    assert len(open_(tmp_path)) == 4
    pool = open_(tmp_path, min_labelled=0.5)
    assert len(pool) == 3
    assert list(pool.excluded.values()) == ["25.0% labelled pixels, under 50%"]
    mask(tmp_path, [[1, 255] * 32] * 16, nodata=255)
    with pytest.raises(DataError, match=r"all 4 tiles have less than 100%.*--min-labelled"):
        open_(tmp_path, min_labelled=1.0)


def test_valid_tiles_without_labels_and_labelled_tiles_without_pixels_leave_nothing(tmp_path):
    scene(tmp_path, [1, 0.25, 0.25, 0.25], nodata=0)
    labels = np.ones((16, 64))
    labels[:, :14] = 255  # of the valid tile
    mask(tmp_path, labels, nodata=255)
    with pytest.raises(DataError, match=r"all 1 tiles .* 20% labelled.*3 more are mostly invalid"):
        open_(tmp_path, min_labelled=0.2)
