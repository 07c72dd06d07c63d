from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.helpers.command import here
from tests.helpers.observed import write_objects, write_scenes

from foveate.errors import DataError
from foveate.files import read_json
from foveate.observe.data.pairs import Pairs, open_pairs
from foveate.observe.jobs import PrepareJob
from foveate.observe.totals.statistics import SPLITS, StatsJob, statistics

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("east/a", "east/b", "north/a", "west/a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of four scenes in three regions, 3 x 4 tiles of 20 m, with a boat in one of them."""
    root = write_scenes(tmp_path_factory.mktemp("in"), names=NAMES)
    boat = {"kind": "boat", "scene": "north/a", "y": 40, "x": 70, "h": 3, "w": 2}
    PrepareJob(
        images=[str(root / "images")], masks=[str(root / "masks")],
        classes=str(root / "classes.yaml"), tiles=(3, 4), ratio=5,
        objects=str(write_objects(root / "o.json", [boat])),
    ).run(root / "pairs")  # fmt: skip
    return root / "pairs"


@pytest.fixture(scope="module")
def pairs(folder: Path) -> Pairs:
    return open_pairs(folder)


def test_scenes_tiles_and_ground_add_up(pairs: Pairs) -> None:
    found = statistics(pairs, np.array(["train", "train", "val", "test"]))
    assert (found["scenes"], found["tiles"], found["unit"], found["shown"]) == (4, 48, "m2", 4)
    assert found["ground"] == pytest.approx(4 * 60 * 80, rel=2e-3)  # on the ellipsoid
    for key in ("scenes", "tiles", "ground"):
        for parts in (found["splits"], found["regions"]):
            assert sum(part[key] for part in parts.values()) == pytest.approx(found[key])
    assert {name: part["scenes"] for name, part in found["splits"].items()} == dict(
        zip(SPLITS, (2, 1, 1), strict=True)
    )
    assert found["regions"]["east"] | {"ground": 0} == {
        "scenes": 2, "tiles": 24, "ground": 0, "concepts": 3, "split": "train",
    }  # fmt: skip


def test_concepts_by_hand(pairs: Pairs) -> None:
    concepts = statistics(pairs, np.array(["train", "train", "val", "test"]))["concepts"]
    ground = {name: row.pop("ground") for name, row in concepts.items()}
    assert concepts["land"] == {
        "scenes": 4, "train": 2, "val": 1, "test": 1, "tiles": 32, "regions": 3, "novel": False,
    }  # fmt: skip
    assert concepts["boat"] == {
        "scenes": 1, "train": 0, "val": 1, "test": 0, "tiles": 1, "regions": 1, "novel": False,
    }  # fmt: skip
    assert concepts["road"]["tiles"] == 4 * 3
    # Half land, half water, less the road of 60 pixels; only a mask tells an area.
    assert ground["road"] == pytest.approx(4 * 60, rel=2e-3)
    assert ground["water"] == pytest.approx(4 * (30 * 79), rel=2e-3)
    assert ground["boat"] is None


def test_the_command_prints_and_with_a_folder_keeps_tables_and_a_page(
    folder: Path, tmp_path: Path
) -> None:
    text = here("observe", "stats", str(folder)).out
    assert "4 scenes in 3 regions, 48 tiles" in text
    assert "Fewer than 10 training scenes show" in text
    assert "report.html" not in text
    done = here("observe", "stats", str(folder), "--out", str(tmp_path / "s"), "--json")
    found = done.json
    stored = read_json(tmp_path / "s/tables/statistics.json")
    assert stored["concepts"] == found["concepts"]
    lines = (tmp_path / "s/tables/concepts.csv").read_text().splitlines()
    assert len(lines) == 5
    assert "Regions" in (tmp_path / "s/report.html").read_text()
    again = StatsJob(pairs=str(folder)).run(tmp_path / "s")
    assert not again.worked


def test_regions_are_held_out_by_name(folder: Path) -> None:
    regions = sorted(set(open_pairs(folder).groups))
    val, test, train = regions
    answer = here("observe", "stats", folder, "--val", val, "--test", test, "--json")
    found = {name: row["split"] for name, row in answer.json["regions"].items()}
    assert found == {val: "val", test: "test", train: "train"}
    answer = here("observe", "stats", folder, "--test", "nowhere", "--json")
    assert answer.status == 1
    assert "no group of scenes is named 'nowhere'" in answer.json["message"]


def test_without_labels_nothing_is_said_of_concepts(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "in", names=("a", "b", "c"), crs=None)
    PrepareJob(images=[str(root / "images")], tiles=(3, 4), ratio=5).run(tmp_path / "pairs")
    found = StatsJob(pairs=str(tmp_path / "pairs"))
    counts = found.count(found.check())
    assert (counts["concepts"], counts["labelled"], counts["unit"]) == ({}, False, "pixels")
    text = here("observe", "stats", str(tmp_path / "pairs")).out
    assert "no labels" in text


def test_too_few_regions_to_divide(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="groups of scenes"):
        StatsJob(pairs=str(folder), val=0.9, test=0.5).run(tmp_path / "s")


def test_scenes_of_one_region_are_counted_without_splits(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "world", ("one/a", "one/b"))
    job = PrepareJob(images=[str(root / "images")], masks=[str(root / "masks")],
                     classes=str(root / "classes.yaml"), tiles=(2, 2), ratio=4)  # fmt: skip
    job.run(tmp_path / "pairs")
    answer = here("observe", "stats", tmp_path / "pairs", "--out", tmp_path / "s", "--json")
    assert answer.status == 0, answer.err
    assert (answer.json["scenes"], answer.json["splits"]) == (2, {})
    assert answer.json["concepts"]["water"]["scenes"] == 2
    assert (tmp_path / "s/report.html").is_file()
    told = here("observe", "stats", tmp_path / "pairs")
    assert "All scenes are of one region" in told.out
    assert "--block" in told.out
