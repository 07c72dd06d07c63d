"""Every registered method passes the public suite, and the suite catches what it should."""

from __future__ import annotations

from inspect import Parameter, Signature
from operator import itemgetter

import numpy as np
import pytest

from foveate.curate import METHODS, Method
from foveate.errors import ParameterError
from foveate.selection import Ranking
from foveate.testing import CheckFailed, check_method

OPEN = [name for name in METHODS if not METHODS.get(name).requires]

FIRST = itemgetter(slice(1))  # of the ids of a pool

VARIANTS = [
    ("lc", {"order": "weighted"}),
    ("fd", {"clusters": 1}),
    ("fd", {"warm": False, "stop": "mean", "weights": "vendi", "k_sample": 0.5, "max_k": None}),
    ("fa", {"negative": "softplus"}),
    ("fa-cb", {"combine": "rank", "lam": 0.25}),
    ("lc-fd", {"m": 3, "fd": {"max_k": 4}}),
    ("kcenter", {"start": "mean"}),
    ("kcenter", {"exact": 3}),
    ("facility", {"reference": 5}),
    ("facility", {"reference": None}),
    ("max-herding", {"reference": 7, "sigma": 1.5}),
    ("typiclust", {"clusters": 1, "neighbours": 3}),
    ("typiclust", {"clusters": 1, "neighbours": 1}),
    ("hierarchical", {"levels": 1, "within": "near"}),
    ("hierarchical", {"levels": 2, "clusters": 1}),
    ("semdedup", {"threshold": 0.9}),
    ("semdedup", {"keep": 0.5}),
    ("semdedup", {"chance": 1.0, "copies": 16}),
    ("label-noise", {"order": "clean", "folds": 2, "rounds": 2}),
    ("similar", {"toward": FIRST}),
    ("similar", {"away": FIRST, "combine": "mean", "examples": "first"}),
    ("similar", {"toward": FIRST, "away": lambda ids: ",".join(ids[1:3])}),
]


@pytest.mark.parametrize("name", OPEN)
def test_registered_methods_pass_the_suite(name):
    check_method(name)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_variants_pass_the_suite(name, options):
    check_method(name, seed=3, **options)


def by_row(*, ids, seed, progress=None):
    return Ranking(np.arange(len(ids)), np.zeros(len(ids)), len(ids))


def by_global_numbers(*, ids, seed, progress=None):
    return Ranking(np.random.permutation(len(ids)), np.zeros(len(ids)), len(ids))  # noqa: NPY002


def by_given_row(*, ids, counts, seed, progress=None):
    rows = np.argsort(-counts[:, 0], kind="stable")
    return Ranking(rows, -np.arange(len(ids)).astype(float), len(ids))


def without_the_last(*, ids, seed, progress=None):
    return Ranking(np.arange(len(ids) - 1), np.zeros(len(ids) - 1), len(ids))


def with_arrays_in_meta(*, ids, seed, progress=None):
    rows = np.random.default_rng(seed).permutation(len(ids))
    return Ranking(rows, np.zeros(len(ids)), len(ids), meta={"labels": rows})


def that_writes_into_its_input(*, ids, embeddings, seed, progress=None):
    embeddings -= embeddings.mean()
    return by_row(ids=ids, seed=seed)


@pytest.mark.parametrize(
    ("function", "needs", "rule"),
    [
        (by_row, (), "order of their ids"),
        (by_global_numbers, (), "another order"),
        (by_given_row, ("counts",), "order of their ids"),
        (without_the_last, (), "all rows must be ranked"),
        (with_arrays_in_meta, (), "not ready for JSON"),
    ],
)
def test_the_suite_names_the_broken_rule(function, needs, rule):
    with pytest.raises(CheckFailed, match=rule):
        check_method(Method("mine", "Mine", "", function, needs))


def test_the_suite_hands_out_read_only_embeddings():
    method = Method("mine", "Mine", "", that_writes_into_its_input, ("embeddings",))
    with pytest.raises(ValueError, match="read-only"):
        check_method(method)


def test_the_suite_sees_draws_from_global_generators():
    def drawing(*, ids, seed, progress=None):
        np.random.random()  # noqa: NPY002
        return METHODS.get("random").function(ids=ids, seed=seed)

    with pytest.raises(CheckFailed, match="global random state of numpy"):
        check_method(Method("mine", "Mine", "", drawing))


@pytest.mark.parametrize("taken", [(), ("progress", "pictures")])
def test_optional_parameters_are_given_to_functions_that_have_them(taken):
    def given(*, ids, seed, **options):
        seen.append(options)
        return METHODS.get("random").function(ids=ids, seed=seed)

    seen = []
    names = ("ids", "seed", *taken)
    given.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in names])
    check_method(Method("mine", "Mine", "", given))
    assert all(set(options) == set(taken) for options in seen)


def test_a_failed_check_is_an_assertion_error_too():
    assert issubclass(CheckFailed, AssertionError)


def test_a_function_that_does_not_take_what_it_is_given_is_refused_at_once():
    def forgetful(*, ids, progress=None):
        return Ranking(np.arange(len(ids)), np.zeros(len(ids)), len(ids))

    with pytest.raises(ParameterError, match="without the parameter seed"):
        Method("forgetful", "Forgetful", "", forgetful)
    with pytest.raises(ParameterError, match="Did you mean 'counts'"):
        Method("needy", "Needy", "", forgetful, needs=("count",))
