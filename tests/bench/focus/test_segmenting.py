"""The table segmentation from the command line, on drawn images and a tiny random SAM."""

import json
import shutil

import numpy as np
import pytest
from command import here
from trash import write_trash

from foveate.bench.focus import segmenting
from foveate.bench.focus.job import FocusBenchJob
from foveate.bench.focus.segmentation import SegmentationRow
from foveate.bench.focus.segmentation_data import read_data, split_data
from foveate.bench.focus.segmenting import measures_of
from foveate.errors import DataError, ParameterError
from foveate.stats.segmentation import dice, iou
from foveate.testing.tiny import tiny_model

pytest.importorskip("torch")
pytest.importorskip("transformers")

OPTIONS = ("--table", "segmentation", "--crop", "32", "--regions", "2", "--seeds", "2",
           "--epochs", "1", "--method", "look-balanced")  # fmt: skip
BLOCKS = ("nothing hidden", "30 % hidden")
LABELS = ("whole-image", "look-balanced, feature", "look-balanced, zoom")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_trash(tmp_path_factory.mktemp("trash"))


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    _, folder = tiny_model("hf_sam", tmp_path_factory.mktemp("sam"))
    return folder


def bench(root, sam, out, *more):
    return here(
        "bench", "focus", "--data", root, "--model", "hf", "--weights", sam, "--device", "cpu",
        *OPTIONS, "--out", out, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(root, sam, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    answer = bench(root, sam, out, "--json")
    assert answer.status == 0, answer.err
    return out, answer.json


def test_json_is_a_list_of_measurements(run):
    _, cells = run
    assert {c["table"] for c in cells} == {"segmentation"}
    scores = {(c["block"], c["method"], c["seed"]): c for c in cells if c["measure"] == "dice"}
    assert set(scores) == {(b, m, s) for b in BLOCKS for m in LABELS for s in (0, 1)}
    assert all(0 <= c["value"] <= 1 for c in scores.values())
    assert {c["passes"] for c in scores.values()} == {24, None}
    spent = {(c["method"], c["value"]) for c in cells if c["measure"] == "passes"}
    assert all((value == 1) == (method == "whole-image") for method, value in spent)
    assert all(value <= 24 for _, value in spent)


def test_the_page_has_the_table_and_its_claims(root, run):
    out, _ = run
    found = json.loads((out / "tables/segmentation.json").read_text())
    assert (found["lead"], found["test"]["scenes"]) == ("dice", 4)
    data = read_data(root)
    videos = {data.videos[row] for seed in (0, 1) for row in split_data(data, seed).test}
    assert found["clusters"] == len(videos)
    assert [row["reference"] for row in found["rows"]] == ["", *["whole-image"] * 2] * 2
    assert len(found["says"]) == 4
    assert all("passes x" in row["means"] for row in found["rows"])
    page = (out / "report.html").read_text()
    for text in ("Segmentation with and without regions", "30 % hidden", "look-balanced, zoom",
                 "Tables 2 and 7", "the whole image"):  # fmt: skip
        assert text in page, text


def test_interrupted_runs_resume_with_the_next_condition(root, sam, run, tmp_path, monkeypatch):
    measured, own = [], segmenting.SegmentationSeed.measure

    def dying(seed, condition):
        measured.append(condition.name)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return own(seed, condition)

    monkeypatch.setattr(segmenting.SegmentationSeed, "measure", dying)
    job = FocusBenchJob(
        data=str(root), models=["hf"], weights=str(sam), device="cpu", table="segmentation",
        crop=32, regions=2, seeds=1, epochs=1, methods=["look-balanced"],
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        job.run(tmp_path / "out")
    done = measured[:-1]
    job.run(tmp_path / "out")
    assert len(measured) == 4 + 3  # of 6, three were measured before
    assert not set(done) & set(measured[4:])
    found = json.loads((tmp_path / "out/tables/segmentation.json").read_text())["rows"]
    for row in found:
        whole = next(
            c["value"] for c in run[1]
            if (c["block"], c["method"], c["seed"], c["measure"])
            == (row["block"], row["label"], 0, "dice")
        )  # fmt: skip
        assert row["means"]["dice"] == pytest.approx(whole, abs=1e-6)
    job.run(tmp_path / "out")
    assert len(measured) == 4 + 3


def test_looks_without_a_choice_are_skipped_with_a_reason(root, sam, tmp_path):
    usual = ("--crop", "64", "--seeds", "1", "--epochs", "0")
    assert bench(root, sam, tmp_path / "out", *usual).status == 0
    found = json.loads((tmp_path / "out/tables/segmentation.json").read_text())
    assert set(found["left_out"]) == {f"{block}: look-balanced, zoom" for block in BLOCKS}
    assert all("--crop 16" in reason for reason in found["left_out"].values())


def test_pixels_of_all_images_are_counted_together():
    matrices = np.random.default_rng(0).integers(1, 50, (6, 2, 2))
    row = SegmentationRow("m", "d", "none", 0.0, 0.0, 1.0, 0.5, matrices)
    found = measures_of(row, np.array(["a", "a", "b", "b", "c", "c"]))
    for name, score in (("dice", dice), ("iou", iou)):
        assert found[name]["value"] == pytest.approx(score(matrices.sum(axis=0))[1])
        assert set(found[name]["groups"]) == {"a", "b", "c"}
        assert np.mean(list(found[name]["groups"].values())) == pytest.approx(found[name]["value"])
    assert (found["passes"]["value"], found["seconds"]["value"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"table": "segmentation"}, "without --data"),
        ({"table": "segmentation", "data": "x", "scenes": ["y"]}, "scenes"),
        ({"table": "segmentation", "data": "x", "labels": ["a", "b"]}, "labels"),
        ({"table": "segmentation", "data": "x", "methods": ["random/vote"]}, "random/vote"),
        ({"table": "segmentation", "data": "x", "methods": ["look-rare"]}, "look-rare"),
        ({"table": "segmentation", "data": "x", "passes": "16,24"}, "2 budgets"),
        ({"scenes": ["x"], "data": "y"}, "data"),
        ({"scenes": ["x"], "epochs": 3}, "epochs"),
    ],
)
def test_bad_combinations_raise(given, said):
    with pytest.raises(ParameterError, match=said) as caught:
        FocusBenchJob(**given).check()
    assert caught.value.hint or caught.value.allowed


def test_invalid_layouts_raise_before_anything_is_written(root, sam, tmp_path):
    def refused(folder):
        answer = bench(folder, sam, tmp_path / "out")
        assert answer.status == 1
        assert not (tmp_path / "out").exists()
        return answer.err

    assert "no images" in refused(tmp_path / "none")
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / "classes.yaml").unlink()
    assert "classes.yaml" in refused(copy)
    (copy / "classes.yaml").write_text("can: 1\nship: 9\n")
    assert "no test image" in refused(copy)
    shutil.copy(root / "classes.yaml", copy)
    mask = copy / "masks/video0/0.tif"
    mask.unlink()
    assert "mask of 'video0/0' is missing" in refused(copy)
    from foveate.raster import write_cog

    write_cog(mask, np.zeros((1, 32, 48), np.uint8))
    assert "32 x 48" in refused(copy)


def test_models_without_masks_or_tuning_raise(root, tmp_path):
    answer = here("bench", "focus", "--table", "segmentation", "--data", root, "--out",
                  tmp_path / "out")  # fmt: skip
    assert answer.status == 1
    assert "masks" in answer.err


def test_a_split_without_test_images_raises(tmp_path):
    root = write_trash(tmp_path / "two", 2)  # one video
    with pytest.raises(DataError, match="no test image"):
        FocusBenchJob(table="segmentation", data=str(root)).check()
