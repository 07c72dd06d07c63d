"""One seed on the tiny world: what is measured is what a trial measures."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from colour_words import register
from observing import observing  # noqa: F401

from foveate.bench.conditions import Skipped
from foveate.bench.observe.job import BenchJob
from foveate.bench.observe.measure import Seed
from foveate.bench.observe.observing import Condition
from foveate.errors import DataError
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import TrainJob
from foveate.observe.observer import Observer
from foveate.run import Run
from foveate.testing.tiny import tiny_model


@pytest.fixture(scope="module")
def seed(observing, tmp_path_factory):  # noqa: F811
    job = BenchJob(
        pairs=str(observing.pairs), table="main", size="nano", epochs=1, draws=2, test=0.4,
        device="cpu", init=str(observing.model),
    )  # fmt: skip
    from foveate.observe.observer import Observer

    start = Observer.load(observing.model, device="cpu")
    with Run.create(tmp_path_factory.mktemp("bench")) as run:
        yield Seed(job, 0, open_pairs(job.pairs), run, "work/0", key="k", start=start)


@pytest.mark.parametrize("way", ["none", "fill", "ours"])
def test_a_cell_has_the_measures_of_a_trial(seed, way):
    found = seed.measure(Condition("learned", 0.2, way))
    trial = seed.trial
    seen = trial.first(trial.rank("learned", trial.evidence()), 0.2)
    expected = trial.measure(trial.completed(seen, way), seen)
    for name, own in (
        ("tiles", expected.tiles), ("unseen", expected.unseen), ("regions", expected.regions),
        ("scenes max @20", expected.scenes_max), ("scenes mean @20", expected.scenes_mean),
    ):  # fmt: skip
        np.testing.assert_allclose(found[name]["parts"], own, atol=1e-12)
    assert found["cosine"]["value"] == pytest.approx(expected.cosine, abs=1e-6)
    assert found["obr"]["value"] == pytest.approx(seen.sum() / trial.valid.sum())


@pytest.mark.parametrize(
    ("policy", "way"),
    [
        ("random", "conv"), ("uniform", "nearest"), ("lr-entropy", "kriging"),
        ("sar", "form:literal"), ("patchdrop", "fill"),
        ("design", "depth:0"), ("oracle-greedy", "ours"),
        ("oracle-gain", "init"), ("learned:structural", "ours"), ("tau=0.88", "ours"),
        ("none", "head"), ("all", "full"),
    ],
)  # fmt: skip
def test_every_policy_and_way_is_measured(seed, policy, way):
    found = seed.measure(Condition(policy, 0.2, way))
    assert 0 < found["tiles"]["value"] <= 1
    assert ("kept" in found) == (way not in ("nearest", "fill", "head", "full"))
    groups = found["tiles"]["groups"]
    assert set(groups) == set(seed.groups)
    assert np.mean(list(groups.values())) == pytest.approx(found["tiles"]["value"])


def test_passthrough_of_every_tile_is_full_hr_whatever_completes(seed):
    ours, full = (seed.measure(Condition("all", 1, way)) for way in ("ours", "full"))
    assert ours["tiles"] == full["tiles"]
    assert "cosine" not in full


def test_a_policy_without_its_evidence_is_skipped_with_a_reason(seed):
    with pytest.raises(Skipped, match="covariate needs amounts"):
        seed.measure(Condition("covariate", 0.2, "ours"))


def test_texts_are_evaluated_for_base_and_novel_concepts(observing, tmp_path):  # noqa: F811
    pytest.importorskip("open_clip")
    model, _ = tiny_model("open_clip", tmp_path / "model")
    shutil.copytree(observing.pairs, tmp_path / "pairs")
    concepts = [{"name": "forest"}, {"name": "road", "novel": True}]
    job = BenchJob(
        pairs=str(tmp_path / "pairs"), table="zeroshot", size="nano", epochs=1, device="cpu",
        model=model, concepts=concepts,
    )  # fmt: skip
    with Run.create(tmp_path / "run") as run:
        own = Seed(job, 0, open_pairs(job.pairs), run, "work/0", key="k")
        found = own.measure(Condition("none", 0, "fill"))
    assert own.material.weights().tolist() == [1, 0]
    assert {name for name in found if name.startswith("pooled")} == {
        f"pooled {part} @{k}" for part in ("base", "novel") for k in (20, 100)
    }
    assert {name for name in found if name.startswith("text")} == {
        f"text {what}"
        for part in ("base", "novel")
        for what in (f"tiles {part}", f"scenes {part} @20", f"scenes {part} @100")
    }
    assert len(found["text tiles novel"]["parts"]) == 1


@pytest.mark.slow
def test_alignment_with_texts_equals_that_of_a_training(observing, tmp_path):  # noqa: F811
    register()
    shutil.copytree(observing.pairs, tmp_path / "pairs")
    given = {
        "pairs": str(tmp_path / "pairs"), "size": "nano", "epochs": 1, "device": "cpu",
        "text_model": "colours", "supervision": "semantic", "similarity": "cosine", "lam": 0.5,
    }  # fmt: skip
    TrainJob(**given, align="siglip").run(tmp_path / "model")
    trained, observers = Observer.load(tmp_path / "model", device="cpu"), {}
    for align in ("siglip", "dense"):
        job = BenchJob(**given, align=align, table="zeroshot")
        with Run.create(tmp_path / align) as run:
            seed = Seed(job, 0, open_pairs(job.pairs), run, "work/0", key="k")
            observers[align] = seed.observer
            assert seed.measure(Condition("learned", 0.2, "ours"))["text tiles base"]["value"] > 0
    for name, value in trained.predictor.state_dict().items():
        torch.testing.assert_close(observers["siglip"].predictor.state_dict()[name], value)
    np.testing.assert_allclose(observers["siglip"].to_text.weight, trained.to_text.weight)
    assert not np.allclose(observers["dense"].to_text.weight, trained.to_text.weight)


def test_alignment_needs_texts(observing, tmp_path):  # noqa: F811
    job = BenchJob(
        pairs=str(observing.pairs), table="main", size="nano", epochs=1, device="cpu",
        align="siglip",
    )  # fmt: skip
    with Run.create(tmp_path / "run") as run:
        seed = Seed(job, 0, open_pairs(job.pairs), run, "work/0", key="k")
        with pytest.raises(DataError, match="--align siglip without texts"):
            seed.measure(Condition("none", 0, "fill"))


def test_what_is_trained_once_is_not_trained_again(seed):
    steps = {name for name in seed._run.record["steps"] if name.startswith("train")}
    again = Seed(seed.bench, 0, seed._pairs, seed._run, "work/0", key="k", start=seed._start)
    times = [seed._run.record["steps"][name]["seconds"] for name in sorted(steps)]
    again.measure(Condition("learned", 0.2, "ours"))
    assert times == [seed._run.record["steps"][name]["seconds"] for name in sorted(steps)]
