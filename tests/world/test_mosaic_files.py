import json

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveate.errors import DataError, ParameterError, StorageError
from foveate.raster import FileSource
from foveate.world import join, patches_in, stitch, write_image, write_mosaics


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Five class folders of three RGB patches of 8 px, one of another size."""
    root = tmp_path_factory.mktemp("classes")
    draw = np.random.default_rng(0)
    for name in ("wood", "lake", "town", "field", "sand"):
        (root / name).mkdir()
        for i in range(3):
            side = 7 if (name, i) == ("lake", 0) else 8
            pixels = draw.integers(0, 256, (side, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}{i}.png")
    (root / ".hidden").mkdir()
    (root / "README.md").write_text("not a class")
    return root


def test_class_folders_are_found(classes):
    found = patches_in(classes)
    assert list(found) == ["field", "lake", "sand", "town", "wood"]
    assert [path.name for path in found["lake"]] == ["lake0.png", "lake1.png", "lake2.png"]


def test_folders_without_classes_are_refused(classes, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        patches_in(tmp_path / "none")
    with pytest.raises(DataError, match="no class folders"):
        patches_in(classes / "wood")
    (tmp_path / "train" / "wood").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no images in the class folder .*whose subfolders"):
        patches_in(tmp_path)


@pytest.mark.parametrize("form", ["tif", "png"])
def test_mosaics_are_written_with_their_truth(classes, tmp_path, form):
    files = write_mosaics(classes, tmp_path, "rare", 2, rows=3, cols=4, seed=7, form=form)
    truth = json.loads(files.truth.read_text())
    assert truth["seed"] == 7
    for i, (path, scene) in enumerate(zip(files.images, truth["mosaics"], strict=True)):
        assert (tmp_path / scene["file"]) == path
        expected = stitch(patches_in(classes), "rare", rows=3, cols=4, seed=7, index=i)
        assert (FileSource(str(path)).read().data == expected.image).all()
        assert scene["cells"] == expected.names.tolist()
        assert scene["label"] == expected.label == files.labels[i]
        assert (scene["kind"], scene["tile"]) == ("rare", 8)
        assert [tuple(box.values()) for box in scene["planted"]] == list(expected.planted)
        assert scene["offset"] == 0
    if form == "tif":
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(path) as dataset:
            assert dataset.crs is None


def test_earlier_mosaics_are_replaced_and_other_files_are_not(classes, tmp_path):
    write_mosaics(classes, tmp_path, "one", 3, rows=2, cols=2)
    with pytest.raises(ParameterError):  # what cannot be made removes nothing
        write_mosaics(classes, tmp_path, "blocks", 1, rows=3, cols=2)
    assert len(list((tmp_path / "images").iterdir())) == 3
    write_mosaics(classes, tmp_path, "one", 1, rows=2, cols=2, form="png")
    assert [p.name for p in (tmp_path / "images").iterdir()] == ["mosaic-000.png"]
    (tmp_path / "images" / "mine.tif").touch()
    with pytest.raises(StorageError, match=r"images/mine\.tif"):
        write_mosaics(classes, tmp_path, "one", 1)


@pytest.mark.parametrize(("more", "words"), [({"form": "jpg"}, "form"), ({"count": 0}, "count=0")])
def test_options_are_checked(classes, tmp_path, more, words):
    with pytest.raises(ParameterError, match=words):
        write_mosaics(classes, tmp_path, "one", **more)


@given(st.data())
def test_parts_of_any_grid_come_together_again(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("parts")
    heights, widths = (
        data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)) for _ in range(2)
    )
    shape = (3, sum(heights), sum(widths))
    scene = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    k = 0
    for band in np.split(scene, np.cumsum(heights)[:-1], axis=1):
        for part in np.split(band, np.cumsum(widths)[:-1], axis=2):
            k += 1
            write_image(root / f"part_{k}.png", part)  # part_10 comes after part_9
    assert (join(root, len(heights), len(widths)).image == scene).all()


def test_parts_that_do_not_fit_are_named(tmp_path):
    def part(name, height, width, bands=3):
        write_image(tmp_path / f"{name}.png", np.zeros((bands, height, width), np.uint8))
        return tmp_path / f"{name}.png"

    a, b, c = part("a", 4, 4), part("b", 4, 5), part("c", 5, 4)
    assert join([a, b], 1, 2).image.shape == (3, 4, 9)
    assert join([a, c], 2, 1).image.shape == (3, 9, 4)
    with pytest.raises(
        DataError, match=r"c\.png' has 5 x 4 .* row 1, column 2 .* expected size is 4 x 4"
    ):
        join([a, c], 1, 2)
    with pytest.raises(ParameterError, match="3 image"):
        join(tmp_path, 2, 2)
    with pytest.raises(DataError, match="1 band"):
        join([a, part("d", 4, 4, bands=1)], 1, 2)
    with pytest.raises(DataError, match="does not exist"):
        join(tmp_path / "none", 1, 1)


def test_images_that_a_file_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="uint16 in a PNG"):
        write_image(tmp_path / "a.png", np.zeros((3, 4, 4), np.uint16))
    with pytest.raises(ParameterError, match=r"end in \.tif"):
        write_image(tmp_path / "a.jpg", np.zeros((3, 4, 4), np.uint8))


@pytest.mark.realdata
def test_real_patches_of_several_sizes_make_one_mosaic(realdata):
    patches = patches_in(realdata / "ucmerced" / "images")
    mosaic = stitch(patches, "rare-mixed", rows=4, cols=4, label="airplane")
    assert mosaic.image.shape == (3, 1024, 1024)
    assert mosaic.tile == 256
    assert (mosaic.names == "airplane").sum() == 1
    sizes = {FileSource(str(p)).info.shape for p in patches["overpass"]}
    assert len(sizes) > 1
    assert stitch(patches, "one", rows=10, cols=10, label="overpass").image.shape == (3, 2560, 2560)


@pytest.mark.realdata
def test_the_parts_of_a_real_scene_are_contiguous(realdata):
    for tile in ("tile1", "tile2"):  # rows, then columns that differ by a pixel
        folder = realdata / "dubai" / tile
        image = join(folder / "images", 3, 3).image
        assert join(folder / "masks", 3, 3).image.shape == image.shape
        height, width = FileSource(str(min((folder / "images").iterdir()))).info.shape
        steps = [np.abs(np.diff(image.astype(int), axis=a)).mean(axis=(0, 3 - a)) for a in (1, 2)]
        for step, seam in zip(steps, (height - 1, width - 1), strict=True):
            assert step[seam] < 1.5 * np.median(step)  # no more than between any two lines
