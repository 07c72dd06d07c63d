"""Which files become scenes, and which mask belongs to which image."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.pool import open_pool

INDEX = np.tile([[1, 2]], (16, 8))


def names(pool):
    return [s.scene_id for s in pool.scenes]


def open_(tmp_path, images="images", masks="masks", **options):
    given = None if masks is None else tmp_path / masks
    return open_pool(tmp_path / images, masks=given, tile=16, **options)


def partners(pool, root):
    return {s.scene_id: s.mask.path.removeprefix(f"{root}/") for s in pool.scenes}


@pytest.mark.parametrize(
    ("image", "mask", "scene"),
    [
        ("images/a.png", "masks/a.png", "a"),
        ("images/a.jpg", "masks/a.png", "a"),
        ("images/a.png", "masks/a_mask.png", "a"),
        ("images/a.png", "masks/a_GT.png", "a"),
        ("images/x/y/a.png", "masks/x/y/a_labels.png", "x/y/a"),
        ("images/a.b.png", "masks/a.b.png", "a.b"),
    ],
)
def test_an_image_and_its_mask_in_two_folders(picture, tmp_path, image, mask, scene):
    picture(image)
    picture(mask, INDEX)
    pool = open_(tmp_path)
    assert partners(pool, tmp_path) == {scene: mask}
    assert pool.counts.tolist() == [[128, 128]]


def test_suffixes_and_folder_words_in_any_case(picture, tmp_path):
    picture("data/Images/a.PNG")
    picture("data/Masks/a.PnG", INDEX)
    pool = open_(tmp_path, "data", "data")
    assert partners(pool, tmp_path) == {"a": "data/Masks/a.PnG"}


def test_names_differ_by_case(picture, tmp_path):
    picture("images/A.png")
    picture("masks/a.png", INDEX)
    with pytest.raises(DataError, match=r"no mask, the first is 'A'.*1 match no image: a"):
        open_(tmp_path)


def test_one_folder_with_a_folder_per_tile_and_equal_file_names(picture, tmp_path):
    for tile in ("Tile 1", "Tile 2"):
        for i in (1, 2):
            picture(f"data/{tile}/images/image_part_{i}.jpg")
            picture(f"data/{tile}/masks/image_part_{i}.png", INDEX)
    pool = open_(tmp_path, "data", "data")
    assert names(pool) == [f"Tile {t}/image_part_{i}" for t in (1, 2) for i in (1, 2)]
    for scene, mask in partners(pool, tmp_path).items():
        tile, part = scene.split("/")
        assert mask == f"data/{tile}/masks/{part}.png"


def test_one_flat_folder_where_the_name_says_which_is_the_mask(picture, tmp_path):
    for name in ("a", "b"):
        picture(f"data/{name}.jpg")
        picture(f"data/{name}_mask.png", INDEX)
    pool = open_(tmp_path, "data", "data")
    assert partners(pool, tmp_path) == {"a": "data/a_mask.png", "b": "data/b_mask.png"}
    assert names(open_(tmp_path, "data", None)) == ["a", "b"]


def test_masks_without_an_image_are_left_alone(picture, tmp_path):
    picture("images/a.png")
    for name in ("a", "spare"):
        picture(f"masks/{name}.png", INDEX)
    assert names(open_(tmp_path)) == ["a"]


def test_images_without_a_mask_are_named(picture, tmp_path):
    for name in ("a", "b", "c"):
        picture(f"images/{name}.png")
    picture("masks/a.png", INDEX)
    with pytest.raises(DataError, match="2 of 3 images have no mask, the first is 'b'"):
        open_(tmp_path)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_two_files_of_one_name_are_named(picture, tmp_path, folder):
    picture("images/a.png")
    picture("masks/a.png", INDEX)
    picture(f"{folder}/a.jpg")
    with pytest.raises(DataError, match=f"two {folder} have the name 'a'.*Rename"):
        open_(tmp_path)


def test_hidden_and_other_files_are_not_imagery(picture, tmp_path):
    picture("images/a.png")
    picture("images/.thumbs/b.png")
    picture("images/._c.png")
    (tmp_path / "images/readme.txt").write_text("hello")
    assert names(open_(tmp_path, masks=None)) == ["a"]


def test_single_files_and_lists_of_files(picture, tmp_path):
    a, b = picture("x/a.png"), picture("y/b.png")
    assert names(open_pool(a, tile=16)) == ["a"]
    assert names(open_pool([a, b], tile=16)) == ["x/a", "y/b"]


def test_paths_with_dots_are_not_hidden(picture, tmp_path):
    a, b = picture("data/x/a.png"), picture("data/y/b.png")
    (tmp_path / "elsewhere").mkdir()
    dotted = [tmp_path / "elsewhere/../data" / p.parent.name / p.name for p in (b, a)]
    assert names(open_pool(dotted, tile=16)) == ["x/a", "y/b"]
    assert names(open_pool([dotted[0].parent, a.parent], tile=16)) == ["x/a", "y/b"]
    assert names(open_pool(tmp_path / "elsewhere/../data", tile=16)) == ["x/a", "y/b"]


def test_dots_after_a_link_lead_where_the_system_goes(picture, tmp_path):
    picture("far/data/a.png")
    (tmp_path / "far/inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far/inner")
    assert names(open_pool(tmp_path / "link/../data", tile=16)) == ["a"]


def test_linked_folders_are_searched_once_and_loops_end(picture, tmp_path):
    picture("disk/far/b.png")
    picture("images/near/a.png")
    (tmp_path / "images/linked").symlink_to(tmp_path / "disk/far")
    (tmp_path / "images/again").symlink_to(tmp_path / "images/near")
    (tmp_path / "images/near/loop").symlink_to(tmp_path / "images")
    assert names(open_(tmp_path, masks=None)) == ["linked/b", "near/a"]
    (tmp_path / "whole").symlink_to(tmp_path / "images")
    assert names(open_(tmp_path, "whole", None)) == ["linked/b", "near/a"]


@pytest.mark.parametrize("bands", [(), [], np.array([], int)])
def test_no_bands_are_all_bands(picture, tmp_path, bands):
    picture("images/a.png")
    assert len(open_(tmp_path, masks=None, bands=bands)) == 1


@pytest.mark.parametrize("bands", [[4], [0], [1, -1]])
def test_bands_that_are_not_there(picture, tmp_path, bands):
    picture("images/a.png")
    with pytest.raises(ParameterError, match=r"'a' has 3 bands.*between 1 and 3"):
        open_(tmp_path, masks=None, bands=bands)


@pytest.mark.parametrize(
    ("given", "text"), [("nowhere", "does not exist"), (".", "no image found in")]
)
def test_nothing_to_open(tmp_path, given, text):
    with pytest.raises(DataError, match=text):
        open_pool(tmp_path / given)


def test_an_image_and_mask_of_different_size(picture, tmp_path):
    picture("images/a.png")
    picture("masks/a.png", np.ones((16, 12)))
    said = "'a' has 16 x 16 pixels, its mask 16 x 12.*gdal_translate -r nearest -outsize 16 16 "
    with pytest.raises(DataError, match=said):
        open_(tmp_path)


def test_mixed_bands_and_dtypes(picture, tmp_path):
    picture("bands/a.png")
    picture("bands/b.png", np.ones((16, 16)))
    with pytest.raises(DataError, match=r"'a' has 3 bands, 'b' has 1.*--bands.*gdal_translate"):
        open_(tmp_path, "bands", None)
    assert len(open_(tmp_path, "bands", None, bands=[1])) == 2
    from foveate.raster import write_cog

    picture("dtypes/a.png")
    write_cog(tmp_path / "dtypes/b.tif", np.ones((3, 16, 16), np.uint16))
    with pytest.raises(DataError, match="'a' is uint8, 'b' is uint16"):
        open_(tmp_path, "dtypes", None)


# --- stacks and further bands ----------------------------------------------------------------


def band(tmp_path, name, value, shape=(32, 32), **options):
    from foveate.raster import write_cog

    data = np.full((1, *shape), value, np.uint16) + np.arange(shape[1], dtype=np.uint16)
    write_cog(tmp_path / name, data, **options)


def test_single_band_files_are_stacked_in_the_order_of_the_endings(tmp_path):
    for scene in ("s1", "s2"):
        for i, ending in enumerate(("B2", "B3", "B4")):
            band(tmp_path, f"images/{scene}_{ending}.tif", 100 * (i + 1))
    pool = open_(tmp_path, masks=None, stack=("B4", "B2"))
    assert names(pool) == ["s1", "s2"]
    raster = next(iter(pool.read([0])))
    assert raster.data[:, 0, 0].tolist() == [300, 100]


def test_a_stack_that_lacks_a_band(tmp_path):
    band(tmp_path, "images/s1_B2.tif", 1)
    with pytest.raises(DataError, match="scene 's1' has no file ending in B3"):
        open_(tmp_path, masks=None, stack=("B2", "B3"))
    with pytest.raises(DataError, match="no file name ends in X9"):
        open_(tmp_path, masks=None, stack=("X9",))


def test_two_files_for_one_band_of_a_stack(picture, tmp_path):
    band(tmp_path, "images/s1_B2.tif", 1)
    picture("images/s1_B2.png", np.ones((32, 32)))
    with pytest.raises(DataError, match="two files are the band 'B2' of the scene 's1'"):
        open_(tmp_path, masks=None, stack=("B2",))


def test_a_surface_model_of_half_the_resolution_joins_the_bands(picture, tmp_path):
    picture("images/a.png", np.zeros((32, 32, 3)))
    band(tmp_path, "dsm/a.tif", 500, (16, 16))
    pool = open_(tmp_path, masks=None, extra=[tmp_path / "dsm"])
    assert pool.describe()["bands"] == 4
    raster = next(iter(pool.read([3])))  # the lower right quarter
    assert raster.data.shape == (4, 16, 16)
    assert 507 <= raster.data[3].min() <= raster.data[3].max() <= 515
    assert (raster.data[:3] == 0).all()


def test_an_image_without_its_surface_model(picture, tmp_path):
    for name in ("a", "b"):
        picture(f"images/{name}.png")
    band(tmp_path, "dsm/a.tif", 1)
    with pytest.raises(DataError, match="have no further band, the first is 'b'"):
        open_(tmp_path, masks=None, extra=[tmp_path / "dsm"])
