import numpy as np
import pyarrow as pa
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from foveate.errors import ParameterError
from foveate.grid import EDGES, Grid, Tiles, Window, row_numbers


def boxes(tiles):
    return [tuple(tiles.window(i)) for i in range(len(tiles))]


def test_tiles_are_row_major_with_their_place_in_the_grid():
    tiles = Grid((20, 30), tile=10).tiles("scene")
    assert boxes(tiles)[:4] == [(0, 0, 10, 10), (0, 10, 10, 10), (0, 20, 10, 10), (10, 0, 10, 10)]
    assert tiles.row.tolist() == [0, 0, 0, 1, 1, 1]
    assert tiles.col.tolist() == [0, 1, 2, 0, 1, 2]
    assert (tiles.level == 0).all()
    assert (tiles.parent == -1).all()
    assert (tiles.valid_share == 1).all()


@pytest.mark.parametrize(
    ("edge", "rows"),
    [
        ("drop", [(0, 10), (10, 10)]),
        ("shift", [(0, 10), (10, 10), (15, 10)]),
        ("pad", [(0, 10), (10, 10), (20, 10)]),
        ("clip", [(0, 10), (10, 10), (20, 5)]),
    ],
)
def test_each_edge_policy_on_a_side_of_25(edge, rows):
    tiles = Grid((25, 10), tile=10, edge=edge).tiles()
    assert list(zip(tiles.y.tolist(), tiles.h.tolist(), strict=True)) == rows


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        ("drop", []),
        ("shift", [(0, 0, 6, 7)]),
        ("pad", [(0, 0, 10, 10)]),
        ("clip", [(0, 0, 6, 7)]),
    ],
)
def test_a_raster_smaller_than_a_tile(edge, expected):
    assert boxes(Grid((6, 7), tile=10, edge=edge).tiles()) == expected


def test_the_presets_of_the_paper_and_of_the_release_differ_by_overlap():
    assert len(Grid((1024, 1024), tile=256).tiles()) == 16
    assert np.unique(Grid((1024, 1024), 256, 200).tiles().y).tolist() == [0, 200, 400, 600, 768]


def test_tile_and_stride_may_differ_by_axis():
    tiles = Grid((8, 12), tile=(4, 6), stride=(2, 3)).tiles()
    assert np.unique(tiles.y).tolist() == [0, 2, 4]
    assert np.unique(tiles.x).tolist() == [0, 3, 6]
    assert (tiles.pixels == 24).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"edge": "wrap"},
            "edge = 'wrap'. Allowed: drop, shift, pad, clip. For example edge='shift'.",
        ),
        ({"tile": 0}, "tile = (0, 0). The tile must be at least 1 pixel."),
        ({"shape": (0, 5)}, "shape = (0, 5). The shape must be at least 1 pixel."),
        ({"stride": (4, 0)}, "stride = (4, 0). The stride must be at least 1 pixel."),
        (
            {"stride": 5},
            (
                "stride 5 is larger than the tile side 4. A larger stride leaves gaps between "
                "tiles. Use a stride of at most 4."
            ),
        ),
    ],
)
def test_a_grid_that_cannot_be_says_what_to_type(options, message):
    with pytest.raises(ParameterError) as caught:
        Grid(**{"shape": (10, 10), "tile": 4, **options})
    assert str(caught.value) == message


def test_split_covers_with_sides_that_differ_by_one():
    tiles = Grid.split((10, 7), 3, 2).tiles("s")
    assert tiles.h.reshape(3, 2)[:, 0].tolist() == [3, 3, 4]
    assert tiles.w.reshape(3, 2)[0].tolist() == [3, 4]


def test_a_split_is_not_the_clipped_grid_of_its_largest_tile():
    assert Grid.split((10, 10), 3, 3) != Grid((10, 10), 4, edge="clip")
    assert Grid.split((10, 10), 3, 3) == Grid.split((10, 10), 3, 3)


@pytest.mark.parametrize(("rows", "cols", "name"), [(11, 1, "rows = 11"), (1, 0, "cols = 0")])
def test_split_refuses_more_parts_than_pixels(rows, cols, name):
    with pytest.raises(ParameterError, match=f"{name} for a side of 10 px. Allowed: 1 to 10"):
        Grid.split((10, 10), rows, cols)


