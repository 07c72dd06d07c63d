"""`foveate mosaic` and `foveate join` as a user calls them."""

import numpy as np
import pytest
from command import here
from patches import write_patches
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_patches(tmp_path_factory.mktemp("classes"), per_class=4) / "images"


def test_mosaics_by_command(folder, tmp_path):
    options = ["--kind", "rare", "--count", "2", "--rows", "3", "--cols", "3", "--form", "png"]
    answer = here("mosaic", folder, "--out", tmp_path / "m", *options, "--json")
    assert answer.status == 0, answer.err
    assert [m["label"] in ("bare_soil", "DenseForest", "openwater") for m in answer.json["mosaics"]]
    with Image.open(answer.json["mosaics"][1]["file"]) as image:
        assert image.size == (72, 72)
    before = {p: p.read_bytes() for p in (tmp_path / "m").rglob("*.*")}
    again = here("mosaic", folder, "--out", tmp_path / "m", *options)
    assert "2 mosaics of kind rare" in again.out
    assert {p: p.read_bytes() for p in (tmp_path / "m").rglob("*.*")} == before


def test_a_wrong_kind_is_explained(folder, tmp_path):
    answer = here("mosaic", folder, "--out", tmp_path / "m", "--kind", "block")
    assert answer.status == 1
    assert "Did you mean 'blocks'?" in answer.err
    assert not (tmp_path / "m").exists()


def test_parts_by_command(tmp_path):
    scene = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    for k in range(6):
        y, x = divmod(k, 3)
        part = scene[3 * y : 3 * y + 3, 3 * x : 3 * x + 3]
        Image.fromarray(part).save(tmp_path / f"part{k}.png")
    parts = [tmp_path / f"part{k}.png" for k in range(6)]
    out = tmp_path / "scene" / "a.png"
    options = ["--rows", "2", "--cols", "3", "--out", out]
    answer = here("join", *parts, *options, "--json")
    assert answer.status == 0, answer.err
    place = "none; the parts have none, so their order was not checked"
    size = {"bands": 3, "height": 6, "width": 9}
    assert answer.json == {"file": str(out), **size, "georeference": place}
    with Image.open(out) as image:
        assert (np.asarray(image) == scene).all()
    answer = here("join", tmp_path, "--rows", "3", "--cols", "3", "--out", out)
    assert answer.status == 1
    assert "6 image(s)" in answer.err
