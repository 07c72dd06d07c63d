"""Which files, and which windows in them, show the tiles of a run."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from foveate.errors import DataError
from foveate.observe.completion.match_hr import hr_cautions, match_hr_tiles
from foveate.observe.jobs import SelectJob
from foveate.observe.selection.overviews import overview_tiles
from foveate.observe.selection.selections import Selected
from foveate.pool.folder import open_pool
from foveate.raster import write_cog

UTM = "EPSG:32633"
CORNERS = {"east/a": (0.0, 0.0), "b": (480.0, 0.0)}  # metres from the common corner, x and y


def box(shape, gsd, x=0.0, y=0.0, crs=UTM):
    return GeoBox(shape, Affine(gsd, 0, 500000 + x, 0, -gsd, 6e6 - y), crs)


def ground(shape, gsd, x=0.0, y=0.0):
    """Values that tell where on the ground a pixel is: 48 m north-south, and 48 m east-west."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    north, east = (y + (rows + 0.5) * gsd) // 48, (x + (cols + 0.5) * gsd) // 48
    return np.stack([north + 1, east + 1, np.full(shape, 9)]).astype(np.uint8)


@pytest.fixture
def selected(tmp_path):
    """Two overviews of 24 x 32 pixels of 10 m, with 5 x 6 tiles of about 48 m."""
    for name, (x, y) in CORNERS.items():
        file = tmp_path / f"lr/{name}.tif"
        write_cog(file, ground((24, 32), 10, x, y), geobox=box((24, 32), 10, x, y))
    return opened(tmp_path / "lr")


def opened(folder, chosen=(0, 7)):
    target = overview_tiles(open_pool(folder, split=(5, 6)))
    mask = np.zeros(len(target.pool), bool)
    mask[list(chosen)] = True
    return Selected(Path("run"), {}, SelectJob(images=["lr"], observer="m"), target, mask)


def scene(folder, name, *, gsd=1.0, suffix=".tif", crs=UTM, nodata=None, **at):
    x, y = at.get("x", CORNERS.get(name, (0, 0))[0]), at.get("y", 0.0)
    shape = at.get("shape", (round(240 / gsd), round(320 / gsd)))
    place = None if crs is None else box(shape, gsd, x, y, crs)
    write_cog(folder / f"{name}{suffix}", ground(shape, gsd, x, y), geobox=place, nodata=nodata)


def warped(folder, name):
    """Write a raster of 240 x 320 m in the middle of the scene b, in the zone to the east."""
    there = Transformer.from_crs(UTM, "EPSG:32634", always_xy=True)
    x, y = there.transform(500000 + 640, 6e6 - 120)
    place = GeoBox((240, 320), Affine(1, 0, x - 160, 0, -1, y + 120), "EPSG:32634")
    write_cog(folder / f"{name}.tif", ground((240, 320), 1.0), geobox=place)


@pytest.mark.parametrize("crs", [UTM, None])
def test_whole_scenes_are_split_like_their_overviews(selected, tmp_path, crs):
    for name in CORNERS:
        scene(tmp_path / "hr", name, crs=crs)
    found = match_hr_tiles([tmp_path / "hr"], selected)
    assert sorted(found.views) == list(range(60))
    assert not found.unused
    place = {tuple(p): i for i, p in enumerate(selected.place.tolist())}
    names = [selected.name(i) for i in range(2)]
    row = place[names.index("east/a"), 2, 5]
    raster = found.read(row, (), 0.5)
    assert raster.data.shape == (3, 48, 54)  # 320 px do not divide by 6
    view = found.views[row][0]
    assert (view.window.y, view.window.x) == (96, 266)
    whole = ground((240, 320), 1.0)[:, 96:144, 266:320]
    assert np.array_equal(raster.data, whole)
    assert found.read(row, (3,), 0.5).data.shape == (1, 48, 54)


