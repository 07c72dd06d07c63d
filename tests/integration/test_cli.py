"""The commands, from end to end."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pyarrow.parquet as pq
import pytest
from command import curate, foveate, here, start

METHODS = [
    "lc", "fd", "lc-fd", "fa", "cb", "fa-cb", "random", "kcenter", "facility", "max-herding",
    "typiclust", "hierarchical", "semdedup",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """A run of all methods on the world."""
    out = tmp_path_factory.mktemp("cli") / "run"
    answer = curate(world, out, "--method", "all", "--budget", "20%", "--json", run=foveate)
    assert answer.status == 0, answer.err
    return out, answer.json


def test_curate_writes_every_selection_and_a_report(run):
    out, result = run
    assert list(result["methods"]) == METHODS
    tiles = result["pool"]["tiles"]
    for name in METHODS:
        table = pq.read_table(out / "selection" / f"{name}.parquet")
        assert table.num_rows == int(tiles * 0.2)
        assert table["rank"].to_pylist() == list(range(1, table.num_rows + 1))
        footer = json.loads(table.schema.metadata[b"foveate"])
        assert footer["budget"] == "20%"
        assert footer["meta"]["method"] == name
    assert (out / "report.html").stat().st_size > 50_000


def test_json_is_all_there_is_on_stdout(run, world):
    out, _ = run
    answer = curate(world, out, "--method", "all", "--budget", "20%", "--json", run=foveate)
    assert answer.json["worked"] is False
    assert answer.err == ""


def test_second_run_does_nothing(run, world):
    out, _ = run
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    answer = curate(world, out, "--method", "all", "--budget", "20%")
    assert "Nothing to do" in answer.out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before


def test_exports_can_be_read_by_others(run, tmp_path):
    out, result = run
    chosen = result["methods"]["fa-cb"]["selected"]
    for target, file in (("geojson", "s.geojson"), ("geoparquet", "s.parquet"), ("csv", "s.csv")):
        answer = here("export", out, "--to", target, "--out", tmp_path / file, "--method", "fa-cb")
        assert answer.status == 0, answer.err
    features = json.loads((tmp_path / "s.geojson").read_text())["features"]
    assert len(features) == chosen
    assert pq.read_table(tmp_path / "s.parquet").num_rows == chosen
    assert len((tmp_path / "s.csv").read_text().splitlines()) == chosen + 1


def test_a_report_is_a_function_of_the_run(run, tmp_path):
    out, _ = run
    shutil.copytree(out, tmp_path / out.name)
    answer = here("report", tmp_path / out.name, "--out", tmp_path / "r.html")
    assert answer.status == 0, answer.err
    assert (tmp_path / "r.html").read_bytes() == (out / "report.html").read_bytes()


def test_file_order_does_not_matter(patches, tmp_path):
    files = sorted((patches / "images").iterdir())
    tables = []
    for i, order in enumerate((files, files[::-1])):
        answer = here(
            "curate", *order, "--masks", patches / "masks", "--classes",
            patches / "classes.yaml", "--out", tmp_path / str(i), "--tile", "16",
        )  # fmt: skip
        assert answer.status == 0, answer.err
        tables.append((tmp_path / str(i) / "selection" / "facility.parquet").read_bytes())
    assert tables[0] == tables[1]


def test_the_paper_preset_fixes_what_the_paper_fixes(world, tmp_path):
    answer = here(
        "curate", world / "images", "--masks", world / "masks", "--classes",
        world / "classes.yaml", "--out", tmp_path / "r", "--preset", "paper", "--method", "fa",
        "--model", "timm:resnet18@random?size=256", "--bands", "1,2,3", "--budget", "1", "--json",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    job = json.loads((tmp_path / "r" / "run.json").read_text())["job"]
    assert (job["tile"], job["stride"], job["edge"]) == (256, 256, "drop")
    assert answer.json["methods"]["fa"]["options"] == {"negative": "error"}
    assert answer.json["model"]["dim"] == 512


def test_world_and_doctor(tmp_path):
    answer = here("world", "--out", tmp_path / "w", "--scenes", "1", "--size", "128", "--json")
    assert answer.status == 0, answer.err
    assert (tmp_path / "w" / "classes.yaml").exists()
    found = here("doctor", "--json").json
    assert found["models"]["builtin"]["available"]
    assert "numpy" in found["versions"]


def test_weights_of_models_need_a_model_to_check():
    answer = here("models", "--weights", "w.pt")
    assert answer.status == 1
    assert "--weights 'w.pt' without --check" in answer.err


def test_methods_may_be_given_with_commas(patches, tmp_path):
    answer = curate(patches, tmp_path / "r", "--method", "lc, random", "--json")
    assert list(answer.json["methods"]) == ["lc", "random"]


@pytest.mark.parametrize("as_json", [pytest.param(False, marks=pytest.mark.slow), True])
def test_interrupted_command_reports_it_and_resumes(world, tmp_path, as_json):
    arguments = [
        "curate", world / "images", "--tile", "16", "--method", "fa", "--out", tmp_path / "r",
        *(["--json"] if as_json else []),
    ]  # fmt: skip
    victim = start(*arguments)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "r").glob("embeddings/*/part-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGINT)
    out, err = victim.communicate(timeout=60)
    assert victim.returncode == 130, err
    said = json.loads(out)["message"] if as_json else err
    assert "Interrupted. Run the same command again" in said
    assert here(*arguments).status == 0
