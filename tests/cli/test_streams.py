"""Standard streams that are closed, full, without a reader, or cannot write a letter."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveate.cli.main import main
from foveate.cli.options import command
from foveate.cli.show import progress_bars
from foveate.cli.streams import Stream, standard_streams

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "Zürich"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name in "ab":
        pixels = draw.integers(1, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def curated(images, *more):
    out = images.parent / "Öl"
    arguments = ["curate", images, "--method", "random", "--tile", 32, "--budget", 1, "--out", out]
    status = main([*map(str, arguments), *more])
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["summary"]
    assert (out / "report.html").stat().st_size > 1000
    return status


def ascii_stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def without_reader():
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")  # noqa: PTH123  (left to fail)


class Gone(io.StringIO):
    """A terminal that has been closed while a job was at work."""

    def write(self, text):
        raise OSError(5, "Input/output error")

    def isatty(self):
        return True


def test_a_closed_stdout_is_said_on_stderr(images, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert curated(images) == 0
    assert "the command succeeded, but standard output" in capsys.readouterr().err


@needs_full
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_stdout_is_a_failure_that_is_said_on_stderr(more, images, monkeypatch, capsys):
    with FULL.open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert curated(images, *more) == 1
        with pytest.raises(OSError, match="space"):
            full.flush()  # it was flushed while something could be said
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize("make", [lambda: None, Gone])
def test_stderr_that_is_closed_or_gone_costs_nothing(make, images, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", make())
    assert curated(images) == 0
    assert "Budget" in capsys.readouterr().out


def test_a_reader_that_has_gone_is_no_failure(images, monkeypatch, capsys):
    stream = without_reader()
    monkeypatch.setattr(sys, "stdout", stream)
    assert curated(images) == 0
    assert not capsys.readouterr().err
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    stream.close()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_letters_that_a_stream_cannot_write_are_escaped(more, images, monkeypatch):
    stream = ascii_stream()
    monkeypatch.setattr(sys, "stdout", stream)
    assert curated(images, *more) == 0
    text = stream.buffer.getvalue().decode("ascii")
    if more:
        assert json.loads(text)["run"].endswith("Öl")
    else:
        assert "\\xd6l" in text


def test_names_that_are_not_text_are_escaped():
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = Stream(out)
    stream.write("caf\udce9 é\n")
    assert not stream.lost()
    assert out.buffer.getvalue() == b"caf\\udce9 \xc3\xa9\n"


def test_an_error_for_programs_is_told_to_people_where_stdout_is_closed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["report", "nowhere", "--json"]) == 1
    assert "'nowhere'" in capsys.readouterr().err


def test_bars_survive_a_terminal_that_goes(monkeypatch):
    from foveate.progress import Meter

    monkeypatch.setattr(sys, "stderr", Gone())
    # A person watches when the bars begin.
    monkeypatch.setattr(Stream, "isatty", lambda self: True)
    with standard_streams(), progress_bars(quiet=False) as progress:
        assert progress is not None
        with Meter(progress, "looking", 3) as meter:
            for _ in range(3):
                meter.advance()


PROGRAM = Path(sys.executable).parent / "foveate"
CASES = [
    ("{} --version >&-", 0, "it is closed"),
    ("{} --version 2>&-", 0, ""),
    ("{} --version >&- 2>&- <&-", 0, ""),
    pytest.param("{} --version > /dev/full", 1, "No space left", marks=needs_full),
    pytest.param("{} --version 2> /dev/full > /dev/full", 1, "", marks=needs_full),
    pytest.param("{} report nowhere 2> /dev/full", 1, "", marks=needs_full),
]


@pytest.mark.parametrize(("line", "status", "said"), CASES)
def test_a_process_ends_with_its_own_status(line, status, said):
    done = subprocess.run(
        ["sh", "-c", line.format(f'"{PROGRAM}"')], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == bool(said)


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_names_are_utf8_in_any_locale_and_what_is_printed_is_not(locale, tmp_path):
    plain = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "é").mkdir()
    done = subprocess.run(
        [PROGRAM, "report", "é", "--json"], cwd=tmp_path, capture_output=True, check=False,
        env={**os.environ, **plain},
    )  # fmt: skip
    assert done.returncode == 1
    found = json.loads(done.stdout.decode("ascii"))
    assert found["given"] == "'é' holds no run"


ARGUMENTS = [
    ("x é", "'x é'"),
    ("a.png", "a.png"),
    (os.fsdecode(b"caf\xe9.png"), r"$'caf\xe9.png'"),
    (os.fsdecode(b"it's \xe9"), r"$'it\x27s \xe9'"),
]


@pytest.mark.parametrize(("argument", "quoted"), ARGUMENTS)
def test_the_command_that_is_recorded_is_text_and_gives_the_same_bytes(
    argument, quoted, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["foveate", argument, "--json"])
    assert command() == f"foveate {quoted}"
    command().encode("utf-8")
    bash = shutil.which("bash")
    if bash is not None:
        shown = subprocess.run([bash, "-c", f"printf %s {quoted}"], capture_output=True, check=True)
        assert shown.stdout == os.fsencode(argument)


def test_what_a_library_prints_from_c_meets_no_file(tmp_path):
    program = (
        "import os; from foveate.cli.streams import standard_streams\n"
        "with standard_streams():\n"
        f"    file = open({str(tmp_path / 'f')!r}, 'wb'); assert file.fileno() > 2\n"
    )
    line = f'"{sys.executable}" -c "$PROGRAM" >&- 2>&- <&-'
    environment = {**os.environ, "PROGRAM": program}
    done = subprocess.run(["sh", "-c", line], env=environment, check=False)
    assert done.returncode == 0