@pytest.mark.parametrize(
    ("file", "row", "col"),
    [
        ("b_r03_c05", 3, 5), ("b_r3_c5", 3, 5), ("b-R003-C005", 3, 5), ("b_r03c05", 3, 5),
        ("b/r03_c05", 3, 5), ("a_r00_c00", 0, 0), ("east/a_r4_c1", 4, 1), ("ID", 2, 2),
        ("ID_", 2, 2),
    ],
)  # fmt: skip
def test_tiles_by_their_names(selected, tmp_path, file, row, col):
    place = {tuple(p): i for i, p in enumerate(selected.place.tolist())}
    number = [selected.name(i) for i in range(2)].index("b" if file[0] in "bI" else "east/a")
    wanted = place[number, row, col]
    name = str(selected.ids[wanted])
    stem = {"ID": name, "ID_": name.replace("/", "_")}.get(file, file)
    scene(tmp_path / "hr", stem, shape=(50, 60), crs=None)
    scene(tmp_path / "hr", "b_r77_c01", shape=(50, 60), crs=None)  # no such tile
    scene(tmp_path / "hr", "notes", shape=(50, 60), crs=None)
    found = match_hr_tiles([tmp_path / "hr"], selected)
    assert list(found.views) == [wanted]
    assert found.views[wanted][0].window == (0, 0, 50, 60)
    assert len(found.unused) == 2
    assert found.read(wanted, (1,), 0.5).data.shape == (1, 50, 60)


def test_mosaics_by_where_they_lie(selected, tmp_path):
    # From 240 m to 640 m east: the right of one scene and the left of the other.
    scene(tmp_path / "hr", "mosaic", gsd=2.0, x=240.0, y=-20.0, shape=(120, 200))
    found = match_hr_tiles([tmp_path / "hr"], selected)
    names = [selected.name(i) for i in range(2)]
    seen = {(names[s], r, c) for s, r, c in selected.place[sorted(found.views)].tolist()}
    assert ("east/a", 0, 5) in seen
    assert ("b", 0, 0) in seen
    assert ("east/a", 0, 0) not in seen
    assert ("b", 0, 5) not in seen
    for row, views in found.views.items():
        raster, view = found.read(row, (), 0.5), views[0]
        tiles = selected.target.pool.tiles
        own = selected.name(int(selected.place[row, 0]))
        x, y = CORNERS[own][0] + 10 * int(tiles.x[row]), 10 * int(tiles.y[row])
        expected = ground((view.window.h, view.window.w), 2.0, x, y)
        assert abs(view.window.h * 2 - 10 * int(tiles.h[row])) <= 2
        share = (raster.data[:, raster.valid] == expected[:, raster.valid]).mean()
        assert share > 0.95  # of pixels; windows are rounded to whole ones
        assert raster.valid_share >= 0.5


def test_a_tile_needs_enough_valid_pixels(selected, tmp_path):
    name, shape = "b", (240, 320)
    data = ground(shape, 1.0, 480.0)
    data[:, :96, :] = 0
    write_cog(tmp_path / "hr/b.tif", data, geobox=box(shape, 1.0, 480.0), nodata=0)
    found = match_hr_tiles([tmp_path / "hr"], selected)
    place = {tuple(p): i for i, p in enumerate(selected.place.tolist())}
    number = [selected.name(i) for i in range(2)].index(name)
    assert found.read(place[number, 1, 1], (), 0.5) is None
    assert found.read(place[number, 1, 1], (), 0.0) is None
    assert found.read(place[number, 2, 1], (), 0.5) is not None
    # A mosaic over the same ground has what the scene lacks.
    scene(tmp_path / "hr", "other", x=480.0, shape=(240, 300))
    found = match_hr_tiles([tmp_path / "hr"], selected)
    assert [Path(v.name).name for v in found.views[place[number, 1, 1]]] == ["b.tif", "other.tif"]
    assert found.read(place[number, 1, 1], (), 0.5).valid.all()


def test_a_scene_of_that_name_elsewhere_is_a_mosaic(selected, tmp_path):
    scene(tmp_path / "hr", "b", x=0.0)  # lies where the other scene is
    found = match_hr_tiles([tmp_path / "hr"], selected)
    names = {selected.name(int(selected.place[row, 0])) for row in found.views}
    assert names == {"east/a"}


def test_a_tile_of_that_name_elsewhere_is_matched_by_ground(selected, tmp_path):
    place = {tuple(p): i for i, p in enumerate(selected.place.tolist())}
    number = [selected.name(i) for i in range(2)].index("b")
    tiles = selected.target.pool.tiles
    at = {}
    for name, (r, c) in {"b_r00_c01": (0, 1), "b_r01_c00": (4, 5)}.items():
        row = at[name] = place[number, r, c]
        x, y, h, w = (10 * int(getattr(tiles, n)[row]) for n in "xyhw")
        scene(tmp_path / "hr", name, shape=(h, w), x=480.0 + x, y=y)
    found = match_hr_tiles([tmp_path / "hr"], selected)
    assert sorted(found.views) == sorted(at.values())
    assert [Path(v.name).stem for v in found.views[at["b_r01_c00"]]] == ["b_r01_c00"]
    assert [Path(name).stem for name in found.misnamed] == ["b_r01_c00"]
    trained = SimpleNamespace(ratio=10.0, gsd=None)
    (caution,) = hr_cautions(trained, found, selected)
    assert caution.startswith(
        "The file 'b_r01_c00.tif' lies on other ground than the tile that the"
    )
    warped(tmp_path / "other", "b_r00_c01")
    with pytest.raises(DataError, match="gdalwarp -t_srs"):
        match_hr_tiles([tmp_path / "other"], selected)
    scene(tmp_path / "far", "b_r00_c01", shape=(50, 60), x=90_000.0)
    with pytest.raises(DataError, match=r"'.*b_r00_c01.tif' covers EPSG:32633 .*, not EPSG"):
        match_hr_tiles([tmp_path / "far"], selected)


