"""A key belongs to its id: what else is in the pool does not matter."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveate.seeds import rng, tie_keys

# NumPy strings end at NUL, and lone surrogates are no text.
LETTERS = st.characters(exclude_characters="\x00", exclude_categories=("Cs",))
IDS = st.lists(st.text(LETTERS, max_size=30), min_size=1, max_size=12, unique=True)
SEEDS = st.integers(-(2**70), 2**70)


@given(IDS, SEEDS)
def test_a_key_depends_on_its_own_id_alone(ids, seed):
    together = tie_keys(ids, seed)
    alone = [tie_keys([name], seed)[0] for name in ids]
    longer = tie_keys([*ids, "x" * 100], seed)[:-1]
    assert together.tolist() == alone == longer.tolist()


@given(IDS, SEEDS, st.randoms(use_true_random=False))
def test_keys_move_with_their_ids(ids, seed, random):
    order = list(range(len(ids)))
    random.shuffle(order)
    shuffled = tie_keys([ids[i] for i in order], seed)
    assert (shuffled == tie_keys(ids, seed)[order]).all()


@given(IDS, SEEDS)
def test_different_ids_have_different_keys(ids, seed):
    assert np.unique(tie_keys(ids, seed)).size == len(ids)


@given(SEEDS, st.text(max_size=10), st.text(max_size=10))
def test_streams_differ_by_name_and_repeat(seed, a, b):
    same = rng(seed, a).integers(2**63) == rng(seed, b).integers(2**63)
    assert same == (a == b)
    assert bool((tie_keys(["id"], seed, a) == tie_keys(["id"], seed, b)).all()) == (a == b)
