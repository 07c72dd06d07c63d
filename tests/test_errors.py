import pickle

import pytest

from foveate.errors import (
    BudgetError,
    DataError,
    FoveateError,
    MissingExtraError,
    ParameterError,
    StorageError,
    UnknownNameError,
)

CHILDREN = {
    ParameterError: ValueError,
    UnknownNameError: LookupError,
    BudgetError: ValueError,
    DataError: ValueError,
    StorageError: OSError,
    MissingExtraError: ImportError,
}


@pytest.mark.parametrize("child", CHILDREN)
def test_every_error_is_one_paragraph_of_sentences(child):
    error = child("k = 0", "Allowed: 1 to 5", "Did you mean 1?")
    assert str(error) == "k = 0. Allowed: 1 to 5. Did you mean 1?"


@pytest.mark.parametrize("child", CHILDREN)
def test_empty_parts_leave_no_trace(child):
    assert str(child("it broke!")) == "it broke!"
    assert str(child("k = 0", hint=" Type k=1. ")) == "k = 0. Type k=1."
    assert not str(child(""))


@pytest.mark.parametrize(("child", "builtin"), CHILDREN.items())
def test_each_child_is_caught_as_its_built_in_and_as_foveate_error(child, builtin):
    for kind in (builtin, FoveateError):
        with pytest.raises(kind):
            raise child("given", "allowed", "hint")


@pytest.mark.parametrize("child", CHILDREN)
def test_errors_cross_process_borders_whole(child):
    error = child("given", "allowed", "hint")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is child
    assert copy.to_dict() == error.to_dict()


def test_to_dict_has_the_parts_and_the_message():
    assert DataError("a", "b", "c").to_dict() == {
        "error": "DataError",
        "given": "a",
        "allowed": "b",
        "hint": "c",
        "message": "a. b. c.",
    }


def test_a_storage_error_has_no_text_where_os_error_has_its_errno():
    error = StorageError("disk", "allowed", "hint")
    assert (error.errno, error.strerror, error.filename) == (None, None, None)
