"""The commands embed, classify and models, from end to end."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import foveate, here
from PIL import Image

from foveate.models.probe import fit_probe
from foveate.run import load_embeddings

KINDS = ("plain", "speckled")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Six plain and six speckled pictures, in folders of these names."""
    root = tmp_path_factory.mktemp("kinds")
    draw = np.random.default_rng(0)
    for kind, spread in zip(KINDS, (2, 60), strict=True):
        (root / kind).mkdir()
        for i in range(6):
            noise = draw.normal(120, spread, (32, 32, 3))
            Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(root / kind / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def probe(folders, tmp_path_factory):
    """A probe of builtin embeddings that tells the kinds apart."""
    out = tmp_path_factory.mktemp("probe")
    answer = here("embed", folders, "--out", out / "run", "--json")
    assert answer.status == 0, answer.err
    found = load_embeddings(out / "run")
    truth = np.array([KINDS.index(name.split("/")[0]) for name in found.ids])
    fit_probe(found.x, truth, KINDS, spec=found.spec).save(out / "kinds.safetensors")
    return out / "kinds.safetensors"


def refused(answer, *words):
    assert answer.status == 1, answer.out
    text = answer.err.strip()
    assert text.startswith("foveate: ")
    assert len(text.splitlines()) == 1
    assert "defect" not in text
    for word in words:
        assert word in text


def test_embed_says_where_the_vectors_are(folders, tmp_path):
    answer = here("embed", folders, "--out", tmp_path / "run")
    assert answer.status == 0, answer.err
    assert f"Embeddings: 12 x 1078, float16 -> {tmp_path / 'run' / 'embeddings'}" in answer.out
    assert "Nothing to do" in here("embed", folders, "--out", tmp_path / "run").out
    refused(here("report", tmp_path / "run"), "contains embeddings")


def test_classify_writes_predictions_and_says_how_many_are_right(folders, probe, tmp_path):
    command = (
        "classify", folders, "--probe", probe, "--truth-from-folders", "--out", tmp_path / "run",
    )  # fmt: skip
    answer = here(*command)
    assert answer.status == 0, answer.err
    assert "speckled        6   50.0%   6 of 6 correct" in answer.out
    assert "100 % of 12 patches are right, more than by always answering " in answer.out
    table = pq.read_table(tmp_path / "run" / "predictions.parquet")
    assert table["label"].to_pylist() == table["truth"].to_pylist()
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    again = here(*command, "--json")
    assert again.err == ""
    assert again.json["worked"] is False
    assert again.json["labels"] == {"plain": 6, "speckled": 6}


def test_classify_refuses_what_cannot_be(folders, probe, tmp_path):
    out = ("--out", tmp_path / "run")
    refused(here("classify", folders, *out), "--labels forest,water,town")
    refused(here("classify", folders, "--labels", "a,A", *out), "'a' and 'A' are equal")
    refused(here("classify", folders, "--labels", "a,b", *out), "'text' required for")
    refused(
        here("classify", folders, "--probe", probe, "--bands", "1", *out),
        "fitted to embeddings of 'builtin'",
    )
    refused(here("classify", folders, "--probe", folders, *out), "cannot read the probe")


def test_models_lists_what_can_be_had_and_whether_it_runs_here():
    answer = here("models")
    assert answer.status == 0, answer.err
    assert "open_clip:ViT-B-32 --weights FILE" in answer.out
    found = here("models", "--json").json
    assert found["families"]["builtin"] == {"available": True, "why_not": ""}
    assert {"name", "licence", "can", "get"} <= set(found["models"][0])


def test_models_checks_one():
    answer = foveate("models", "--check", "builtin")
    assert answer.status == 0, answer.err
    assert "builtin passes all checks" in answer.out
    found = here("models", "--check", "timm:resnet18@random?size=64", "--json").json
    assert (found["ok"], found["dim"], found["can"]) == (True, 512, ["embed", "tokens", "sizes"])
    refused(here("models", "--check", "timm:resnet81"), "resnet")
    assert "error" in json.loads(here("models", "--check", "nothing", "--json").out)


def test_predictions_can_be_exported(tmp_path, probe):
    world = here("world", "--out", tmp_path / "world", "--scenes", "1", "--size", "128")
    assert world.status == 0, world.err
    answer = here(
        "classify", tmp_path / "world" / "images", "--tile", "32", "--probe", probe,
        "--bands", "1,2,3", "--out", tmp_path / "run",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    here("export", tmp_path / "run", "--to", "geojson", "--out", tmp_path / "p.geojson")
    features = json.loads((tmp_path / "p.geojson").read_text())["features"]
    assert len(features) == 16
    assert features[0]["properties"]["label"] in KINDS
    here("export", tmp_path / "run", "--to", "csv", "--out", tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().startswith("tile_id,scene,y,x,h,w,label,probability,")
    refused(
        here("export", tmp_path / "run", "--to", "csv", "--method", "fa", "--out",
                tmp_path / "q.csv"),
        "A classify run",
    )  # fmt: skip
