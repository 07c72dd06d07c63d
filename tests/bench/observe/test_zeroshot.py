"""Table 3: models of images and texts alone, and ours, on held-out pairs and on class folders."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("open_clip")

import shutil

from observing import observing  # noqa: F401
from PIL import Image

from foveate.bench.conditions import Skipped
from foveate.bench.observe.job import BenchJob, _check_pairs
from foveate.bench.observe.measure import Seed
from foveate.bench.observe.observing import Condition
from foveate.bench.observe.retrieval import Judged
from foveate.bench.observe.zeroshot import LR_ALONE
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models.load import load_model
from foveate.observe.completion.zero_shot import _Branch, zero_shot_dataset
from foveate.observe.data.pairs import open_pairs
from foveate.observe.features import overview_pool
from foveate.run import Run
from foveate.testing.tiny import tiny_model


def folders(root, sides=(48, 48, 40)):
    """Write pictures of two classes."""
    rng = np.random.default_rng(0)
    for name in ("SeaLake", "bare_soil"):
        (root / "test" / name).mkdir(parents=True)
        for i, side in enumerate(sides):
            picture = Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8))
            picture.save(root / "test" / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def seed(observing, tmp_path_factory):  # noqa: F811
    root = tmp_path_factory.mktemp("zeroshot")
    model, weights = tiny_model("open_clip", root / "model")
    shutil.copytree(observing.pairs, root / "pairs")
    encoders = root / "encoders.json"
    encoders.write_text(json.dumps({
        "a": {"model": model, "weights": weights} if weights else model, "b": model,
        "mute": "builtin",
    }))  # fmt: skip
    job = BenchJob(
        pairs=str(root / "pairs"), table="zeroshot", size="nano", epochs=1, draws=1, device="cpu",
        test=0.4, model=model, weights=weights, encoders=str(encoders), top_k=[1, 2],
        datasets={"folders": str(folders(root / "pictures"))},
        concepts=[{"name": "forest"}, {"name": "road", "novel": True}],
    )  # fmt: skip
    with Run.create(root / "run") as run:
        yield Seed(job, 0, open_pairs(job.pairs), run, "work/0", key="k")


def test_models_alone_are_rows_with_data_sets_and_time(seed):
    low, high = (seed.measure(Condition("zero-shot", 0, f"a {part}")) for part in ("LR", "HR"))
    for found in (low, high):
        assert 0 < found["recognition"]["value"] <= 1
        assert found["seconds"]["value"] > 0
        assert set(found["recognition"]["groups"]) == set(seed.groups)
    assert "folders" not in high
    handle = load_model(seed.job.model, weights=seed.job.weights, device="cpu")
    own = zero_shot_dataset(handle, "folders", seed.bench.datasets["folders"])
    assert low["folders"]["value"] == own["top1"]
    assert (own["images"], own["tiles"], own["bands"]) == (6, [1, 1], ["red", "green", "blue"])
    assert set(own["each"]) == {"sea lake", "bare_soil"}


def test_ours_is_judged_on_data_sets_from_lr_alone(seed):
    found = seed.measure(LR_ALONE)
    own = zero_shot_dataset(seed.observer, "folders", seed.bench.datasets["folders"], device="cpu")
    assert found["folders"]["value"] == own["top1"]
    assert 0 < found["recognition"]["value"] <= 1
    assert "folders" not in seed.measure(Condition("learned", 0.2, "ours"))


def test_an_image_is_read_as_the_overview_of_a_scene_is(seed):
    trial, observer = seed.trial, seed.observer
    number = int(trial.scenes[0])
    raster = next(iter(overview_pool(seed.material.pairs.overviews).read([number])))
    nothing = np.zeros(trial.valid[:1].shape, bool)
    done = observer.complete(trial.lr[:1], trial.hr[:1], nothing)
    expected = observer.to_text(done.tokens.mean(axis=(1, 2)))
    branch = _Branch(observer, (0.0, 255.0), "cpu", None)
    np.testing.assert_allclose(branch(raster.data[None]), expected, atol=2e-2)
    assert branch.shape == seed.material.pairs.shape


def test_models_without_text_are_skipped_with_a_reason(seed):
    with pytest.raises(Skipped, match="does not embed text"):
        seed.measure(Condition("zero-shot", 0, "mute LR"))


def test_recognition_by_hand():
    known = np.array([[1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [0, 0]], bool)
    place = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1], [2, 0, 0], [2, 0, 1]])
    judged = Judged(
        known, place, np.array(list("aabbcc")), np.array([False, True]), [1], seed=0
    )  # fmt: skip
    # Scene 0 shows the first concept and is first of three; scene 1 the second, and is last.
    cosines = np.array([[0.9, 0.5], [0.2, 0.1], [0.1, 0.3]])
    found = judged.pooled(cosines)
    assert found["recognition"].value == pytest.approx((1 + 1 / 3) / 2)
    assert found["pooled base @1"].value == 1
    assert found["pooled novel @1"].value == 0


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"eurosatt": "."}, UnknownNameError, "Did you mean 'eurosat'"),
        ({"folders": "nowhere"}, DataError, "there is no folder"),
    ],
)
def test_missing_data_sets_raise(observing, given, error, says):  # noqa: F811
    job = BenchJob(
        pairs=str(observing.pairs), table="zeroshot", text_model="open_clip:ViT-B-32",
        datasets=given, concepts=[{"name": "forest"}, {"name": "road", "novel": True}],
    )  # fmt: skip
    with pytest.raises(error, match=says):
        _check_pairs(job, open_pairs(job.pairs))


def test_invalid_folders_raise(tmp_path):
    handle = load_model("open_clip:ViT-B-32@random", device="cpu")
    with pytest.raises(DataError, match=r"two classes.*test/forest/1.png"):
        zero_shot_dataset(handle, "folders", tmp_path)
    for name in ("a", "b"):
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "test" / name / "0.png")
    with pytest.raises(DataError, match="1 bands of uint8"):
        zero_shot_dataset(handle, "folders", tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "test" / "c.png")
    with pytest.raises(DataError, match=r"'c'.*not in the folder of a class"):
        zero_shot_dataset(handle, "folders", tmp_path)


def test_encoders_and_data_sets_have_their_tables():
    assert BenchJob(pairs="p", table="zeroshot", text_model="m", datasets="folders=x").datasets
    for given in ({"encoders": "e.yaml"}, {"datasets": {"folders": "x"}}):
        with pytest.raises(ParameterError, match="table"):
            BenchJob(pairs="p", table="main", **given)
