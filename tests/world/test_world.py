import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import rasterio
import yaml

from foveate import labels as foveate_labels
from foveate.errors import FoveateError, ParameterError, StorageError
from foveate.world import (
    CLASSES,
    NODATA_LABEL,
    OBJECT_KINDS,
    THEMES,
    WorldSpec,
    band_names,
    make_scene,
    write_world,
)

CLASS = {name: k for k, name in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def default():
    """The default world: four scenes of 1024 x 1024 x 4."""
    return [make_scene(WorldSpec(), i) for i in range(4)]


@pytest.fixture(scope="module")
def small():
    spec = WorldSpec(scenes=2, size=(200, 264), gsd=3.0, bands=6, dtype="uint16", nodata_border=0.5)
    return spec, [make_scene(spec, i) for i in range(2)]


def reflectance(scene):
    if scene.image.dtype == np.uint8:
        return (scene.image / 255.0) ** 2 * 0.55
    return scene.image / 10_000.0


# Reproducibility


def test_the_same_spec_gives_the_same_bytes(small):
    spec, scenes = small
    again = make_scene(dataclasses.replace(spec), 1)
    assert again.image.tobytes() == scenes[1].image.tobytes()
    assert again.labels.tobytes() == scenes[1].labels.tobytes()
    assert again.objects == scenes[1].objects
    assert again.geobox == scenes[1].geobox


def test_a_scene_does_not_depend_on_how_many_there_are(small):
    spec, scenes = small
    other = make_scene(dataclasses.replace(spec, scenes=9), 0)
    assert other.image.tobytes() == scenes[0].image.tobytes()


def test_labels_depend_on_neither_bands_nor_dtype_nor_noise(small):
    spec, scenes = small
    other = make_scene(dataclasses.replace(spec, bands=1, dtype="uint8", noise=0.0), 0)
    assert np.array_equal(other.labels, scenes[0].labels)
    assert other.objects == scenes[0].objects


def test_scenes_and_seeds_differ(small):
    spec, scenes = small
    assert not np.array_equal(scenes[0].labels, scenes[1].labels)
    assert scenes[0].geobox != scenes[1].geobox
    assert scenes[0].theme != scenes[1].theme
    seeded = make_scene(dataclasses.replace(spec, seed=1), 0)
    assert not np.array_equal(scenes[0].labels, seeded.labels)


# Shapes


@pytest.mark.parametrize(
    ("size", "gsd", "bands", "dtype"),
    [(64, 0.5, 1, "uint8"), ((64, 301), 10.0, 4, "uint16"), ((301, 70), 1.0, 14, "uint8")],
)
def test_any_size_band_count_and_dtype(size, gsd, bands, dtype):
    scene = make_scene(WorldSpec(size=size, gsd=gsd, bands=bands, dtype=dtype), 2)
    shape = (size, size) if isinstance(size, int) else size
    assert scene.image.shape == (bands, *shape)
    assert scene.image.dtype == dtype
    assert scene.labels.shape == scene.valid.shape == scene.cloud.shape == shape
    assert scene.labels.dtype == np.uint8
    assert scene.valid.dtype == scene.cloud.dtype == bool
    assert scene.geobox.shape == shape
    assert scene.geobox.crs.projected
    assert abs(scene.geobox.resolution.x) == gsd
    assert (scene.image[:, scene.valid] >= 1).all()


def test_band_names():
    assert band_names(1) == ["pan"]
    assert band_names(5) == ["red", "green", "blue", "nir", "swir16"]
    assert len(set(band_names(40))) == 40


def test_themes_take_turns():
    assert [WorldSpec().theme(i) for i in range(7)] == list(THEMES)


# Land cover


def test_every_class_occurs_in_the_default_world(default):
    seen = set(np.unique(np.concatenate([np.unique(s.labels) for s in default])).tolist())
    assert seen == {*range(len(CLASSES)), NODATA_LABEL}


def test_classes_are_imbalanced_and_scenes_differ_in_character(default):
    shares = [np.bincount(s.labels[s.valid], minlength=len(CLASSES)) for s in default]
    total = np.sum(shares, axis=0) / np.sum(shares)
    assert total.max() > 20 * total[CLASS["bare"]]
    assert total.max() < 0.6
    largest = [int(np.argmax(share)) for share in shares]
    assert len(set(largest)) >= 3


def test_regions_are_coherent(default):
    for scene in default:
        lab = scene.labels
        agree = (lab[:, 1:] == lab[:, :-1]).mean() + (lab[1:] == lab[:-1]).mean()
        assert agree / 2 > 0.95


def test_land_is_textured_but_not_noise(default):
    """Neighbouring pixels are alike, and the land varies at a large scale too."""
    for scene in default:
        nir = reflectance(scene)[3].astype(np.float64)
        inside = scene.valid[:, 1:] & scene.valid[:, :-1]
        r = np.corrcoef(nir[:, 1:][inside], nir[:, :-1][inside])[0, 1]
        assert r > 0.8
        assert nir[scene.valid].std() > 0.04


def test_spectra_are_plausible(default):
    for scene in default:
        red, green, blue, nir = reflectance(scene)
        clear = scene.valid & ~scene.cloud
        for name in ("forest", "grassland", "wetland"):
            at = clear & (scene.labels == CLASS[name])
            if at.sum() > 500:
                assert nir[at].mean() > 1.8 * red[at].mean(), name
        water = clear & (scene.labels == CLASS["water"])
        land = clear & (scene.labels == CLASS["cropland"])
        assert nir[water].mean() < 0.05
        assert nir[water].mean() < 0.25 * nir[land].mean()
        assert (nir[water] < blue[water]).mean() > 0.9
        forest = clear & (scene.labels == CLASS["forest"])
        assert green[forest].mean() > red[forest].mean()
        if scene.cloud.any():
            assert red[scene.cloud].mean() > 2 * red[clear].mean()


def test_clouds_cast_shadows_and_meet_their_share():
    clear = make_scene(WorldSpec(size=64, gsd=8.0, cloud=0.0, nodata_border=False), 3)
    assert not clear.cloud.any()
    shares = []
    for seed in range(3):
        spec = WorldSpec(size=96, gsd=10.0, cloud=0.2, nodata_border=False, seed=seed)
        scene = make_scene(spec, 0)
        assert ((scene.labels == CLASS["cloud"]) == scene.cloud).all()
        shares.append(scene.cloud.mean())
    assert 0.05 < np.mean(shares) < 0.4
    without = make_scene(dataclasses.replace(spec, cloud=0.0), 0)
    darker = reflectance(scene)[0] < 0.75 * reflectance(without)[0]
    assert darker[~scene.cloud].mean() > 0.01


# Nodata


def test_the_nodata_border_is_the_same_everywhere(small):
    spec, scenes = small
    assert [spec.has_border(i) for i in range(2)] == [False, True]
    assert scenes[0].valid.all()
    scene = scenes[1]
    assert 0.05 < (~scene.valid).mean() < 0.5
    assert (scene.image[:, ~scene.valid] == 0).all()
    assert (scene.image[:, scene.valid] > 0).all()
    assert ((scene.labels == NODATA_LABEL) == ~scene.valid).all()
    assert not (scene.cloud & ~scene.valid).any()
    # A rotated frame: the corners are out, the middle is in, each row is one run.
    h, w = scene.valid.shape
    assert scene.valid[h // 2, w // 2]
    assert not scene.valid[[0, 0, -1, -1], [0, -1, 0, -1]].all()
    assert (np.abs(np.diff(scene.valid.astype(int), axis=1)).sum(axis=1) <= 2).all()


# Objects


def test_objects_have_exact_boxes_free_of_nodata_and_cloud(default):
    kinds = Counter()
    for scene in default:
        taken = np.zeros(scene.valid.shape, bool)
        for item in scene.objects:
            kinds[item.kind] += 1
            rows, cols = slice(item.y, item.y + item.h), slice(item.x, item.x + item.w)
            box = scene.labels[rows, cols]
            assert box.shape == (item.h, item.w)
            own = box == CLASS[OBJECT_KINDS[item.kind]]
            # Tight: the object's class touches all four sides of the box.
            assert own[0].any()
            assert own[-1].any()
            assert own[:, 0].any()
            assert own[:, -1].any()
            if item.kind == "wind_turbine":  # thin blades, and a tower somewhere in the box
                assert 0.02 < own.mean() < 0.5
            else:
                assert own[item.h // 3 : -(item.h // 3), item.w // 3 : -(item.w // 3)].mean() > 0.5
            assert scene.valid[rows, cols][own].all()
            taken[rows, cols] |= own
    assert set(kinds) >= {"boat", "storage_tank", "greenhouse", "pool", "wind_turbine"}
    assert sum(kinds.values()) < 60


def test_objects_differ_from_what_is_around_them(default):
    for scene in default:
        seen = reflectance(scene)
        for item in scene.objects:
            if item.kind not in ("boat", "storage_tank", "pool", "greenhouse"):
                continue
            inner = (
                slice(item.y + item.h // 4, item.y + item.h - item.h // 4),
                slice(item.x + item.w // 4, item.x + item.w - item.w // 4),
            )
            pad = 3
            ring = np.zeros(scene.valid.shape, bool)
            ring[
                max(item.y - pad, 0) : item.y + item.h + pad,
                max(item.x - pad, 0) : item.x + item.w + pad,
            ] = True
            ring[item.y : item.y + item.h, item.x : item.x + item.w] = False
            inside = seen[(slice(None), *inner)].mean(axis=(1, 2))
            outside = np.median(seen[:, ring], axis=1)
            assert np.abs(inside - outside).max() > 0.04, item


def test_drylands_have_pivots_and_parks():
    scene = make_scene(WorldSpec(size=300, gsd=8.0, cloud=0.0), 6)
    kinds = Counter(o.kind for o in scene.objects)
    assert kinds["pivot_field"] >= 2
    assert kinds["solar_park"] >= 1
    for item in scene.objects:
        assert item.y >= 0
        assert item.x >= 0
        assert item.y + item.h <= 300
        assert item.x + item.w <= 300


# Files


def test_files_hold_what_make_scene_returns(tmp_path, small):
    spec, scenes = small
    ticks = []
    files = write_world(tmp_path / "world", spec, progress=ticks.append)
    assert ticks[-1].done == ticks[-1].total == 2
    for scene, image, mask in zip(scenes, files.images, files.masks, strict=True):
        assert image.name == mask.name == f"{scene.scene_id}.tif"
        with rasterio.open(image) as data:
            assert np.array_equal(data.read(), scene.image)
            assert data.nodata == 0
            assert data.descriptions == tuple(band_names(6))
            assert data.crs.to_epsg() // 100 == 326
            assert data.res == (3.0, 3.0)
            assert data.transform == scene.geobox.affine
            assert np.array_equal(data.dataset_mask() > 0, scene.valid)
        with rasterio.open(mask) as data:
            assert np.array_equal(data.read(1), scene.labels)
            assert data.nodata == NODATA_LABEL
            assert data.colormap(1)[CLASS["water"]][:3] == (0x2F, 0x6F, 0xB7)


def test_legend_and_objects_are_readable(tmp_path, small):
    spec, scenes = small
    files = write_world(tmp_path, dataclasses.replace(spec, scenes=1))
    legend = yaml.safe_load(files.classes.read_text())
    assert legend["classes"] == CLASS
    assert legend["ignore"] == ["cloud"]
    assert legend["colors"] == CLASSES
    assert "water" in foveate_labels.Legend.from_file(files.classes).names
    content = json.loads(files.objects.read_text())
    boxes = [f["properties"] for f in content["features"]]
    assert [(b["kind"], b["y"], b["x"], b["h"], b["w"]) for b in boxes] == [
        dataclasses.astuple(o) for o in scenes[0].objects
    ]
    for feature in content["features"]:
        lon, lat = feature["geometry"]["coordinates"][0][0]
        assert -10 < lon < 30
        assert 38 < lat < 60
    world = json.loads(files.spec.read_text())
    assert WorldSpec(**world["spec"]) == dataclasses.replace(spec, scenes=1)


# Parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scenes", 0),
        ("scenes", True),
        ("size", 63),
        ("size", (64, 64, 3)),
        ("size", "big"),
        ("size", (64.0, 64)),
        ("bands", 0),
        ("gsd", 0),
        ("gsd", float("nan")),
        ("dtype", "float32"),
        ("seed", -1),
        ("cloud", 0.9),
        ("nodata_border", 1.5),
        ("noise", -0.1),
    ],
)
def test_bad_parameters_are_refused_with_their_name(name, value):
    with pytest.raises(ParameterError, match=name) as caught:
        WorldSpec(**{name: value})
    assert isinstance(caught.value, FoveateError)
    assert "Allowed: " in str(caught.value)


def test_a_bad_index_is_refused():
    with pytest.raises(ParameterError, match="index=-1"):
        make_scene(WorldSpec(size=64), -1)


def test_an_int_is_a_square():
    assert WorldSpec(size=128).shape == (128, 128)
    assert WorldSpec(size=128).size == (128, 128)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "classes.yaml").write_text("precious")
    with pytest.raises(StorageError, match=r"classes\.yaml"):
        write_world(tmp_path, WorldSpec(scenes=1, size=64))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["precious"]


def test_a_smaller_world_replaces_an_earlier_one(tmp_path):
    write_world(tmp_path, WorldSpec(scenes=2, size=64))
    (tmp_path / "images/notes.txt").write_text("of the user")
    files = write_world(tmp_path, WorldSpec(scenes=1, size=64, seed=1))
    found = {p for p in tmp_path.rglob("*") if p.is_file()} - {tmp_path / "images/notes.txt"}
    assert found == {*files.images, *files.masks, files.classes, files.objects, files.spec}
    assert (tmp_path / "images/notes.txt").is_file()


def test_an_interrupted_world_is_begun_again(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "scene-00.tif").write_bytes(b"cut off")
    write_world(tmp_path, WorldSpec(scenes=1, size=64))
    write_world(tmp_path, WorldSpec(scenes=1, size=64, seed=1))
    assert (tmp_path / "world.json").exists()
