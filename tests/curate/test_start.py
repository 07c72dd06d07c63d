"""Rankings that begin from tiles that were picked before."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dense import dense

from foveate.curate import METHODS, CurateJob, rank
from foveate.curate.start import read_start
from foveate.errors import BudgetError, DataError
from foveate.pool import Pool
from foveate.pool.rules import Rules
from foveate.run import Run

OPEN = [name for name in METHODS if not METHODS.get(name).requires]

OPTIONS = {"fd": {"clusters": 3}, "lc-fd": {"fd": {"clusters": 3}, "m": 4}}
N = 20


def pool_of(seed=0):
    rng = np.random.default_rng(seed)
    order = rng.permutation(N)
    return Pool.from_arrays(
        ids=[f"t{i:02d}" for i in order], counts=rng.integers(0, 99, (N, 3)),
        attributes={"v": rng.random(N)},
    ), rng.random((N, 4))  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("share", [0, 3, N - 1])
def test_what_was_picked_is_never_returned_and_costs_nothing(name, share):
    pool, x = pool_of()
    start = pool.ids[:share]
    found = rank(pool, name, embeddings=x, picked=start, **dense(N), **OPTIONS.get(name, {}))
    assert sorted(found.rows.tolist()) == list(range(share, N))
    assert found.full
    assert len(found.at("100%")) == N - share
    if share == 3:
        assert len(found.at("50%")) == 8
        assert found.at("50%").spent["tiles"] == 8


@pytest.mark.parametrize("name", ["lc", "fa", "random", "column"])
def test_scores_just_leave_them_out(name):
    pool, x = pool_of()
    whole = rank(pool, name, embeddings=x)
    rest = rank(pool, name, embeddings=x, picked=pool.ids[:5])
    assert rest.rows.tolist() == [row for row in whole.rows if row >= 5]


@pytest.mark.parametrize("name", ["kcenter", "cb"])
def test_greedy_methods_go_on_where_they_were(name):
    pool, x = pool_of()
    whole = rank(pool, name, embeddings=x)
    rest = rank(pool, name, embeddings=x, picked=pool.ids[whole.rows[:6]])
    assert rest.rows.tolist() == whole.rows[6:].tolist()
    short = rank(pool, name, embeddings=x, picked=pool.ids[whole.rows[:6]], depth=4)
    assert short.rows.tolist() == whole.rows[6:10].tolist()
    with pytest.raises(BudgetError, match="needs more than the 4 rows"):
        short.at(9)


@pytest.mark.parametrize("name", OPEN)
def test_rules_hold_from_them_on(name):
    pool, x = pool_of()
    group = np.arange(N) // 2
    known = Pool.from_arrays(ids=pool.ids, counts=pool.counts,
                             attributes={"v": pool.attributes["v"], "g": group})  # fmt: skip
    options = {"name": "v"} if name == "column" else OPTIONS.get(name, {})
    options = {**dense(N), **options}
    found = rank(known, name, embeddings=x, picked=pool.ids[[0, 1, 2]], rules=Rules(groups="g"),
                 **options)  # fmt: skip
    first = group[found.rows[: found.first_put_back]]
    assert sorted(first.tolist()) == list(range(2, N // 2))
    assert found.meta["put_back"] == N - 3 - first.size
    quota = rank(known, name, embeddings=x, picked=pool.ids[[0, 1]], rules=Rules(quota={"g": 1}),
                 **options)  # fmt: skip
    assert sorted(group[quota.rows[: quota.first_put_back]].tolist()) == list(range(1, N // 2))


def test_ids_that_the_pool_lacks_are_named():
    pool, _ = pool_of()
    with pytest.raises(DataError, match=r"2 of 3 ids.*'x', 'y'.*form 't"):
        rank(pool, "random", picked=["y", "t01", "x"])


def test_lists_of_every_kind(tmp_path):
    (tmp_path / "a.txt").write_text("# mine\n#\nt01\n\n t02 \n")
    (tmp_path / "a.csv").write_text("tile_id,who\n001,me\nt02,me\n")
    pq.write_table(pa.table({"id": [7, 8]}), tmp_path / "a.parquet")
    assert read_start([tmp_path / "a.txt"]).tolist() == ["t01", "t02"]
    assert read_start([tmp_path / "a.csv"]).tolist() == ["001", "t02"]
    assert read_start([tmp_path / "a.parquet"]).tolist() == ["7", "8"]
    assert read_start([tmp_path / "a.txt", tmp_path / "a.csv"]).tolist() == ["001", "t01", "t02"]
    (tmp_path / "names.txt").write_text("#5/a\nl\u2028s/b\n")  # names of files
    assert read_start([tmp_path / "names.txt"]).tolist() == ["#5/a", "l\u2028s/b"]
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "semi.csv").write_text("tile_id;who\n001;me\n")
    with pytest.raises(DataError, match="separated by semicolons"):
        read_start([tmp_path / "semi.csv"])
    pq.write_table(pa.table({"x": [7]}), tmp_path / "x.parquet")
    for name, said in (("none.txt", "is empty"), ("x.parquet", "no column of ids"),
                       ("gone.txt", "cannot read"), (".", "holds no run")):  # fmt: skip
        with pytest.raises(DataError, match=said):
            read_start([tmp_path / name])


def test_rounds_of_runs(tmp_path):
    rng = np.random.default_rng(0)
    pq.write_table(pa.table({"id": [f"{i:03d}" for i in range(30)],
                             "e": list(rng.random((30, 5)))}), tmp_path / "e.parquet")  # fmt: skip

    def go(name, *start, budget="4", methods=("kcenter",)):
        job = CurateJob(images=[str(tmp_path / "e.parquet")], methods=list(methods), budget=budget,
                        start=[str(tmp_path / one) for one in start])  # fmt: skip
        assert job.run(tmp_path / name).worked
        assert not job.run(tmp_path / name).worked
        found = pq.read_table(tmp_path / f"{name}/selection/{methods[0]}.parquet")
        return found["tile_id"].to_pylist()

    rounds = [go("one"), go("two", "one"), go("three", "two")]
    assert [one for each in rounds for one in each] == go("whole", budget="12")
    assert Run.load(tmp_path / "three").record["summary"]["start"] == 8
    assert len(go("rest", "three", budget="100%")) == 18
    go("both", methods=("random", "fa"))
    with pytest.raises(DataError, match=r"selections of 2 methods.*--start .*fa.parquet"):
        go("four", "both")
    with pytest.raises(DataError, match="all 30 tiles of the pool are already selected"):
        go("five", "three", "rest/selection/kcenter.parquet")


def test_another_list_of_one_length_is_noticed(tmp_path):
    rng = np.random.default_rng(0)
    pq.write_table(pa.table({"id": [f"{i:03d}" for i in range(9)],
                             "e": list(rng.random((9, 5)))}), tmp_path / "e.parquet")  # fmt: skip
    for name in ("000", "001"):
        (tmp_path / "a.txt").write_text(name)
        CurateJob(images=[str(tmp_path / "e.parquet")], methods=["fa"], budget="100%",
                  start=[str(tmp_path / "a.txt")]).run(tmp_path / "run")  # fmt: skip
        found = pq.read_table(tmp_path / "run/selection/fa.parquet")["tile_id"].to_pylist()
        assert sorted({*found, name}) == [f"{i:03d}" for i in range(9)]
