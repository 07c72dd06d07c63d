"""The command line answers before heavy libraries could be loaded."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "rasterio", "sklearn")
REPORT = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules])"


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_heavy_library():
    assert run(f"import foveate; dir(foveate); {REPORT}") == "[]\n"


def test_help_loads_no_heavy_library():
    program = f"from foveate.cli.main import main; assert main(['--help']) == 0; {REPORT}"
    out = run(program)
    assert "Usage" in out
    assert out.endswith("[]\n")


def test_every_public_name_can_be_imported_and_is_listed():
    import foveate

    assert dir(foveate) == sorted(foveate.__all__)
    for name in foveate.__all__:
        assert getattr(foveate, name) is not None


def test_a_wrong_name_is_an_attribute_error():
    import foveate

    with pytest.raises(AttributeError, match="module 'foveate' has no attribute 'bugdet'"):
        _ = foveate.bugdet


def test_no_help_and_no_input_that_is_missing_loads_torch(tmp_path):
    out, missing = tmp_path / "run", tmp_path / "missing"
    program = f"""
import contextlib, io, sys
from foveate.cli import commands
from foveate.cli.main import main

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for group, own in (("", commands.IMAGERY), ("focus", commands.FOCUS),
                       ("observe", commands.OBSERVE), ("bench", commands.BENCH)):
        for command in own:
            typed = [*group.split(), command.name]
            assert main([*typed, "--help"]) == 0, typed
            if command.name not in ("inspect", "estimate"):
                more = {{"select": ["--observer", "x", "--budget", "1"], "ask": ["--prompt", "?"]}}
                given = [{str(missing)!r}]
                if typed == ["bench", "curate"]:
                    given = ["--pool", {f"{missing}:{missing}"!r}, "--folds", "scene"]
                if command.name == "build":
                    given = [p for o in ("--anchors", "--lr", "--hr") for p in (o, *given)]
                if typed == ["bench", "focus"]:
                    given = ["--scenes", {str(missing)!r}]
                rest = [*given, "--out", {str(out)!r}, *more.get(command.name, [])]
                assert main([*typed, *rest]) == 1, typed
print("torch" in sys.modules)
"""
    assert run(program) == "False\n"
    assert not out.exists()
