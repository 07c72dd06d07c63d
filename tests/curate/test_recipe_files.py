"""Recipes in files, and runs that rank by them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from foveate.curate import CurateJob, Recipe, Rules, Strategy, Within, read_recipe
from foveate.curate.recipes import RECIPES, find_recipe
from foveate.curate.steps import check_columns
from foveate.errors import DataError, FoveateError, ParameterError, UnknownNameError
from foveate.pool import Pool
from foveate.raster import write_cog
from foveate.run import Run

FULL = """
name = "balanced-cover"
combine = "sum"
scale = "first"

[[strategy]]
kind = "coverage"
options = { reference = 64 }

[[strategy]]
method = "fa"
values = "score"
weight = 0.5

[[strategy]]
column = "loss"
order = "low"
weight = -0.3

[wrapper]
kind = "within"
recipe = "other.toml"
keep = "50%"

[rules]
quota = { scene = "60%" }
min_distance = 20
"""
OTHER = 'name = "other"\n[[strategy]]\nkind = "diversity"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "full.toml").write_text(FULL)
    (tmp_path / "other.toml").write_text(OTHER)
    return tmp_path


def test_a_file_is_the_recipe_in_python(folder):
    expected = Recipe(
        "balanced-cover",
        (
            Strategy(kind="coverage", options={"reference": 64}),
            Strategy(method="fa", values="score", weight=0.5),
            Strategy(column="loss", order="low", weight=-0.3),
        ),
        scale="first",
        wrapper=Within(Recipe("other", (Strategy(kind="diversity"),)), "50%"),
        rules=Rules(quota={"scene": "60%"}, min_distance=20),
    )  # fmt: skip
    assert read_recipe(folder / "full.toml") == expected
    content = {**expected.to_dict(), "wrapper": {"kind": "within", "recipe": "other.toml"}}
    (folder / "full.json").write_text(json.dumps(content))
    assert read_recipe(folder / "full.json") == expected
    (folder / "short.yaml").write_text(
        "name: short\nstrategy:\n  - {kind: balance, weight: 2}\nwrapper: {kind: after, recipe: cb}"
    )
    assert read_recipe(folder / "short.yaml").needs == ("counts",)


def test_a_recipe_is_found_by_name_or_file(folder):
    assert find_recipe("cover-balance") == RECIPES.get("cover-balance")
    assert find_recipe(folder / "other.toml").name == "other"
    with pytest.raises(UnknownNameError, match=r"'cover-balanc'.*Did you mean 'cover-balance'"):
        find_recipe("cover-balanc")
    with pytest.raises(UnknownNameError, match=r"'zzzz'.*or a file.*zzzz\.toml"):
        find_recipe("zzzz")
    with pytest.raises(DataError, match="nothere"):
        find_recipe(folder / "nothere.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('nmae = "a"', r"bad\.toml': unknown key 'nmae'\. Allowed: name.*Did you mean 'name'"),
        ('[[strategy]]\nkind = "balance"', "a recipe without a name"),
        ('name = "a"\nstrategy = "coverage"', r"strategy: str\..*\[\[strategy\]\]"),
        ('name = "a"', "'a' without a strategy"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\n[[strategy]]\nkind = "balance"\nwieght = 2',
         "strategy 2: unknown key 'wieght'.*Did you mean 'weight'"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\nmethod = "fa"',
         "strategy 1: a strategy with kind='balance' and method='fa'"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\nweight = "two"', "strategy 1: weight='two'"),
        ('name = "a"\n[[strategy]]\nmethod = "ffa"', "strategy 1: unknown method 'ffa'.*Known: lc"),
        ('name = "a"\n[[strategy]]\nkind = "cover"', "strategy 1: unknown kind of str.* 'cover'"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\nweight = 0', "all weights 0"),
        ('name = "a"\ncombine = "product"\n[[strategy]]\nkind = "balance"\nweight = -1',
         "combine='product' with the weight -1"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\n[wrapper]\nkind = "strata"',
         "wrapper: kind='strata'.*Did you mean 'stratified'"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\n[wrapper]\nkind = "stratified"\nkeep = 3',
         "wrapper: unknown key 'keep'.*strata, drop, within"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\n[wrapper]\nkind = "within"',
         "wrapper: 'within' without a recipe"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\n[wrapper]\nkind = "within"\nrecipe = "xyz"',
         "wrapper: unknown recipe 'xyz'"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\n[rules]\nquotas = 3',
         "rules: unknown key 'quotas'.*Did you mean 'quota'"),
        ('name = "a"\n[[strategy]]\nkind = "balance"\n[rules]\nquota = { city = "0.5" }',
         r"rules: quota city=0\.5"),
        ('name = "a"\n[[strategy]\nkind = 1', "not valid TOML.*line 2"),
        ("[1, 2]", "not valid TOML"),
    ],
)  # fmt: skip
def test_errors_say_where(tmp_path, text, message):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_recipe(tmp_path / "bad.toml")
    assert "bad.toml" in str(caught.value)


def test_a_recipe_that_wraps_itself_is_refused(tmp_path):
    for name, other in (("a", "b"), ("b", "c"), ("c", "./a")):
        wrapper = f'[wrapper]\nkind = "after"\nrecipe = "{other}.toml"\n'
        (tmp_path / f"{name}.toml").write_text(OTHER.replace("other", name) + wrapper)
    with pytest.raises(DataError, match=r"wraps itself.*a\.toml -> b\.toml -> c\.toml -> a\.toml"):
        read_recipe(tmp_path / "a.toml")
    (tmp_path / "d.toml").write_text(OTHER + '[wrapper]\nkind = "after"\nrecipe = "e.toml"\n')
    (tmp_path / "e.toml").write_text('name = "e"\n[[strategy]]\nkind = "none"\n')
    with pytest.raises(DataError, match=r"e\.toml': strategy 1: unknown kind"):
        read_recipe(tmp_path / "d.toml")


def test_columns_are_missed_before_anything_is_embedded():
    method = Recipe("a", (Strategy(column="v"),)).method
    check_columns(Pool.from_arrays(n=2, attributes={"v": [1, 2]}), [method])
    with pytest.raises(ParameterError, match="Columns of the pool: w"):
        check_columns(Pool.from_arrays(n=2, attributes={"w": [1, 2]}), [method])


# --- runs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two scenes of 64 x 96 pixels, 24 tiles of 16 each, with masks and a table of losses."""
    root = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    for i, name in enumerate(("a", "b")):
        box = GeoBox((64, 96), Affine(10, 0, 4.6e5 + 960 * i, 0, -10, 5.2e6), "EPSG:32633")
        image = draw.integers(0, 255, (3, 64, 96), np.uint8)
        write_cog(root / f"images/{name}.tif", image, geobox=box)
        blocks = draw.integers(0, 4, (16, 24)).repeat(4, axis=0).repeat(4, axis=1)
        write_cog(root / f"masks/{name}.tif", blocks.astype(np.uint8))
    (root / "loss.csv").write_text("scene,loss\na,0.1\nb,0.9\n")
    return root


