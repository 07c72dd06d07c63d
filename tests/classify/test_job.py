"""The classify job: what a run holds, and what a second one repeats."""

from __future__ import annotations

import json
import logging

import numpy as np
import pyarrow.parquet as pq
import pytest
from affine import Affine
from colour_words import colour_words, register
from odc.geo.geobox import GeoBox
from PIL import Image

from foveate.classify import ClassifyJob
from foveate.errors import DataError, FoveateError, MissingCapabilityError, ParameterError
from foveate.models.probe import fit_probe
from foveate.raster import write_cog
from foveate.report import write_report
from foveate.run import Run, load_embeddings

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


@pytest.fixture(scope="module", autouse=True)
def _colours():
    register()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three pictures of each colour in a folder of its name; one lies in the wrong folder."""
    root = tmp_path_factory.mktemp("folders")
    draw = np.random.default_rng(0)
    for folder, colour in COLOURS.items():
        (root / folder).mkdir()
        for i in range(3):
            true = COLOURS["red"] if (folder, i) == ("blue", 2) else colour
            noise = draw.integers(0, 50, (24, 32, 3))
            Image.fromarray((noise + true).astype(np.uint8)).save(root / folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A georeferenced scene of four tiles, red, green, blue and green, with its mask."""
    root = tmp_path_factory.mktemp("scene")
    order = ["red", "green", "blue", "green"]
    image = np.concatenate([np.full((16, 16, 3), COLOURS[c], np.uint8) for c in order], axis=1)
    codes = np.concatenate([np.full((16, 16), list(COLOURS).index(c), np.uint8) for c in order], 1)
    box = GeoBox((16, 64), Affine(10, 0, 4.6e5, 0, -10, 5.2e6), "EPSG:32633")
    write_cog(root / "images/a.tif", np.moveaxis(image, -1, 0), geobox=box)
    write_cog(root / "masks/a.tif", codes[None])
    (root / "classes.yaml").write_text("classes: {Red: 0, Green: 1, Blue: 2}\n")
    return root


def job(images, **options):
    given = {"images": [str(images)], "model": "colours", "labels": list(COLOURS)}
    return ClassifyJob(**{**given, **options})


def predictions(out):
    return pq.read_table(out / "predictions.parquet")


