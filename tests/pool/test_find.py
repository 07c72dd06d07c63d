"""What is found below a path, and what is left out, as data."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from foveate.errors import DataError, ParameterError
from foveate.pool.find import find, need_files, need_paths, readable
from foveate.pool.names import Names
from foveate.pool.pairing import pair_files
from foveate.pool.roles import find_both, plain_images


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels")
    return root


@contextlib.contextmanager
def folder():
    """A folder for an example: those of pytest are slow to come by."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


def keys(found):
    return [file.key for file in found.files]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("a.zip", ".", "unzip"), ("a.tar", "a.tar", "tar xf"), ("a.npy", "a.npy", "to_parquet"),
        ("a.csv", "a.csv", "to_parquet"), ("a.geotiff", ".", "gdal_translate"),
        ("part=1/a.parquet", ".", "**/*.parquet"), ("a.txt", ".", "Check the path"),
    ],
)  # fmt: skip
def test_a_folder_without_images_says_what_to_do_with_the_others(tmp_path, name, given, said):
    touch(tmp_path, name)
    with pytest.raises(DataError) as caught:
        need_files(find(tmp_path / given, "image"), "image")
    assert said in str(caught.value)


def test_what_is_left_out_is_data(tmp_path):
    touch(tmp_path, "a.tif", ".b.tif", "@eaDir/a.tif", "c.nc", "notes.txt", "run/thumbs/a.jpg")
    (tmp_path / "run/run.json").write_text(json.dumps({"schema": 1, "steps": {}}))
    (tmp_path / "d.tif").symlink_to(tmp_path / "none")
    (tmp_path / "e.tif").touch()
    (tmp_path / "catalog.json").write_text("{}")
    found = find(tmp_path, "image")
    assert keys(found) == ["a"]
    out = {str(one.path.relative_to(tmp_path)): one.reason for one in found.left_out}
    assert out == {
        ".b.tif": "hidden", "@eaDir/a.tif": "system", "c.nc": "format", "notes.txt": "other",
        "catalog.json": "catalogue",
        "run": "run", "d.tif": "link", "e.tif": "empty",
    }  # fmt: skip
    assert found.why("link") == [tmp_path / "d.tif"]
    notes = found.notes()
    assert {note.topic for note in notes} == {"files"}
    assert len(notes) == 7  # nobody needs to hear of texts
    assert [note.items for note in notes if "format" in note.text] == [(str(tmp_path / "c.nc"),)]


def test_a_run_that_was_cut_off_is_a_run_all_the_same(tmp_path):
    touch(tmp_path, "a.tif", "run/thumbs/a.jpg", "run/scenes.parquet", "mine/b.tif")
    for name in ("run", "mine"):
        (tmp_path / name / "run.json").write_text('{"schema": 1, "st')
    assert keys(find(tmp_path, "image")) == ["a", "mine/b"]


def test_folders_inside_a_run_may_be_asked_for(tmp_path):
    touch(tmp_path, "run/lr/a.tif")
    (tmp_path / "run/run.json").write_text(json.dumps({"schema": 1, "steps": {}}))
    assert keys(find(tmp_path / "run/lr", "image")) == ["a"]


@pytest.mark.parametrize("name", ["a.dvc", "a"])
def test_what_has_not_been_fetched_says_how(tmp_path, name):
    touch(tmp_path, name)
    if name == "a":
        (tmp_path / "link").symlink_to(tmp_path / "annex")
    with pytest.raises(DataError, match=r"dvc pull"):
        need_paths(tmp_path / ("link" if name == "a" else "a"), "image")


NAMES = st.text("ab._", min_size=1, max_size=3).filter(lambda n: not n.startswith("."))
FOLDERS = st.lists(NAMES, max_size=2)
GLOBS = st.lists(
    st.sampled_from(["*", "**", "a*", "?", "*b", "[ab]", "[!a]", "a", "b", "*.tif"]),
    min_size=1, max_size=3,
)  # fmt: skip


@given(st.lists(st.tuples(FOLDERS, NAMES), min_size=1, max_size=6), GLOBS)
@example([([], "a")], ["**"])
def test_globs_find_what_pathlib_finds(files, parts):
    pattern = "/".join(parts)
    assume(any(c in parts[0] for c in "*?["))
    with folder() as root:
        for folders, name in files:
            touch(root, "/".join([*(f"{f}d" for f in folders), f"{name}.tif"]))
        wanted = set()
        for path in root.glob(pattern):
            wanted |= set(path.rglob("*.tif")) if path.is_dir() else {path}
        found = find(root / pattern, "image").files
        assert {file.path for file in found} == {p for p in wanted if p.is_file()}


