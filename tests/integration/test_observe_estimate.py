"""`foveate observe estimate` as a user types it."""

from __future__ import annotations

import csv
import json

import pytest
from command import foveate, here
from observing import observing  # noqa: F401

from foveate.observe.data.pairs import open_pairs


def estimate(pairs, *more, run=here):
    return run("observe", "estimate", pairs, "--budget", "20%", *more)


@pytest.fixture
def found(observing):  # noqa: F811
    return observing


def test_a_total_with_a_model(found, tmp_path):
    file = tmp_path / "result.json"
    options = ("--concept", "forest", "--observer", found.model, "--repeats", "30")
    told = estimate(found.pairs, *options, "--json", "--out", file).json
    assert told == json.loads(file.read_text())
    assert (told["drawn"], told["tiles"], told["unit"], told["by"]) == (40, 200, "m2", "model")
    assert told["truth"] == pytest.approx(
        float((open_pairs(found.pairs).shares[:, 0] * 32**2).sum()), rel=0.01
    )
    assert told["estimate"]["low"] < told["estimate"]["total"] < told["estimate"]["high"]
    assert told["repeats"]["design"]["coverage"] > 0.7
    assert told["repeats"]["even"]["repeats"] == 30


def test_a_plan_and_its_answers(found, tmp_path):
    options = ("--concept", "forest", "--quantity", "tiles", "--seed", "4")
    plan = tmp_path / "plan.csv"
    done = estimate(found.pairs, *options, "--plan", plan, run=foveate)
    assert done.status == 0, done.err
    with plan.open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth = dict(
        zip(open_pairs(found.pairs).pool.ids, open_pairs(found.pairs).present()[:, 0], strict=True)
    )
    answers = tmp_path / "answers.csv"
    with answers.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tile_id", "value"])
        writer.writerows([row["tile_id"], int(truth[row["tile_id"]])] for row in rows)
    told = estimate(found.pairs, *options, "--answers", answers, "--json").json
    labelled = estimate(found.pairs, *options, "--json").json
    assert told["estimate"] == labelled["estimate"]
    assert told["truth"] is None
    text = estimate(found.pairs, *options).out
    assert "95 % interval" in text
    assert "of all tiles" in text
    assert "True total of all labels" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--concept", "forrest"], "Did you mean 'forest'"),
        (["--concept", "forest", "--confidence", "much"], "--confidence 'much'"),
        (["--concept", "forest", "--plan", "p.csv", "--answers", "a.csv"], "written first"),
        (["--concept", "forest", "--observer", "none"], "does not contain a trained observer"),
    ],
)
def test_what_cannot_be_is_explained(found, tmp_path, options, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = here("observe", "estimate", found.pairs, *options)
    assert answer.status in (1, 2)
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not list(tmp_path.iterdir())
