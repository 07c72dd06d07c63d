"""`foveate observe train` as a user calls it: once, again, stopped, and with bad input."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from command import here
from observing import observing  # noqa: F401
from stopping import either_way
from trees import digest_tree

from foveate.cli.main import main
from foveate.errors import DataError
from foveate.files import read_json
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import PrepareJob, TrainJob
from foveate.observe.observer import Observer
from foveate.observe.training.dataset import build_dataset

EPOCHS, BATCH, STAGES = 2, 2, 4  # kriging, blocks, sampler, blocks again
TYPED = ("--size", "nano", "--epochs", EPOCHS, "--train-batch", BATCH, "--device", "cpu")
ONE, OTHER = ("--supervision", "structural"), ("--supervision", "surprise")
MODEL = "model/observer.safetensors"


def typed(pairs, out, *more):
    return [str(x) for x in ("observe", "train", pairs, "--out", out, *TYPED, *more)]


def train(pairs, out, *more):
    """Train in this process, which is the same command without a start."""
    return main(typed(pairs, out, *more))


@pytest.fixture(scope="module")
def trained(observing, tmp_path_factory):  # noqa: F811
    """An observer of structure, and what was printed."""
    out = tmp_path_factory.mktemp("trained") / "model"
    answer = here(*typed(observing.pairs, out, *ONE, "--json"))
    assert answer.status == 0, answer.err
    return out, answer.json


def test_train_prints_the_evaluation(trained):
    out, found = trained
    assert set(found) == {"run", "worked", "observer", "pool", "model", "seed", "evaluation",
                          "headline"}  # fmt: skip
    assert found["worked"]
    own = found["observer"]
    assert (own["size"], own["form"], own["supervision"]) == ("nano", "kriged", "structural")
    assert own["scenes"] == {"train": 5, "val": 1, "test": 2}
    assert own["tiles"] == 200
    assert own["concepts"] == ["forest", "road", "cropland"]
    assert set(own["captured"]) == {"structural"}
    judged = found["evaluation"]
    assert set(judged) == {
        "split", "scenes", "tiles", "obr", "supervision", "curve", "against_random", "efficiency",
        "completions", "random", "concepts", "sweep", "neighbours", "failures",
    }  # fmt: skip
    assert (judged["split"], judged["scenes"], judged["tiles"]) == ("test", 2, 50)
    assert set(judged["curve"]["policies"]) == {
        "random", "uniform", "lr-entropy", "learned", "design", "oracle-gain", "oracle-greedy",
    }  # fmt: skip
    assert judged["completions"]["full"]["tiles"] >= judged["completions"]["none"]["tiles"]
    assert judged == read_json(out / "tables/evaluation.json")
    assert (out / "report.html").stat().st_size > 10_000
    assert read_json(out / "tables/shown.json")["scenes"]
    record = read_json(out / "run.json")
    assert "--json" not in record["command"]
    assert not list(out.rglob("*.pt"))  # checkpoints


def test_second_run_does_nothing(observing, trained, capsys):  # noqa: F811
    out, _ = trained
    before = digest_tree(out, skip=())
    assert train(observing.pairs, out, *ONE) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "Nothing to do: this observer is trained."
    assert shown[1].startswith(
        f"Observer {out} (nano, kriged, supervision structural), scenes: 5 train, "
    )
    assert shown[2].startswith("With 12 % of the tiles observed, tile mAP ")
    assert "At OBR 0.12, tile mAP of 50 test tiles:" in shown
    assert digest_tree(out, skip=()) == before


@pytest.fixture(scope="module")
def other(observing, trained, tmp_path_factory):  # noqa: F811
    """The same observer with another supervision, in a copy of its run."""
    out = tmp_path_factory.mktemp("other") / "model"
    subprocess.run(["cp", "-r", trained[0], out], check=True)
    assert train(observing.pairs, out, *OTHER) == 1
    assert digest_tree(out, skip=()) == digest_tree(trained[0], skip=())
    assert train(observing.pairs, out, *OTHER, "--replace") == 0
    return out


def test_another_supervision_needs_replace_and_keeps_other_stages(trained, other):
    old, new = (read_json(path / "run.json")["steps"] for path in (trained[0], other))
    for step in ("train fill", "train predictor"):
        assert new[step] == old[step]  # times and all
    assert {"train sampler structural", "train sampler surprise"} <= set(new)
    assert new["train predictor, stage II"] != old["train predictor, stage II"]
    one, two = ((path / MODEL).read_bytes() for path in (trained[0], other))
    assert one != two
    assert read_json(other / "model/observer.json")["supervision"] == "surprise"


@either_way
def test_stopped_training_resumes_to_the_same_weights(observing, trained, tmp_path, stop):  # noqa: F811
    steps = STAGES * EPOCHS * -(-5 // BATCH)
    moment = int(np.random.default_rng(11).integers(1, steps + 1))
    out = tmp_path / "stopped"
    stop(typed(observing.pairs, out, *ONE), moment)
    assert not (out / MODEL).exists()
    assert train(observing.pairs, out, *ONE) == 0
    skip = ("run.json", "report.html")
    own, whole = digest_tree(out, skip), digest_tree(trained[0], skip)
    assert own[MODEL] == whole[MODEL]
    assert own.keys() == whole.keys()
    differ = {name for name in own if own[name] != whole[name]}
    assert not differ - {"model/observer.json"}, differ


@pytest.fixture(scope="module")
def bare(observing, tmp_path_factory):  # noqa: F811
    """Pairs of which no concept is known."""
    out = tmp_path_factory.mktemp("bare") / "pairs"
    images = sorted((observing.world / "images").glob("*.tif"))[:4]
    PrepareJob(images=[str(p) for p in images], tiles=(2, 2), ratio=4).run(out)
    return out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", "tinny"), "Did you mean 'tiny'"),
        (("--architecture", "krigged"), "Did you mean 'kriged'"),
        (("--supervision", "semantics"), "Did you mean 'semantic'"),
        (("--preset", "papr"), "Did you mean 'paper'"),
        (("--val", "0.6", "--test", "0.5"), "8 groups of scenes"),
        (("--text-model", "builtin"), "embed images and texts in one space"),
        (("--init", "nowhere"), "does not contain a trained observer"),
    ],
)
def test_bad_options_raise_with_hint(observing, options, said, tmp_path, capsys):  # noqa: F811
    assert train(observing.pairs, tmp_path / "run", *options) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "run/model").exists()


def test_supervision_needs_concepts(bare, tmp_path, capsys):
    assert train(bare, tmp_path / "run", "--supervision", "semantic") == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "no supervision 'semantic' for these pairs" in error
    assert "--text-model MODEL" in error
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_pairs_have_high_resolution(observing, tmp_path, capsys):  # noqa: F811
    for folder in (observing.world, tmp_path / "nothing"):
        assert train(folder, tmp_path / "run") == 1
        assert "holds no run" in capsys.readouterr().err
    pairs = replace(open_pairs(observing.pairs), has_hr=False)
    with pytest.raises(DataError, match="pairs without high resolution"):
        build_dataset(TrainJob(pairs=str(observing.pairs)), pairs)


def test_training_starts_from_another_observer(observing, trained, tmp_path):  # noqa: F811
    out, start = tmp_path / "on", trained[0]
    assert train(observing.pairs, out, *ONE, "--init", start, "--seed", "1") == 0
    old, new = (Observer.load(path, device="cpu") for path in (start, out))
    np.testing.assert_array_equal(new.lr.basis, old.lr.basis)  # what its weights belong to
    np.testing.assert_array_equal(new.hr.basis, old.hr.basis)


TARGET = "timm:mobilenetv3_small_050@random"


def test_targets_of_another_encoder(observing, trained, tmp_path, capsys):  # noqa: F811
    job = TrainJob(
        pairs=str(observing.pairs), size="nano", target_model=TARGET, test=0.25, device="cpu"
    )
    material = build_dataset(job, open_pairs(observing.pairs))
    hr, aimed = (x.float().numpy() for x in (material.data.hr, material.data.target))
    assert hr.shape == aimed.shape
    train_ = material.scenes("train")
    near = np.corrcoef(hr[train_].ravel(), aimed[train_].ravel())[0, 1]
    assert 0.3 < near < 1  # what HR tokens tell of the target's is not all there is
    assert set(material.handles) == {"lr", "hr"}
    assert str(material.encoders["target"].name) == TARGET
    more = ("--target-model", TARGET, "--init", trained[0])
    assert train(observing.pairs, tmp_path / "on", *ONE, *more) == 1
    assert "Omit --target-model" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_observer_does_not_contain_the_target_encoder(observing, tmp_path):  # noqa: F811
    out = tmp_path / "aimed"
    assert train(observing.pairs, out, *ONE, "--target-model", TARGET) == 0
    loaded = Observer.load(out, device="cpu")
    assert set(loaded.record.encoders) == {"lr", "hr"}
    assert loaded.record.training["target"] == TARGET


def test_a_better_policy_is_named(trained):
    from foveate.cli.show_observe import trained_text
    from foveate.run import Run

    judged = read_json(trained[0] / "tables/evaluation.json")
    found = judged["against_random"]["policies"]
    for name, one in found.items():
        one["area"] = 0.6 if name == "learned" else 0.5
    run = Run.load(trained[0])
    assert "--policy design" not in trained_text(run, judged)
    found["design"] |= {"area": 0.62, "verdict": "open"}
    assert "--policy design" not in trained_text(run, judged)  # not known to be better than random
    found["design"]["verdict"] = "better"
    said = trained_text(run, judged)
    assert "the policy design score higher: mean 0.620 against 0.600: --policy design." in said
