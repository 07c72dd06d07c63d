"""Shards: resumed one by one, never mixed between models, never out of range."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError
from foveate.run import ShardStore
from foveate.run.shards import load_embeddings

SPEC = EncoderSpec(name="m", dim=3, bands=(1,), fingerprint="f")


def ids(shard):
    return np.array([f"t{shard}{i}" for i in range(2)])


def vectors(shard, offset=0.0):
    return np.arange(6, dtype=np.float32).reshape(2, 3) + 10 * shard + offset


def store(path, key="k", shards=3):
    return ShardStore(path, key, shards, SPEC)


def fill(found, offset=0.0):
    for shard in found.missing():
        found.put(shard, ids(shard), vectors(shard, offset))
    return found.finish()


def test_shards_are_joined_in_order_whatever_the_order_of_arrival(tmp_path):
    found = store(tmp_path)
    for shard in (2, 0, 1):
        found.put(shard, ids(shard), vectors(shard))
    made = found.finish()
    assert made.ids.tolist() == [i for s in range(3) for i in ids(s)]
    assert made.x.dtype == np.float16
    np.testing.assert_array_equal(made.x, np.concatenate([vectors(s) for s in range(3)]))
    assert isinstance(made.x, np.memmap)
    again = load_embeddings(tmp_path)
    assert again.spec == SPEC
    np.testing.assert_array_equal(again.x, made.x)


def test_what_is_there_is_not_made_again(tmp_path):
    store(tmp_path).put(1, ids(1), vectors(1))
    assert store(tmp_path).missing() == [0, 2]
    fill(store(tmp_path))
    assert store(tmp_path).missing() == []


def test_a_shard_that_the_manifest_does_not_know_is_redone_with_the_same_bytes(tmp_path):
    found = store(tmp_path)
    found.put(0, ids(0), vectors(0))
    manifest = (tmp_path / "manifest.json").read_bytes()
    found.put(1, ids(1), vectors(1))
    before = found.file(1).read_bytes()
    (tmp_path / "manifest.json").write_bytes(manifest)  # killed between the two writes
    assert found.missing() == [1, 2]
    found.put(1, ids(1), vectors(1))
    assert found.file(1).read_bytes() == before


def test_a_shard_that_was_deleted_is_missing(tmp_path):
    fill(store(tmp_path))
    store(tmp_path).file(1).unlink()
    assert store(tmp_path).missing() == [1]
    with pytest.raises(DataError, match=r"1 of 3 shards are missing.*Run the same command again"):
        load_embeddings(tmp_path)


def test_another_key_starts_afresh_and_never_shows_the_old_vectors(tmp_path):
    fill(store(tmp_path, "old"))
    new = store(tmp_path, "new")
    assert new.missing() == [0, 1, 2]
    made = fill(new, offset=100)
    np.testing.assert_array_equal(made.x[0], vectors(0, 100)[0])


def test_another_key_leaves_no_shard_of_the_old_one(tmp_path):
    fill(store(tmp_path, "old", shards=5))
    fill(store(tmp_path, "new", shards=2))
    assert sorted(p.name for p in tmp_path.glob("part-*")) == [
        "part-00000.parquet", "part-00001.parquet",
    ]  # fmt: skip


def test_the_matrix_can_be_deleted(tmp_path):
    x = np.array(fill(store(tmp_path)).x)
    (tmp_path / "matrix.npy").unlink()
    np.testing.assert_array_equal(load_embeddings(tmp_path).x, x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65505, 1e30])
def test_vectors_that_float16_cannot_hold_are_refused(tmp_path, value):
    x = vectors(0)
    x[1, 2] = value
    with pytest.raises(DataError, match=r"embedding of 't01'.*65504.*float16"):
        store(tmp_path).put(0, ids(0), x)
    assert store(tmp_path).missing() == [0, 1, 2]


def test_a_folder_without_embeddings(tmp_path):
    with pytest.raises(DataError, match="holds no embeddings"):
        load_embeddings(tmp_path)
