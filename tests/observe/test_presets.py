"""The preset `paper`: the formulas as printed, with numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from colour_words import register
from observing import observing  # noqa: F401
from planted import material_of, stages_of

from foveate.cli.commands import BENCH, OBSERVE
from foveate.errors import DataError, ParameterError
from foveate.models.heads import TextHead
from foveate.observe.jobs import SelectJob, TrainJob
from foveate.observe.networks.heads import TextConcepts, ToText
from foveate.observe.networks.losses import alignment_loss
from foveate.observe.networks.sizes import SIZES
from foveate.observe.networks.tasks import new_sampler, random_masks, sampled_masks
from foveate.observe.observer import Observer
from foveate.observe.presets import FORMULA_OPTIONS, TRAIN
from foveate.observe.scoring.calibration import Calibration, over
from foveate.observe.training.stages import scores_of
from foveate.run.run import Run

PAPER = {"preset": "paper", "size": "nano"}
HALF = math.sqrt(0.5)
# Three scenes of 1 x 2 tiles. Own embeddings of tiles and overviews, of no particular length.
TILES = np.array([[3, 4], [1, 0], [-1, 1], [0, 2], [2, 0], [5, 5]], np.float32)
OVERVIEWS = np.array([[2, 0], [0, 7], [1, 1]], np.float32)
# Texts a = (1, 0) and b = (0, 1): max(0, cos(tile, text) - cos(overview, text)), and their sum.
GAINS = [0.8, 0.0, 0.0, 0.0, 1 - HALF, 0.0]
SALIENCY = [0.5, 0.3, 0.9, 0.1, 2.0, 0.4]


@pytest.fixture
def material():
    """HR tokens say something else than the embeddings: the preset must not look at them."""
    draw = np.random.default_rng(0)
    lr, hr = draw.normal(size=(2, 3, 1, 2, 2)).astype(np.float32)
    head = TextHead(("a", "b"), np.eye(2, dtype=np.float32), 117.0, -10.0, "sigmoid")
    way = ToText(draw.normal(size=(2, 2)).astype(np.float32), np.zeros(2, np.float32))
    from foveate.observe.data.concepts import Concept

    found = material_of(
        lr, hr, split=["train", "train", "val"], concepts=(Concept("a"), Concept("b")),
        texts=TextConcepts(head, way), saliency=np.array(SALIENCY),
        known=draw.random((3, 1, 2, 2)) < 0.5,
    )  # fmt: skip
    shape = replace(found.shape, ensemble=1, plain=True)
    return replace(found, shape=shape, vectors=(TILES, OVERVIEWS))


def test_options_beside_a_preset_win():
    job = TrainJob(pairs="p", preset="paper")
    assert {name: getattr(job, name) for name in TRAIN["paper"]} == dict(TRAIN["paper"])
    assert TrainJob(pairs="p", preset="paper", lam=0.3, size="nano").lam == 0.3
    assert job == TrainJob(**job.model_dump(mode="json"))
    with pytest.raises(ParameterError, match="preset"):
        TrainJob(pairs="p", preset="article")


def test_options_of_formulas_are_options_of_the_benchmark_alone():
    given = {command.name: command for command in (*OBSERVE, *BENCH)}
    train = {p.name for p in given["train"].build().params}
    bench = {p.name for p in next(c for c in BENCH if c.name == "observe").build().params}
    assert not train & FORMULA_OPTIONS
    assert bench >= FORMULA_OPTIONS | {"preset"}
    assert "preset" in train


def test_equation_5_compares_own_embeddings_of_tile_and_overview(material):
    stages = stages_of(material, **PAPER)
    found = stages.supervised(stages.new_fill(), 0.1)
    np.testing.assert_allclose(found.gain, GAINS[4:], atol=1e-6)
    evidence = material.evidence(np.arange(3), torch.zeros(3, 1, 2, 2), reference="overview")
    np.testing.assert_allclose(found.targets.gain(evidence), GAINS, atol=1e-6)
    half = stages_of(material, **PAPER, lam=0.5, aggregate="max").supervised(stages.new_fill(), 0.1)
    # Tile 0: 0.6 - 0.5 and 0.8; 1: 1 - 0.5; 2: 0 and HALF - 0.5; 3: 1 - 0.5; 4 and 5: 1 - HALF / 2
    np.testing.assert_allclose(
        half.targets.gain(evidence), [0.8, 0.5, HALF - 0.5, 0.5, 1 - HALF / 2, HALF / 2], atol=1e-6
    )


def test_equation_6_is_unclipped_and_scaled_across_the_tiles_of_a_scene(material):
    stages = stages_of(material, **PAPER)
    found = stages.supervised(stages.new_fill(), 0.1)
    np.testing.assert_allclose(found.train["product"], [1.0, 0.0, 0.0, 0.0])
    raw = stages_of(material, **PAPER, target_scale="scene_sum", lam=0.5)
    evidence = material.evidence(np.arange(3), torch.zeros(3, 1, 2, 2), reference="overview")
    gain = np.array([0.1 + 0.8, 0.5, HALF - 0.5, 0.5, 1 - HALF / 2, HALF])
    product = (gain * SALIENCY).reshape(3, 2)
    product[2] = (gain[4] * 2.0, 2 * (HALF - HALF / 2) * 0.4)
    expected = product / product.sum(axis=1, keepdims=True)
    targets = raw.supervised(stages.new_fill(), 0.1).targets(evidence)["product"]
    np.testing.assert_allclose(targets, expected.ravel(), atol=1e-6)


def test_equation_8_counts_every_token_alike(material):
    stages = stages_of(material, **PAPER)
    task = stages.predictor_task(stages.new_predictor())
    rows = np.array([0, 1])
    found = float(task.loss(rows, np.random.default_rng(4)).detach())
    masks = random_masks(material.data.valid[rows], np.random.default_rng(4))
    with torch.no_grad():
        made = task.net(material.data.lr[rows], material.data.hr[rows], torch.from_numpy(masks))
    mu = task.net.mu.numpy()
    a, b = made.tokens.numpy() - mu, material.data.hr[rows].numpy() - mu
    cosines = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    assert found == pytest.approx(1 - cosines.mean(), abs=1e-4)


def test_equation_9_stands_alone(material):
    stages = stages_of(material, **PAPER, align="siglip-alone")
    net, has = stages.new_aligned().eval(), np.array([[True, False], [False, True], [True, True]])
    scores = np.array([[[0.9, 0.1]], [[0.2, 0.7]]])
    task = stages.predictor_task(net, scores=scores, has=(has[:2], has[2:]), alone=True)
    rows = np.array([0, 1])
    found = float(task.loss(rows, np.random.default_rng(4)).detach())
    masks = sampled_masks(material.data.valid[rows], scores, np.random.default_rng(4))
    with torch.no_grad():
        tokens = net.predictor(
            material.data.lr[rows], material.data.hr[rows], torch.from_numpy(masks)
        ).tokens
        pooled = net.way(tokens.mean((1, 2)))
        cosines = pooled / pooled.norm(dim=1, keepdim=True) @ net.texts.T
        logits = net.log_scale.exp() * cosines + net.bias
    sign = np.where(has[:2], 1, -1)
    by_hand = sum(math.log1p(math.exp(-t)) for t in (sign * logits.numpy()).ravel()) / 2
    assert found == pytest.approx(by_hand, rel=1e-4)
    assert found == pytest.approx(float(alignment_loss(logits, torch.from_numpy(has[:2]))))
    with torch.no_grad():
        judged = task.validate()
    assert judged["score"] == pytest.approx(-judged["texts"])


def test_the_sampler_is_a_network_over_lr_alone(material):
    stages = stages_of(material, **PAPER, epochs=2)
    net, facts = stages.sampler("product", stages.supervised(stages.new_fill(), 0.1))
    assert set(facts) == {"epochs", "best", "threads"}
    assert not net.linear.weight.any()
    other = net(material.data.lr, torch.full((3, 1, 2, 2), 9.0))
    assert torch.equal(net(material.data.lr, torch.zeros(3, 1, 2, 2)), other)
    assert other.shape == (3, 1, 2, 1)
    assert scores_of(net, stages.new_fill(), material.data.lr, torch.device("cpu")).std() > 0


def test_thresholds_are_on_scores_scaled_over_the_validation_tiles():
    calibration = Calibration.fit([0.2, 0.3, 0.3, 0.4])
    np.testing.assert_allclose(
        calibration.scaled([0.1, 0.2, 0.3, 0.31, 0.4, 0.5]), [0, 0, 0.5, 0.55, 1, 1]
    )
    assert calibration.scaled([[0.32]]).shape == (1, 1)
    assert Calibration.fit([0.5]).scaled([0.4, 0.5, 0.6]).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "tau", [0.55, *(pytest.param(t, marks=pytest.mark.slow) for t in (0.0, 1.0))]
)
def test_selection_takes_tiles_above_the_threshold_on_the_scale_of_the_paper(
    observing,  # noqa: F811
    tmp_path,
    tau,
):
    more = {} if tau == 0.55 else {"threshold": tau}
    run = SelectJob(
        images=[str(observing.pairs)], observer=str(observing.model), preset="paper",
        device="cpu", **more,
    ).run(tmp_path)  # fmt: skip
    summary = run.record["summary"]["observe"]
    assert (summary["threshold"], summary["expected_obr"], summary["drift"]) == (tau, None, None)
    import pyarrow.parquet as pq

    raw = pq.read_table(tmp_path / "rankings/learned.parquet")["raw"].to_numpy()
    calibration = Observer.load(observing.model, device="cpu").record.calibration
    assert summary["chosen"] == over(calibration.scaled(raw), tau).sum()
    assert 0 < over(calibration.scaled(raw), 0.55).sum() < len(raw)


@pytest.mark.parametrize("other", [{"budget": "10%"}, {"obr": "10%"}])
def test_the_paper_has_no_budget(other):
    with pytest.raises(ParameterError, match=r"--preset paper with --\w+.*--threshold 0\.55"):
        SelectJob(images=["x"], observer="o", preset="paper", **other)


def test_cosines_need_texts(observing, tmp_path):  # noqa: F811
    job = TrainJob(pairs=str(observing.pairs), **PAPER, device="cpu")
    with pytest.raises(DataError, match="--text-model"):
        job.run(tmp_path / "run")


@pytest.mark.parametrize("align", ["dense", pytest.param("siglip-alone", marks=pytest.mark.slow)])
def test_training_by_the_preset_of_the_paper(observing, tmp_path, align):  # noqa: F811
    import shutil

    register()
    shutil.copytree(observing.pairs, tmp_path / "pairs")
    job = TrainJob(
        pairs=str(tmp_path / "pairs"), **PAPER, text_model="colours", epochs=1, device="cpu",
        align=align,
    )  # fmt: skip
    job.run(tmp_path / "run")
    observer = Observer.load(tmp_path / "run", device="cpu")
    assert observer.record.shape.plain
    assert observer.record.form.lr_context and not observer.record.form.fill  # noqa: PT018
    steps = Run.load(tmp_path / "run").record["steps"]
    assert any("with texts alone" in step for step in steps) == (align == "siglip-alone")
    assert ("train predictor" in steps) == (align == "dense")


def test_the_full_size_is_that_of_the_paper():
    shape = SIZES["full"]
    assert (shape.hr_side, shape.pool, shape.depth, shape.width) == (14, 7, 12, 384)
    assert new_sampler(replace(SIZES["nano"], plain=True, ensemble=1), 0).told is None
