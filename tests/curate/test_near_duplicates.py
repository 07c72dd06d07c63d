"""Near-duplicates go last in every ranking, as loops over pixels find them."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from dense import dense
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from foveate.cli.show import finished
from foveate.curate import METHODS, Method, Ranker, rank
from foveate.curate.steps import warn
from foveate.grid import Grid, Tiles
from foveate.pool import Pool
from foveate.pool.attributes import Attributes
from foveate.pool.pool import Scene
from foveate.raster import ArraySource
from foveate.selection import Ranking

OPEN = [name for name in METHODS if not METHODS.get(name).requires]

SIDE = 40
OPTIONS = {"fd": {"clusters": 3}, "lc-fd": {"fd": {"clusters": 3}, "m": 4}}


@functools.cache
def pool_of(stride=8, dates=1, seed=0):
    """Tiles of 16 px every `stride` px, with as many dates of the same ground."""
    rng = np.random.default_rng(seed)
    box = GeoBox((SIDE, SIDE), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")
    scenes, tables = [], []
    for i in range(dates):
        scenes.append(Scene(f"d{i}", ArraySource(np.zeros((1, SIDE, SIDE), np.uint8), geobox=box)))
        tables.append(Grid((SIDE, SIDE), 16, stride).tiles(f"d{i}"))
    tiles = Tiles.concat(tables)
    counts = rng.choice([0, 0, 10, 64, 256], (len(tiles), 4))
    counts[rng.random(len(tiles)) < 0.2] = 0
    known = Attributes.of({"value": rng.random(len(tiles))})
    return Pool(
        ids=tiles.tile_id, scenes=tuple(scenes), tiles=tiles, counts=counts, attributes=known
    )


def features(pool, seed=0):
    return np.random.default_rng(seed).random((len(pool), 5)).astype(np.float32)


def shares(pool):
    """(n, n) share of each column's tile that is in the row's, whatever the date."""
    tiles = pool.tiles
    masks = np.zeros((len(pool), SIDE, SIDE), int)
    for i in range(len(pool)):
        y, x, h, w = tiles.window(i)
        masks[i, y : y + h, x : x + w] = 1
    common = np.einsum("ayx,byx->ab", masks, masks)
    return common / common.diagonal()


def check(pool, ranking, share=0.5):
    """Nothing before the tail repeats an earlier pick; everything in the tail does."""
    over = shares(pool) > share
    np.fill_diagonal(over, val=False)
    first = len(pool) - ranking.meta["put_back"]
    picks, tail = ranking.rows[:first], ranking.rows[first:]
    assert not np.triu(over[np.ix_(picks, picks)]).any()
    assert over[np.ix_(picks, tail)].any(axis=0).all()
    assert sorted(ranking.rows.tolist()) == list(range(len(pool)))


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize(("stride", "dates"), [(4, 1), (6, 2), (16, 3)])
def test_every_method_puts_back_what_repeats_an_earlier_pick(name, stride, dates):
    pool = pool_of(stride, dates)
    found = rank(pool, name, embeddings=features(pool), **dense(len(pool)), **OPTIONS.get(name, {}))
    check(pool, found)
    assert found.meta["put_back"] > 0
    assert found.meta["max_overlap"] == 0.5
    assert len(found.at("100%")) == len(pool)


@pytest.mark.parametrize("name", ["fa-cb", "fd", "cb", "kcenter", "random"])
@given(seed=st.integers(0, 999))
@settings(max_examples=6)
def test_rows_in_another_order_give_the_same_ranking(name, seed):
    pool, options = pool_of(6, 2), OPTIONS.get(name, {})
    x, order = features(pool, seed), np.random.default_rng(seed).permutation(len(pool))
    a = rank(pool, name, embeddings=x, seed=seed, **options)
    b = rank(pool.take(order), name, embeddings=x[order], seed=seed, **options)
    assert pool.ids[a.rows].tolist() == pool.take(order).ids[b.rows].tolist()
    assert a.meta["put_back"] == b.meta["put_back"]


@pytest.mark.parametrize("name", ["cb", "kcenter"])
def test_a_depth_is_the_front_of_the_whole(name):
    pool = pool_of(4)
    x = features(pool)
    whole = rank(pool, name, embeddings=x)
    over = shares(pool) > 0.5
    for depth in (1, 5, len(pool) - whole.meta["put_back"], len(pool) - 3):
        short = rank(pool, name, embeddings=x, depth=depth)
        assert short.rows.tolist() == whole.rows[:depth].tolist()
        kept = short.rows[: short.first_put_back]
        assert short.meta["put_back"] == over[kept].any(axis=0).sum() - kept.size


@pytest.mark.parametrize("name", ["lc", "fa", "random", "fa-cb"])
def test_an_order_that_asks_for_no_other_tile_is_filtered(name):
    pool = pool_of(6, 2)
    x = features(pool)
    free = rank(pool, name, embeddings=x, max_overlap=1)
    over, kept = shares(pool) > 0.5, []
    for row in free.rows.tolist():
        if not over[kept, row].any():
            kept.append(row)
    rest = [row for row in free.rows.tolist() if row not in kept]
    found = rank(pool, name, embeddings=x)
    assert found.rows.tolist() == kept + rest
    if name != "random":  # its score is the place
        score = dict(zip(free.rows.tolist(), free.score.tolist(), strict=True))
        np.testing.assert_array_equal(found.score, [score[r] for r in found.rows.tolist()])


def test_turns_of_clusters_stay_even():
    pool = pool_of(4)
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, len(pool))] * 9
    found = rank(pool, "fd", embeddings=x, clusters=4)
    free = rank(pool, "fd", embeddings=x, clusters=4, max_overlap=1)
    clusters = x.argmax(axis=1)
    assert clusters[found.rows[:4]].tolist() == clusters[free.rows[:4]].tolist()
    assert len(set(clusters[found.rows[:4]])) == 4


def test_a_hybrid_keeps_the_rule_for_its_own_picks():
    pool = pool_of(4)
    ranker = Ranker(pool, features(pool))
    free = Ranker(pool, features(pool), max_overlap=1)
    # Places and scores of FA/CB come from parts that put nothing back.
    found, loose = ranker.rank("fa-cb"), free.rank("fa-cb")
    assert set(zip(found.rows, found.score, strict=True)) == set(
        zip(loose.rows, loose.score, strict=True)
    )
    # LC/FD begins with FD as it is alone.
    options = OPTIONS["lc-fd"]
    hybrid, alone = ranker.rank("lc-fd", **options), ranker.rank("fd", **options["fd"])
    assert hybrid.rows[: options["m"]].tolist() == alone.rows[: options["m"]].tolist()
    np.testing.assert_allclose(hybrid.score, np.linspace(1, 0, len(pool)))


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("name", OPEN)
def test_presets_of_the_paper_put_nothing_back(preset, name):
    pool = pool_of(4)
    options = {**dense(len(pool)), **OPTIONS.get(name, {})}
    x = features(pool)
    found = rank(pool, name, embeddings=x, preset=preset, **options)
    assert (found.meta["put_back"], found.meta["max_overlap"]) == (0, 1)
    own = rank(pool, name, embeddings=x, preset=preset, max_overlap=0.5, **options)
    check(pool, own)
    assert own.meta["put_back"] > 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_the_share_is_an_option(share):
    pool = pool_of(4)
    check(pool, rank(pool, "cb", max_overlap=share), share)


@pytest.mark.parametrize("greedy", [False, True])
def test_methods_that_know_of_no_constraint_are_filtered(greedy):
    def by_row(*, ids, seed, progress=None):
        return Ranking(np.arange(len(ids)), -np.arange(len(ids)).astype(float), len(ids))

    def to_depth(*, ids, seed, progress=None, depth: int | None = None):
        ranking, k = by_row(ids=ids, seed=seed), depth or len(ids)
        return replace(ranking, rows=ranking.rows[:k], score=ranking.score[:k])

    pool = pool_of(4)
    method = Method("mine", "Mine", "", to_depth if greedy else by_row, greedy=greedy)
    found = rank(pool, method)
    check(pool, found)
    if greedy:
        assert rank(pool, method, depth=7).rows.tolist() == found.rows[:7].tolist()


def test_tiles_without_a_score_come_last_among_those_that_are_kept_and_among_the_others():
    pool = pool_of(6, 2)
    unlabelled = np.random.default_rng(1).random(len(pool)) < 0.7
    pool = replace(pool, counts=np.where(unlabelled[:, None], 0, pool.counts + 1))
    found = rank(pool, "lc")
    unscored = np.isnan(found.score)
    for part in (unscored[: found.first_put_back], unscored[found.first_put_back :]):
        assert part.any()
        assert (np.diff(part.astype(int)) >= 0).all()


def test_pools_of_arrays_put_nothing_back():
    found = rank(Pool.from_arrays(counts=[[1, 2], [3, 4]]), "cb")
    assert found.meta["put_back"] == 0


# --- jobs --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A picture of 100 px: with tiles of 32 the last ones share 28 of 32 columns or rows."""
    from PIL import Image

    root = tmp_path_factory.mktemp("scene")
    draw = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    pixels = draw.integers(0, 255, (100, 100, 3), np.uint8)
    Image.fromarray(pixels).save(root / "images/a.png")
    Image.fromarray(draw.integers(0, 3, (100, 100)).astype(np.uint8)).save(root / "masks/a.png")
    return root


