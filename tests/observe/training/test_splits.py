"""Scenes are divided by their groups, and no group is divided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import DataError, ParameterError
from foveate.observe.data.pairs import split_scenes
from foveate.observe.training.crossfit import folds_of

NAMES = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=30)
SHARES = st.floats(0.01, 0.45)


def parts_of(groups, values):
    return {
        group: {v for g, v in zip(groups, values, strict=True) if g == group} for group in groups
    }


@given(NAMES.filter(lambda names: len(set(names)) >= 5), SHARES, SHARES, st.integers(0, 9))
def test_a_group_is_never_divided_and_every_part_has_one(groups, val, test, seed):
    found = split_scenes(groups, val=val, test=test, seed=seed)
    each = parts_of(groups, found.tolist())
    assert all(len(parts) == 1 for parts in each.values())
    counts = {part: sum(p == {part} for p in each.values()) for part in ("train", "val", "test")}
    n = len(each)
    assert counts["test"] == max(1, round(test * n))
    assert counts["val"] == max(1, round(val * n))
    assert counts["train"] >= 1
    again = split_scenes(groups[::-1], val=val, test=test, seed=seed)[::-1]
    assert again.tolist() == found.tolist()  # by name, not by place


def test_another_seed_is_another_draw():
    groups = [str(i) for i in range(20)]
    draws = {tuple(split_scenes(groups, seed=seed).tolist()) for seed in range(5)}
    assert len(draws) == 5


def test_a_test_may_be_left_out():
    found = split_scenes(["a", "b", "b"], val=0.5, test=0)
    assert sorted(set(found.tolist())) == ["train", "val"]


@pytest.mark.parametrize(("groups", "test"), [("ab", 0.2), ("a", 0), ("aaaa", 0.2), ("abc", 0.7)])
def test_too_few_groups_are_refused(groups, test):
    with pytest.raises(DataError, match=f"{len(set(groups))} groups? of scenes") as raised:
        split_scenes(list(groups), test=test)
    # Of one group nothing can be held out, with a test or without.
    assert ("--test 0" in raised.value.hint) == (len(set(groups)) > 1)
    # Enough groups, but too large shares.
    assert ("Leave more groups for training" in raised.value.hint) == (len(set(groups)) > 2)


STATES = ["WA", "AZ/phoenix", "AZ/tucson", "ME", "CA", "TX", "AZORES"]


def test_groups_are_held_out_by_name_and_by_folder():
    found = split_scenes(STATES, val=["WA"], test=["AZ", "ME"])
    assert found.tolist() == ["val", "test", "test", "test", "train", "train", "train"]


def test_a_share_is_drawn_from_the_groups_without_a_name():
    for seed in range(9):
        found = dict(
            zip(STATES, split_scenes(STATES, val=0.3, test=["AZ"], seed=seed), strict=True)
        )
        assert [g for g, part in found.items() if part == "test"] == STATES[1:3]
        assert sum(part == "val" for part in found.values()) == 2


@pytest.mark.parametrize(
    ("val", "test", "given"),
    [
        (0.2, ["AZ", "NV"], "--test AZ,NV: no group of scenes is named 'NV'"),
        (["ME"], ["AZ", "ME"], "the group 'ME' in --val and --test"),
        ((), 0.2, "--val without a name"),
    ],
)
def test_names_that_are_no_groups_or_stand_twice_are_refused(val, test, given):
    with pytest.raises(ParameterError) as raised:
        split_scenes(STATES, val=val, test=test)
    assert raised.value.given == given


def test_names_of_all_groups_leave_none_to_train_with():
    with pytest.raises(DataError, match="3 groups of scenes to train, validate and test with"):
        split_scenes(["a", "b", "c"], val=["a"], test=["b", "c"])


@given(NAMES, st.integers(2, 5), st.integers(0, 9))
def test_folds_hold_whole_groups(groups, count, seed):
    folds = folds_of(groups, count, seed)
    kinds = len(set(groups))
    if kinds > 1:
        assert all(len(numbers) == 1 for numbers in parts_of(groups, folds.tolist()).values())
    expected = min(count, kinds if kinds > 1 else len(groups))
    assert sorted(set(folds.tolist())) == list(range(expected))
    if kinds > 1:
        sizes = np.bincount([folds[groups.index(g)] for g in set(groups)])
        assert sizes.max() - sizes.min() <= 1
