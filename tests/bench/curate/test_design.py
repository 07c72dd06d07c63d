"""Which tiles train and which test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import write_labelled

from foveate.bench.curate.design import folders, folds_of, joined_pools, split_pair
from foveate.errors import DataError, ParameterError
from foveate.pool import open_pool


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("images:masks", ("images", "masks")),
        ("s3://bucket/images:s3://bucket/masks", ("s3://bucket/images", "s3://bucket/masks")),
        ("a:b/images:masks", ("a:b/images", "masks")),
        ("images:https://host/masks", ("images", "https://host/masks")),
    ],
)
def test_pairs_split_at_the_last_colon_that_begins_no_address(text, expected):
    assert split_pair(text, "--pool") == expected


@pytest.mark.parametrize("text", ["images", "images:", ":masks", "s3://bucket/images"])
def test_half_a_pair_raises_with_hint(text):
    with pytest.raises(ParameterError, match="IMAGES:MASKS") as caught:
        split_pair(text, "--train")
    assert "--train" in caught.value.hint


@given(st.integers(2, 9), st.integers(1, 5), st.integers(2, 6))
def test_each_tile_is_tested_once_and_never_trained_on(groups, each, count):
    from foveate.grid import Tiles
    from foveate.labels import Legend
    from foveate.pool.pool import Pool

    names = [f"g{i}/s{j}" for i in range(groups) for j in range(each)]
    tiles = Tiles.concat([Tiles.of(n, np.array([[0, 0, 8, 8], [8, 0, 8, 8]])) for n in names])
    legend = Legend.from_dict({"classes": {"a": 0, "b": 1}})
    pool = Pool(
        ids=tiles.tile_id, tiles=tiles, legend=legend, counts=np.ones((len(tiles), 2), np.int64)
    )
    design = folds_of(pool, "folder", min(count, groups))
    tested = np.concatenate([fold.test for fold in design.folds])
    np.testing.assert_array_equal(np.sort(tested), np.arange(len(pool)))
    for fold in design.folds:
        assert not set(design.cluster[fold.train]) & set(design.cluster[fold.test])
        np.testing.assert_array_equal(
            np.sort(np.concatenate([fold.train, fold.test])), np.arange(len(pool))
        )


def test_folders_are_the_first_part_in_which_names_differ():
    assert folders(["x/a/1", "x/a/2", "x/b/c/1"]).tolist() == ["x/a", "x/a", "x/b"]
    assert folders(["1", "2"]).tolist() == ["", ""]


@pytest.fixture
def pools(tmp_path):
    found = {}
    for name, seed in (("train", 0), ("test", 1)):
        write_labelled(tmp_path / name, n=4, side=32, classes=3, seed=seed)
        root = tmp_path / name
        found[name] = open_pool(root / "images", masks=root / "masks", tile=16)
    return found


def test_joined_pools_become_one_with_one_fold(pools):
    design = joined_pools(pools["train"], pools["test"])
    (fold,) = design.folds
    assert len(fold.train) == len(pools["train"])
    assert all(name.startswith("test/") for name in design.pool.ids[fold.test])
    first = next(iter(design.pool.read([int(fold.test[0])])))
    np.testing.assert_array_equal(first.data, next(iter(pools["test"].read([0]))).data)


def test_other_classes_raise_with_both_named(pools, tmp_path):
    write_labelled(tmp_path / "more", n=4, side=32, classes=5, seed=2)
    other = open_pool(tmp_path / "more/images", masks=tmp_path / "more/masks", tile=16)
    with pytest.raises(DataError, match="--test has") as caught:
        joined_pools(pools["train"], other)
    assert "--classes" in caught.value.hint


def test_one_folder_cannot_be_divided_by_folders(pools):
    with pytest.raises(DataError, match="one folder") as caught:
        folds_of(pools["train"], "folder")
    assert "--folds scene" in caught.value.hint


def test_more_folds_than_groups_raise(pools):
    with pytest.raises(ParameterError, match="Allowed: 2 to 4"):
        folds_of(pools["train"], "scene", 5)


def test_pools_without_masks_raise(pools, tmp_path):
    bare = open_pool(tmp_path / "train/images", tile=16)
    with pytest.raises(DataError, match="without masks"):
        folds_of(bare, "scene")
    with pytest.raises(DataError, match="without masks"):
        joined_pools(bare, bare)


def test_a_part_that_validates_is_in_neither_other(pools, tmp_path):
    write_labelled(tmp_path / "val", n=2, side=32, classes=3, seed=2)
    val = open_pool(tmp_path / "val/images", masks=tmp_path / "val/masks", tile=16)
    (fold,) = joined_pools(pools["train"], pools["test"], val).folds
    assert fold.val.size == len(val)
    parts = np.concatenate([fold.train, fold.test, fold.val])
    assert np.unique(parts).size == parts.size
    assert joined_pools(pools["train"], pools["test"]).folds[0].val.size == 0
