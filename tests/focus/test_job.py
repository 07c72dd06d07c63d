"""Focus jobs: how options are read, and what is refused before anything is opened."""

from __future__ import annotations

import subprocess
import sys

import pytest

from foveate.errors import BudgetError, DataError, MissingCapabilityError, ParameterError
from foveate.focus import AskJob, LookJob, SegmentJob

IMAGES = ["scene.tif"]


def test_a_query_implies_its_goal():
    assert LookJob(images=IMAGES).goal == "balanced"
    assert LookJob(images=IMAGES, query="tank").goal == "query"
    assert LookJob(images=IMAGES, query=" ").goal == "balanced"
    assert LookJob(images=IMAGES, query="tank", goal="rare").goal == "rare"
    assert AskJob(images=IMAGES, prompt="What?", query="tank").goal == "query"
    assert SegmentJob(images=IMAGES).goal == "balanced"


def test_options_of_a_goal_may_be_typed():
    given = ["synergy=paper", "weights.area=0", "guard = 0.1"]
    job = LookJob(images=IMAGES, forms=given)
    assert job.forms == {"synergy": "paper", "weights.area": 0, "guard": 0.1}
    goal = job.goal_with_options()
    assert (goal.synergy, goal.weights.area, goal.guard) == ("paper", 0, 0.1)
    with pytest.raises(ParameterError, match=r"NAME=VALUE.*synergy=paper"):
        LookJob(images=IMAGES, forms=["synergy"])


def test_an_area_is_a_share():
    assert LookJob(images=IMAGES, area="10%").config().search.area == pytest.approx(0.1)
    for text in ("5", "0%", "120%", "ten"):
        with pytest.raises(BudgetError, match=rf"--area {text}\..* 100%\. Type --area 10%"):
            LookJob(images=IMAGES, area=text).config()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (AskJob, {"prompt": "What?", "labels": ["a", "b"]}),
        (AskJob, {"prompt": "What?", "probe": "probe.safetensors"}),
        (SegmentJob, {"labels": ["a", "b"]}),
        (SegmentJob, {"query": "roof"}),
        (SegmentJob, {"partition": "significance"}),
        (LookJob, {"tile": 256}),
    ],
)
def test_options_of_other_jobs_are_refused(kind, given):
    with pytest.raises(ParameterError, match="no such setting"):
        kind(images=IMAGES, **given)


def test_templates_need_labels_or_a_query():
    job = LookJob(images=IMAGES, templates="none")
    with pytest.raises(ParameterError, match="without labels"):
        job.inputs(job.config())
    for given in ({"labels": ["a", "b"]}, {"query": "tank"}):
        job = LookJob(images=IMAGES, templates="none", **given)
        assert job.inputs(job.config())[1] == ("{}",)


@pytest.mark.parametrize("kind", [AskJob, SegmentJob])
def test_families_without_the_capability_raise(kind, tmp_path):
    (tmp_path / "scene.tif").touch()
    given = {"images": [str(tmp_path)], "prompt": "What?"}
    if kind is SegmentJob:
        del given["prompt"]
    with pytest.raises(ParameterError, match="needs a model"):
        kind(**given).run(tmp_path / "run")
    with pytest.raises(MissingCapabilityError, match="builtin has no"):
        kind(**given, model="builtin").run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_image_fails_before_torch_is_imported(tmp_path):
    code = (
        "import sys\nfrom foveate.errors import DataError\n"
        "from foveate.focus import AskJob, LookJob, SegmentJob\n"
        "from foveate.models.tune_text import TuneTextJob\n"
        "for job in (LookJob(images=['none.tif'], model='timm:resnet18'),\n"
        "            AskJob(images=['none.tif'], prompt='What?', model='hf'),\n"
        "            SegmentJob(images=['none.tif'], model='hf'),\n"
        "            TuneTextJob(images=['none'], classes_from_folders=True)):\n"
        "    try:\n        job.run('run')\n"
        "    except DataError:\n        continue\n"
        "    raise SystemExit('not refused')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_two_images_that_share_a_file_are_refused(tmp_path):
    import numpy as np

    from foveate.raster import write_cog

    for name in ("scene", "SCENE"):
        write_cog(tmp_path / f"{name}.tif", np.ones((1, 32, 32), np.uint8))
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("the file system ignores case")
    with pytest.raises(DataError, match="have the same file name"):
        LookJob(images=[str(tmp_path)]).run(tmp_path / "run")
