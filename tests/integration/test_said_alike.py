"""What a command prints of a run is what the page of the run says, word for word."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest
from bench_runs import write_benched
from observe_runs import write_completed, write_selected, write_trained
from PIL import Image

from foveate.cli import show_observe
from foveate.cli.main import main
from foveate.files import read_json, write_json
from foveate.report import headlines, write_report
from foveate.report.words import plain
from foveate.run import Run


def page_of(run):
    """The text of a page without tags, in the plain characters of a terminal."""
    text = (run / "report.html").read_text(encoding="utf-8")
    body = text[text.index("<main") :]
    return re.sub(r"\s+", " ", plain(html.unescape(re.sub(r"<[^>]+>", " ", body))))


def agree(run, out, names=("",)):
    """The headlines of a run stand on its page and in what was printed, and so do their notes."""
    page, printed = page_of(run), re.sub(r"\s+", " ", out)
    for name in names:
        for line in headlines(run)[name].lines:
            assert line in page
            assert line in printed
    return headlines(run)


def typed(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_curate(world, tmp_path, capsys):
    run = tmp_path / "one"
    command = ("curate", world / "images", "--masks", world / "masks", "--classes",
               world / "classes.yaml", "--tile", "64", "--budget", "20%", "--out")  # fmt: skip
    agree(run, typed(capsys, *command, run, "--method", "fa-cb"), ["fa-cb"])
    found = json.loads(typed(capsys, *command, run, "--method", "fa-cb", "--json"))
    assert found["headlines"]["fa-cb"]["text"] == headlines(run)["fa-cb"].text
    both = tmp_path / "two"
    said = typed(capsys, *command, both, "--method", "cb,random")
    page = page_of(both)
    for name, headline in headlines(both).items():
        assert headline.lines[0] in page, name
        assert headline.lines[0] in said
    assert "drawn at random" in said
    assert "more even than in random picks: CB." in said


def test_classify(tmp_path, capsys):
    draw = np.random.default_rng(0)
    for kind, spread in (("plain", 2), ("speckled", 60)):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(8):
            noise = np.clip(draw.normal(120, spread, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / kind / f"{i}.png")
    assert main(["embed", str(tmp_path / "images"), "--out", str(tmp_path / "x")]) == 0
    from foveate.models.probe import fit_probe
    from foveate.run import load_embeddings

    found = load_embeddings(tmp_path / "x")
    truth = np.array([name.startswith("speckled") for name in found.ids]).astype(int)
    names = ("plain", "speckled")
    fit_probe(found.x, truth, names, spec=found.spec).save(tmp_path / "p.safetensors")
    capsys.readouterr()
    run = tmp_path / "run"
    out = typed(
        capsys, "classify", tmp_path / "images", "--probe", tmp_path / "p.safetensors",
        "--truth-from-folders", "--out", run,
    )  # fmt: skip
    said = agree(run, out)[""].text
    assert (
        "more than by always answering \u201cplain\u201d (50\u202f%); the probe was fitted"
    ) in said


def test_focus(world, tmp_path, capsys):
    out = typed(
        capsys, "focus", "look", world / "images" / "scene-00.tif", "--crop", "64", "--passes", "6",
        "--goal", "rare", "--regions", "3", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "more than the 1 that tiling the image takes" in agree(tmp_path / "run", out)[""].text
    many = typed(
        capsys, "focus", "look", world / "images", "--crop", "64", "--passes", "6",
        "--goal", "rare", "--regions", "3", "--out", tmp_path / "many",
    )  # fmt: skip
    agree(tmp_path / "many", many)


def summarised(run, **facts):
    """Put what a print needs besides into the summary of a run that was written by hand."""
    record = read_json(run / "run.json")
    for part, values in facts.items():
        record["summary"][part] |= values
    write_json(run / "run.json", record)
    write_report(run)
    return Run.load(run)


def test_observe_select(tmp_path, capsys):
    run = summarised(
        write_selected(tmp_path / "run"), observe={"tile": {"pixels": 10.0, "metres": None}}
    )
    show_observe.selected(run, as_json=False)
    assert "was better than random tiles" in agree(run.path, capsys.readouterr().out)[""].text


def test_observe_complete(tmp_path, capsys):
    run = summarised(
        write_completed(tmp_path / "run", completed_doubt=0.91),
        observe={"embeddings": "x", "unused": 0, "empty": 0},
    )
    show_observe.completed(run, as_json=False)
    said = agree(run.path, capsys.readouterr().out)[""]
    assert said.text.endswith("most of the completed tiles are a guess")
    assert "is 0.91 (" in said.notes[0]
    assert "0.91" in page_of(run.path).split("Mean uncertainty")[1][:8]


def test_observe_train(tmp_path, capsys):
    run = summarised(write_trained(tmp_path / "run"), observer={"folder": "x"})
    show_observe.trained(run, as_json=False)
    assert "better than random tiles" in agree(run.path, capsys.readouterr().out)[""].text


def test_bench(tmp_path, capsys):
    write_benched(tmp_path / "run")
    write_report(tmp_path / "run")
    show_observe.benched(Run.load(tmp_path / "run"), as_json=False)
    assert agree(tmp_path / "run", capsys.readouterr().out)[""].text == (
        "Policies: 1 of 2 claims reached"
    )


@pytest.mark.parametrize("write", [write_selected, write_completed, write_trained, write_benched])
def test_pages_list_what_to_know_of_the_imagery(tmp_path, write):
    run = write(tmp_path / "run")
    record = read_json(run / "run.json")
    record["summary"]["pool"]["notes"] = ["3 files were left out. Type --extra <b>."]
    write_json(run / "run.json", record)
    page = write_report(run).read_text(encoding="utf-8")
    assert page.count('id="imagery"') == 1
    assert "<li>3 files were left out. Type --extra &lt;b&gt;.</li>" in page
    record["summary"]["pool"]["notes"] = []
    write_json(run / "run.json", record)
    assert 'id="imagery"' not in write_report(run).read_text(encoding="utf-8")
