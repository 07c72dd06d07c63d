"""The embed job: a run that other jobs and programs go on from."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.curate import CurateJob
from foveate.errors import MissingCapabilityError, ParameterError
from foveate.models import embed, load_model
from foveate.models.job import EmbedJob
from foveate.pool import open_pool
from foveate.run import Run, load_embeddings
from foveate.world import WorldSpec, write_world


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root, WorldSpec(scenes=1, size=64))
    return str(root / "images")


def files(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_the_vectors_are_those_of_embed(images, tmp_path):
    done = EmbedJob(images=[images], tile=32).run(tmp_path / "run")
    found = load_embeddings(done.path)
    pool = open_pool(images, tile=32)
    np.testing.assert_array_equal(found.x, embed(pool, load_model("builtin")).x)
    np.testing.assert_array_equal(found.ids, pool.ids)
    assert (done.path / done.record["summary"]["embeddings"]["folder"]).is_dir()


def test_a_second_run_does_nothing(images, tmp_path):
    EmbedJob(images=[images], tile=32).run(tmp_path / "run")
    before = files(tmp_path)
    assert not EmbedJob(images=[images], tile=32).run(tmp_path / "run").worked
    assert files(tmp_path) == before


def test_curate_goes_on_from_it(images, tmp_path):
    EmbedJob(images=[images], tile=32).run(tmp_path / "run")
    key = Run.load(tmp_path / "run").key("embed builtin")
    before = files(tmp_path / "run/embeddings")
    CurateJob(images=[images], tile=32, methods=["fa"], budget="2").run(tmp_path / "run")
    assert Run.load(tmp_path / "run").key("embed builtin") == key
    assert files(tmp_path / "run/embeddings") == before


def test_images_may_be_taken_whole(images, tmp_path):
    EmbedJob(images=[images], tile=None).run(tmp_path / "run")
    assert load_embeddings(tmp_path / "run").x.shape[0] == 1


def test_tokens_are_kept_where_there_are_some(images, tmp_path):
    pytest.importorskip("timm")
    given = {"images": [images], "tile": 32, "tokens": True}
    name = "timm:resnet18@random?size=32"
    done = EmbedJob(**given, model=name, bands=[1, 2, 3]).run(tmp_path / "run")
    found = load_embeddings(done.path, tokens=True)
    assert list(found.x.shape) == done.record["summary"]["embeddings"]["shape"] == [4, 1, 512]
    with pytest.raises(MissingCapabilityError, match="tokens"):
        EmbedJob(**given).run(tmp_path / "other")


def test_settings_that_cannot_be_are_explained(images):
    with pytest.raises(ParameterError, match=r"no such setting\. Did you mean 'tokens'"):
        EmbedJob(images=[images], token=True)
    with pytest.raises(ParameterError, match="a job without 'images'"):
        EmbedJob()
