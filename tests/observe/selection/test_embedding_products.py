"""Overviews that are features already: embedding products in the place of imagery."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from observed import box, write_scenes

from foveate.errors import DataError, FoveateError
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import CompleteJob, PrepareJob, SelectJob, TrainJob
from foveate.observe.observer import Observer
from foveate.observe.selection.ranking import rank

NAMES = ("a", "b", "c", "d", "e")


def write_product(path, *, bands=7, shape=(6, 8), scale=0.05, south_up=False, gsd=10.0, seed=0):
    """Write an int8 product of a feature vector a pixel over the scenes of `write_scenes`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(seed).integers(-127, 128, (bands, *shape)).astype(np.int8)
    affine = box(shape, gsd).affine
    if south_up:
        affine, data = affine @ Affine(1, 0, 0, 0, -1, shape[0]), data[:, ::-1]
    with rasterio.open(
        path, "w", "GTiff", shape[1], shape[0], bands, "EPSG:32633", affine, "int8"
    ) as file:
        file.write(data)
        if scale:
            file.scales, file.offsets = (scale,) * bands, (0.1,) * bands
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pairs of scenes and products, half of them stored from south to north, and an observer."""
    root = write_scenes(tmp_path_factory.mktemp("products"), names=NAMES)
    for i, name in enumerate(NAMES):
        write_product(root / f"lr/{name}.tif", south_up=i % 2 == 1, seed=i)
    job = PrepareJob(images=[str(root / "images")], lr=[str(root / "lr")], tiles=(3, 4))
    job.run(root / "pairs")
    TrainJob(
        pairs=str(root / "pairs"), lr_model="features", size="nano", epochs=1, device="cpu",
        bands=[3, 2, 1],
    ).run(root / "model")  # fmt: skip
    return SimpleNamespace(root=root, pairs=root / "pairs", model=root / "model")


def test_an_observer_reads_the_product(made):
    spec = Observer.load(made.model, device="cpu").record.encoders["lr"].spec
    assert (spec.name, spec.bands) == ("features", (1, 2, 3, 4, 5, 6, 7))
    pairs = open_pairs(made.pairs)
    assert [s.source.info.geobox.affine.e for s in pairs.overviews] == [-10.0] * 5


def test_a_product_from_south_to_north_is_the_same(made, tmp_path):
    for name, south_up in (("n", False), ("s", True)):
        write_product(tmp_path / name / "x.tif", south_up=south_up, seed=9)
    north, south = (
        rank([str(tmp_path / name)], str(made.model), policy="learned", device="cpu")
        for name in ("n", "s")
    )
    assert north.rows.tolist() == south.rows.tolist()
    assert north.score == pytest.approx(south.score)


def test_select_and_complete(made, tmp_path):
    job = SelectJob(images=[str(made.root / "lr")], observer=str(made.model), budget="25%",
                    policy="learned", device="cpu")  # fmt: skip
    done = job.run(tmp_path / "run")
    assert done.record["summary"]["observe"]["chosen"] == 15
    tiles = [str(made.root / "images")]
    CompleteJob(selection=str(tmp_path / "run"), tiles=tiles, device="cpu").run(tmp_path / "s")
    assert (tmp_path / "s/tables/completed.parquet").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bands": 5}, "has 5 bands.*trained on the bands 1,2,3,4,5,6,7"),
        ({"scale": 0.0}, "no scale is stated"),
        ({"scale": 0.5}, "another scale or offset than in training"),
    ],
)
def test_another_product_is_refused_at_select(made, tmp_path, given, said):
    write_product(tmp_path / "p/x.tif", **given)
    with pytest.raises(FoveateError, match=f"(?s){said}"):
        rank([str(tmp_path / "p")], str(made.model), policy="learned", device="cpu")


@pytest.mark.parametrize(
    ("given", "said"),
    [({"gsd": 15.0}, "cover different ground"), ({"shape": (2, 3), "gsd": 30.0}, "at least one")],
)
def test_a_product_over_other_ground(made, tmp_path, given, said):
    for name in NAMES:
        write_product(tmp_path / f"lr/{name}.tif", **given)
    job = PrepareJob(
        images=[str(made.root / "images")], lr=[str(tmp_path / "lr")], tiles=(3, 4)
    )  # fmt: skip
    with pytest.raises(FoveateError, match=said):
        job.run(tmp_path / "pairs")


def test_features_are_no_imagery(made, tmp_path):
    job = TrainJob(pairs=str(made.pairs), size="nano", epochs=1, device="cpu")
    with pytest.raises(DataError, match="has 7 bands, the scene 3") as caught:
        job.run(tmp_path / "o")
    assert "--lr-model features" in str(caught.value)
    for name in NAMES:
        write_product(tmp_path / f"lr/{name}.tif", scale=0)
    PrepareJob(
        images=[str(made.root / "images")], lr=[str(tmp_path / "lr")], tiles=(3, 4)
    ).run(tmp_path / "pairs")  # fmt: skip
    bare = job.model_copy(update={"pairs": str(tmp_path / "pairs"), "lr_model": "features"})
    with pytest.raises(DataError, match="no scale is stated"):
        bare.run(tmp_path / "o2")
