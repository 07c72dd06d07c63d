"""The command line of a job is made from its fields, and from nothing else."""

import json

import pytest
import typer
from toy_job import ToyJob

from foveate.cli.fields import JobCommand, _shown, group
from foveate.run import Run
from foveate.run.job import SettingError

TOY = JobCommand(
    "toy", "toy_job:ToyJob", "Count things.", "foveate toy a b --out RUN", show="toy_job:show",
    page=False,
)  # fmt: skip


@pytest.fixture
def app(monkeypatch):
    """A program with the toy command, run as `foveate` is."""
    import foveate.cli.app
    from foveate.cli.main import main

    toy = typer.Typer(cls=group(TOY), rich_markup_mode=None, add_completion=False)
    toy.callback()(lambda: None)
    monkeypatch.setattr(foveate.cli.app, "app", toy)
    return main


def asked(app, capsys, tmp_path, *typed):
    assert app(["toy", "a", *typed, "--out", str(tmp_path / "run"), "--json"]) == 0
    capsys.readouterr()
    return Run.load(tmp_path / "run").record["job"]


def test_a_new_field_is_in_the_help_with_its_text_default_and_panel(app, capsys):
    assert app(["toy", "--help"]) == 0
    text = capsys.readouterr().out
    model = text[text.index("Model:") : text.index("Output:")]
    assert "--fresh-field N" in model
    assert "The option that was added last. [default: 3]" in " ".join(model.split())
    assert "foveate toy a b --out RUN" in text


def test_a_new_field_is_in_run_json(app, capsys, tmp_path):
    assert asked(app, capsys, tmp_path)["fresh_field"] == 3
    assert asked(app, capsys, tmp_path, "--fresh-field", "5")["fresh_field"] == 5


def test_an_error_names_the_option_as_it_is_typed(app, capsys, tmp_path):
    status = app(["toy", "a", "--fresh-field", "0", "--out", str(tmp_path / "run"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert told["given"] == "--fresh-field 0"
    assert "greater than or equal to 1" in told["allowed"]
    assert not (tmp_path / "run").exists()
    with pytest.raises(SettingError, match="fresh_field=0"):
        ToyJob(inputs=["a"], fresh_field=0)


@pytest.mark.parametrize(
    ("typed", "field", "value"),
    [
        (["--table", "t.csv"], "table", "t.csv"),
        (["--more", "b", "--more", "c"], "more", ["b", "c"]),
        (["--name", "x, y", "--name", "z"], "names", ["x", "y", "z"]),
        (["--kind", "mean"], "kind", "mean"),
        (["--limit", "2.5"], "limit", 2.5),
        (["--bands", "4,3"], "bands", [4, 3]),
        (["--scale", "0,10,5,20"], "scale", [[0, 10], [5, 20]]),
        (["--exact"], "exact", True),
        (["--no-quick"], "quick", False),
        (["--careful"], "careful", True),
        (["--no-careful"], "careful", False),
    ],
)
def test_what_is_typed_reaches_the_job(app, capsys, tmp_path, typed, field, value):
    plain = asked(app, capsys, tmp_path / "plain")
    job = asked(app, capsys, tmp_path, *typed)
    assert job == {**plain, field: value}


def test_what_is_not_typed_is_left_to_the_job(app, capsys, tmp_path):
    assert asked(app, capsys, tmp_path) == ToyJob(inputs=["a"]).model_dump(mode="json")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--kind", "max"], "Allowed: sum, mean"),
        (["--bands", "0"], "whole numbers from 1"),
        (["--scale", "3,1"], "LOW below HIGH"),
        (["--fresh", "3"], "No such option"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(app, capsys, tmp_path, typed, words):
    assert app(["toy", "a", *typed, "--out", str(tmp_path / "run")]) in (1, 2)
    assert words in capsys.readouterr().err


def test_an_empty_path_is_refused(app, capsys, tmp_path):
    for typed in (["", "--out", "x"], ["a", "--table", "", "--out", "x"], ["a", "--out", ""]):
        assert app(["toy", *typed]) != 0
        assert "empty" in capsys.readouterr().err


def test_every_option_of_every_command_has_a_help_and_a_panel():
    from foveate.cli import commands
    from foveate.cli.fields import PANELS

    for command in (*commands.IMAGERY, *commands.FOCUS, *commands.OBSERVE, *commands.BENCH):
        made = command.build()
        for parameter in made.params:
            assert parameter.help.strip(), (command.name, parameter.name)
            assert parameter.rich_help_panel in (*PANELS, None), (command.name, parameter.name)
        assert command.example.startswith("foveate ")
        assert command.help.endswith(".")


def test_defaults_are_shown_as_they_are_typed():
    from foveate.bench.observe.job import BenchJob
    from foveate.observe.build.job import BuildJob

    assert _shown(BenchJob.model_fields["top_k"]) == "20,100"
    assert _shown(BuildJob.model_fields["tiles"]) == "10x10"


def test_a_record_of_an_earlier_version_is_read():
    from foveate.classify import ClassifyJob

    old = {"images": ["a"], "labels": [], "labels_file": "names.txt"}
    assert ClassifyJob.stored({"job": old}).labels == ["names.txt"]
    stated = {**old, "labels_file": None, "labels": ["x"]}
    assert ClassifyJob.stored({"job": stated}).labels == ["x"]