def job_of(root, **options):
    from foveate.curate import CurateJob

    given_here = {"images": [str(root / "images")], "tile": 32}
    return CurateJob.with_preset(**{**given_here, **options})


def done(job, out):
    from foveate.run import Run

    return job.run(out), Run.load(out).record["summary"]


def test_a_run_says_how_many_tiles_were_put_back(scene, tmp_path, caplog):
    from foveate.report import write_report

    job = job_of(scene, masks=[str(scene / "masks")], methods=["cb", "random"], budget="9")
    _, summary = done(job, tmp_path)
    assert summary["max_overlap"] == 0.5
    for found in summary["methods"].values():
        assert found["put_back"] == found["report"]["put_back"] == 7  # of 16, a 3 x 3 grid stays
        assert found["repeats"] == 0
    assert "put back" in write_report(tmp_path).read_text().replace("_", " ")
    with caplog.at_level(logging.WARNING, "foveate"):
        _, summary = done(job_of(scene, methods=["random"], budget="11"), tmp_path / "more")
    assert summary["methods"]["random"]["repeats"] == 2
    assert "2 of the 11 picks share more than 50 %" in caplog.text


@pytest.mark.parametrize(
    ("put_back", "advice"),
    [(4, "Lower the budget to 4 tiles to avoid them."), (8, "No other tiles are left.")],
)
def test_the_advised_budget_has_no_repeats(caplog, put_back, advice):
    known = {"put_back": put_back, "constant": 1}
    ranking = Ranking(np.arange(8), np.arange(8.0), 8, meta=known)
    ranker = SimpleNamespace(constant=np.array([7]), overlap=0.5, plain=True)
    warn("fa", ranking.at("100%"), ranking, ranker)
    assert caplog.messages[-1].endswith(f"of their ground with an earlier pick. {advice}")


