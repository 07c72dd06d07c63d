"""The whole job on coloured patches: tuned, measured, loaded, moved, resumed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from foveate.classify import ClassifyJob
from foveate.errors import DataError, FoveateError, ParameterError, StorageError
from foveate.models import bind, capabilities, load_model
from foveate.models.heads import text_head
from foveate.models.tune_text import TuneTextJob
from foveate.pool import open_pool
from foveate.report import write_report
from foveate.testing import check_model

torch = pytest.importorskip("torch")

QUICK = {"dim": 32, "width": 32, "layers": 1, "epochs": 8, "train_batch": 12, "learning_rate": 5e-3}


def job(patches, **given):
    captions = (
        {} if "classes_from_folders" in given else {"captions": str(patches / "captions.csv")}
    )
    return TuneTextJob(images=[str(patches / "images")], **{**QUICK, **captions, **given})


@pytest.fixture(scope="module")
def tuned(patches, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "run"
    return job(patches).run(out)


def test_words_find_the_patches_that_they_were_not_trained_on(tuned):
    found = tuned.record["summary"]
    assert found["data"] == {"train": 24, "val": 6, "test": 6, "texts": 6, "classes": 3}
    assert found["called"]["DenseForest"] == ["dense forest"]
    assert found["called"]["openwater"] == ["open water"]
    assert found["evaluation"]["test"]["zero_shot"]["top1"] == 1.0
    assert found["evaluation"]["test"]["retrieval"]["image_text_r1"] == 1.0


def test_a_second_run_does_nothing(patches, tuned):
    before = {p: p.stat().st_mtime_ns for p in tuned.path.rglob("*") if p.is_file()}
    assert not job(patches).run(tuned.path).worked
    assert {p: p.stat().st_mtime_ns for p in tuned.path.rglob("*") if p.is_file()} == before


def test_the_same_seed_gives_the_same_weights_and_another_one_others(patches, tuned, tmp_path):
    expected = (tuned.path / "model/weights.safetensors").read_bytes()
    again = job(patches).run(tmp_path / "again")
    assert (again.path / "model/weights.safetensors").read_bytes() == expected
    with pytest.raises(StorageError, match=r"tuned with other options.*--replace"):
        job(patches, seed=1).run(tmp_path / "again")
    other = job(patches, seed=1, replace=True).run(tmp_path / "again")
    assert (other.path / "model/weights.safetensors").read_bytes() != expected
    steps = other.record["steps"]
    assert steps["embed builtin"] == again.record["steps"]["embed builtin"]


def test_the_model_can_be_moved_and_used_on_other_images(patches, tuned, tmp_path):
    shutil.copytree(tuned.path / "model", tmp_path / "elsewhere")
    pool = open_pool(patches / "images", split=(1, 1))
    model = bind(load_model(f"tuned:{tmp_path / 'elsewhere'}", device="cpu"), pool)
    assert capabilities(model) == ("embed", "text")
    head = text_head(model, ["bare soil", "dense forest", "open water"])
    batch = np.stack([r.data for r in pool.read([0, 15, 30])])
    found = [head.names[c] for c in head.logits(model.embed(batch)).argmax(axis=1)]
    truth = [str(pool.ids[k]).split("/")[0] for k in (0, 15, 30)]
    called = {"bare_soil": "bare soil", "DenseForest": "dense forest", "openwater": "open water"}
    assert found == [called[t] for t in truth]


def test_the_model_knows_the_images_that_it_was_tuned_on(patches, tuned, tmp_path):
    shutil.copytree(patches / "images", tmp_path / "again")  # by content, wherever they lie
    called = {"bare soil": ["bare_soil"], "dense forest": ["DenseForest"], "open water": []}
    given = {
        "model": f"tuned:{tuned.path}", "head": "sigmoid", "truth_from_folders": True,
        "labels": {folder: [name] for name in called for folder in called[name] or ["openwater"]},
    }  # fmt: skip
    done = ClassifyJob(images=[str(tmp_path / "again")], **given).run(tmp_path / "run")
    assert done.record["summary"]["truth"]["fitted"] == 30  # of 24 train, 6 val, 6 test
    page = write_report(done.path).read_text()
    assert "30 of them were used to fit the model" in page
    assert "never trained on these images" not in page


def test_a_tuned_model_passes_the_suite(tuned):
    check_model(load_model(f"tuned:{tuned.path}", device="cpu"), tolerance=1e-5)


def test_names_of_folders_are_enough(patches, tmp_path):
    split = str(patches / "captions.csv")
    out = job(patches, classes_from_folders=True, split=split, epochs=16).run(tmp_path)
    found = out.record["summary"]
    assert found["data"]["test"] == 6
    assert found["evaluation"]["test"]["zero_shot"]["top1"] == 1.0
    assert found["called"]["bare_soil"] == ["bare soil"]


def test_folders_are_called_as_the_labels_file_says(patches, tmp_path):
    labels = tmp_path / "labels.yaml"
    labels.write_text("bare_soil: [soil, ground]\nDenseForest: trees\nopenwater: sea\n")
    out = job(patches, classes_from_folders=True, labels=str(labels)).run(tmp_path / "run")
    assert out.record["summary"]["called"]["bare_soil"] == ["soil", "ground"]
    labels.write_text("bare_soil: soil\n")
    with pytest.raises(
        ParameterError, match="the folder 'DenseForest' is missing from the labels file"
    ):
        job(patches, classes_from_folders=True, labels=str(labels)).run(tmp_path / "other")


def test_images_without_a_stated_split_are_divided_by_chance(patches, tmp_path):
    captions = {
        str(p.relative_to(patches / "images")): f"{p.parent.name} {p.stem[-2:]}"
        for p in sorted((patches / "images").rglob("*.png"))
    }
    (tmp_path / "c.json").write_text(json.dumps(captions))
    out = job(patches, captions=str(tmp_path / "c.json"), epochs=1).run(tmp_path / "run")
    data = out.record["summary"]["data"]
    assert (data["train"], data["val"], data["test"]) == (29, 3, 4)


def test_a_stopped_training_goes_on_to_the_same_weights(patches, tuned, tmp_path, monkeypatch):
    from foveate.models.tune_text.network import CaptionTask

    loss, steps = CaptionTask.loss, []

    def stop_later(self, rows, draw):
        steps.append(0)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return loss(self, rows, draw)

    monkeypatch.setattr(CaptionTask, "loss", stop_later)
    with pytest.raises(KeyboardInterrupt):
        job(patches).run(tmp_path)
    assert (tmp_path / "training/checkpoint.pt").exists()
    assert job(patches).run(tmp_path).worked
    assert len(steps) == 16 + 2  # 8 epochs of 2 steps; the epoch that was cut begins again
    expected = (tuned.path / "model/weights.safetensors").read_bytes()
    assert (tmp_path / "model/weights.safetensors").read_bytes() == expected
    assert not (tmp_path / "training/checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"captions": None}, "are missing.*--captions FILE"),
        ({"classes_from_folders": True, "captions": "c.csv"}, "are both given"),
        ({"classes_from_folders": True, "captions": None, "pair": "order"}, "--pair order without"),
        ({"captions": "none.csv"}, "cannot read 'none.csv'"),
        ({"width": 30}, "width=30"),
        ({"epoch": 3}, "no such setting.*epochs"),
    ],
)
def test_what_cannot_be_is_refused(patches, tmp_path, given, message):
    with pytest.raises((ParameterError, DataError), match=message):
        job(patches, **given).run(tmp_path / "run")


def test_class_folders_must_be_there(patches, tmp_path):
    flat = str(patches / "images/bare_soil")
    with pytest.raises(ParameterError, match="not in at least two folders"):
        TuneTextJob(images=[flat], classes_from_folders=True).run(tmp_path / "run")


def test_settings_are_looked_at_before_any_imagery_is(patches, tmp_path):
    for wrong, message in (
        ({"templates": "nonsense"}, "unknown templates 'nonsense'"),
        ({"tile": 16}, "no such setting"),
        ({"device": "abacus"}, "abacus"),
        ({"split": "none.csv"}, "cannot read 'none.csv'"),
    ):
        with pytest.raises(FoveateError, match=message):
            job(patches, **wrong).run(tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_bands_and_scale_are_remembered(patches, tmp_path):
    out = job(patches, bands=[3, 2, 1], scale=[(0, 200)], epochs=1).run(tmp_path)
    pool = open_pool(patches / "images", split=(1, 1))
    model = bind(load_model(f"tuned:{out.path}", device="cpu"), pool)
    assert model.spec.bands == (3, 2, 1)
    assert model.spec.scale == ((0, 200),) * 3
    other = bind(load_model(f"tuned:{out.path}", device="cpu", bands=[1, 2, 3]), pool)
    assert other.spec.bands == (1, 2, 3)


def test_other_templates_are_another_training(patches, tmp_path):
    first = job(patches, epochs=1).run(tmp_path)
    again = job(patches, epochs=1, templates="none", replace=True).run(tmp_path)
    assert again.worked
    for step in ("train", "evaluate"):
        assert again.key(step) != first.key(step)


def test_images_that_leave_the_pool_may_have_captions(patches, tmp_path):
    from PIL import Image

    from foveate.raster import write_cog

    shutil.copytree(patches / "images", tmp_path / "images")
    dark = np.zeros((3, 24, 24), np.uint8)
    dark[:, :4] = 90
    write_cog(tmp_path / "images/bare_soil/dark.tif", dark, nodata=0)
    for path in sorted((tmp_path / "images").rglob("*.png")):
        pixels = np.moveaxis(np.asarray(Image.open(path)), -1, 0)
        write_cog(path.with_suffix(".tif"), pixels, nodata=0)
        path.unlink()
    text = (patches / "captions.csv").read_text().replace(".png", ".tif")
    (tmp_path / "captions.csv").write_text(text + "bare_soil/dark.tif,Dark soil .,train\n")
    out = job(tmp_path, epochs=1).run(tmp_path / "run")
    assert out.record["summary"]["pool"]["excluded"] == 1
    assert out.record["summary"]["data"]["train"] == 24


def test_tuning_over_a_tuned_model_is_refused(patches, tuned, tmp_path):
    with pytest.raises(ParameterError, match="Use the image encoder that it was tuned on"):
        job(patches, model=f"tuned:{tuned.path}").run(tmp_path / "run")


def test_a_base_described_by_a_file_travels_with_the_model(patches, tmp_path, monkeypatch):
    from foveate.testing.tiny import tiny_model

    name, weights = tiny_model("open_clip", tmp_path / "clip")
    weights = None if weights is None else str(weights)
    out = job(patches, model=name, weights=weights, epochs=1).run(tmp_path / "run")
    shutil.move(out.path / "model", tmp_path / "moved")
    shutil.rmtree(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    pool = open_pool(patches / "images", split=(1, 1))
    assert bind(load_model("tuned:moved", device="cpu"), pool).spec.dim == 32


def test_captions_of_other_images_are_refused(patches, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"1.tif": "a river"}))
    with pytest.raises(DataError, match=r"1 of 1 images of .* are missing"):
        job(patches, captions=str(tmp_path / "c.json")).run(tmp_path / "run")


def test_a_split_without_validation_is_drawn_from_the_training_images(patches, tmp_path):
    split = {p.name: "train" for p in (patches / "images").rglob("*.png")}
    (tmp_path / "s.json").write_text(json.dumps(split))
    out = job(patches, split=str(tmp_path / "s.json"), epochs=1).run(tmp_path / "run")
    data = out.record["summary"]["data"]
    assert (data["train"], data["val"], data["test"]) == (32, 4, 0)