def test_wildcards_stand_for_what_two_globs_share(tmp_path):
    touch(tmp_path, "x/1-a.tif", "x/1-b.tif", "y/1-a.tif", "y/1-b.tif", "y/2-b.tif")
    found = pair_files(str(tmp_path / "**/*-a.tif"), str(tmp_path / "**/*-b.tif"))
    assert [(row.key, row.mask.relative_to(tmp_path).as_posix()) for row in found.rows] == [
        ("x/1-a", "x/1-b.tif"), ("y/1-a", "y/1-b.tif"),
    ]  # fmt: skip
    assert [note.text for note in found.notes] == [
        "1 of 3 masks match no image and are not used, the first is 'y/2-b'"
    ]


def test_a_glob_that_finds_nothing(tmp_path):
    touch(tmp_path, "a.tif")
    with pytest.raises(DataError, match="no image found in"):
        pair_files(str(tmp_path / "*_x.tif"))
    with pytest.raises(DataError, match="does not exist"):
        pair_files(str(tmp_path / "none/*.tif"))
    with pytest.raises(ParameterError, match="is an empty string"):
        need_paths(["a", ""], "image")


WORDS = ["a", "img", "mask", "gt", "rgb", "1", "label", "x"]
STEMS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("_".join)
PLACES = st.sampled_from(["", "images/", "masks/", "x/", "x/gt/"])


@given(st.sets(st.tuples(PLACES, STEMS).map("".join), min_size=1, max_size=8))
@example({"a", "mask", "masks/a"})
def test_no_file_is_image_and_mask_whatever_the_names(names):
    with folder() as root:
        touch(root, *(f"{name}.tif" for name in names))
        try:
            images, masks = find_both(root, root)
            rows = pair_files(root, root).rows
        except DataError:
            return
    assert not {f.path for f in images.files} & {f.path for f in masks.files}
    assert all(row.mask not in row.paths for row in rows)
    assert len({row.mask for row in rows}) == len(rows)
    seen = {f.path for f in images.files} | {f.path for f in masks.files}
    assert len(seen) == len(names)  # none is lost unsaid


@given(st.sets(STEMS, min_size=1, max_size=6))
def test_images_without_masks_are_all_there_or_counted(names):
    with folder() as root:
        touch(root, *(f"{name}.tif" for name in names))
        found = plain_images(find(root, "image"))
    assert found.files
    assert len(found.files) + len(found.why("mask")) == len(names)


def test_masks_in_the_folder_of_images_are_asked_for_by_a_linked_path(tmp_path):
    touch(tmp_path, "data/a_img.tif", "data/a_mask.tif")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (row,) = pair_files(tmp_path / "data", tmp_path / "link").rows
    assert (row.paths[0].name, row.mask.name) == ("a_img.tif", "a_mask.tif")


def test_stacks_and_further_bands_pair_by_the_name_of_the_scene(tmp_path):
    touch(tmp_path, "im/s_B2.tif", "im/s_B3.tif", "im/s_QA.tif", "ma/s_label.tif", "dsm/s_img.tif")
    found = pair_files(tmp_path / "im", tmp_path / "ma", [tmp_path / "dsm"], ("B3", "B2"))
    (row,) = found.rows
    assert row.key == "s"
    assert [p.name for p in row.paths] == ["s_B3.tif", "s_B2.tif"]
    assert (row.mask.name, row.extra[0].name) == ("s_label.tif", "s_img.tif")
    assert any("no band of the stack" in note.text for note in found.notes)


def test_a_further_band_is_not_the_image(tmp_path):
    touch(tmp_path, "a.tif")
    with pytest.raises(DataError, match="and its further band are the same file"):
        pair_files(tmp_path, extra=[tmp_path])


def test_names_are_composed_and_printable():
    for form in ("NFC", "NFD"):
        assert readable(unicodedata.normalize(form, "é")) == unicodedata.normalize("NFC", "é")
    assert readable(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    names = Names(["x/é"], "the list")
    assert names.find(unicodedata.normalize("NFD", "é.tif")) == "x/é"


def test_no_paths_are_an_error():
    with pytest.raises(ParameterError, match="no paths of images"):
        find([], "image")
