"""The data sets of the core-set paper: files of the right names are found, others are named."""

import numpy as np
import pytest
from paper_data import write_dfc2022, write_potsdam, write_vaihingen

pytest.importorskip("torchgeo")

from foveate.bench.curate.datasets import PARTS, facts, find_dataset
from foveate.bench.curate.inputs import open_headers
from foveate.bench.curate.job import CurateBenchJob
from foveate.bench.curate.leaks import find_leaks
from foveate.errors import DataError, ParameterError

WRITE = {"dfc2022": write_dfc2022, "vaihingen": write_vaihingen, "potsdam": write_potsdam}
BANDS = {"dfc2022": (4, "float32"), "vaihingen": (4, "float32"), "potsdam": (5, "uint8")}


@pytest.fixture(scope="module", params=list(WRITE))
def written(request, tmp_path_factory):
    return request.param, WRITE[request.param](tmp_path_factory.mktemp(request.param))


def _job(name, root, **more):
    return CurateBenchJob(**{"dataset": name, "root": str(root), "tile": 32, **more})


@pytest.mark.parametrize(("name", "counts"), [("vaihingen", (11, 17, 5)), ("potsdam", (18, 14, 6))])
def test_the_lists_are_those_of_the_paper_and_of_torchgeo(name, counts):
    import torchgeo.datasets

    known = facts(name)
    assert tuple(len(getattr(known, part)) for part in PARTS) == counts
    splits = getattr(torchgeo.datasets, known.torchgeo).splits
    for split, parts in (("train", ("train", "val")), ("test", ("test",))):
        own = [known.image.format(*map(int, str(one).split("_")))
               for part in parts for one in getattr(known, part)]  # fmt: skip
        listed = [image.rsplit("/", 1)[1].removesuffix("_RGBIR.tif") for image in own]
        assert sorted(listed) == sorted(splits[split])


def test_three_parts_with_masks_and_heights_as_a_further_band(written):
    name, root = written
    pools = open_headers(_job(name, root, judge="unet", epochs=1)).pools
    assert set(pools) == set(PARTS)
    for pool in pools.values():
        assert (pool.scenes[0].source.info.bands, pool.scenes[0].source.info.dtype) == BANDS[name]
        assert all(scene.mask is not None for scene in pool.scenes)
        assert pool.legend.names == tuple(facts(name).classes)
    scenes = [scene.scene_id for pool in pools.values() for scene in pool.scenes]
    assert len(set(scenes)) == len(scenes)


def test_elevation_lies_on_the_grid_of_its_image(tmp_path):
    root = write_dfc2022(tmp_path, each=4)
    scene = open_headers(_job("dfc2022", root)).pools["train"].scenes[0]
    read = scene.source.read().data
    assert read.shape == (4, 64, 64)
    assert np.ptp(read[3, :2, :2]) < np.ptp(read[3])  # interpolated between its own pixels


def test_parts_of_dfc2022_are_apart_and_the_same_every_time(tmp_path):
    root = write_dfc2022(tmp_path, each=10)
    found = find_dataset("dfc2022", root).rows
    assert {part: len(rows) for part, rows in found.items()} == {"train": 14, "test": 4, "val": 2}
    test = sorted(row.key for row in found["test"])
    assert [key.split("-")[-5] for key in test] == ["0303", "0304"] * 2  # the last of each city
    assert found == find_dataset("dfc2022", root).rows


def test_no_part_shares_ground_with_another(written):
    from foveate.bench.curate.inputs import design_of
    from foveate.run import Run

    name, root = written
    job = _job(name, root, judge="unet", epochs=1)
    with Run.create(root.parent / f"{name}-leaks", job={}) as run:
        design = design_of(job, open_headers(job), run, None)
    assert design.folds[0].val.size
    assert find_leaks(design) == []


def test_images_that_are_not_there_are_named_and_the_rest_is_used(written):
    name, root = written
    absent = open_headers(_job(name, root)).absent
    if name == "dfc2022":  # any number of tiles is all of them
        assert not absent
    else:
        assert "images" in absent
        assert "top_" in absent


@pytest.mark.parametrize("name", list(WRITE))
@pytest.mark.parametrize("lost", ["mask", "heights"])
def test_an_image_without_mask_or_heights_raises_with_their_names(name, lost, tmp_path):
    root = WRITE[name](tmp_path)
    files = {
        "dfc2022": {"mask": "**/*UA2012.tif", "heights": "**/*RGEALTI.tif"},
        "vaihingen": {"mask": "top*.tif", "heights": "dsm/*.tif"},
        "potsdam": {"mask": "top*.tif", "heights": "1_DSM*/*.jpg"},
    }[name][lost]
    gone = sorted(root.glob(files))[:2]
    for file in gone:
        file.unlink()
    with pytest.raises(DataError, match="2 files are missing") as caught:
        find_dataset(name, root)
    assert all(file.name in caught.value.given for file in gone)
    assert "ROOT/" in caught.value.hint


@pytest.mark.parametrize("name", list(WRITE))
def test_another_folder_raises_with_the_layout(name, tmp_path):
    (tmp_path / "other").mkdir()
    for root in (tmp_path / "other", tmp_path / "none"):
        with pytest.raises(DataError, match=facts(name).title) as caught:
            find_dataset(name, root)
        assert "ROOT/" in caught.value.hint


def test_surface_heights_serve_where_there_are_none_above_ground(tmp_path):
    root = write_potsdam(tmp_path)
    (root / "1_DSM").mkdir()
    for file in (root / "1_DSM_normalisation").iterdir():
        stem = file.stem.removesuffix("_normalized_lastools")
        file.rename(root / f"1_DSM/{stem}.tif")
    found = find_dataset("potsdam", root)
    assert found.scale == ()  # measured
    assert "1_DSM/" in str(found.rows["train"][0].extra[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "vaihingen"}, "--dataset without --root"),
        ({"root": "x"}, "--root without --dataset"),
        ({"dataset": "vaihingen", "root": "x", "train": "a:b"}, "together with --train"),
        ({"train": "a:b", "test": "c:d", "val": "e:f"}, "--val with the probe"),
        ({"train": "a:b", "test": "c:d", "val": "e:f", "judge": "unet"}, "--val without --epochs"),
        ({"train": "a:b", "test": "c:d", "steps_per_training": 9}, "--steps with the probe"),
        ({"train": "a:b", "test": "c:d", "judge": "unet", "steps_per_training": 9, "epochs": 2},
         "--steps together with --epochs"),
    ],
)  # fmt: skip
def test_what_would_change_nothing_is_refused(given, said):
    with pytest.raises(ParameterError, match=said) as caught:
        CurateBenchJob(**given).check()
    assert caught.value.hint or caught.value.allowed