def job(data, *recipes, **given):
    options = {"images": [str(data / "images")], "masks": [str(data / "masks")], "tile": 16}
    return CurateJob(**{**options, "recipes": [str(one) for one in recipes], **given})


def test_a_run_has_a_selection_of_the_name_of_each_recipe(data, folder):
    file = folder / "full.toml"
    given = {"attributes": [str(data / "loss.csv")], "budget": "12"}
    run = job(data, file, "cover-balance", methods=["random"], **given).run(folder / "run")
    names = ["random", "balanced-cover", "cover-balance"]
    assert list(run.record["summary"]["methods"]) == names
    assert run.record["summary"]["default_method"] is None
    table = pq.read_table(folder / "run/selection/balanced-cover.parquet")
    assert table.num_rows == 12
    counted = np.unique([i.split("/")[0] for i in table["tile_id"].to_pylist()], return_counts=True)
    assert counted[1].max() <= 8  # 60 % of 12, rounded up
    assert run.record["summary"]["methods"]["balanced-cover"]["repeats"] == 0
    titles = pq.read_table(folder / "run/tables/methods.parquet")
    assert titles["source"].to_pylist()[1] == "1 coverage, 0.5 fa, -0.3 loss"

    again = job(data, file, "cover-balance", methods=["random"], **given).run(folder / "run")
    assert not again.worked
    file.write_text(FULL.replace("weight = 0.5", "weight = 5"))
    other = job(data, file, "cover-balance", methods=["random"], **given).run(folder / "run")
    assert other.worked
    changed = Run.load(folder / "run").record["steps"]
    assert changed["rank random"]["key"] == again.record["steps"]["rank random"]["key"]
    assert changed["rank balanced-cover"] != again.record["steps"]["rank balanced-cover"]
    assert changed["tables"]["key"] != again.record["steps"]["tables"]["key"]


