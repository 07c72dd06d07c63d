"""However a raster is cut: no gaps, nothing outside, ids in geographic order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveate.grid import EDGES, Grid, Tiles

SIDES = st.integers(1, 40)


@st.composite
def grids(draw, edges=EDGES):
    tile = draw(st.tuples(st.integers(1, 15), st.integers(1, 15)))
    stride = tuple(draw(st.integers(1, side)) for side in tile)
    shape = draw(st.tuples(SIDES, SIDES))
    return Grid(shape, tile, draw(st.sampled_from([None, stride])), draw(st.sampled_from(edges)))


def painted(tiles, shape):
    """How often each pixel of a canvas (with a margin of 15) is covered."""
    canvas = np.zeros((shape[0] + 15, shape[1] + 15), int)
    for i in range(len(tiles)):
        y, x, h, w = tiles.window(i)
        assert min(y, x) >= 0
        assert min(h, w) >= 1
        canvas[y : y + h, x : x + w] += 1
    return canvas


@given(grids(edges=("shift", "clip")))
def test_shift_and_clip_cover_everything_and_never_leave_the_raster(grid):
    canvas = painted(grid.tiles(), grid.shape)
    h, w = grid.shape
    assert (canvas[:h, :w] >= 1).all()
    assert canvas.sum() == canvas[:h, :w].sum()


@given(grids(edges=("pad",)))
def test_pad_covers_everything_with_full_tiles_that_start_inside(grid):
    tiles = grid.tiles()
    h, w = grid.shape
    assert (painted(tiles, grid.shape)[:h, :w] >= 1).all()
    assert set(zip(tiles.h.tolist(), tiles.w.tolist(), strict=True)) == {grid.tile}
    assert (tiles.y < h).all()
    assert (tiles.x < w).all()


@given(grids(edges=("drop",)))
def test_drop_has_every_full_tile_of_the_lattice_and_nothing_else(grid):
    tiles = grid.tiles()
    step = grid.stride or grid.tile
    expected = [
        (y, x, *grid.tile)
        for y in range(0, grid.shape[0] - grid.tile[0] + 1, step[0])
        for x in range(0, grid.shape[1] - grid.tile[1] + 1, step[1])
    ]
    assert [tiles.window(i) for i in range(len(tiles))] == expected


@given(grids(edges=("drop", "shift")))
def test_drop_and_shift_give_tiles_of_one_size(grid):
    tiles = grid.tiles()
    size = [min(t, s) for t, s in zip(grid.tile, grid.shape, strict=True)]
    assert (tiles.h == size[0]).all()
    assert (tiles.w == size[1]).all()


@given(grids(edges=("clip",)))
def test_clip_without_overlap_covers_each_pixel_once(grid):
    grid = Grid(grid.shape, grid.tile, edge="clip")
    h, w = grid.shape
    assert (painted(grid.tiles(), grid.shape)[:h, :w] == 1).all()


@given(grids())
def test_ids_are_unique_and_sorted_as_the_tiles_lie(grid):
    tiles = grid.tiles("scene")
    ids = tiles.tile_id.tolist()
    assert ids == sorted(set(ids))
    place = list(zip(tiles.y.tolist(), tiles.x.tolist(), strict=True))
    assert place == sorted(place)
    assert list(zip(tiles.row.tolist(), tiles.col.tolist(), strict=True)) == sorted(
        zip(tiles.row.tolist(), tiles.col.tolist(), strict=True)
    )


@given(st.data(), SIDES, SIDES)
def test_split_covers_each_pixel_once_with_sides_that_differ_by_at_most_one(data, h, w):
    rows, cols = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    grid = Grid.split((h, w), rows, cols)
    tiles = grid.tiles("s")
    assert len(tiles) == rows * cols
    canvas = painted(tiles, (h, w))
    assert (canvas[:h, :w] == 1).all()
    assert canvas.sum() == h * w
    assert np.ptp(tiles.h) <= 1
    assert np.ptp(tiles.w) <= 1
    assert (tiles.h.max(), tiles.w.max()) == grid.tile


@given(st.data(), grids(edges=("clip", "shift")), st.integers(2, 4))
def test_refine_covers_the_parent_once(data, grid, k):
    tiles = grid.tiles("s")
    large = np.flatnonzero(np.minimum(tiles.h, tiles.w) >= k)
    rows = data.draw(st.lists(st.sampled_from(large.tolist()), unique=True)) if large.size else []
    children = tiles.refine(rows, k)
    assert len(children) == len(rows) * k * k
    assert children.parent.tolist() == np.repeat(rows, k * k).tolist()
    assert (children.level == 1).all()
    for place, row in enumerate(rows):
        mine = children.take(children.parent == row)
        y, x, h, w = tiles.window(row)
        canvas = painted(mine, (y + h, x + w))
        assert (canvas[y : y + h, x : x + w] == 1).all()
        assert canvas.sum() == h * w
        assert np.ptp(mine.h) <= 1
        assert np.ptp(mine.w) <= 1
        i, j = np.divmod(np.arange(k * k), k)
        assert (mine.row == tiles.row[row] * k + i).all()
        assert (mine.col == tiles.col[row] * k + j).all()
        assert (children.parent[place * k * k : (place + 1) * k * k] == row).all()


@given(st.lists(st.tuples(grids(), st.sampled_from(["a", "b", "é/c"])), max_size=3))
def test_arrow_gives_the_table_back(parts):
    tiles = Tiles.concat([grid.tiles(scene) for grid, scene in parts])
    back = Tiles.from_arrow(tiles.to_arrow())
    for name in ("tile_id", "scene", "level", "row", "col", "parent", "valid_share", "pixels"):
        column, other = getattr(tiles, name), getattr(back, name)
        assert column.tolist() == other.tolist()
        assert column.dtype.kind == other.dtype.kind
