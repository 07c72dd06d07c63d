"""`foveate observe complete`, `search` and `classify` as a user calls them."""

from __future__ import annotations

import shutil

import pytest
from command import foveate, here
from observing import observing  # noqa: F401

from foveate.cli.main import main
from foveate.observe.jobs import SelectJob


@pytest.fixture(scope="module")
def chosen(observing, tmp_path_factory):  # noqa: F811
    """A selection of 20 tiles of the overviews alone."""
    out = tmp_path_factory.mktemp("complete") / "run"
    job = SelectJob(
        images=[str(observing.overviews)], observer=str(observing.model), budget="20", device="cpu"
    )
    job.run(out)
    return out


@pytest.fixture(scope="module")
def scenes(observing, chosen):  # noqa: F811
    """The scenes, completed, and what was said."""
    out = chosen.parent / "scenes"
    images = observing.world / "images"
    done = here(
        "observe", "complete", chosen, "--tiles", images, "--only-chosen", "--out", out, "--json"
    )
    assert done.status == 0, done.err
    return out, done


def test_complete_search_and_classify(scenes):
    out, done = scenes
    assert done.json["observe"]["observed"] == 20
    assert (out / "report.html").is_file()
    hits = out.parent / "hits.csv"
    found = here("observe", "search", out, "--concept", "road", "--top", 3, "--out", hits, "--json")
    assert found.status == 0, (found.out, found.err)
    assert [hit["rank"] for hit in found.json["hits"]] == [1, 2, 3]
    assert hits.read_text().startswith("rank,scene,row,col,score,observed,doubt,unfamiliar,tile_id")
    classified = here("observe", "classify", out, "--concepts", "forest,road")
    assert classified.status == 0, classified.err
    assert "By labels; probability of the best tile" in classified.out
    assert (out / "tables/classified.parquet").is_file()
    own = here("observe", "classify", out, "--json")
    assert own.status == 0, own.err
    assert list(own.json["concepts"]) == ["forest", "road", "cropland"]  # what it was trained on


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("complete", "PAIRS", "--out", "NEW"), "a run of 'observe prepare'"),
        (("complete", "RUN", "--out", "RUN"), "is the run directory of the selection"),
        (("complete", "RUN", "--tiles", "EMPTY", "--out", "NEW"), "there are no rasters"),
        (("complete", "RUN", "--tiles", "LOW", "--out", "NEW"), "more pixels than the overview"),
        (
            ("complete", "RUN", "--observer", "RUN", "--out", "NEW"),
            "does not contain a trained observer",
        ),
        (("search", "RUN", "--concept", "road"), "a run of 'select'"),
        (("search", "SCENES", "--text", "storage tank"), "for an observer without a text model"),
        (("search", "SCENES", "--concept", "rod"), "Did you mean 'road'?"),
        (("search", "SCENES", "--concept", "road", "--out", "hits.xlsx"), "--out hits.geojson"),
        (("classify", "SCENES", "--concepts", ","), "At least one concept is required."),
        (("classify", "SCENES", "--concepts", "forest,watr"), "concept 'watr' is unknown"),
        (("classify", "SCENES", "--templates", "plain"), "concepts with labels"),
        (("classify", "SCENES", "--split", "val"), "--split without --dataset"),
        (("classify", "--dataset", "eurosat", "--by", "texts"), "--by with --dataset"),
        (("classify",), "SCENES and --dataset are missing"),
        (("classify", "--dataset", "eurosat"), "without --root"),
    ],
)
def test_bad_input(request, tmp_path, capsys, typed, said):
    world, chosen = request.getfixturevalue("observing"), request.getfixturevalue("chosen")
    (tmp_path / "empty").mkdir()
    shutil.copytree(world.overviews, tmp_path / "low")
    places = {
        "PAIRS": world.pairs, "RUN": chosen, "SCENES": request.getfixturevalue("scenes")[0],
        "LOW": tmp_path / "low", "EMPTY": tmp_path / "empty", "NEW": tmp_path / "new",
    }  # fmt: skip
    assert main(["observe", *(str(places.get(word, word)) for word in typed)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "defect" not in error
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_process_fails_with_one_paragraph(chosen, tmp_path):
    found = foveate("observe", "complete", chosen, "--tiles", tmp_path, "--out", tmp_path / "new")
    assert found.status == 1
    assert found.err.startswith("foveate: no file in ")
    assert "Traceback" not in found.err
