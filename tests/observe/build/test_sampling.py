"""Selection of candidates, and spatial blocks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveate.observe.build.sampling import blocks, class_aware, rare_first

shown = st.lists(
    st.lists(st.booleans(), min_size=3, max_size=3).filter(any), min_size=1, max_size=30
).map(np.array)


def _ids(n):
    return np.array([f"way/{i}" for i in range(n)])


@given(shown, st.integers(1, 30), st.integers(0, 3))
def test_selection_is_nested_and_without_duplicates(shows, limit, seed):
    ids = _ids(len(shows))
    whole = class_aware(ids, shows, None, seed)
    assert sorted(whole.tolist()) == list(range(len(ids)))
    limited = class_aware(ids, shows, limit, seed)
    assert limited.tolist() == whole[:limit].tolist()


@given(shown, st.integers(0, 3), st.randoms())
def test_selection_is_independent_of_the_row_order(shows, seed, random):
    ids = _ids(len(shows))
    order = list(range(len(ids)))
    random.shuffle(order)
    first = ids[class_aware(ids, shows, 5, seed)]
    other = ids[order][class_aware(ids[order], shows[order], 5, seed)]
    assert first.tolist() == other.tolist()


def test_all_candidates_of_a_rare_concept_are_selected():
    shows = np.zeros((103, 2), bool)
    shows[:100, 0], shows[100:, 1] = True, True
    taken = class_aware(_ids(103), shows, 10, 0)
    assert {100, 101, 102} <= set(taken.tolist())
    assert sorted(rare_first(_ids(103), shows, 0)[:3].tolist()) == [100, 101, 102]


def test_concept_with_fewest_selected_candidates_is_next():
    rng = np.random.default_rng(0)
    shows = rng.random((200, 5)) < [0.9, 0.5, 0.2, 0.1, 0.05]
    shows[~shows.any(axis=1), 0] = True
    held = np.zeros(5)
    left = shows.copy()
    for row in class_aware(_ids(200), shows, None, 1).tolist():
        open_ = [k for k in range(5) if left[:, k].any()]
        fewest = min(held[k] for k in open_)
        assert any(shows[row, k] for k in open_ if held[k] == fewest)
        held += shows[row]
        left[row] = False


def test_blocks_are_square():
    lon = np.array([10.0, 10.001, 10.0, -0.001])
    lat = np.array([50.0001, 50.0001, 60.0001, -0.001])
    names = blocks(lon, lat, 50.0)
    assert names[0] == names[1]
    assert len(set(names.tolist())) == 3
    assert names[3].startswith("s")
    assert "_w" in names[3]
    # 1 degree of longitude at 60 degrees north is half as wide as at the equator.
    assert len(set(blocks(np.arange(0, 9, 0.01), np.full(900, 60.0), 50.0).tolist())) in (10, 11)
