"""What the report of an observer is drawn from."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from toy_trial import toy

from foveate.observe.training.evaluate import SWEEP
from foveate.observe.training.report_assets import SHOWN, Axes, _pick, show


def test_colours_are_the_main_axes_of_what_is_true():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 5)) * [1, 9, 0.1, 3, 0.2] + 7
    axes = Axes(x)
    colours = axes.colours(x)
    assert colours.dtype == np.uint8
    for colour, feature in enumerate((1, 3, 0)):
        ranks = np.corrcoef(colours[:, colour], x[:, feature])[0, 1]
        assert ranks > 0.97  # and the sign is settled
    assert (axes.colours(x[:4].reshape(2, 2, 5)) == colours[:4].reshape(2, 2, 3)).all()
    assert axes.colours(np.full(5, 1e6)).max() == 255
    assert not axes.colours(np.full(5, -1e6)).min()


def test_tokens_of_fewer_axes_than_colours_are_shown():
    assert Axes(np.random.default_rng(0).normal(size=(9, 1))).colours(np.zeros((4, 1))).shape == (
        4,
        3,
    )
    same = Axes(np.ones((5, 4)))
    assert not same.colours(np.ones((2, 4))).any()


def test_scenes_with_many_and_few_tiles_are_picked():
    seen = np.zeros((9, 4, 4), bool)
    for i in range(9):
        seen[i].ravel()[: (i * 7) % 9] = True
    counts = seen.sum(axis=(1, 2))[_pick(seen)]
    assert len(counts) == 4
    assert (counts[0], counts[-1]) == (8, 0)
    assert (np.diff(counts) < 0).all()
    assert _pick(seen[:1]) == [0]


def test_what_is_shown_lies_in_files(tmp_path):
    trial = toy()
    seen = np.zeros((2, 2, 2), bool)
    seen[1, 0, 0] = True
    files = show(tmp_path, trial, seen)
    assert len(set(files)) == len(files)
    assert all((tmp_path / file).is_file() for file in files)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")} == set(files)
    content = json.loads((tmp_path / SHOWN).read_text())
    first, second = content["scenes"]  # more observed tiles first
    assert (first["scene"], second["scene"]) == ("s03", "s02")
    assert first["seen"] == [[1, 0], [0, 0]]
    assert first["here"] == [[1, 1], [1, 0]]
    assert [one["tau"] for one in first["sweep"]] == list(SWEEP)
    assert first["sweep"][0]["obr"] == 1
    assert np.allclose(first["score"], trial.observer.scores(trial.lr).score[1], atol=1e-4)
    full = Image.open(io.BytesIO((tmp_path / first["features"]["full"]).read_bytes()))
    assert full.size == (2, 2)
    (search,) = content["search"]
    assert search["concept"] == "a"
    best = search["tiles"][0]
    assert best["tile"] == "s03/00-00"
    assert (best["right"], best["observed"]) == (True, True)
