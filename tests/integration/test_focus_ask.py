"""`foveate focus ask` and `foveate focus segment` with tiny models of every family."""

import re

import numpy as np
import pytest
from command import here
from looks import land

from foveate.cli.show_focus import looked
from foveate.files import read_json, read_parquet
from foveate.focus import AskJob, SegmentJob
from foveate.raster import FileSource, write_cog
from foveate.testing.tiny import tiny_model

SMALL = {"cells": 2, "crop": 32, "regions": 2}
ASKED = {**SMALL, "passes": 14, "prompt": "What is there?", "max_tokens": 4, "model": "hf"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A georeferenced scene of 128 px with a red patch."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    file = tmp_path_factory.mktemp("scenes") / "scene.tif"
    box = GeoBox((128, 128), Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32633")
    write_cog(file, land(128, 128, patch=(70, 40, 20, 20)), geobox=box)
    return file


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same without a place on the ground."""
    file = tmp_path_factory.mktemp("plain") / "plain.tif"
    write_cog(file, land(128, 128, patch=(70, 40, 20, 20)))
    return str(file)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return the folder of a tiny model by its kind, made once."""
    folder = tmp_path_factory.mktemp("models")

    def make(kind):
        path = folder / kind
        if not path.exists():
            tiny_model(kind, path)
        return str(path)

    return make


def test_ask_on_the_command_line(scene, tiny, tmp_path):
    answer = here(
        "focus", "ask", scene, "--out", tmp_path / "run", "--model", "hf",
        "--weights", tiny("hf_qwen2_vl"), "--prompt", "What is there?", "--max-tokens", 4,
        "--cells", 2, "--crop", 32, "--regions", 2, "--passes", 14, "--json",
    )  # fmt: skip
    assert answer.status == 0
    assert re.fullmatch(r"scene: up to \d+ passes; tiling takes .+\n", answer.err)
    found = answer.json
    assert {"prediction", "prediction_full", "passes", "regions", "epsilon"} <= found.keys()
    assert found["passes"] <= 14
    assert found["feed_prompt"].startswith("Image 1 shows a whole scene. Image 2 shows its region")
    assert (found["feed"], len(found["feed_images"])) == ("overview+crops", 3)
    assert len(found["regions"]) == 2
    assert found["regions"][0]["crs"] == "EPSG:32633"
    views = 2  # the overview and its second view, for representativeness and robustness
    shown = len(found["feed_images"]) + found["generated"] - 1
    assert found["images"] == found["judged"] + shown + views
    files = {"regions.parquet", "maps/scene.tif", "crops/scene-01.jpg", "looks/scene.json"}
    assert all((tmp_path / "run" / file).is_file() for file in files)
    assert "loss" in read_parquet(tmp_path / "run" / "regions.parquet").column_names


def test_segment_on_the_command_line(scene, tiny, tmp_path):
    answer = here(
        "focus", "segment", scene, "--out", tmp_path / "run", "--model", "hf",
        "--weights", tiny("hf_sam"), "--mode", "zoom", "--cells", 2, "--crop", 32,
        "--regions", 2, "--json",
    )  # fmt: skip
    assert answer.status == 0
    assert re.fullmatch(r"scene: up to \d+ passes; tiling takes .+\n", answer.err)
    found = answer.json
    assert found["prediction"].keys() == found["prediction_full"].keys() == {"masks", "quality"}
    assert found["passes"] <= 24
    mask = FileSource(str(tmp_path / "run" / "masks" / "scene.tif"))
    assert (mask.info.dtype, mask.info.shape) == ("uint16", (128, 128))
    assert mask.info.geobox == FileSource(str(scene)).info.geobox
    numbers, counts = np.unique(mask.read().data, return_counts=True)
    known = {region["rank"]: region["mask_pixels"] for region in found["regions"]}
    there = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    assert {rank: n for rank, n in known.items() if n} == {k: v for k, v in there.items() if k}


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["ask", "--prompt", "What is there?"], ["needs a model", "LLaVA", "--model hf:Qwen/"]),
        (["segment"], ["needs a model", "SAM", "--model hf:facebook/sam"]),
        (
            ["ask", "--prompt", "?", "--model", "builtin"],
            ["'answers'", "LLaVA", "--model hf:Qwen/"],
        ),
        (["segment", "--model", "timm:resnet18@random"], ["'masks'", "SAM"]),
    ],
)
def test_missing_capabilities_raise_before_reading(typed, says, tmp_path):
    broken = tmp_path / "scene.tif"
    broken.write_text("this is no image")
    answer = here("focus", typed[0], broken, "--out", tmp_path / "run", *typed[1:])
    assert answer.status == 1
    for words in says:
        assert words in answer.err
    assert "no image" not in answer.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "more"),
    [  # each with another feed, goal or selector
        ("hf_llava", {"feed": "canvas", "goal": "query", "query": "red roof"}),
        ("hf_llava_next", {"feed": "mask", "goal": "rare"}),
        ("hf_qwen2_5_vl", {"feed": "canvas"}),
        ("hf_blip2", {"feed": "overview+crops"}),
        ("hf_llava", {"selector": "builtin", "goal": "rare", "mode": "zoom"}),
    ],
)
def test_every_generative_family_answers(kind, more, plain, tiny, tmp_path, capsys):
    job = AskJob(images=[plain], weights=tiny(kind), **{**ASKED, **more})
    done = job.run(tmp_path)
    found = read_json(tmp_path / "looks" / "plain.json")
    assert isinstance(found["prediction"], str)
    assert isinstance(found["prediction_full"], str)
    assert found["passes"] <= ASKED["passes"]
    looked(done, as_json=False)
    shown = capsys.readouterr().out
    assert "Question: What is there?" in shown
    assert f"{found['generated']} generated" in shown
    assert ("query" in found) == ("query" in more)
    assert found["selector"] == more.get("selector")
    assert not job.run(tmp_path).worked


def test_segmenting_by_the_overview_is_told_in_words(plain, tiny, tmp_path, capsys):
    job = SegmentJob(images=[plain], model="hf", weights=tiny("hf_sam"), cells=2, regions=2)
    looked(job.run(tmp_path), as_json=False)
    shown = capsys.readouterr().out
    assert "With regions: " in shown
    assert "Whole image: 1 mask, mean quality" in shown
    assert "Passes: 7, tiling takes 4 (7 images" in shown
