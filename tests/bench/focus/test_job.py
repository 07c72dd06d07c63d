"""A benchmark of looks from the command line: what it measures, resumes and refuses."""

import csv
import json

import numpy as np
import pytest
from colour_words import ColourWords, register
from command import here
from scene_sets import random_tiles, too_dear, write_classes

from foveate.bench.focus import measure
from foveate.bench.focus.job import FocusBenchJob
from foveate.bench.focus.methods import METHODS, Entry
from foveate.bench.focus.tables import TABLES
from foveate.errors import DataError, FoveateError, ParameterError, UnknownNameError
from foveate.world.mosaic_files import write_mosaics

USUAL = ("--kind", "rare,one", "--count", "3", "--grid", "4", "--seeds", "2")
LOOKS = ("--method", "look-balanced,look-rare,look-query,test-tiles,test-dear,whole-image",
         "--passes", "1,2,24")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def tiles():
    """The model of colours, and a method without a plan."""
    register()
    METHODS["test-tiles"] = Entry(random_tiles, "Tiles.")
    METHODS["test-dear"] = Entry(too_dear, "Nothing.")
    yield
    for name in ("test-tiles", "test-dear"):
        METHODS.pop(name)


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("scenes") / "patches")


def bench(patches, out, *more, usual=USUAL, labels=("--labels", "red,green,blue")):
    return here(
        "bench", "focus", "--scenes", patches, "--model", "colours", *labels, *usual,
        "--out", out, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(patches, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    return out, bench(patches, out, "--table", "looks", *LOOKS, "--json")


def test_json_is_a_list_of_measurements(run):
    out, answer = run
    assert answer.status == 0, answer.err
    cells = answer.json
    assert {c["table"] for c in cells} == {"looks"}
    assert {c["seed"] for c in cells} == {0, 1}
    assert {"top-1", "top-5", "recall", "pointing", "iou", "passes", "seconds", "epsilon"} <= {
        c["measure"] for c in cells
    }
    spent = [c for c in cells if c["measure"] == "passes"]
    assert all(0 < c["value"] <= c["passes"] + 1e-6 for c in spent)
    one = [c for c in cells if c["measure"] == "top-1" and c["method"] == "look-rare"
           and c["passes"] == 24]  # fmt: skip
    assert len(one) == 2
    assert all(0 <= c["value"] <= 1 for c in one)
    with (out / "tables/looks-cells.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(cells)


def test_a_model_that_sees_each_colour_answers_where_it_looks_everywhere(run):
    """With 24 passes of small crops all of a scene is seen: a scene of one class has its label."""
    _, answer = run
    value = {(c["method"], c["passes"], c["seed"], c["measure"]): c["value"] for c in answer.json
             if "told" not in c["block"]}  # fmt: skip
    for seed in (0, 1):
        assert value["test-tiles", 24, seed, "top-1: one"] == 1
        assert value["test-tiles", 24, seed, "top-1: rare"] == 0
        assert value["look-rare", 24, seed, "recall"] > value["whole-image", 24, seed, "recall"]


def test_insufficient_budgets_are_skipped_with_a_reason(run):
    out, _ = run
    found = json.loads((out / "tables/looks.json").read_text())
    assert len(found["left_out"]) == 3
    assert set(found["left_out"].values()) == {
        f"{passes} passes for a method that takes more. It takes more." for passes in (1, 2, 24)
    }


def test_repeated_runs_measure_nothing_and_interrupted_ones_resume(
    patches, run, monkeypatch, tmp_path
):
    out, _ = run
    table = (out / "tables/looks.json").read_bytes()
    assert "Nothing to do" in bench(patches, out, "--table", "looks", *LOOKS).out
    assert (out / "tables/looks.json").read_bytes() == table  # not that of the first seed
    calls, own = [], measure.Trial.run

    def dying(trial, condition):
        calls.append((trial.scene.name, condition.work))
        if len(calls) == 30:
            raise KeyboardInterrupt
        return own(trial, condition)

    monkeypatch.setattr(measure.Trial, "run", dying)
    job = FocusBenchJob(
        scenes=[str(patches)], models=["colours"], labels=["red", "green", "blue"],
        kinds=["rare"], count=3, grid=4, crop=16, seeds=2, table="looks",
        methods=["look-rare", "test-tiles"],
    )  # fmt: skip
    before = len(calls)
    calls.extend([("", "")] * (29 - 6))  # it dies in the second scene
    with pytest.raises(KeyboardInterrupt):
        job.run(tmp_path / "out")
    first = calls[before + 23 :]
    done = len(list((tmp_path / "out").rglob("scenes/*.json")))
    assert done == 1
    job.run(tmp_path / "out")
    second = calls[before + 23 + len(first) :]
    seen = {name for name, _ in first[:-1]} & {name for name, _ in second}
    assert len(seen) <= 1  # only the scene that was being looked at


def test_vectors_are_remembered_for_other_tables(patches, run, monkeypatch):
    out, _ = run
    seen, own = [], ColourWords.embed

    def counted(model, batch):
        seen.append(len(batch))
        return own(model, batch)

    monkeypatch.setattr(ColourWords, "embed", counted)
    options = ("--method", "look-balanced", "--passes", "24")
    assert bench(patches, out, "--table", "main", *options).status == 0
    assert sum(seen) == 0


def test_a_probe_says_what_the_classes_are(patches, tmp_path):
    from foveate.models.probe import fit_probe
    from foveate.run import load_embeddings

    out = tmp_path / "embedded"
    assert here("embed", patches, "--model", "colours", "--tile", "0", "--out", out).status == 0
    found = load_embeddings(out)
    names = ("blue", "green", "red")
    truth = np.array([names.index(i.partition("/")[0]) for i in found.ids])
    fit_probe(found.x, truth, names, spec=found.spec).save(tmp_path / "probe.safetensors")
    given = ("--probe", tmp_path / "probe.safetensors")
    answer = bench(
        patches, tmp_path / "out", "--table", "main", "--json", labels=given,
        usual=("--kind", "one", "--count", "2", "--grid", "4", "--seeds", "1"),
    )  # fmt: skip
    assert answer.status == 0, answer.err
    value = {c["method"]: c["value"] for c in answer.json if c["measure"] == "top-1"}
    assert value == {"whole-image": 1, "+ look-balanced": 1}


def test_without_classes_recall_leads(patches, tmp_path):
    options = ("--method", "look-rare,look-paper,test-tiles", "--passes", "24")
    answer = bench(patches, tmp_path / "out", "--table", "looks", *options, labels=())
    assert answer.status == 0, answer.err
    found = json.loads((tmp_path / "out/tables/looks.json").read_text())
    assert found["lead"] == "recall"
    assert not any("top-1" in row["means"] for row in found["rows"])
    assert list(found["left_out"]) == ["24 passes: look-paper"]  # its loss needs classes


def test_scenes_of_foveate_mosaic(patches, tmp_path):
    write_mosaics(patches, tmp_path / "made", "rare", 3, rows=4, cols=4)
    answer = bench(
        tmp_path / "made", tmp_path / "out", "--table", "looks", "--method",
        "look-rare,whole-image", "--passes", "24", usual=("--seeds", "1", "--crop", "16"),
    )  # fmt: skip
    assert answer.status == 0, answer.err
    page = (tmp_path / "out/report.html").read_text()
    assert "significantly better than" in page


@pytest.mark.parametrize("table", sorted(set(TABLES) - {"looks", "regions"}))
def test_every_table_has_rows_and_a_page(patches, tmp_path, table):
    answer = bench(
        patches, tmp_path / "out", "--table", table, "--method", "look-balanced,test-tiles",
        usual=("--kind", "rare", "--count", "2", "--grid", "4", "--seeds", "1"),
    )  # fmt: skip
    assert answer.status == 0, answer.err
    found = json.loads((tmp_path / f"out/tables/{table}.json").read_text())
    assert found["rows"]
    assert found["lead"] in found["columns"]
    assert (tmp_path / "out/report.html").stat().st_size


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, ParameterError, "without scenes"),
        ({"scenes": ["a"], "dataset": "aid", "root": "b"}, ParameterError, "Only one of them"),
        ({"dataset": "aid"}, ParameterError, "--root"),
        ({"scenes": ["a"], "kinds": ["rar"]}, UnknownNameError, "unknown kind 'rar'"),
        ({"scenes": ["a"], "methods": ["look-rar"]}, UnknownNameError, "unknown method"),
        ({"scenes": ["a"], "models": ["builtin", "b"]}, ParameterError, "2 models"),
        ({"scenes": ["a", "b"]}, ParameterError, "2 sets of scenes"),
        ({"scenes": ["a"], "table": "depth", "passes": "16,24"}, ParameterError, "2 budgets"),
        ({"scenes": ["none"]}, DataError, "does not exist"),
    ],
)
def test_bad_combinations_raise(given, error, said):
    with pytest.raises(error, match=said) as caught:
        FocusBenchJob(**given).check()
    assert caught.value.hint or caught.value.allowed


@pytest.mark.parametrize("text", ["0", "many", "16,nan"])
def test_bad_budgets_raise_with_an_example(text):
    with pytest.raises(ParameterError, match="numbers of passes"):
        FocusBenchJob(passes=text)


def test_scenes_of_a_class_that_is_no_label_are_refused(patches, tmp_path):
    job = FocusBenchJob(
        scenes=[str(patches)], models=["colours"], labels=["red", "green"], grid=4, count=3,
        crop=16, seeds=1, kinds=["one"],
    )  # fmt: skip
    with pytest.raises(FoveateError, match="not among the labels"):
        job.run(tmp_path / "out")