def files(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_each_image_gets_the_label_that_is_nearest(folders, tmp_path):
    done = job(folders).run(tmp_path / "run")
    table = predictions(done.path)
    expected = ["blue", "blue", "red", "green", "green", "green", "red", "red", "red"]
    assert table["label"].to_pylist() == expected
    assert min(table["probability"].to_pylist()) > 0.5
    assert table["h"].to_pylist() == [24] * 9  # each image whole
    assert done.record["summary"]["labels"] == {"red": 4, "green": 3, "blue": 2}
    assert done.record["summary"]["truth"] is None


def test_the_second_label_is_the_runner_up(folders, tmp_path):
    table = predictions(job(folders).run(tmp_path / "run").path)
    for row in table.to_pylist():
        assert row["second_label"] in set(COLOURS) - {row["label"]}
        assert row["second_probability"] <= row["probability"]


def test_folders_tell_how_often_it_is_right(folders, tmp_path):
    done = job(folders, truth_from_folders=True).run(tmp_path / "run")
    truth = done.record["summary"]["truth"]
    assert (truth["source"], truth["judged"]) == ("folders", 9)
    assert truth["accuracy"] == pytest.approx(8 / 9)
    assert truth["classes"]["blue"] == {"tiles": 3, "right": 2, "accuracy": pytest.approx(2 / 3)}
    pairs = pq.read_table(done.path / "tables/confusion.parquet").to_pylist()
    assert {(p["truth"], p["label"]): p["tiles"] for p in pairs}["blue", "red"] == 1
    assert predictions(done.path)["truth"].to_pylist()[:3] == ["blue"] * 3


def test_masks_tell_it_too_and_georeferenced_runs_give_geoparquet(scene, tmp_path):
    given = job(scene / "images", masks=[str(scene / "masks")], tile=16,
                classes=str(scene / "classes.yaml"))  # fmt: skip
    done = given.run(tmp_path / "run")
    assert done.record["summary"]["truth"]["accuracy"] == 1.0
    table = predictions(done.path)
    assert table["label"].to_pylist() == ["red", "green", "blue", "green"]
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["primary_column"] == "geometry"


def test_classes_of_masks_that_are_no_label_are_not_judged(scene, tmp_path, caplog):
    given = job(scene / "images", masks=[str(scene / "masks")], tile=16, labels=["red", "blue"],
                classes=str(scene / "classes.yaml"))  # fmt: skip
    with caplog.at_level(logging.WARNING, "foveate"):
        done = given.run(tmp_path / "run")
    assert "2 of 4 tiles have no true class" in caplog.text
    assert done.record["summary"]["truth"]["judged"] == 2


def test_a_second_run_does_nothing(folders, tmp_path):
    given = job(folders, truth_from_folders=True)
    given.run(tmp_path / "run")
    before = files(tmp_path)
    assert not given.run(tmp_path / "run").worked
    assert files(tmp_path) == before


def test_new_labels_reuse_the_embeddings(folders, tmp_path):
    job(folders).run(tmp_path / "run")
    before = files(tmp_path)
    done = job(folders, labels={"fire": ["red"], "rest": ["grey"]}).run(tmp_path / "run")
    after = files(tmp_path)
    changed = {p.relative_to(done.path).parts[0] for p in after if before.get(p) != after[p]}
    assert "embeddings" not in changed
    assert "predictions.parquet" in changed
    assert "fire" in done.record["summary"]["labels"]


def test_a_run_without_truth_forgets_that_of_the_run_before(folders, tmp_path):
    done = job(folders, truth_from_folders=True).run(tmp_path / "run")
    assert (done.path / "tables/confusion.parquet").exists()
    job(folders).run(tmp_path / "run")
    assert not (done.path / "tables/confusion.parquet").exists()
    assert job(folders, truth_from_folders=True).run(tmp_path / "run").worked
    assert (done.path / "tables/confusion.parquet").exists()


def test_a_labels_file_and_templates_are_read(folders, tmp_path):
    (tmp_path / "l.yaml").write_text("fire: [red, a red thing]\nwood: green\n")
    given = job(folders, labels=str(tmp_path / "l.yaml"), templates="none")
    head = given.run(tmp_path / "run").record["summary"]["head"]
    assert head == {
        "kind": "cosine", "model": "", "templates": ["{}"],
        "texts": {"fire": ["red", "a red thing"], "wood": ["green"]},
    }  # fmt: skip


def test_a_single_label_is_judged_alone(folders, tmp_path):
    with pytest.raises(ParameterError, match="at least two are required"):
        job(folders, labels=["red"]).run(tmp_path / "run")
    done = job(folders, model="pairs", labels=["red"], head="sigmoid").run(tmp_path / "run")
    table = predictions(done.path)
    assert table["second_label"].null_count == 9
    assert max(table["probability"].to_pylist()) <= 1


def test_a_probe_takes_the_place_of_labels(folders, tmp_path):
    job(folders).run(tmp_path / "first")
    found = load_embeddings(tmp_path / "first")
    truth = np.array([list(COLOURS).index(i.split("/")[0]) for i in found.ids])
    probe = fit_probe(found.x, truth, list(COLOURS), spec=found.spec)
    probe.save(tmp_path / "p.safetensors")
    given = job(folders, labels=[], probe=str(tmp_path / "p.safetensors"))
    done = given.run(tmp_path / "second")
    assert list(done.record["summary"]["labels"]) == list(COLOURS)
    judged = given.model_copy(update={"truth_from_folders": True}).run(tmp_path / "judged")
    assert judged.record["summary"]["truth"]["fitted"] == 9
    assert "the probe was fitted to these patches" in write_report(judged.path).read_text()
    with pytest.raises(DataError, match="fitted to embeddings of 'colours'"):
        given.model_copy(update={"model": "builtin"}).run(tmp_path / "third")


def test_the_report_shows_surest_and_least_sure_tiles(folders, tmp_path):
    done = job(folders).run(tmp_path / "run")
    entries = pq.read_table(done.path / "tables/thumbs.parquet").to_pylist()
    assert len(entries) == 9
    assert all((done.path / e["file"]).exists() for e in entries)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": []}, ParameterError, "--labels and --probe are missing.*--labels forest"),
        ({"probe": "p"}, ParameterError, "--labels and --probe are both given"),
        ({"labels": ["red", "RED"]}, ParameterError, "are equal"),
        ({"templates": "plian"}, FoveateError, "Did you mean 'plain'"),
        ({"head": "soft"}, ParameterError, "Allowed: cosine"),
        ({"labels": ["red", "green"], "truth_from_folders": True}, DataError, "'blue'"),
        ({"stride": 8}, ParameterError, "--tile 256"),
        ({"labels": [], "probe": "missing"}, DataError, "cannot read the probe"),
        ({"labels": [], "probe": "p", "templates": "none"}, ParameterError, "without labels"),
        ({"masks": ["missing"]}, DataError, "'missing' does not exist"),
    ],
)
def test_jobs_that_cannot_be_leave_nothing_behind(change, error, message, folders, tmp_path):
    with pytest.raises(error, match=message):
        job(folders, **change).run(tmp_path / "run")
    assert not (tmp_path / "run" / "predictions.parquet").exists()
    assert not (tmp_path / "run" / "embeddings").exists()


def test_a_model_without_text_is_refused_before_it_embeds(folders, tmp_path):
    with pytest.raises(MissingCapabilityError, match="zero-shot classification"):
        job(folders, model="builtin").run(tmp_path / "run")
    assert not (tmp_path / "run" / "embeddings").exists()


def test_an_image_too_large_to_be_taken_whole_asks_for_a_tile(tmp_path):
    Image.new("RGB", (4200, 16)).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"16 x 4200 pixels.*--tile 256"):
        job(tmp_path / "wide.png").run(tmp_path / "run")


def test_the_fake_model_of_these_tests_passes_the_suite():
    from foveate.testing import check_model

    check_model(colour_words(), tolerance=1e-6)


def test_the_record_is_readable_by_others(folders, tmp_path):
    job(folders).run(tmp_path / "run", command="foveate classify ...")
    record = Run.load(tmp_path / "run").record
    assert record["job"]["labels"] == list(COLOURS)
    assert record["command"] == "foveate classify ..."


def test_a_tile_of_0_is_each_image_as_it_is(folders, tmp_path):
    job(folders, tile=0).run(tmp_path / "zero")
    job(folders).run(tmp_path / "none")
    zero, none = predictions(tmp_path / "zero"), predictions(tmp_path / "none")
    assert zero.equals(none)
    assert set(zero["h"].to_pylist()) == {24}
    with pytest.raises(ParameterError, match="whole images"):
        job(folders, tile=0, stride=8).run(tmp_path / "stride")
    with pytest.raises(ParameterError, match="tile"):
        job(folders, tile=-1)
