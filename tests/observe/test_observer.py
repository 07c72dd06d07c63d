"""`Observer`: what it says, on disk and back, and what it never looks at."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from observing import observing  # noqa: F401
from planted import material_of, observer_of, stages_of

from foveate.errors import DataError, ParameterError
from foveate.models import load_model
from foveate.models.embed import bind
from foveate.observe.data.pairs import open_pairs
from foveate.observe.features import Encoder
from foveate.observe.networks.heads import ToText
from foveate.observe.observer import Observer
from foveate.observe.observer_config import RECORD, find_observer
from foveate.observe.scoring.calibration import Calibration
from foveate.testing.tiny import tiny_model


@pytest.fixture(scope="module")
def observer(observing):  # noqa: F811
    return Observer.load(observing.model, device="cpu")


def scenes(observer, s=2, rows=3, cols=4, seed=0):
    """Return reduced LR and HR tokens, and observed tiles."""
    draw, shape = np.random.default_rng(seed), observer.record.shape
    r, k = shape.lr_side, shape.hr_side
    lr = draw.normal(size=(s, rows * r, cols * r, shape.lr_dim)).astype(np.float32)
    hr = draw.normal(size=(s, rows * k, cols * k, shape.hr_dim)).astype(np.float32)
    return lr, hr, draw.random((s, rows, cols)) < 0.4


def same(one, two):
    """Check that two observers say the same, bit by bit."""
    lr, hr, seen = scenes(one)
    for left, right in ((one.scores(lr), two.scores(lr)),
                        (one.complete(lr, hr, seen), two.complete(lr, hr, seen))):  # fmt: skip
        for name, value in vars(left).items():
            np.testing.assert_array_equal(value, getattr(right, name), err_msg=name)


def test_scores_are_calibrated_means_of_the_heads(observer):
    lr, _, _ = scenes(observer)
    found = observer.scores(lr)
    assert found.score.shape == found.raw.shape == found.sd.shape == (2, 3, 4)
    with torch.no_grad():
        x = torch.from_numpy(lr)
        heads = observer.sampler(x, observer.predictor.fill.coarse(x)).sigmoid().numpy()
    np.testing.assert_allclose(found.raw, heads.mean(-1), atol=1e-6)
    np.testing.assert_allclose(found.sd, heads.std(-1), atol=1e-6)
    np.testing.assert_array_equal(found.score, observer.record.calibration(found.raw))


def test_many_scenes_are_scored_as_each_by_itself(observer):
    lr, hr, seen = scenes(observer, s=19)
    whole, done = observer.scores(lr).raw, observer.complete(lr, hr, seen).tokens
    for i in (0, 15, 18):
        np.testing.assert_allclose(observer.scores(lr[[i]]).raw[0], whole[i], atol=1e-5)
        one = observer.complete(lr[[i]], hr[[i]], seen[[i]]).tokens[0]
        np.testing.assert_allclose(one, done[i], atol=1e-4)


def test_the_fill_alone_is_that_of_a_completion(observer):
    lr, hr, seen = scenes(observer, s=20)
    found = observer.complete(lr, hr, seen).fill
    np.testing.assert_allclose(observer.filled(lr), found, atol=1e-5)


def test_observed_tokens_come_back_and_others_make_no_difference(observer):
    lr, hr, seen = scenes(observer)
    done = observer.complete(lr, hr, seen)
    np.testing.assert_array_equal(done.tokens[seen], hr[seen])  # one token a tile
    other = np.where(seen[..., None], hr, np.nan)
    np.testing.assert_array_equal(observer.complete(lr, other, seen).tokens, done.tokens)
    moved = observer.complete(lr, hr, seen, passthrough=False)
    assert not np.array_equal(moved.tokens[seen], hr[seen])
    np.testing.assert_array_equal(moved.doubt, done.doubt)
    assert done.doubt[seen].max() <= done.doubt[~seen].max()


def test_a_tile_that_is_not_finite_counts_as_unobserved(observer):
    lr, hr, seen = scenes(observer)
    at = tuple(np.argwhere(seen)[0])
    holes = hr.copy()
    holes[at][0] = np.nan  # one number of it
    without = seen.copy()
    without[at] = False
    found, expected = observer.complete(lr, holes, seen), observer.complete(lr, hr, without)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.doubt, expected.doubt)


def test_saved_and_loaded_it_says_the_same_to_the_bit(observer, tmp_path):
    to_text = ToText(
        np.ones((3, observer.record.shape.hr_dim), np.float32), np.zeros(3, np.float32)
    )
    assert observer.predictor.mu.any()
    handles = {role: observer.handle(role) for role in ("lr", "hr")}
    files = replace(observer, to_text=to_text).save(tmp_path / "one" / "model", handles)
    assert [file.name for file in files] == ["observer.safetensors", RECORD]
    shutil.move(tmp_path / "one", tmp_path / "two")
    back = Observer.load(tmp_path / "two", device="cpu")
    same(observer, back)
    assert torch.equal(back.predictor.mu, observer.predictor.mu)
    assert not any(net.training for net in (back.sampler, back.predictor))
    left, right = vars(observer.record), vars(back.record)
    for name in left.keys() - {"calibration", "encoders"}:
        assert left[name] == right[name], name
    assert left["calibration"].to_dict() == right["calibration"].to_dict()
    np.testing.assert_array_equal(back.to_text.weight, to_text.weight)
    np.testing.assert_array_equal(back.head.weight, observer.head.weight)
    for role in ("lr", "hr"):
        own, other = getattr(observer, role), getattr(back, role)
        np.testing.assert_array_equal(own.basis, other.basis)
        assert own.scale == other.scale
    again = back.save(tmp_path / "three", {r: back.handle(r) for r in ("lr", "hr")})
    for name, file in zip(("observer.safetensors", RECORD), again, strict=True):
        assert file.read_bytes() == (tmp_path / "two/model" / name).read_bytes()


@pytest.mark.parametrize("kind", ["weights", "architecture", "tuned"])
def test_a_moved_observer_has_its_encoders_with_it(kind, observer, observing, tmp_path):  # noqa: F811
    pool = open_pairs(observing.pairs).pool
    if kind == "weights":
        pytest.importorskip("timm")
        from safetensors.torch import save_file
        from timm import create_model

        save_file(create_model("mobilenetv2_050").state_dict(), tmp_path / "net.safetensors")
        handle = load_model(
            "timm:mobilenetv2_050?size=64", weights=tmp_path / "net.safetensors", device="cpu"
        )
    elif kind == "architecture":
        pytest.importorskip("open_clip")
        handle = load_model(tiny_model("open_clip", tmp_path / "config")[0], device="cpu")
    else:
        pytest.importorskip("timm")
        handle = load_model(tiny_model("tuned", tmp_path / "words")[0], device="cpu")
    model = bind(handle, pool)
    encoder = Encoder(str(handle), handle.weights, model.spec, "uint8")
    record = replace(observer.record, encoders={"lr": encoder, "hr": encoder})
    replace(observer, record=record).save(tmp_path / "old", {"lr": handle, "hr": handle})
    shutil.move(tmp_path / "old", tmp_path / "new")
    for used in ("net.safetensors", "config", "words"):
        place = tmp_path / used
        if place.exists():
            place.rename(tmp_path / f"gone-{used}")
    back = Observer.load(tmp_path / "new", device="cpu")
    assert len(list((tmp_path / "new/encoders").iterdir())) == 1  # both roles share it
    again = bind(back.handle("hr", "cpu"), pool)
    assert again.spec.fingerprint == model.spec.fingerprint
    batch = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(again.embed(batch), model.embed(batch))


def test_what_is_no_observer_is_refused(observer, observing, tmp_path):  # noqa: F811
    assert find_observer(observing.model) == find_observer(observing.model / "model")
    with pytest.raises(DataError, match="does not contain a trained observer"):
        Observer.load(tmp_path)
    shutil.copytree(observing.model / "model", tmp_path / "model")
    file = tmp_path / "model" / RECORD
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(DataError, match="has format 99"):
        Observer.load(tmp_path)
    (tmp_path / "model/observer.safetensors").unlink()
    file.write_text(json.dumps(content))
    with pytest.raises(DataError):
        Observer.load(tmp_path)
    with pytest.raises(DataError, match="no text model"):
        observer.handle("text")


def test_a_design_is_a_full_order_that_avoids_what_is_alike():
    draw = np.random.default_rng(0)
    lr = draw.normal(size=(1, 2, 3, 4)).astype(np.float32)
    lr[0, 0, 1] = lr[0, 0, 0]
    material = material_of(lr, draw.normal(size=(1, 2, 3, 4)))
    stages = stages_of(material)
    observer = observer_of(material, stages.new_sampler(), stages.new_predictor())
    worth = np.array([[[1.0, 0.98, 0.95], [0.9, 0.85, 0.0]]])
    gains = observer.design(lr, worth)
    assert gains.shape == (1, 2, 3)
    assert len(np.unique(gains)) == 6
    plain = stages_of(material, architecture="plain").new_predictor()
    without = observer_of(material, stages.new_sampler(), plain)
    with pytest.raises(ParameterError, match="no kriging"):
        without.design(lr, worth)


def test_calibration_is_of_validation_scores(observer):
    assert isinstance(observer.record.calibration, Calibration)
    knots = observer.record.calibration.knots
    assert ((knots > 0) & (knots < 1)).all()
