"""Shards: resuming, separation of models, and the range of float16."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.run import Run, ShardStore, load_embeddings
from foveate.run.shard_table import to_half
from foveate.run.shards import step_name

SPEC = EncoderSpec(name="m", dim=3, bands=(1,), fingerprint="f")


def ids(shard):
    return np.array([f"t{shard}{i}" for i in range(2)])


def vectors(shard, offset=0.0):
    return np.arange(6, dtype=np.float32).reshape(2, 3) + 10 * shard + offset


def store(path, key="k", shards=3):
    return ShardStore.numbered(path, key, shards, SPEC)


def fill(shard_store, offset=0.0):
    for shard in shard_store.missing():
        shard_store.put(shard, ids(shard), vectors(shard, offset))
    return shard_store.finish()


def test_shards_are_joined_in_order_of_their_numbers(tmp_path):
    shard_store = store(tmp_path)
    for shard in (2, 0, 1):
        shard_store.put(shard, ids(shard), vectors(shard))
    made = shard_store.finish()
    assert made.ids.tolist() == [i for s in range(3) for i in ids(s)]
    assert made.x.dtype == np.float16
    np.testing.assert_array_equal(made.x, np.concatenate([vectors(s) for s in range(3)]))
    assert isinstance(made.x, np.memmap)
    again = ShardStore.read(tmp_path).finish()
    assert again.spec == SPEC
    np.testing.assert_array_equal(again.x, made.x)


def test_existing_shards_are_not_missing(tmp_path):
    store(tmp_path).put(1, ids(1), vectors(1))
    assert store(tmp_path).missing() == [0, 2]
    fill(store(tmp_path))
    assert store(tmp_path).missing() == []


def test_two_writers_of_a_shard_write_the_same_bytes(tmp_path):
    first, second = store(tmp_path), store(tmp_path)
    first.put(0, ids(0), vectors(0))
    second.put(1, ids(1), vectors(1))
    before = first.file(1).read_bytes()
    first.put(1, ids(1), vectors(1))
    assert first.missing() == second.missing() == [2]
    assert first.file(1).read_bytes() == before


def test_deleted_shard_is_missing(tmp_path):
    fill(store(tmp_path))
    store(tmp_path).file(1).unlink()
    assert store(tmp_path).missing() == [1]


def test_every_key_has_its_own_folder(tmp_path):
    first, second = (ShardStore.within(tmp_path, key, 3, SPEC) for key in ("a" * 32, "b" * 32))
    fill(first)
    before = {file: file.read_bytes() for file in first.files}
    assert second.missing() == [0, 1, 2]
    made = fill(second, offset=100)
    np.testing.assert_array_equal(made.x[0], vectors(0, 100)[0])
    assert {file: file.read_bytes() for file in first.files} == before
    assert first.missing() == []


def test_shard_or_manifest_of_another_key_raises(tmp_path):
    fill(store(tmp_path / "a", "old"), offset=100)
    fill(store(tmp_path / "b", "new"))
    (tmp_path / "b/matrix.npy").unlink()
    foreign = store(tmp_path / "a").file(0)
    foreign.replace(store(tmp_path / "b").file(0))
    with pytest.raises(DataError, match=r"part-00000.parquet' belongs to another embedding"):
        store(tmp_path / "b", "new").finish()
    with pytest.raises(DataError, match=r"manifest.json' belongs to another embedding"):
        store(tmp_path / "b", "old").missing()


def test_deleted_matrix_is_rebuilt(tmp_path):
    x = np.array(fill(store(tmp_path)).x)
    (tmp_path / "matrix.npy").unlink()
    np.testing.assert_array_equal(store(tmp_path).finish().x, x)


def test_rows_match_their_ids_if_the_order_file_is_deleted(tmp_path):
    whole = fill(store(tmp_path))
    expected = dict(zip(whole.ids.tolist(), np.array(whole.x).tolist(), strict=True))
    reversed_ = store(tmp_path).finish(whole.ids[::-1])
    assert reversed_.ids.tolist() == whole.ids[::-1].tolist()
    (tmp_path / "rows.npy").unlink()
    embeddings = store(tmp_path).finish()
    assert dict(zip(embeddings.ids.tolist(), embeddings.x.tolist(), strict=True)) == expected


def test_vectors_below_the_range_of_float16_raise():
    names = np.array(["t00", "t01"])
    with pytest.raises(DataError, match=r"'t00' on are at most 3e-08.*float16.*Normalise"):
        to_half(names, np.array([[1e-9, -3e-8], [0, 0]], np.float32))
    for x in ([[1e-9, 1.0]], [[0.0, 0.0]]):  # one of many features, a blank tile
        assert to_half(names[:1], np.array(x, np.float32)).dtype == np.float16


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65505, 1e30])
def test_vectors_above_the_range_of_float16_raise(tmp_path, value):
    x = vectors(0)
    x[1, 2] = value
    with pytest.raises(DataError, match=r"embedding of 't01'.*65504.*float16"):
        store(tmp_path).put(0, ids(0), x)
    assert store(tmp_path).missing() == [0, 1, 2]


def test_reading_a_folder_without_manifest_raises(tmp_path):
    with pytest.raises(DataError, match="holds no embeddings"):
        ShardStore.read(tmp_path)


# --- load_embeddings -----------------------------------------------------------------------


def embedded(path, *names):
    """Write a run with embeddings of several models."""
    with Run.create(path) as run:
        for i, name in enumerate(names):
            spec = EncoderSpec(name=name, dim=3)
            shard_store = ShardStore.within(path, f"{i}" * 32, 2, spec)
            fill(shard_store, offset=i)
            files = [str(f.relative_to(path)) for f in shard_store.files]
            run.do(step_name(name), shard_store.key, lambda files=files: files)
    return path


def test_load_embeddings_of_the_only_model(tmp_path):
    embeddings = load_embeddings(embedded(tmp_path / "run", "timm:a"))
    assert embeddings.spec.name == "timm:a"
    assert embeddings.ids.tolist() == ["t00", "t01", "t10", "t11"]
    np.testing.assert_array_equal(embeddings.x[:2], vectors(0))


def test_load_embeddings_of_several_models_requires_a_name(tmp_path):
    run = embedded(tmp_path / "run", "builtin", "timm:a")
    assert load_embeddings(run, "timm:a").x[0, 0] == 1
    for model in (None, "timm:b"):
        with pytest.raises(ParameterError, match="has embeddings of: builtin, timm:a"):
            load_embeddings(run, model)


def test_load_embeddings_errors(tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        load_embeddings(tmp_path)
    with Run.create(tmp_path / "empty") as run:
        run.do("pool", "k", list)
    with pytest.raises(DataError, match="holds no embeddings"):
        load_embeddings(tmp_path / "empty")
    run = embedded(tmp_path / "run", "builtin")
    next(run.rglob("part-00001.parquet")).unlink()
    with pytest.raises(DataError, match=r"1 of 2 shards are missing.*Embed again"):
        load_embeddings(run)