def test_of_names_windows_of_one_scene():
    tiles = Tiles.of("s", [[1, 2, 3, 4], [5, 6, 7, 8]], level=2)
    assert tiles.window(1) == Window(5, 6, 7, 8)
    assert tiles.row.tolist() == [0, 1]
    assert tiles.col.tolist() == [0, 0]
    assert tiles.level.tolist() == [2, 2]
    assert tiles.tile_id.tolist() == ["s/y000001_x000002_3x4", "s/y000005_x000006_7x8"]


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ParameterError, match="All columns must have the same length"):
        Tiles.of("s", [[0, 0, 1, 1]], row=[0, 1])
    with pytest.raises(ParameterError, match="All columns must have the same length"):
        Tiles(("s",), *([np.ones((2, 2))] * 10))


def test_take_keeps_the_order_asked_for():
    tiles = Grid((4, 4), tile=2).tiles("s")
    assert tiles.take([3, 0]).tile_id.tolist() == tiles.tile_id[[3, 0]].tolist()
    assert len(tiles.take([False, True, True, False])) == 2
    assert tiles.take([-1]).tile_id[0] == tiles.tile_id[3]
    assert len(tiles.take([])) == 0


def test_concat_merges_scenes_of_one_name():
    a = Grid((2, 4), tile=2).tiles("a")
    b = Grid((2, 4), tile=2).tiles("b")
    both = Tiles.concat([a, b, a.take([]), a.take([0]).with_valid_share([0.5])])
    assert both.scenes == ("a", "b")
    assert both.scene.tolist() == ["a", "a", "b", "b", "a"]
    assert both.valid_share.tolist() == [1, 1, 1, 1, 0.5]


def test_concat_of_nothing_is_an_empty_table():
    nothing = Tiles.concat([])
    assert len(nothing) == 0
    assert nothing.tile_id.size == nothing.scene.size == 0


def test_refine_names_parent_level_and_place():
    tiles = Grid((4, 8), tile=4).tiles("s")
    children = tiles.refine([1])
    assert boxes(children) == [(0, 4, 2, 2), (0, 6, 2, 2), (2, 4, 2, 2), (2, 6, 2, 2)]
    assert children.parent.tolist() == [1] * 4
    assert children.level.tolist() == [1] * 4
    assert children.row.tolist() == [0, 0, 1, 1]
    assert children.col.tolist() == [2, 3, 2, 3]


def test_refine_takes_masks_negative_rows_and_nothing():
    tiles = Grid((4, 8), tile=4).tiles("s")
    assert tiles.refine([False, True]).parent.tolist() == [1] * 4
    assert tiles.refine([-1]).parent.tolist() == [1] * 4
    assert len(tiles.refine([])) == 0


def test_refine_refuses_what_cannot_be_cut():
    tiles = Tiles.of("s", [[0, 0, 2, 9]])
    with pytest.raises(ParameterError, match="with a side of 2 px cannot be cut into 3 x 3"):
        tiles.refine([0], 3)
    with pytest.raises(ParameterError, match="k = 1"):
        tiles.refine([0], 1)


def test_arrow_has_the_id_first_and_is_read_without_foveate():
    tiles = Grid((4, 4), tile=2).tiles("s")
    table = pa.table(tiles)
    assert table.column_names[:3] == ["tile_id", "scene", "level"]
    assert table["tile_id"].to_pylist() == tiles.tile_id.tolist()


def test_an_empty_table_survives_arrow():
    empty = Grid((4, 4), tile=8, edge="drop").tiles("s")
    assert len(Tiles.from_arrow(empty.to_arrow())) == 0


UTM = GeoBox((20, 30), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")


def test_the_edge_policies_are_listed():
    assert EDGES == ("drop", "shift", "pad", "clip")


def test_row_numbers_from_integers_masks_and_nothing():
    assert row_numbers([2, -1], 4).tolist() == [2, 3]
    assert row_numbers([True, False, True], 3).tolist() == [0, 2]
    assert row_numbers([], 4).tolist() == []
    with pytest.raises(IndexError):
        row_numbers([4], 4)


def test_rows_of_each_scene():
    a, b = (Grid((20, 10), tile=10).tiles(name) for name in ("a", "b"))
    tiles = Tiles.concat([a, b]).take([3, 0, 2])
    found = {name: rows.tolist() for name, rows in tiles.per_scene()}
    assert found == {"a": [1], "b": [0, 2]}
    assert [name for name, _ in tiles.take([1]).per_scene()] == ["a"]
    assert list(tiles.take([]).per_scene()) == []
