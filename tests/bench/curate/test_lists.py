"""Rankings that were made elsewhere, and recipes, as rows of a benchmark."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled import write_labelled

from foveate.bench.curate.design import folds_of, joined_pools
from foveate.bench.curate.job import CurateBenchJob
from foveate.bench.curate.lists import FOLDS, read_lists
from foveate.curate import rank
from foveate.curate.ranked_inputs import order_in
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.pool import open_pool
from foveate.report import write_report


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("lists")
    for i in range(3):
        write_labelled(root / f"f{i}", n=2, side=48, classes=3, seed=i)
    return root


@pytest.fixture(scope="module")
def design(images):
    return folds_of(open_pool(images / "f0/images", masks=images / "f0/masks", tile=16), "scene")


def _given(images, **more):
    root = images / "f0"
    return {
        "pool": f"{root}/images:{root}/masks", "folds": "scene", "tile": 16, "budgets": "50%",
        "methods": "lc", "samplers": "none", "seeds": 2, **more,
    }  # fmt: skip


def _write(path, ids):
    path.write_text("\n".join(map(str, ids)) + "\n")
    return str(path)


def _cells(run):
    found = {}
    for cell in run.record["summary"]["core_sets"]["cells"]:
        found.setdefault((cell["method"], cell["budget"]), []).append(cell["miou"])
    return found


def _written(design, folder, method="lc"):
    """Write the rankings of a method as lists of each fold."""
    for number, fold in enumerate(design.folds):
        pool = design.pool.take(fold.train)
        for seed in (0, 1):
            rows = rank(pool, method, seed=seed).rows
            _write(folder / f"{number}-{seed}.txt", pool.ids[rows])
    return f"{folder}/{{fold}}-{{seed}}.txt"


def test_a_list_of_a_method_has_the_figures_of_the_method(images, design, tmp_path):
    path = _written(design, tmp_path)
    run = CurateBenchJob(**_given(images, lists={"same": path})).run(tmp_path / "out")
    cells = _cells(run)
    assert cells["same", 50.0] == cells["lc", 50.0]
    assert "same" in write_report(tmp_path / "out").read_text()
    assert "select_s" not in next(
        c for c in run.record["summary"]["core_sets"]["cells"] if c["method"] == "same"
    )  # nobody knows how long it took


def test_a_run_writes_which_tiles_a_list_may_name(images, design, tmp_path):
    CurateBenchJob(**_given(images)).run(tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / FOLDS).to_pandas()
    for number, fold in enumerate(design.folds):
        own = table[table.fold == number]
        assert set(own[own.part == "train"].tile_id) == set(design.pool.ids[fold.train])
        assert set(own[own.part == "test"].tile_id) == set(design.pool.ids[fold.test])


def test_another_list_is_measured_anew_and_the_rest_is_not(images, design, tmp_path):
    path, out = _written(design, tmp_path), tmp_path / "out"
    CurateBenchJob(**_given(images, lists={"mine": path})).run(out)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("cells/*.json")}
    for file in tmp_path.glob("*.txt"):
        _write(file, reversed(file.read_text().split()))
    CurateBenchJob(**_given(images, lists={"mine": path})).run(out)
    new = set(out.rglob("cells/*.json")) - set(before)
    assert len(new) == 2
    assert all("mine" in file.name for file in new)
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())


def test_a_list_of_the_whole_pool_is_cut_to_each_fold(design, tmp_path):
    ids = np.random.default_rng(0).permutation(design.pool.ids)
    found = read_lists({"x": _write(tmp_path / "x.txt", ids)}, design, [0, 1])["x"]
    for number, fold in enumerate(design.folds):
        ranking = found.rankings[number, 1]
        assert ranking.full
        chosen = design.pool.ids[fold.train][ranking.rows]
        assert chosen.tolist() == [one for one in ids if one in set(chosen)]


def test_each_seed_may_have_its_own(design, tmp_path):
    for seed in (3, 4):
        order = np.random.default_rng(seed).permutation(design.pool.ids)
        _write(tmp_path / f"{seed}.txt", order)
    found = read_lists({"x": f"{tmp_path}/{{seed}}.txt"}, design, [3, 4])["x"]
    assert found.rankings[0, 3].rows.tolist() != found.rankings[0, 4].rows.tolist()


def test_all_forms_say_the_same(design, tmp_path):
    pool = design.pool
    order = np.random.default_rng(1).permutation(len(pool))
    tiles = pool.tiles
    rows = [f"x {tiles.scene[i]} {tiles.y[i]} {tiles.x[i]} {1 - k / 99}"
            for k, i in enumerate(order)]  # fmt: skip
    table = pa.table({"score": np.arange(order.size), "tile_id": pool.ids[order]})
    pq.write_table(table, tmp_path / "table.parquet")
    forms = [
        _write(tmp_path / "ids.txt", pool.ids[order]), _write(tmp_path / "corners.txt", rows),
        tmp_path / "table.parquet",
    ]  # fmt: skip
    for path in forms:
        assert order_in(path, pool).tolist() == order.tolist()


def test_tiles_are_called_as_in_a_job_on_the_images_to_choose_from(images, tmp_path):
    pools = [open_pool(images / f / "images", masks=images / f / "masks", tile=16)
             for f in ("f0", "f1")]  # fmt: skip
    joined = joined_pools(*pools)
    for name, ids in (("ids", pools[0].ids), ("joined", joined.pool.ids[: len(pools[0])])):
        found = read_lists({"x": _write(tmp_path / name, ids)}, joined, [0])["x"].rankings[0, 0]
        assert found.rows.tolist() == list(range(len(pools[0])))
    tiles = pools[0].tiles
    corners = [f"x {s} {y} {x} {i}" for i, (s, y, x) in
               enumerate(zip(tiles.scene, tiles.y, tiles.x, strict=True))]  # fmt: skip
    found = read_lists({"x": _write(tmp_path / "corners", corners)}, joined, [0])["x"]
    assert found.rankings[0, 0].rows.tolist() == list(range(len(pools[0])))[::-1]


def test_a_list_that_ends_early_is_left_out_of_larger_budgets(images, design, tmp_path):
    for number, fold in enumerate(design.folds):
        _write(tmp_path / f"{number}.txt", design.pool.ids[fold.train][:4])  # of 9
    given = _given(images, lists={"short": f"{tmp_path}/{{fold}}.txt"}, budgets="40%,60%")
    run = CurateBenchJob(**given).run(tmp_path / "out")
    assert ("short", 40.0) not in _cells(run) or ("short", 60.0) not in _cells(run)
    assert "ranks 4 of the 9 tiles" in run.record["summary"]["core_sets"]["left_out"]["short"]


def test_invalid_lists_are_rejected(images, design, tmp_path):
    ids = design.pool.ids
    for text, said in (
        ([ids[0], ids[0]], "2 times"), (["nowhere"], "contains none"), ([], "is empty"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=said):
            read_lists({"x": _write(tmp_path / "x.txt", text)}, design, [0])
    for number in range(len(design.folds)):
        _write(tmp_path / f"{number}.txt", ids)
    with pytest.raises(DataError, match="test tiles of that fold"):
        read_lists({"x": f"{tmp_path}/{{fold}}.txt"}, design, [0])
    with pytest.raises(DataError, match="no-such-file"):
        CurateBenchJob(**_given(images, lists="x=no-such-file.txt")).check()
    with pytest.raises(ParameterError, match="used by another row"):
        CurateBenchJob(**_given(images, lists=f"lc={tmp_path}/0.txt")).check()
    with pytest.raises(ParameterError, match="NAME=FILE"):
        CurateBenchJob(**_given(images, lists="0.txt"))


RECIPE = """
name = "rare"
[[strategy]]
method = "lc"
weight = 2
[[strategy]]
method = "cb"
"""


def test_recipes_are_rows(images, tmp_path):
    (tmp_path / "rare.toml").write_text(RECIPE)
    recipes = [str(tmp_path / "rare.toml"), "cover-balance"]
    given = _given(images, recipes=recipes, budgets="30%")
    run = CurateBenchJob(**given).run(tmp_path / "out")
    assert {("rare", 30.0), ("cover-balance", 30.0), ("lc", 30.0)} <= set(_cells(run))
    (tmp_path / "rare.toml").write_text(RECIPE.replace("2", "-2"))
    again = CurateBenchJob(**given).run(tmp_path / "out")
    assert _cells(again)["rare", 30.0] != _cells(run)["rare", 30.0]
    assert _cells(again)["lc", 30.0] == _cells(run)["lc", 30.0]


def test_what_a_recipe_may_not_be(images, tmp_path):
    column = '[[strategy]]\ncolumn = "slope"\n'
    for content, error, said in (
        ('name = "x"\nstrategies = 3\n', DataError, "strategies"),
        ('name = "lc"\n[[strategy]]\nmethod = "cb"\n', ParameterError, "used by a method"),
        (f'name = "steep"\n{column}', ParameterError, "--recipe steep in a benchmark"),
    ):
        (tmp_path / "x.toml").write_text(content)
        with pytest.raises(error, match=said):
            CurateBenchJob(**_given(images, recipes=[str(tmp_path / "x.toml")])).check()
    with pytest.raises(UnknownNameError, match="no-such"):
        CurateBenchJob(**_given(images, recipes=["no-such"])).check()
