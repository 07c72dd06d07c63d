"""A benchmark of core-sets from the command line: what it writes, resumes and refuses."""

import json

import pytest
from command import here
from labelled import write_labelled

from foveate.bench.curate.conditions import ALL, condition
from foveate.bench.curate.job import CurateBenchJob
from foveate.bench.curate.settings import QUICK
from foveate.errors import ParameterError
from foveate.raster.gdal import FileSource


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Seven folders of two images each, so that verdicts are possible."""
    root = tmp_path_factory.mktemp("bench")
    for i in range(7):
        write_labelled(root / f"f{i}", n=2, side=48, classes=3, seed=i)
    return root


def _bench(images, out, *more):
    return here(
        "bench", "curate", "--pool", f"{images}:{images}", "--folds", "folder", "--tile", "16",
        "--budgets", "25%,100%", "--seeds", "2", "--method", "lc,kcenter", "--out", out, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    return out, _bench(images, out)


def test_json_is_a_list_of_measurements(images, run):
    out, first = run
    assert first.status == 0, first.err
    cells = _bench(images, out, "--json").json
    assert {c["method"] for c in cells} == {ALL, "random", "lc", "kcenter"}
    assert {(c["budget"], c["seed"], c["sampler"]) for c in cells} == {
        (b, s, how) for b in (25.0, 100.0) for s in (0, 1) for how in ("none", "balanced")
    }
    assert all(0 <= c["miou"] <= 1 and c["judge"] == "probe" for c in cells)
    whole = {c["miou"] for c in cells if c["budget"] == 100 and c["seed"] == 0
             and c["sampler"] == "none"}  # fmt: skip
    assert len(whole) == 1  # all tiles are all tiles, by whatever method


def test_the_page_says_what_to_take(run):
    out, answer = run
    page = (out / "report.html").read_text()
    said = next(
        line for line in answer.out.splitlines() if line.startswith(("Use", "No method", "With a"))
    )
    assert " ".join(said.split()[:4]) in page
    assert "mIoU by budget" in page
    assert json.loads((out / "tables/curate.json").read_text())["folds"]


def test_a_second_run_measures_nothing_and_another_budget_only_what_is_new(images, run):
    out, _ = run
    files = sorted((out / "work").rglob("cells/*.json"))
    times = {file: file.stat().st_mtime_ns for file in files}
    table = (out / "tables/curate.json").read_bytes()
    assert "Nothing to do" in _bench(images, out).out
    assert (out / "tables/curate.json").read_bytes() == table
    _bench(images, out, "--budgets", "25%,50%")
    again = sorted((out / "work").rglob("cells/*.json"))
    assert len(again) > len(files)
    assert all(file.stat().st_mtime_ns == times[file] for file in files)


@pytest.mark.parametrize("judge_on", ["folds", "test"])
def test_a_run_that_goes_on_reads_no_pixel_twice(images, tmp_path, monkeypatch, judge_on):
    some, other = (f"{images}/{f}/images:{images}/{f}/masks" for f in ("f0", "f1"))
    pool, parts = {"pool": some, "folds": "scene"}, {"train": some, "test": other}
    given = {**(pool if judge_on == "folds" else parts), "tile": 16, "budgets": "50%",
             "methods": "lc", "samplers": "none"}  # fmt: skip
    reads, read = [], FileSource.read

    def counted(source, *args, **more):
        reads.append(source.path)
        return read(source, *args, **more)

    monkeypatch.setattr(FileSource, "read", counted)
    CurateBenchJob(**given, seeds=1).run(tmp_path / "out")
    first = len(reads)
    assert first
    CurateBenchJob(**given, seeds=2).run(tmp_path / "out")
    assert len(reads) == first
    with_test = {**given, "buffer": 10.0}  # other rules for leaks need no pixel either
    CurateBenchJob(**with_test, seeds=2).run(tmp_path / "out")
    assert len(reads) == first


def test_the_table_fills_seed_by_seed(images, tmp_path, monkeypatch):
    import foveate.bench.curate.write as module

    seen, write = [], module.write_tables

    def noted(root, found):
        seen.append((found["seeds"], found["cautions"]))
        return write(root, found)

    monkeypatch.setattr(module, "write_tables", noted)
    only = ("--budgets", "50%", "--method", "lc", "--samplers", "none")
    assert _bench(images, tmp_path / "out", *only).status == 0
    assert [count for count, _ in seen] == [1, 2]
    assert "1 of 2 seeds finished." in seen[0][1]
    assert not any("seeds finished" in caution for caution in seen[1][1])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no imagery"),
        ({"pool": "a:b", "train": "a:b", "folds": "scene"}, "--pool together with"),
        ({"train": "a:b"}, "--train without --test"),
        ({"pool": "a:b"}, "--pool without --folds"),
        ({"train": "a:b", "test": "c:d", "folds": "scene"}, "without --pool"),
        ({"pool": "a:b", "folds": "scene", "options": {"fd": {"max_k": 3}}, "methods": "lc"},
         "options for 'fd'"),
        ({"pool": "a:b", "folds": "scene", "methods": "column"}, "--method column in a benchmark"),
        ({"pool": "a:b", "folds": "scene", "methods": "label-noise"}, "needs cells and tokens"),
        ({"pool": "a:b", "folds": "scene", "judge": "unet"}, "--judge unet with --model builtin"),
    ],
)  # fmt: skip
def test_bad_combinations_raise_with_hint(given, said):
    if given.get("judge"):
        pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(ParameterError, match=said) as caught:
        CurateBenchJob(**given).check()
    assert caught.value.hint or caught.value.allowed


@pytest.mark.parametrize("text", ["0%", "120%", "ten", "5%,x"])
def test_bad_budgets_raise_with_an_example(text):
    with pytest.raises(ParameterError, match="percentages"):
        CurateBenchJob(budgets=text)


def test_quick_settings_give_way_to_what_was_typed():
    job = CurateBenchJob.typed(quick=True, seeds=1)
    assert (job.seeds, job.judge, job.max_tiles) == (1, "probe", QUICK["max_tiles"])


def test_everything_is_one_condition():
    assert condition("lc", 1.0, "none") == condition("fd", 1.5, "none")
    assert condition("lc", 0.5, "none") != condition("fd", 0.5, "none")
