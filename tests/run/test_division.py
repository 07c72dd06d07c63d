"""Division of rows into shards: every row once, existing shards unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError
from foveate.files import digest
from foveate.run import ShardStore
from foveate.run.division import Part, SceneRows, divide, lacking

SPEC = EncoderSpec(name="m", dim=2)
scenes = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1).map(
    lambda rows: [SceneRows(name, f"{n} rows of {name}", n) for name, n in rows.items()]
)


def rows_of(parts):
    return [(p.scene, p.key, i) for p in parts for i in range(p.start, p.stop)]


def pool_rows(pool):
    return [(s.scene, s.key, i) for s in pool for i in range(s.rows)]


@given(scenes, st.integers(1, 8))
def test_every_row_is_in_one_piece_and_all_but_the_last_are_full(pool, size):
    pieces = divide(lacking(pool, []), size)
    assert [row for piece in pieces for row in rows_of(piece)] == pool_rows(pool)
    assert all(sum(p.rows for p in piece) == size for piece in pieces[:-1])


@given(scenes, scenes, st.integers(1, 8))
def test_lacking_returns_the_rows_that_are_not_held(before, now, size):
    held = [part for piece in divide(lacking(before, []), size) for part in piece]
    left = rows_of(lacking(now, held))
    assert sorted(left) == sorted(set(pool_rows(now)) - set(rows_of(held)))


# --- stores ---------------------------------------------------------------------------------------


def ids(parts):
    return np.array([f"{scene}/{row}" for scene, _, row in rows_of(parts)], np.str_)


def vectors(parts):
    rows = [[ord(scene), hash(key) % 97 + row] for scene, key, row in rows_of(parts)]
    return np.array(rows, np.float32).reshape(-1, 2)


def fill(store):
    made = store.missing()
    for shard in store.shards:
        if shard.number in made:
            store.put(shard.number, ids(shard.parts), vectors(shard.parts))
    return made


def grown(path, pool, size=4):
    store = ShardStore.divided(path, digest(pool), SPEC, pool)
    return store if store.covers(pool) else store.revised(pool, size)


def files(store):
    return {f.name: f.read_bytes() for f in store.path.glob("part-*.parquet")}


@settings(max_examples=15)
@given(st.lists(scenes, min_size=1, max_size=3))
def test_store_contains_exactly_the_pool_after_every_revision(tmp_path_factory, pools):
    path = tmp_path_factory.mktemp("store")
    for pool in pools:
        store = grown(path, pool)
        fill(store)
        held = np.concatenate([ids(s.parts) for s in store.shards])
        every = np.array([f"{scene}/{row}" for scene, _, row in pool_rows(pool)])
        assert sorted(held) == sorted(every)
        embeddings = store.finish(every)
        assert embeddings.ids.tolist() == every.tolist()
        np.testing.assert_array_equal(
            embeddings.x, vectors([Part(s.scene, s.key, 0, s.rows) for s in pool])
        )
        assert {f"part-{s.number:05d}.parquet" for s in store.shards} == set(files(store))
        again = ShardStore.read(store.path).finish()
        np.testing.assert_array_equal(again.x, embeddings.x)
        assert fill(grown(path, pool)) == []


def test_new_scenes_do_not_change_existing_shards(tmp_path):
    old = [SceneRows(n, n, 6) for n in "ac"]
    store = grown(tmp_path, old)
    fill(store)
    before = files(store)
    more = grown(tmp_path, [*old, SceneRows("b", "b", 5)])
    made = fill(more)
    assert sum(s.rows for s in more.shards if s.number in made) == 5
    assert {n: b for n, b in files(more).items() if n in before} == before


def test_removed_scene_does_not_recompute_others(tmp_path):
    fill(grown(tmp_path, [SceneRows(n, n, 6) for n in "abc"]))
    store = grown(tmp_path, [SceneRows(n, n, 6) for n in "ac"])
    assert fill(store) == []
    assert len(files(store)) == len(store.shards)


def test_only_a_changed_scene_is_recomputed(tmp_path):
    fill(grown(tmp_path, [SceneRows(n, n, 6) for n in "abc"]))
    now = {"a": "a", "b": "new", "c": "c"}
    store = grown(tmp_path, [SceneRows(name, key, 6) for name, key in now.items()])
    made = fill(store)
    assert [p for s in store.shards if s.number in made for p in s.parts] == [
        Part("b", "new", 0, 4), Part("b", "new", 4, 6),
    ]  # fmt: skip


def test_another_pool_or_model_gets_its_own_folder(tmp_path):
    fill(grown(tmp_path, [SceneRows("a", "large tiles", 6)]))
    other = ShardStore.divided(tmp_path, "1" * 32, SPEC, [SceneRows("a", "small tiles", 24)])
    assert other.shards == ()
    spec = EncoderSpec(name="m", dim=2, fingerprint="other weights")
    other = ShardStore.divided(tmp_path, "2" * 32, spec, [SceneRows("a", "large tiles", 6)])
    assert other.shards == ()


def test_pool_that_grew_and_shrank_reuses_its_folder(tmp_path):
    few, many = ([SceneRows(n, n, 6) for n in names] for names in ("a", "abcdef"))
    for pool, made in ((few, 2), (many, 8), (few, 0)):
        store = grown(tmp_path, pool)
        assert len(fill(store)) == made
        assert store.finish().ids.size == 6 * len(pool)


def test_only_failed_scenes_are_retried(tmp_path):
    pool = [SceneRows(n, n, 6) for n in "abc"]
    store = grown(tmp_path, pool, size=18)
    (shard,) = store.shards
    good = [p for p in shard.parts if p.scene != "b"]
    store.put(shard.number, ids(good), vectors(good), {"b": "a hole in the file"})
    assert store.failed() == {"b": "a hole in the file"}
    assert store.covers(pool)
    assert not store.covers(pool, store.failed())
    again = store.revised(pool, 18)
    made = fill(again)
    assert [s.parts for s in again.shards if s.number in made] == [(Part("b", "b", 0, 6),)]
    assert again.failed() == {}
    assert again.finish(np.array([f"{n}/{i}" for n in "abc" for i in range(6)])).x.shape == (18, 2)


def test_shard_of_another_model_raises(tmp_path):
    pool = [SceneRows("a", "a", 6)]
    first = grown(tmp_path / "one", pool)
    spec = EncoderSpec(name="n", dim=2)
    other = ShardStore.divided(tmp_path / "two", "9" * 32, spec, pool).revised(pool, 4)
    fill(first)
    fill(other)
    first.file(0).replace(other.file(0))
    (other.path / "matrix.npy").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"part-00000.parquet' belongs to another embedding"):
        other.finish()
