"""The tables of files, pairs and classes: every row is made, opened, and compared."""

import itertools
import json
import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from table_rows import section

from foveate.errors import FoveateError
from foveate.labels import Legend
from foveate.pool import open_pool
from foveate.raster import write_cog

_ROW = re.compile(r"^\| `([\w-]+)` \| .* \| (.*) \|$", re.MULTILINE)
ROWS = dict(_ROW.findall(section("Files, pairs and classes")))
CASES = {}
HALVES = np.repeat([[3, 7]], 16, axis=0).repeat(8, axis=1)


def case(make):
    """Register a test of the row that it is called like."""
    CASES[make.__name__.removeprefix("_").replace("_", "-")] = make
    return make


def picture(path, array=None, **options):
    """Write an image (of another content for each name) or a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        seed = int.from_bytes(os.fsencode(path)[-8:])
        array = np.random.default_rng(seed).integers(0, 255, (16, 16, 3))
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
    return path


def tif(path, array=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_cog(path, np.ones((1, 16, 16), np.uint8) if array is None else array, **options)
    return path


def several(root, *names):
    for name in names:
        picture(root / name)
    return root


def masked(root, image="a.png", mask="m.png"):
    picture(root / image)
    picture(root / mask, HALVES)


def both(root, **options):
    return {"images": root / "images", "masks": root / "masks", **options}


# --- what is read ----------------------------------------------------------------------------


@case
def _read_folder(root):
    picture(root / "a.png", np.ones((16, 16)))
    tif(root / "sub/b.tif")
    return {"images": root}


@case
def _read_suffix(root):
    picture(root / "a.PNG", np.ones((16, 16)))
    tif(root / "b.TIF")
    return {"images": root}


@case
def _read_words(root):
    return {"images": several(root, "city/images/a.png")}


@case
def _read_file(root):
    several(root, "a.png", "b.png")
    return {"images": root / "a.png"}


@case
def _read_glob(root):
    several(root, "a_img.png", "a_x.png", "sub/b_img.png", "sub/c.png")
    return {"images": root / "**" / "*_img.png"}


@case
def _read_glob_folder(root):
    several(root, "x/2024/a.png", "y/2024/a.png", "y/2023/a.png")
    return {"images": str(root / "*" / "2024")}


@case
def _read_brackets(root):
    several(root, "a[1]/b.png", "a1/c.png")
    return {"images": root / "a[1]"}


@case
def _read_linked_folder(root):
    several(root, "disk/a.png")
    (root / "in").mkdir()
    (root / "in/far").symlink_to(root / "disk")
    (root / "in/circle").symlink_to(root / "in")
    return {"images": root / "in"}


@case
def _read_linked_file(root):
    several(root, "disk/x.png")
    (root / "in").mkdir()
    (root / "in/a.png").symlink_to(root / "disk/x.png")
    return {"images": root / "in"}


@case
def _read_one_file(root):
    several(root, "a.png")
    (root / "b.png").symlink_to(root / "a.png")
    return {"images": root}


@case
def _read_vrt(root):
    tif(root / "a.tif")
    (root / "all.vrt").write_text(
        '<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return {"images": root}


@case
def _read_pages(root):
    pages = [Image.fromarray(np.full((16, 16), v, np.uint8)) for v in (1, 2, 3)]
    pages[0].save(root / "a.tif", save_all=True, append_images=pages[1:])
    return {"images": root}


@case
def _read_overviews(root):
    tif(root / "a.tif", np.ones((1, 1100, 1100), np.uint8), nodata=0)
    return {"images": root}


@case
def _read_latin(root):
    several(root, "a.png")
    os.rename(root / "a.png", os.fsencode(root) + b"/caf\xe9.png")  # noqa: PTH104
    return {"images": root}


@case
def _read_odd(root):
    return {"images": several(root, "it's, 100%\"ü 🛰.png")}


@case
def _read_broken(root):
    (root / "a.tif").write_text("<!doctype html><title>404</title>" * 40)
    return {"images": root}


@case
def _read_empty_text(root):
    return {"images": ""}


@case
def _read_nowhere(root):
    return {"images": root / "x"}


# --- what is left out ------------------------------------------------------------------------


def beside(root, *names):
    return {"images": several(root, "a.png", *names)}


def run_of_foveate(folder):
    several(folder, "thumbs/b.png")
    (folder / "run.json").write_text(json.dumps({"schema": 1, "steps": {}, "job": {}}))


@case
def _left_run(root):
    run_of_foveate(root / "x/second try")
    return beside(root)


@case
def _left_run_hidden(root):
    run_of_foveate(root / ".runs/one")
    return beside(root)


@case
def _left_run_given(root):
    run_of_foveate(root)
    return {"images": root}


@case
def _left_run_other(root):
    several(root, "exp/b.png")
    (root / "exp/run.json").write_text('{"lr": 0.1}')
    return beside(root)


@case
def _left_link(root):
    (root / "b.png").symlink_to(root / "annex/b.png")
    return beside(root)


@case
def _left_links(root):
    for name in "bc":
        (root / f"{name}.png").symlink_to(root / f"annex/{name}.png")
    return {"images": root}


@case
def _left_pointer(root):
    (root / "b.tif").write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n")
    return beside(root)


@case
def _left_empty(root):
    (root / "b.tif").touch()
    return beside(root)


@case
def _left_special(root):
    os.mkfifo(root / "b.tif")
    return beside(root)


@case
def _left_folder(root):
    several(root, "closed/b.png")
    return beside(root)


@case
def _left_hidden(root):
    return beside(root, ".b.png", ".cache/b.png")


@case
def _left_appledouble(root):
    return beside(root, "._a.png")


@case
def _left_system(root):
    return beside(root, "@eaDir/a.png", "__MACOSX/a.png", "lost+found/a.png")


@case
def _left_preview(root):
    return beside(root, "a_thumb.jpg", "thumbs/a.jpg")


@case
def _left_preview_alone(root):
    return beside(root, "b_thumb.png")


@case
def _left_again(root):
    return {"images": [several(root, "a.png"), root]}


@case
def _left_format(root):
    for name in ("b.nc", "c.img"):
        (root / name).write_bytes(b"CDF")
    return beside(root)


@case
def _left_archive(root):
    for name in ("b.zip", "c.npy"):
        (root / name).write_bytes(b"PK")
    return beside(root)


@case
def _left_other(root):
    (root / "a.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    (root / "a.png.aux.xml").write_text("<PAMDataset></PAMDataset>")
    (root / "readme.txt").write_text("hello")
    return beside(root)


@case
def _left_mask(root):
    return beside(root, "a_mask.png")


@case
def _left_stack(root):
    for name in ("s_B2", "s_B3", "s_QA"):
        tif(root / f"{name}.tif")
    return {"images": root, "stack": ("B2", "B3")}


# --- how files pair --------------------------------------------------------------------------


def one_folder(image, mask, **options):
    def make(root):
        masked(root, image, mask)
        return {"images": root, "masks": root, **options}

    return make


for name, files in {
    "words": ("JPEGImages/a.jpg", "SegmentationClass/a.png"),
    "truth-folder": ("images/a.png", "ground_truth/a.png"),
    "parts": ("train_images/a.png", "train_labels/a.png"),
    "names": ("a_sat.jpg", "a_mask.png"),
    "truth": ("a_img.png", "a_truth.png"),
    "front": ("img_1.png", "mask_1.png"),
    "middle": ("area_img_1.png", "area_gt_1.png"),
    "unsaid": ("a.png", "b.png"),
}.items():
    CASES[f"pair-{name}"] = one_folder(*files)
CASES["pair-suffix"] = one_folder("a.png", "am.png", mask_suffix="m")


@case
def _pair_folders(root):
    masked(root, "images/a.jpg", "masks/a.png")
    return both(root)


@case
def _pair_inner(root):
    masked(root, "a.png", "x/a.png")
    return {"images": root, "masks": root / "x"}


@case
def _pair_globs(root):
    masked(root, "a-1.png", "a-2.png")
    return {"images": root / "*-1.png", "masks": root / "*-2.png"}


@case
def _pair_two_files(root):
    masked(root)
    return {"images": root / "a.png", "masks": root / "m.png"}


@case
def _pair_composed(root):
    masked(root, f"images/{unicodedata.normalize('NFD', 'é')}.png", "masks/é.png")
    return both(root)


@case
def _pair_spare(root):
    masked(root, "images/a.png", "masks/a.png")
    picture(root / "masks/b.png", HALVES)
    return both(root)


@case
def _pair_case(root):
    masked(root, "images/A.png", "masks/a.png")
    return both(root)


@case
def _pair_missing(root):
    masked(root, "images/a.png", "masks/a.png")
    several(root, "images/b.png")
    return both(root)


@case
def _pair_candidates(root):
    masked(root, "images/a.png", "masks/a.png")
    picture(root / "masks/a_mask.png", HALVES)
    return both(root)


@case
def _pair_shared(root):
    masked(root, "images/1_img.png", "masks/1.png")
    several(root, "images/1_rgb.png")
    return both(root)


@case
def _pair_itself(root):
    several(root, "images/a.png", "images/b.png")
    (root / "masks").symlink_to(root / "images")
    return both(root)


@case
def _pair_linked(root):
    masked(root, "images/b.png", "masks/b.png")
    several(root, "images/a.png")
    (root / "masks/a.png").symlink_to(root / "images/a.png")
    return both(root)


@case
def _pair_copy(root):
    several(root, "images/a.png")
    (root / "masks").mkdir()
    (root / "masks/a.png").write_bytes((root / "images/a.png").read_bytes())
    return both(root)


@case
def _pair_suffix_alone(root):
    return {"images": several(root, "a.png"), "mask_suffix": "_m"}


# --- what the classes are --------------------------------------------------------------------


def classed(array=HALVES, classes=None, name="c.yaml", mask="masks/a.tif"):
    """Make a mask, and a classes file of content, text or bytes."""

    def make(root):
        picture(root / "images/a.png", np.zeros((*np.shape(array)[:2], 3)))
        if mask.endswith(".tif"):
            tif(root / mask, np.asarray(array))
        else:
            picture(root / mask, array, quality=60)
        if classes is None:
            return both(root, tile=len(array))
        data = json.dumps(classes) if isinstance(classes, dict) else classes
        (root / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return both(root, tile=len(array), classes=root / name)

    return make


def smooth(high):
    image = Image.new("L", (512, 512))
    ImageDraw.Draw(image).ellipse((60, 60, 450, 450), fill=high)
    return np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS))


def pattern(high):
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).polygon([(5, 5), (60, 20), (30, 60)], fill=high)
    return np.asarray(image)


def ramp(values):
    return np.resize(np.arange(values), (128, 128)).astype(np.uint16)


EIGHT = HALVES.astype(np.uint8)
THREE = np.repeat([0, 0, 1, 255], 64).reshape(16, 16).astype(np.uint8)
TENTHS = np.where(HALVES == 3, 2, 9).astype(np.uint8)
SPLIT = np.where(HALVES == 3, 0.25, 0.75).astype(np.float32)
ACCENTS = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
XY = {"x": 0, "y": 10}
CASES |= {
    "class-values": classed(EIGHT),
    "class-missing": classed(THREE),
    "class-most": classed(ramp(48)),
    "class-many": classed(ramp(49)),
    "class-smooth": classed(smooth(255)),
    "class-jpeg": classed(pattern(200), mask="masks/a.jpg"),
    "class-colours": classed(np.dstack([HALVES] * 3), mask="masks/a.png"),
    "class-measures": classed(ramp(5000)),
    "class-list": classed(EIGHT, {"classes": {"x": [3, 7]}}),
    "class-list-between": classed(EIGHT, {"classes": {"x": [3, 9]}}),
    "class-range": classed(EIGHT, {"classes": {"x": "3-7"}}),
    "class-dots": classed(EIGHT, {"classes": {"x": "3..7"}}),
    "class-limits": classed(EIGHT, {"classes": {"low": "<7", "high": ">=7"}}),
    "class-strict": classed(EIGHT, {"classes": {"low": "<=3", "high": ">3"}}),
    "class-float": classed(SPLIT, {"classes": {"low": "<0.5", "high": ">=0.5"}}),
    "class-float-values": classed(SPLIT, {"classes": {"low": 0, "high": 1}}),
    "class-overlap": classed(EIGHT, {"classes": {"x": "1-5", "y": "5-9"}}),
    "class-backwards": classed(EIGHT, {"classes": {"x": "7-3"}}),
    "class-unknown": classed(EIGHT, {"classes": {"x": 3}}),
    "class-ignored": classed(EIGHT, {"classes": {"x": 3}, "ignore": ["7-9"]}),
    "class-tolerance": classed(TENTHS, {"classes": XY, "tolerance": 3}),
    "class-torn": classed(np.full_like(EIGHT, 5), {"classes": XY, "tolerance": 5}),
    "class-yaml-twice": classed(EIGHT, "classes:\n  x: 3\n  x: 7\n"),
    "class-json-twice": classed(EIGHT, '{"classes": {"x": 3,\n"x": 7}}', "c.json"),
    "class-toml-twice": classed(EIGHT, "[classes]\nx = 3\nx = 7\n", "c.toml"),
    "class-composed-twice": classed(EIGHT, {"classes": dict(zip(ACCENTS, (3, 7), strict=True))}),
    "class-no": classed(EIGHT, "classes:\n  no: 3\n  yes: 7\n"),
    "class-number": classed(EIGHT, "classes:\n  1: 3\n  2: 7\n"),
    "class-zeros": classed(EIGHT, "classes:\n  x: 007\n"),
    "class-tab": classed(EIGHT, "classes:\n\tx: 3\n"),
    "class-utf16": classed(EIGHT, 'classes: {x: "3-7"}'.encode("utf-16")),
    "class-latin": classed(EIGHT, "classes: {é: 3}".encode("latin-1")),
}


@case
def _class_mark(root):
    texts = {
        "c.yaml": "classes: {x: [3, 7]}", "c.toml": "[classes]\nx = [3, 7]\n",
        "c.json": '{"classes": {"x": [3, 7]}}',
    }  # fmt: skip
    found = []
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8-sig")
        found.append(Legend.from_file(root / name))
    assert all(a == b for a, b in itertools.pairwise(found))
    return classed(EIGHT, texts["c.toml"].encode("utf-8-sig"), "c.toml")(root)


@case
def _class_empty_text(root):
    return classed(EIGHT)(root) | {"classes": ""}


# --- the rows --------------------------------------------------------------------------------


def test_every_row_has_its_test_and_every_test_its_row():
    assert set(CASES) == set(ROWS)


@pytest.fixture
def _a_closed_folder(monkeypatch):
    """Let the system refuse a folder called so: tests may run with all rights."""
    scan = os.scandir

    def refuse(path):
        if os.path.basename(path) == "closed":  # noqa: PTH119
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


@pytest.mark.usefixtures("_a_closed_folder")
@pytest.mark.parametrize("key", ROWS)
def test_a_row(key, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    given = {"tile": 16, **CASES[key](root)}
    stated = ROWS[key]
    if stated.startswith("error"):
        with pytest.raises(FoveateError) as caught:
            open_pool(**given)
        assert stated.removeprefix('error "').removesuffix('"') in str(caught.value)
        return
    pool = open_pool(**given)
    claims = re.split(r"; (?=note )", stated)
    for claim in claims:
        check(claim, pool, root)
    notes = [str(note) for note in pool.notes if note.topic in ("files", "pairing", "classes")]
    assert len(notes) == len(claims) - 1, notes


def check(claim, pool, root):
    """Compare what a row states with a pool."""
    names = re.findall(r"`([^`]*)`", claim)
    if claim.startswith("reads"):
        assert [scene.scene_id for scene in pool.scenes] == names
    elif claim.startswith("note"):
        assert any(claim[6:-1] in str(note) for note in pool.notes), pool.notes
    elif claim.startswith("counts"):
        sums = pool.counts.sum(axis=0).tolist()
        assert list(zip(pool.legend.names, map(str, sums), strict=True)) == re.findall(
            r"`([^`]*)` (\d+)", claim
        )
    elif claim.endswith("classes"):
        assert len(pool.legend) == int(claim.split()[0])
    else:
        scene, mask = names
        found = {s.scene_id: Path(s.mask.path).relative_to(root).as_posix() for s in pool.scenes}
        assert found == {scene: mask}