def test_another_share_ranks_again(scene, tmp_path):
    done(job_of(scene, methods=["random"]), tmp_path)
    again, summary = done(job_of(scene, methods=["random"], max_overlap=1), tmp_path)
    assert again.worked
    assert summary["methods"]["random"]["put_back"] == 0


def test_the_default_is_said_with_its_reason(scene, tmp_path, capsys):
    for name, masks in (("bare", []), ("masks", [str(scene / "masks")])):
        run, summary = done(job_of(scene, masks=masks), tmp_path / name)
        assert list(summary["methods"]) == [summary["default_method"]] == ["facility"]
        assert "worse in" in summary["default_reason"]
        finished(run, as_json=False)
        assert summary["default_reason"] in capsys.readouterr().out
    _, summary = done(job_of(scene, methods=["random"]), tmp_path / "stated")
    assert (summary["default_method"], summary["default_reason"]) == (None, "")


def test_the_default_of_a_preset_is_the_papers(scene):
    with_masks = job_of(scene, masks=[str(scene / "masks")], preset="paper")
    assert with_masks.chosen_methods() == ["fa-cb"]
    assert job_of(scene, preset="released").chosen_methods() == ["random"]


@pytest.mark.slow
@pytest.mark.realdata
def test_no_two_picks_of_dubai_share_over_half_their_ground(realdata, tmp_path):
    import pyarrow.parquet as pq

    classes = tmp_path / "classes.yaml"
    classes.write_text(
        "classes: {land: '#8429F6', water: '#E2A929', building: '#3C1098', vegetation: '#FEDD3A', "
        "road: '#6EC1E4', unlabeled: ['#9B9B9B', '#000000']}\nignore: [unlabeled]\n"
    )
    folders = [str(realdata / "dubai" / f"tile{i}") for i in (1, 4)]
    job = job_of(tmp_path, images=folders, masks=folders, classes=str(classes), tile=256)
    _, summary = done(job, tmp_path / "run")
    found = summary["methods"]["facility"]
    assert found["put_back"] > 0
    assert found["repeats"] == 0
    picks = pq.read_table(tmp_path / "run/selection/facility.parquet").to_pylist()
    assert len(picks) == summary["pool"]["tiles"] // 10
    for i, a in enumerate(picks):
        for b in picks[:i]:
            if a["scene"] == b["scene"]:
                high = min(a["y"] + a["h"], b["y"] + b["h"]) - max(a["y"], b["y"])
                wide = min(a["x"] + a["w"], b["x"] + b["w"]) - max(a["x"], b["x"])
                assert max(high, 0) * max(wide, 0) <= 0.5 * a["h"] * a["w"]


def test_rare_classes_keep_their_share_where_there_are_masks():
    draw = np.random.default_rng(3)
    kind = np.repeat([0, 1, 2], [150, 40, 10])
    x = np.eye(3)[kind] * 4 + draw.normal(0, [[0.2]] * 190 + [[0.02]] * 10, (200, 3))
    counts = np.eye(3, dtype=int)[kind] * 50
    found = {
        name: rank(Pool.from_arrays(n=200, counts=c), "semdedup", embeddings=x, keep=0.5)
        for name, c in (("masks", counts), ("none", None))
    }
    for name, ranking in found.items():
        kept = ranking.rows[: ranking.meta["kept"]]
        assert kept.size == 100
        least = [20, 5] if name == "masks" else [16, 4]  # a cluster is no class
        assert (np.bincount(kind[kept], minlength=3)[1:] >= least).all()
