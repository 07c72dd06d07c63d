"""With the core alone, each command works or says what to install before it does anything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from foveate.cli.show_observe import observed_text
from foveate.demo import Demo
from foveate.errors import MissingExtraError
from foveate.models.extras import missing_extra

# One process for all: the packages of the extras are as if they were not there.
PROGRAM = """
import contextlib, io, json, sys
EXTRAS = ("torch", "torchvision", "timm", "open_clip", "transformers", "tokenizers", "torchgeo")
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *more):
        return None if name.partition(".")[0] in EXTRAS else self.finder.find_spec(name, *more)
sys.meta_path[:] = map(Without, sys.meta_path)
from foveate.cli.main import main
for line in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(line)
    print(json.dumps([status, out.getvalue(), err.getvalue()]))
"""

MISSING = {
    "observe train": "observe", "observe select": "observe", "bench observe": "observe",
    "tune-text": "models", "models --check": "models", "curate timm": "models",
    "curate hf": "hf", "curate torchgeo": "torchgeo", "curate open_clip": "models",
    "embed tuned": "models", "observe estimate": "observe", "observe classify": "torchgeo",
}  # fmt: skip


def lines(w):
    images, classes = f"{w}/images", f"{w}/classes.yaml"
    pool = [images, "--masks", f"{w}/masks", "--classes", classes, "--tile", "64"]
    named = {
        "doctor": ["doctor"],
        "models": ["models"],
        "curate": ["curate", *pool, "--out", f"{w}/curated"],
        "embed": ["embed", images, "--tile", "64", "--out", f"{w}/embedded"],
        "export": ["export", f"{w}/curated", "--to", "csv", "--out", f"{w}/a.csv"],
        "observe prepare": [
            "observe", "prepare", images, "--masks", f"{w}/masks", "--classes", classes,
            "--concepts", "water", "--tiles", "4x4", "--ratio", "8", "--out", f"{w}/pairs",
        ],
        "estimate": [
            "observe", "estimate", f"{w}/pairs", "--concept", "water", "--quantity", "tiles",
            "--budget", "20%",
        ],
    }  # fmt: skip
    none = f"{w}/none"
    named |= {
        "observe train": ["observe", "train", f"{w}/pairs", "--out", none],
        "observe select": [
            "observe", "select", images, "--observer", images, "--budget", "1", "--out", none,
        ],
        "observe estimate": [
            "observe", "estimate", f"{w}/pairs", "--concept", "water", "--observer", images,
        ],
        "observe classify": [
            "observe", "classify", "--dataset", "eurosat", "--root", none, "--observer", images,
        ],
        "bench observe": ["bench", "observe", f"{w}/pairs", "--out", none],
        "tune-text": ["tune-text", images, "--classes-from-folders", "--out", none],
        "models --check": ["models", "--check", "timm:resnet18"],
        "embed tuned": ["embed", images, "--model", f"tuned:{w}", "--out", none],
    }  # fmt: skip
    for name in ("timm:resnet18", "hf:a/b", "torchgeo:resnet18@random", "open_clip:RN50@openai"):
        family = name.partition(":")[0]
        named[f"curate {family}"] = ["curate", *pool, "--model", name, "--out", none]
    return named


def test_each_command_works_or_says_what_to_install_before_it_does_anything(tmp_path):
    from foveate.world import WorldSpec, write_world

    write_world(tmp_path, WorldSpec(scenes=2, size=256, seed=3))
    commands = lines(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(list(commands.values())),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, line in zip(commands, done.stdout.splitlines(), strict=True):
        status, out, err = json.loads(line)
        if name in MISSING:
            assert status == 1, (name, out, err)
            assert f"pip install 'foveate[{MISSING[name]}]'" in err, (name, err)
            assert len(err.splitlines()) == 1, (name, err)
        else:
            assert status == 0, (name, err)
    assert not (tmp_path / "none").exists()


def test_what_the_demo_leaves_out_is_printed():
    made = Demo(curate=None, focus=None, train=None, observe=None, left_out="no torch")
    assert observed_text(made) == ({"left_out": "no torch"}, "no torch")


@pytest.mark.parametrize(
    ("package", "extra"),
    [("torch.nn", "observe"), ("timm", "models"), ("transformers", "hf"), ("torchgeo", "torchgeo")],
)
def test_a_package_that_nobody_asked_for_is_told_apart_from_a_defect(package, extra):
    found = missing_extra(ModuleNotFoundError("none", name=package))
    assert isinstance(found, MissingExtraError)
    assert f"foveate[{extra}]" in found.hint
    assert missing_extra(ModuleNotFoundError("none", name="numpy")) is None
    assert missing_extra(ModuleNotFoundError("none")) is None
