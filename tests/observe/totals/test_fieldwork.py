"""Plans for a person, and the answers that come back."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from tests.helpers.observed import prepared_water

from foveate.errors import DataError, ParameterError
from foveate.observe.totals.amounts import amounts, read_answers, write_plan
from foveate.observe.totals.estimation import EstimateJob, draw_tiles, from_labels, summary


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pairs with masks, of 2 x 12 tiles."""
    return prepared_water(tmp_path_factory.mktemp("field"), tiles=(3, 4))


def drawn(folder, **more):
    return draw_tiles(
        EstimateJob(pairs=str(folder), concept="water", budget="9", **more), labelled=False
    )


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fill(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("of", ["area", "tiles"])
def test_answers_that_repeat_the_labels_give_their_estimate(folder, tmp_path, of):
    draw = drawn(folder, quantity=of, seed=2)
    write_plan(draw, tmp_path / "plan.csv")
    rows = rows_of(tmp_path / "plan.csv")
    assert [row["tile_id"] for row in rows] == draw.pairs.pool.ids[draw.tiles].tolist()
    assert {row["value"] for row in rows} == {""}
    held = amounts(draw.pairs, "water", of)(draw.tiles)
    for row, value in zip(rows, held, strict=True):
        row["value"] = str(value)
    answers = fill(tmp_path / "answers.csv", rows[::-1])
    found = summary(draw, read_answers(draw, answers))
    expected = from_labels(draw_tiles(draw.job, labelled=True))
    assert found == {**expected, "truth": None}
    assert found["drawn"] == 9
    assert found["without_labels"] == 0


def test_a_plan_on_a_map(folder, tmp_path):
    draw = drawn(folder)
    write_plan(draw, tmp_path / "plan.geojson")
    features = json.loads((tmp_path / "plan.geojson").read_text())["features"]
    assert len(features) == 9
    assert features[0]["properties"]["probability"] == pytest.approx(9 / 24, rel=0.01)
    row = rows_of(write(draw, tmp_path / "plan.csv"))[0]
    lon, lat = np.mean(features[0]["geometry"]["coordinates"][0][:4], axis=0)
    assert (float(row["longitude"]), float(row["latitude"])) == pytest.approx((lon, lat), abs=1e-6)
    with pytest.raises(ParameterError, match=r"plan.txt.*Allowed suffixes"):
        write_plan(draw, tmp_path / "plan.txt")


def write(draw, path):
    write_plan(draw, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "has no value.*0 too many, 1 missing"),
        (lambda rows: [*rows[:-1], {**rows[-1], "value": " "}], "1 missing"),
        (lambda rows: [{**rows[0], "tile_id": "x"}, *rows[1:]], "'x' was not drawn"),
        (lambda rows: [*rows, rows[0]], "twice"),
        (lambda rows: [{**rows[0], "value": "much"}, *rows[1:]], "line 2 .*'much'"),
        (lambda rows: [{**rows[0], "value": "nan"}, *rows[1:]], "is nan"),
        (lambda rows: [{**rows[0], "value": "-1"}, *rows[1:]], "is -1"),
        (lambda rows: [{**rows[0], "value": "500"}, *rows[1:]], "from 0 to 4.* m2"),
        (lambda rows: [{**rows[0], "probability": "0.1"}, *rows[1:]], "has the probability 0.1"),
        (lambda rows: [{"id": row["tile_id"], "value": "1"} for row in rows], "columns id, value"),
    ],
)
def test_answers_that_cannot_be(folder, tmp_path, change, message):
    draw = drawn(folder)
    rows = [{**row, "value": "3.5"} for row in rows_of(write(draw, tmp_path / "p.csv"))]
    assert read_answers(draw, fill(tmp_path / "a.csv", rows)).tolist() == [3.5] * 9
    with pytest.raises(DataError, match=message):
        read_answers(draw, fill(tmp_path / "a.csv", change(rows)))


@pytest.mark.parametrize("mark", [";", "\t"])
def test_answers_with_other_separators_say_what_to_write(folder, tmp_path, mark):
    path = write(drawn(folder), tmp_path / "p.csv")
    text = path.read_text().replace(",", mark)
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=r"Separate the columns by commas.*decimals with a point"):
        read_answers(drawn(folder), tmp_path / "a.csv")


def test_answers_of_another_kind(folder, tmp_path):
    for of, bad in (("tiles", "2"), ("tiles", "0.5"), ("count", "0.5")):
        draw = drawn(folder, quantity=of)
        rows = [{**row, "value": bad} for row in rows_of(write(draw, tmp_path / "p.csv"))]
        with pytest.raises(DataError, match=f"is {bad}"):
            read_answers(draw, fill(tmp_path / "a.csv", rows))
    for file, message in (("none.csv", "cannot read"), ("bytes.csv", "cannot read")):
        (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DataError, match=message):
            read_answers(drawn(folder), tmp_path / file)


def test_answers_to_another_seed_are_refused(folder, tmp_path):
    rows = [{**row, "value": "1"} for row in rows_of(write(drawn(folder), tmp_path / "p.csv"))]
    with pytest.raises(DataError, match="was not drawn"):
        read_answers(drawn(folder, seed=1), fill(tmp_path / "a.csv", rows))
