"""`foveate focus look` through the real entry point, and every family of models through its job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from command import here
from PIL import Image
from pyproj import Transformer

from foveate.cli.main import main
from foveate.focus import LookJob
from foveate.report import write_report
from foveate.testing.tiny import tiny_model
from foveate.world import WorldSpec, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    spec = WorldSpec(scenes=2, size=512, seed=3, dtype="uint16", cloud=0.0, nodata_border=1.0)
    return write_world(root / "world", spec)


def test_a_look_without_labels(world, tmp_path):
    out = tmp_path / "run"
    typed = ["focus", "look", world.images[0], "--crop", "64", "--passes", "6", "--goal", "rare",
             "--out", out]  # fmt: skip
    first = here(*typed, "--json")
    assert first.status == 0, first.err
    found = first.json
    assert {"prediction", "prediction_full", "passes", "regions", "epsilon"} <= set(found)
    assert found["prediction"] is None
    assert 1 < found["passes"] <= 6
    assert found["passes_tiling"] == pytest.approx(64 * (64 / 256) ** 2)
    assert 1 <= len(found["regions"]) <= 8
    again = here(*typed)
    assert again.status == 0
    assert "Nothing to do" in again.out
    # Everything that another program needs lies at its place on the ground.
    table = pq.read_table(out / "regions.parquet")
    image = rasterio.open(world.images[0])
    to_image = Transformer.from_crs("EPSG:4326", image.crs, always_xy=True)
    for record, outline in zip(
        table.to_pylist(), shapely.from_wkb(table["geometry"].to_pylist()), strict=True
    ):
        x, y = image.transform @ (record["x"] + record["w"] / 2, record["y"] + record["h"] / 2)
        centre = to_image.transform(outline.centroid.x, outline.centroid.y)
        assert centre == pytest.approx((x, y), abs=0.6)
    features = json.loads((out / "regions.geojson").read_text())["features"]
    assert len(features) == len(table)
    with rasterio.open(next((out / "maps").glob("*.tif"))) as heat:
        assert heat.crs == image.crs
        assert heat.bounds == pytest.approx(image.bounds)
        values = heat.read(1)
        region = found["regions"][0]
        down, across = heat.height / image.height, heat.width / image.width
        at = values[int((region["y"] + region["h"] / 2) * down),
                    int((region["x"] + region["w"] / 2) * across)]  # fmt: skip
        assert at == pytest.approx(region["importance"], rel=1e-5)
        assert np.isnan(values).any()  # nodata has no importance
    # The cells that were seen have enough valid pixels, by an independent count.
    valid = image.dataset_mask() > 0
    cells = pq.read_table(next((out / "looks").glob("*.parquet"))).to_pylist()
    for cell in cells:
        part = valid[cell["y"] : cell["y"] + cell["h"], cell["x"] : cell["x"] + cell["w"]]
        assert part.mean() >= 0.45


def test_another_goal_remembers_what_was_seen(world, tmp_path):
    job = LookJob(images=[str(world.images[0])], crop=64, passes=6, goal="rare")
    job.run(tmp_path / "run", report=write_report)
    other = job.model_copy(update={"passes": 8}).run(tmp_path / "run", report=write_report)
    assert other.worked
    look = json.loads(next((tmp_path / "run" / "looks").glob("*.json")).read_text())
    assert look["remembered"] >= 5
    fresh = job.model_copy(update={"passes": 8}).run(tmp_path / "fresh")
    same = json.loads(next((fresh.path / "looks").glob("*.json")).read_text())
    assert same["regions"] == look["regions"]
    assert same["passes"] == look["passes"]


def test_a_folder_of_images(world, tmp_path, capsys):
    status = main(
        ["focus", "look", str(world.root / "images"), "--crop", "64", "--passes", "6",
         "--goal", "rare", "--regions", "3", "--out", str(tmp_path / "run"), "--json"]
    )  # fmt: skip
    assert status == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 2
    assert all(look["passes"] <= 6 for look in found["looks"])
    table = pq.read_table(tmp_path / "run" / "regions.parquet")
    assert set(table["scene"].to_pylist()) == {"scene-00", "scene-01"}


def test_every_file_that_is_left_out_is_named(world, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "scene.tif").symlink_to(world.images[0])
    for name in ("gone.tif", "lost.tif"):
        (folder / name).symlink_to(tmp_path / "absent.tif")
    typed = ["focus", "look", folder, "--crop", "64", "--passes", "6", "--goal", "rare",
             "--out", tmp_path / "run"]  # fmt: skip
    answer = here(*typed)
    assert answer.status == 0
    assert "2 images are links to missing files" in answer.err
    notes = json.loads((tmp_path / "run" / "tables/notes.json").read_text())
    named = [Path(item).name for note in notes for item in note["items"]]
    assert {"gone.tif", "lost.tif"} <= set(named)
    assert here(*typed).out.startswith("Nothing to do")
    (folder / "lost.tif").unlink()
    assert here(*typed).status == 0
    assert "lost.tif" not in (tmp_path / "run" / "tables/notes.json").read_text()


FAMILIES = [
    ("open_clip", "zoom", "labels"), ("open_clip", "window", "labels"),
    ("open_clip_resnet", "zoom", "labels"), ("hf_clip", "zoom", "labels"),
    ("hf_siglip", "zoom", "query"), ("hf_siglip2", "zoom", "labels"),
    ("tuned", "feature", "labels"),
    ("tuned", "zoom", "query"), ("timm_vit", "feature", ""), ("timm_vit", "window", ""),
    ("timm_swin", "zoom", ""), ("timm_cnn", "feature", ""), ("torchgeo", "zoom", ""),
    ("hf_sam", "feature", ""), ("hf_llava", "zoom", ""), ("hf_qwen2_vl", "feature", ""),
    ("hf_blip2", "zoom", ""),
]  # fmt: skip


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("picture")
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 255, (320, 256, 3), np.uint8)).save(folder / "wide.png")
    return folder / "wide.png"


@pytest.mark.parametrize("case", FAMILIES, ids="-".join)
def test_every_family_looks(case, picture, tmp_path, capsys):
    kind, mode, asked = case
    name, weights = tiny_model(kind, tmp_path / "model")
    typed = ["focus", "look", str(picture), "--model", name, "--mode", mode, "--device", "cpu",
             "--passes", "30", "--goal", "rare", "--crop", "64",
             "--out", str(tmp_path / "run")]  # fmt: skip
    if weights is not None:
        typed += ["--weights", str(weights)]
    if asked:
        typed += ["--labels", "forest,water,town"]
    if asked == "query":
        typed[typed.index("rare")] = "query"
        typed += ["--query", "storage tank"]
    assert main([*typed, "--json"]) == 0, capsys.readouterr()
    found = json.loads(capsys.readouterr().out)
    assert 1 <= found["passes"] <= 30
    assert found["regions"]
    assert (found["prediction"] is None) == (not asked)
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000


BAD = [
    (["--goal", "balance"], "Did you mean"),
    (["--mode", "zoomed"], "zoom"),
    (["--passes", "0.5"], "at least 1, for the overview"),
    (["--passes", "1"], "Type --passes"),
    (["--labels", "water,forest"], "text"),
    (["--labels", "water,water"], "water"),
    (["--query", "tank"], "text"),
    (["--goal", "query"], "--query"),
    (["--area", "0%"], "0"),
    (["--area", "5"], "10%"),
    (["--crop", "400"], "foveate classify"),
    (["--option", "synergy=none"], "marginal"),
    (["--option", "weights.size=1"], "area"),
    (["--bands", "7"], "between 1 and 4"),
    (["--mode", "feature"], "tokens"),
    (["--nodata", "0", "--min-valid", "2"], "--min-valid 2"),
]


@pytest.mark.parametrize(("typed", "says"), BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_options_raise_with_hint(typed, says, world, tmp_path, capsys):
    out = tmp_path / "run"
    status = main(
        ["focus", "look", str(world.images[0]), "--crop", "64", "--out", str(out), *typed]
    )
    error = capsys.readouterr().err
    assert status in (1, 2)
    assert says in error
    assert "Traceback" not in error
    assert "defect" not in error
    assert not (out / "regions.parquet").exists()


def test_an_image_of_nothing(tmp_path, capsys):
    with rasterio.open(
        tmp_path / "empty.tif", "w", driver="GTiff", height=300, width=300, count=1,
        dtype="uint8", nodata=0, crs="EPSG:32631",
        transform=rasterio.Affine(1, 0, 500000, 0, -1, 500),
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 300, 300), np.uint8))
    typed = ["focus", "look", str(tmp_path / "empty.tif"), "--crop", "64", "--goal", "rare"]
    assert main([*typed, "--out", str(tmp_path / "run")]) == 1
    assert "no cell with 50% valid pixels" in capsys.readouterr().err


@pytest.fixture
def three(tmp_path):
    """Three noisy images, of which b is constant."""
    draw = np.random.default_rng(0)
    for name in "abc":
        data = draw.integers(1, 255, (96, 96, 3), np.uint8)
        Image.fromarray(data if name != "b" else np.full_like(data, 7)).save(
            tmp_path / f"{name}.png"
        )
    return tmp_path


def test_one_bad_image_of_several_is_named_and_the_others_are_processed(three, tmp_path):
    run = tmp_path / "run"
    typed = ["focus", "look", *(three / f"{name}.png" for name in "abc"), "--crop", "24",
             "--cells", "2", "--goal", "rare", "--passes", "8", "--out", run]  # fmt: skip
    answer = here(*typed)
    assert answer.status == 3
    assert "1 scene skipped; the same command retries" in answer.err
    assert "  b: all pixels of the image are 7" in answer.err
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert [look["image"] for look in summary["focus"]["looks"]] == ["a", "c"]
    assert list(summary["failed"]) == ["b"]
    assert set(pq.read_table(run / "regions.parquet")["scene"].to_pylist()) == {"a", "c"}
    assert "Excluded scenes" in (run / "report.html").read_text()
    found = here(*typed[:-2], "--out", run, "--json")
    assert found.status == 3
    assert found.json["worked"] is False
    # A repaired image is processed by the same command.
    Image.fromarray(np.random.default_rng(1).integers(1, 255, (96, 96, 3), np.uint8)).save(
        three / "b.png"
    )
    assert here(*typed).status == 0
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert [look["image"] for look in summary["focus"]["looks"]] == ["a", "b", "c"]
    assert "failed" not in summary


def test_bad_images_stop_a_run_that_is_told_to_and_a_run_of_bad_images_alone(three, tmp_path):
    typed = ["--crop", "24", "--cells", "2", "--goal", "rare", "--passes", "8", "--out",
             tmp_path / "run"]  # fmt: skip
    (three / "c.png").write_bytes(b"no picture")
    files = [three / f"{name}.png" for name in "abc"]
    answer = here("focus", "look", *files, *typed)
    assert answer.status == 3
    assert "2 scenes skipped" in answer.err
    answer = here("focus", "look", *files, "--on-error", "stop", *typed)
    assert answer.status == 1
    assert "c.png" in answer.err
    answer = here("focus", "look", *files[:2], "--on-error", "stop", *typed)
    assert answer.status == 1
    assert "'b': all pixels of the image are 7" in answer.err
    (three / "a.png").write_bytes((three / "b.png").read_bytes() + b" ")
    answer = here("focus", "look", *files[:2], *typed)
    assert answer.status == 1
    assert "none of the 2 scenes" in answer.err
