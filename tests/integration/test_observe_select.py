"""`foveate observe select` through the real entry point, with good input and with bad."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import foveate, here
from observed import box
from observing import observing  # noqa: F401

from foveate.cli.main import main
from foveate.raster import write_cog


@pytest.mark.parametrize("run", [here, pytest.param(foveate, marks=pytest.mark.slow)])
def test_select_prints_a_summary_and_runs_once(observing, run, tmp_path):  # noqa: F811
    out = tmp_path / "run"
    typed = ["observe", "select", observing.pairs, "--observer", observing.model, "--budget", "12%",
             "--device", "cpu", "--out", out]  # fmt: skip
    first = run(*typed, "--json")
    assert first.status == 0, first.err
    found = first.json
    assert found["worked"]
    assert (found["tiles"], found["chosen"], found["scenes"]) == (200, 24, 8)
    assert found["obr"] == pytest.approx(0.12, rel=1e-3)
    assert found["mocr"] == pytest.approx(found["obr"])
    record = json.loads((out / "run.json").read_text())
    assert record["summary"]["observe"]["task"] == "select"
    assert "--json" not in record["command"]
    assert (out / "report.html").exists()
    again = here(*typed)
    assert again.status == 0, again.err
    lines = again.out.splitlines()
    assert lines[0] == "Nothing to do: this run is complete, and nothing has changed."
    assert lines[1].startswith("24 of 200 tiles to observe, in 8 scenes")
    assert lines[1].endswith("was not significantly better than random tiles")  # few scenes
    assert "Tiles: 200 of 8 scenes, side 32 m (8 pixels of the overview)" in lines
    assert any(line.startswith("Selected: 24 tiles by a budget of 12%") for line in lines)
    assert "LR suffices for: cropland" in lines
    assert f"--observer {observing.model} --tiles DIR --out SCENES" in lines[-1]


def test_threshold_on_another_gsd_is_reported(observing, tmp_path, capsys):  # noqa: F811
    data = np.random.default_rng(0).integers(1, 200, (3, 40, 40), dtype=np.uint8)
    write_cog(tmp_path / "a.tif", data, geobox=box((40, 40), 0.8))
    typed = ["observe", "select", tmp_path / "a.tif", "--observer", observing.model, "--threshold",
             "0", "--lr-cost", "0.1", "--out", tmp_path / "run"]  # fmt: skip
    assert main([*map(str, typed)]) == 0
    shown = capsys.readouterr().out
    assert "is 0.8 m, and was 4 m in training" in shown
    assert "OBR 100.00% of the area, MOCR 1.1000" in shown
    assert "Expected OBR 100.00%: drift +0.0%" in shown


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Input that cannot be used."""
    root = tmp_path_factory.mktemp("bad")
    data = np.random.default_rng(0).integers(1, 200, (4, 40, 40), dtype=np.uint8)
    write_cog(root / "four/a.tif", data)
    write_cog(root / "two/a.tif", data[:2])
    write_cog(root / "deep/a.tif", data[:3].astype(np.uint16))
    write_cog(root / "good/a.tif", data[:3])
    (root / "empty").mkdir()
    (root / "corrupt").mkdir()
    (root / "corrupt/a.tif").write_bytes(b"II*\0 no raster")
    whole = (root / "good/a.tif").read_bytes()
    (root / "short").mkdir()
    (root / "short/a.tif").write_bytes(whole[: len(whole) // 3])
    (root / "tuned/model").mkdir(parents=True)
    (root / "tuned/model/tuned.json").write_text("{}")
    return root


@pytest.mark.parametrize(
    ("images", "model", "more", "said"),
    [
        ("good", "nowhere", ["--budget", "5%"], "does not contain a trained observer"),
        ("good", "tuned", ["--budget", "5%"], "does not contain a trained observer"),
        ("good", "", [], "no budget, no threshold and no obr"),
        ("good", "", ["--budget", "5%", "--threshold", "0.5"], "--budget and --threshold together"),
        ("good", "", ["--budget", "0"], "a budget of 0 tiles"),
        ("good", "", ["--budget", "120%"], "a budget of 120% of the tiles"),
        ("good", "", ["--budget", "much"], "'much' is not a budget"),
        ("good", "", ["--budget", "money=5"], "This pool has costs in"),
        ("good", "", ["--budget", "1%"], "less than one tile"),
        ("good", "", ["--threshold", "2"], "--threshold 2.0"),
        ("good", "", ["--obr", "0"], "--obr '0'"),
        ("good", "", ["--obr", "lots"], "--obr 'lots'"),
        ("good", "", ["--budget", "5%", "--policy", "sar"], "learned, design"),
        ("good", "", ["--budget", "5%", "--policy", "lerned"], "learned"),
        ("good", "", ["--budget", "5%", "--policy", "covariate"], "without a raster"),
        ("good", "", ["--budget", "5%", "--lr-cost", "-1"], "--lr-cost -1"),
        ("four", "", ["--budget", "5%"], "band mismatch"),
        ("two", "", ["--budget", "5%"], "band mismatch"),
        ("four", "", ["--budget", "5%", "--bands", "1,2"], "band mismatch"),
        ("deep", "", ["--budget", "5%"], "dtype mismatch"),
        ("empty", "", ["--budget", "5%"], "empty"),
        ("corrupt", "", ["--budget", "5%"], "a.tif"),
        ("nowhere", "", ["--budget", "5%"], "nowhere"),
    ],
)
def test_bad_input_raises_one_paragraph_and_writes_nothing(
    observing, bad, tmp_path, capsys, images, model, more, said  # noqa: F811
):  # fmt: skip
    out = tmp_path / "run"
    where = bad / model if model else observing.model
    typed = ["observe", "select", bad / images, "--observer", where, *more, "--out", out]
    assert main([*map(str, typed)]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "defect" not in told
    assert "Traceback" not in told
    assert not out.exists()


def test_truncated_file_is_named(observing, bad, tmp_path, capsys):  # noqa: F811
    typed = ["observe", "select", bad / "short", "--observer", observing.model, "--budget", "5",
             "--out", tmp_path / "run"]  # fmt: skip
    assert main([*map(str, typed)]) == 1
    told = capsys.readouterr().err
    assert "a.tif" in told
    assert "defect" not in told
    assert not (tmp_path / "run/tables/scores.parquet").exists()


def test_mixed_pairs_and_other_runs_are_refused(observing, bad, tmp_path, capsys):  # noqa: F811
    for images, said in (([observing.pairs, bad / "good"], "is a run"),
                         ([observing.pairs, "--nodata", "0"], "--nodata with pairs"),
                         ([observing.model], "no finished pairs")):  # fmt: skip
        typed = ["observe", "select", *images, "--observer", observing.model, "--budget", "5",
                 "--out", tmp_path / "run"]  # fmt: skip
        assert main([*map(str, typed)]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