def test_a_recipe_of_labels_embeds_nothing(data, folder):
    (folder / "labels.toml").write_text('name = "labels"\n[[strategy]]\nkind = "balance"\n')
    run = job(data, folder / "labels.toml", budget="5").run(folder / "run")
    assert run.record["summary"]["model"] is None
    assert list(run.record["summary"]["methods"]) == ["labels"]
    both = job(data, folder / "labels.toml", methods=["cb"], budget="5").run(folder / "run")
    picks = [pq.read_table(both.path / f"selection/{n}.parquet")["tile_id"].to_pylist()
             for n in ("labels", "cb")]  # fmt: skip
    assert picks[0] == picks[1]


def test_the_name_of_a_recipe_takes_no_column_of_a_table(data, folder):
    (folder / "pool.toml").write_text('name = "pool"\n[[strategy]]\nkind = "balance"\n')
    run = job(data, folder / "pool.toml", budget="5").run(folder / "run")
    table = pq.read_table(run.path / "tables/classes.parquet")
    assert table.column_names == ["class", "color", "pool", "picked:pool"]
    assert sum(table["pool"].to_pylist()) == 2 * 64 * 96
    assert sum(table["picked:pool"].to_pylist()) == 5 * 16 * 16


def test_large_pools_are_ranked_as_deep_as_the_budget_pays(data, folder, monkeypatch):
    from foveate.curate.recipes import method

    monkeypatch.setattr(method, "FULL_DEPTH", 20)
    run = job(data, folder / "other.toml", budget="5").run(folder / "run")
    assert pq.read_table(run.path / "rankings/other.parquet").num_rows == 5


@pytest.mark.parametrize(
    ("text", "given", "error"),
    [
        (OTHER.replace("other", "cb"), {}, r"the name 'cb'\. The name is used by a method"),
        (OTHER.replace("other", "cover-diverse"), {}, "'cover-diverse'.*another recipe"),
        ('name = "a"\n[[strategy]]\nkind = "balance"', {"masks": []}, "method a needs masks"),
        ('name = "a"\n[[strategy]]\ncolumn = "x"', {}, "the method a needs attributes"),
        ('name = "a"\n[[strategy]]\ncolumn = "x"', {"attributes": ["loss.csv"]},
         r"no column 'x'\. Columns of the pool: loss"),
        (OTHER + '[rules]\nquota = { scene = "10%" }', {}, "quota scene=10%.*only 2 of 4 tiles"),
        (OTHER, {"options": {"othr": {"depth": 3}}}, "options for 'othr'"),
    ],
)  # fmt: skip
def test_what_a_run_cannot_do_is_said_before_it_begins(data, tmp_path, text, given, error):
    (tmp_path / "r.toml").write_text(text)
    if "attributes" in given:
        given = {"attributes": [str(data / "loss.csv")]}
    with pytest.raises(FoveateError, match=error):
        job(data, tmp_path / "r.toml", budget="4", **given).run(tmp_path / "run")
    assert not list(tmp_path.glob("run/rankings/*"))


def test_the_recipe_of_the_guide_runs(data, tmp_path):
    guide = (Path(__file__).parents[2] / "docs/guide.md").read_text("utf-8")
    (tmp_path / "guide.toml").write_text(
        re.findall(r"```toml\n(name = .*?)```", guide, re.DOTALL)[0]
    )
    run = job(data, tmp_path / "guide.toml", budget="8", attributes=[str(data / "loss.csv")])
    found = run.run(tmp_path / "run").record["summary"]["methods"]["balanced-cover"]
    assert found["selected"] == 8
    assert found["repeats"] == 0
