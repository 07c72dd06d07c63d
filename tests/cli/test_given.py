import pytest

from foveate.cli.main import main
from foveate.curate import CurateJob
from foveate.errors import FoveateError
from foveate.models.job import EmbedJob
from foveate.pool import open_pool
from foveate.run import Run


@pytest.mark.parametrize(
    "typed",
    [
        ["curate", "", "--out", "r"],
        ["curate", "im", "", "--out", "r"],
        ["curate", "im", "--out", ""],
        ["curate", "im", "--masks", "", "--out", "r"],
        ["curate", "im", "--masks=", "--out", "r"],
        ["curate", "im", "--classes", "", "--out", "r"],
        ["curate", "im", "--extra", "", "--out", "r"],
        ["curate", "im", "--coordinates", "", "--out", "r"],
        ["embed", "im", "--weights", "", "--out", "r"],
        ["classify", "im", "--labels", "", "--out", "r"],
        ["focus", "look", "", "--out", "r"],
        ["focus", "ask", "im", "--prompt", "?", "--selector-weights", "", "--out", "r"],
        ["observe", "prepare", "im", "--lr", "", "--out", "r"],
        ["observe", "prepare", "im", "--objects", "", "--out", "r"],
        ["tune-text", "im", "--captions", "", "--out", "r"],
        ["export", "", "--to", "csv", "--out", "a.csv"],
        ["report", ""],
        ["world", "--out", ""],
        ["focus", "look", "im", "--query", "", "--out", "r"],
        ["focus", "look", "im", "--query=", "--out", "r"],
        ["focus", "look", "im", "--goal", "", "--out", "r"],
        ["models", "--check", ""],
        ["observe", "search", "run", "--text", "", "--concept", "water"],
        ["export", "run", "--to", "csv", "--datetime", "", "--out", "a.csv"],
    ],
)
def test_an_empty_value_is_refused_for_every_argument_and_option(
    typed, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(typed) in (1, 2)  # of the job, of the command line
    assert "Check that shell variables are set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_empty_path_is_refused_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: open_pool(""),
        lambda: open_pool(["", "a"]),
        lambda: open_pool(tmp_path, masks=""),
        lambda: CurateJob(images=[""]),
        lambda: CurateJob(images=["a"], masks=["b", ""]),
        lambda: CurateJob(images=["a"], classes=""),
        lambda: EmbedJob(images=["a"], weights=""),
        lambda: Run.create(""),
    ):
        with pytest.raises(FoveateError, match=r"path.*is an empty string.*shell variables"):
            call()


def test_an_option_with_an_empty_value_is_named(capsys):
    assert main(["focus", "look", "im", "--query=", "--out", "r", "--json"]) == 1
    assert "--query ''" in capsys.readouterr().out
