"""Folders as they are, on the command line: masks and runs among images, names of any kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveate.cli.main import main


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def mask(path):
    Image.fromarray(np.tile(np.uint8([[0, 1]]), (64, 32))).save(path)


def summary(capsys, *typed):
    assert main([*map(str, typed), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def flat(tmp_path):
    """A folder of images and masks that nothing but an unusual ending tells apart."""
    for i in range(3):
        image(tmp_path / f"in/{i}.png", i)
        mask(tmp_path / f"in/{i}_lab.png")
    return tmp_path / "in"


def test_masks_are_told_by_their_ending_in_every_command_that_takes_masks(flat, tmp_path, capsys):
    given = [flat, "--masks", flat, "--mask-suffix", "_lab"]
    kept = summary(
        capsys, "curate", *given, "--method", "lc", "--budget", 1, "--out", tmp_path / "c"
    )
    assert (kept["pool"]["scenes"], kept["pool"]["classes"]) == (3, ["class 0", "class 1"])
    options = ["--concepts", "class 0", "--tiles", "4x4", "--ratio", 4]
    summary(capsys, "observe", "prepare", *given, *options, "--out", tmp_path / "p")
    assert (
        main(["curate", *map(str, given[:3]), "--method", "lc", "--out", str(tmp_path / "x")]) == 1
    )
    assert "--mask-suffix _lab" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_globs_are_taken_as_they_are_typed(flat, tmp_path, capsys):
    kept = summary(
        capsys, "curate", f"{flat}/?.png", "--masks", f"{flat}/?_lab.png", "--method", "lc",
        "--budget", 1, "--out", tmp_path / "c",
    )  # fmt: skip
    assert kept["pool"]["scenes"] == 3


def test_runs_inside_the_input_are_never_read(tmp_path, capsys):
    for i in range(3):
        image(tmp_path / f"im/{i}.png", i)
    options = ["--method", "random", "--budget", 1]
    for name in ("run", "deep/er/run", ".hidden"):
        for _ in range(2):
            found = summary(
                capsys, "curate", tmp_path / "im", *options, "--out", tmp_path / "im" / name
            )
            assert found["pool"]["tiles"] == 3
    assert "2 folders are runs of foveate" in str(found["pool"]["notes"])
    assert main(["curate", str(tmp_path / "im/run"), "--out", str(tmp_path / "r")]) == 1


@pytest.fixture
def strange(tmp_path):
    """A folder with a name in Latin-1, of images with such and other names."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfcr"))
    for i, name in enumerate((b"caf\xe9", "é".encode(), b'q"u,o%te \n<x>', b"-a")):
        image(tmp_path / "one.png", i)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        os.rename(tmp_path / "one.png", os.fsencode(folder) + b"/images/" + name + b".png")  # noqa: PTH104
    return folder


def test_names_that_are_no_utf8_go_through_a_whole_job(strange, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--method", "fa", "--budget", 2, "--out", out]
    found = summary(capsys, "curate", strange / "images", *options)
    assert "names are not UTF-8" in str(found["pool"]["notes"])
    again = summary(capsys, "curate", strange / "images", *options)
    assert again["pool"]["tiles"] == 4
    for kind in ("geojson", "csv", "geoparquet"):
        status = main(["export", str(out), "--to", kind, "--out", str(tmp_path / f"x.{kind}")])
        assert status == (0 if kind == "csv" else 1)  # these have no place on the ground
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<x>" not in page


def test_observers_are_trained_on_names_that_are_no_utf8(strange, tmp_path, capsys):
    options = ["--tiles", "4x4", "--ratio", 4, "--out", tmp_path / "p"]
    summary(capsys, "observe", "prepare", strange / "images", *options)
    from foveate.observe.data.pairs import open_pairs

    pairs = open_pairs(tmp_path / "p")
    assert all(raster.valid.all() for raster in pairs.pool.read())


def test_accents_where_the_locale_is_ascii(strange, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from foveate.cli.main import main; sys.exit(main())",
         "curate", strange / "images", "--method", "random", "--budget", "1", "--out",
         tmp_path / "é"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "é/report.html").exists()
