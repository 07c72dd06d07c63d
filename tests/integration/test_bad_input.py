"""Bad input: one clear paragraph, a non-zero exit, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import subprocess

import numpy as np
import pytest
from command import curate, foveate, here
from PIL import Image


def refused(answer, *words, out=None):
    """Check the answer: a paragraph with the words, no traceback, nothing written."""
    assert answer.status == 1, answer.err
    assert answer.out == ""
    text = answer.err.strip()
    assert text.startswith("foveate: ")
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text
    assert "defect" not in text
    for word in words:
        assert word in text
    if out is not None:
        assert not out.exists()


def test_no_such_folder(tmp_path):
    refused(
        foveate("curate", tmp_path / "nope", "--method", "fd", "--out", tmp_path / "r"),
        "nope",
        out=tmp_path / "r",
    )


def test_methods_that_need_masks_say_so_when_there_are_none(copy, tmp_path):
    answer = here("curate", copy / "images", "--method", "lc", "--out", tmp_path / "r")
    refused(answer, "lc", "--masks", "fd, fa, random, kcenter", out=tmp_path / "r")


def test_an_image_without_its_mask_is_named(copy, tmp_path):
    (copy / "masks" / "p3.png").unlink()
    refused(curate(copy, tmp_path / "r"), "1 of 6 images", "'p3'", out=tmp_path / "r")


def test_a_mask_of_another_size_is_named(copy, tmp_path):
    Image.new("RGB", (60, 64), (0, 0, 255)).save(copy / "masks" / "p2.png")
    refused(curate(copy, tmp_path / "r"), "'p2'", "64 x 64", "64 x 60", out=tmp_path / "r")


def test_an_unknown_class_colour_is_named_with_the_nearest_class(copy, tmp_path):
    mask = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    mask[:3] = (0, 250, 0)
    Image.fromarray(mask).save(copy / "masks" / "p1.png")
    answer = curate(copy, tmp_path / "r")
    refused(answer, "#00FA00", "wood", "tolerance", "96 pixels", out=tmp_path / "r")


def test_colour_masks_without_a_classes_file_get_one_to_paste(copy, tmp_path):
    answer = here("curate", copy / "images", "--masks", copy / "masks", "--out", tmp_path / "r")
    refused(answer, "--classes", "#0000FF", "classes:", out=tmp_path / "r")


def test_an_all_nodata_scene_is_named(world, tmp_path):
    from odc.geo.geobox import GeoBox

    from foveate.raster import FileSource, write_cog

    for path in sorted((world / "images").iterdir()):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
    box = FileSource(str(path)).info.geobox
    place = GeoBox((64, 64), box.affine, box.crs)
    void = np.zeros((4, 64, 64), np.uint8)
    write_cog(tmp_path / "images" / "void.tif", void, nodata=0, geobox=place)
    command = (
        "curate", tmp_path / "images", "--method", "random", "--out", tmp_path / "r",
        "--tile", "64",
    )  # fmt: skip
    refused(here(*command), "'void'", "--nodata", "--skip-empty", out=tmp_path / "r")
    answer = here(*command, "--skip-empty")
    assert answer.status == 0, answer.err
    assert "'void'" in answer.err


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_a_truncated_file_is_named(suffix, tmp_path):
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for i in range(2):
        path = images / f"p{i}.{suffix}"
        Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    answer = here("curate", images, "--method", "fa", "--out", tmp_path / "r", "--budget", "1")
    refused(answer, f"p1.{suffix}", "truncated")
    assert not list((tmp_path / "r").rglob("*.html"))
    assert not list((tmp_path / "r").rglob(".*tmp"))


def test_mixed_band_counts_are_named(copy, tmp_path):
    Image.new("L", (64, 64), 9).save(copy / "images" / "p4.png")
    refused(curate(copy, tmp_path / "r"), "3 bands", "'p4'", "1", "--bands", out=tmp_path / "r")


@pytest.mark.parametrize("budget", ["0", "0%", "-5", "120%", "some", "2%", "hectares=3", ""])
def test_budgets_that_cannot_be(budget, copy, tmp_path):
    refused(curate(copy, tmp_path / "r", f"--budget={budget}"), "budget")
    assert not (tmp_path / "r" / "selection").exists()


def test_an_unknown_method_gets_a_suggestion(copy, tmp_path):
    answer = curate(copy, tmp_path / "r", "--method", "fa-bc")
    refused(answer, "fa-bc", "Did you mean 'fa-cb'", out=tmp_path / "r")


def test_an_unknown_option_of_a_method_gets_a_suggestion(copy, tmp_path):
    answer = curate(copy, tmp_path / "r", "--method", "fd", "--option", "fd.maxk=3")
    refused(answer, "maxk", "max_k", out=tmp_path / "r")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--bands=inf", ["--bands 'inf'", "whole numbers from 1"]),
        ("--bands=1.5", ["whole numbers from 1"]),
        ("--scale=0,inf", ["--scale '0,inf'", "Expected numbers"]),
        ("--min-valid=7", ["--min-valid 7", "less than or equal to 1"]),
        ("--workers=0", ["--workers 0"]),
    ],
)
def test_numbers_that_cannot_be(option, words, copy, tmp_path):
    refused(curate(copy, tmp_path / "r", option), *words, out=tmp_path / "r")


def test_unreadable_weights(copy, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"no tensors in here")
    answer = curate(copy, tmp_path / "r", "--model", "timm:resnet18", "--weights", weights)
    refused(answer, "w.safetensors", "safetensors", out=tmp_path / "r")


class _Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (os.system, (f"touch {os.environ['BOMB']}",))


def test_a_pickle_is_refused_and_not_executed(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    weights = tmp_path / "w.pth"
    weights.write_bytes(pickle.dumps(_Bomb()))
    answer = curate(copy, tmp_path / "r", "--model", "timm:resnet18", "--weights", weights)
    refused(answer, "w.pth", "does not unpickle files", out=tmp_path / "r")
    assert not (tmp_path / "exploded").exists()


@pytest.fixture
def mount(tmp_path):
    """Mount a tiny file system; skip where that is not allowed."""
    point = tmp_path / "mounted"
    point.mkdir()

    def attach(options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)],
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip("mounting a small file system needs root")
        return point

    yield attach
    subprocess.run(["umount", str(point)], capture_output=True, check=False)


def test_a_full_disk(copy, mount):
    disk = mount("size=16k")
    refused(curate(copy, disk / "r", run=foveate), "disk is full", "--out")
    assert not list(disk.rglob("*.tmp"))


def test_a_read_only_folder(copy, mount):
    refused(curate(copy, mount("ro") / "r", run=foveate), "read-only", "another file system")


def test_a_folder_with_other_things_in_it(copy, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.docx").write_text("precious")
    refused(curate(copy, tmp_path / "r"), "not empty")
    assert (tmp_path / "r" / "thesis.docx").read_text() == "precious"


def test_errors_are_json_when_json_is_asked_for(copy, tmp_path):
    answer = curate(copy, tmp_path / "r", "--method", "nope", "--json")
    assert answer.status == 1
    assert set(json.loads(answer.out)) == {"error", "given", "allowed", "hint", "message"}
    assert answer.err == ""


def test_a_wrong_command_line_has_its_own_status():
    assert foveate("curate").status == 2
    assert here("curate", "x", "--nonsense").status == 2
    assert "--help" in here("nonsense").err
