import os
import subprocess
import sys

import numpy as np
import pytest

from foveate.seeds import rng, tie_keys

PROGRAM = (
    "from foveate.seeds import rng, tie_keys;"
    "print(rng(7, 'fd/start').integers(2**62), *tie_keys(['a', 'scene/é'], 7))"
)


def test_the_same_seed_and_name_give_the_same_numbers():
    assert (rng(3, "fd/start").random(5) == rng(3, "fd/start").random(5)).all()


def test_another_seed_or_name_gives_other_numbers():
    first = rng(3, "fd/start").random()
    assert first not in {rng(4, "fd/start").random(), rng(3, "fd/other").random()}


def test_seed_and_name_do_not_run_into_each_other():
    assert rng(1, "1").random() != rng(11, "").random()


@pytest.mark.parametrize("hashseed", ["0", "1234"])
def test_numbers_are_those_of_this_process_whatever_pythonhashseed(hashseed):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONHASHSEED": hashseed},
        capture_output=True,
        text=True,
        check=True,
    )
    here = [rng(7, "fd/start").integers(2**62), *tie_keys(["a", "scene/é"], 7)]
    assert done.stdout.split() == [str(v) for v in here]


def test_the_global_state_is_neither_read_nor_written():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    tie_keys(["a", "b"], 0)
    rng(0, "x").random()
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_no_ids_have_no_keys():
    keys = tie_keys([], 0)
    assert keys.shape == (0,)
    assert keys.dtype == np.uint64


def test_keys_are_spread_over_all_64_bits():
    ids = np.array([f"scene/y{i:06d}" for i in range(20_000)])
    keys = tie_keys(ids, 0)
    assert np.unique(keys).size == ids.size
    for bit in range(64):
        share = ((keys >> np.uint64(bit)) & np.uint64(1)).mean()
        assert 0.48 < share < 0.52


def test_the_order_of_ties_is_not_the_order_of_ids():
    ids = [f"scene/y{i:06d}" for i in range(2000)]
    order = np.argsort(tie_keys(ids, 0))
    assert abs(np.corrcoef(order, np.arange(2000))[0, 1]) < 0.1