def test_files_of_other_zones_are_unused_if_they_lie_elsewhere(selected, tmp_path):
    scene(tmp_path / "hr", "b")
    scene(tmp_path / "hr", "c", crs="EPSG:32634")  # 6 degrees to the east
    found = match_hr_tiles([tmp_path / "hr"], selected)
    assert len(found.views) == 30
    assert [Path(name).name for name in found.unused] == ["c.tif"]


@pytest.mark.parametrize("turned", ["crs", "flipped"])
def test_pixels_are_not_warped(selected, tmp_path, turned):
    if turned == "crs":
        warped(tmp_path / "hr", "mosaic")
    else:
        place = GeoBox((240, 320), Affine(1, 0, 500000, 0, 1, 6e6 - 240), UTM)
        write_cog(tmp_path / "hr/mosaic.tif", ground((240, 320), 1.0), geobox=place)
    with pytest.raises(DataError, match="gdalwarp -t_srs"):
        match_hr_tiles([tmp_path / "hr"], selected)


@pytest.mark.parametrize("files", [[], ["notes"]])
def test_nothing_fits(selected, tmp_path, files):
    (tmp_path / "hr").mkdir()
    for name in files:
        scene(tmp_path / "hr", name, crs=None, shape=(20, 20))
    name = str(selected.ids[0])
    own = selected.name(int(selected.place[0, 0]))
    looked = f"Expected names such as '{own}.tif', '{own}_r00_c00.tif', '{name}.tif'"
    with pytest.raises(DataError, match=re.escape(looked)):
        match_hr_tiles([tmp_path / "hr"], selected)
    with pytest.raises(DataError, match="does not exist"):
        match_hr_tiles([tmp_path / "nowhere"], selected)


def test_two_files_of_one_tile(selected, tmp_path):
    for name in ("b_r1_c1", "b_r01_c01"):
        scene(tmp_path / "hr", name, shape=(50, 60), crs=None)
    with pytest.raises(DataError, match="two files match the tile"):
        match_hr_tiles([tmp_path / "hr"], selected)


def test_pictures_of_another_form(selected, tmp_path):
    scene(tmp_path / "hr", "b", shape=(240, 240), crs=None)
    with pytest.raises(DataError, match="aspect ratios must be equal"):
        match_hr_tiles([tmp_path / "hr"], selected)


def test_an_overview_is_no_high_resolution(selected, tmp_path):
    with pytest.raises(DataError, match="more pixels than the overview"):
        match_hr_tiles([tmp_path / "lr"], selected)


def test_prints_tell_windows_apart(selected, tmp_path):
    scene(tmp_path / "hr", "b")
    views = match_hr_tiles([tmp_path / "hr"], selected).views
    assert len({str(view.fingerprint()) for (view,) in views.values()}) == 30


@pytest.mark.parametrize("crs", [UTM, None])
def test_cautions_about_other_pixel_sizes(selected, tmp_path, crs):
    trained = SimpleNamespace(gsd=(10.0, 1.0), ratio=10.0)
    for gsd, said in (
        (1.0, ""),
        (2.0, ""),
        (4.0, r"'b.tif' are (3\.9|4|4\.1) m wide, not 1 m as in training"),
    ):
        scene(tmp_path / f"{gsd}", "b", gsd=gsd, crs=crs)
        found = match_hr_tiles([tmp_path / f"{gsd}"], selected)
        cautions = hr_cautions(trained, found, selected)
        assert len(cautions) == bool(said), cautions
        assert re.search(said, "".join(cautions))
    unknown = SimpleNamespace(gsd=None, ratio=1.5)
    (caution,) = hr_cautions(unknown, match_hr_tiles([tmp_path / "1.0"], selected), selected)
    assert "'b.tif' are 0.15 times as large as in training" in caution
