import json

import numpy as np
import pytest

from foveate.embeddings import Embeddings, EncoderSpec, find_rows
from foveate.errors import DataError

X = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_a_spec_survives_json():
    spec = EncoderSpec(
        "timm:resnet18", 512, (1, 2, 3), ((0, 255),) * 3, (0.5,) * 3, (0.2,) * 3, (224, 224)
    )
    assert EncoderSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_spec_of_a_newer_version_is_read_without_what_is_unknown():
    assert EncoderSpec.from_dict({"name": "a", "dim": 1, "new": 3}) == EncoderSpec("a", 1)


def test_rows_are_found_by_id_in_any_order_and_repeatedly():
    emb = Embeddings(["b", "a", "c"], X)
    assert emb.align(["c", "b", "c"]).tolist() == [X[2].tolist(), X[0].tolist(), X[2].tolist()]
    assert emb.align([]).shape == (0, 2)
    assert len(emb) == 3


def test_the_same_order_copies_nothing():
    emb = Embeddings(["b", "a", "c"], X)
    assert emb.align(["b", "a", "c"]) is X


def test_tokens_are_embeddings_too():
    assert Embeddings(["a"], np.zeros((1, 4, 2), np.float16)).align(["a"]).shape == (1, 4, 2)


def test_a_missing_id_is_named_and_counted():
    with pytest.raises(DataError, match="2 of 3 tiles have no embedding, the first is 'x'"):
        Embeddings(["b", "a", "c"], X).align(["a", "x", "zz"])
    with pytest.raises(DataError, match="1 of 1 tiles have no embedding"):
        Embeddings([], X[:0]).align(["a"])


@pytest.mark.parametrize(
    ("ids", "x", "message"),
    [
        (["a", "b"], X, "2 ids for 3 embeddings"),
        (["a", "b", "a"], X, "the ids of the embeddings are not unique"),
        (["a", "b", "c"], X.astype(int), r"of shape \(3, 2\) and dtype int64"),
        (["a", "b", "c"], X[:, 0], r"of shape \(3,\) and dtype float32"),
    ],
)
def test_what_does_not_fit_is_refused(ids, x, message):
    with pytest.raises(DataError, match=message):
        Embeddings(ids, x)


def test_rows_of_ids_and_of_what_is_not_there():
    ids = np.array(["b", "a", "c"])
    assert find_rows(ids, np.array(["c", "x", "b", "b", "aa"])).tolist() == [2, -1, 0, 0, -1]
    assert find_rows(ids[:0], np.array(["a"])).tolist() == [-1]
    assert find_rows(ids, ids[:0]).shape == (0,)
