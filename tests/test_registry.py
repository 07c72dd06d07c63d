import pytest

from foveate.errors import ParameterError, UnknownNameError
from foveate.registry import Registry, check_choice, suggest


def test_a_name_stands_for_an_object_or_for_a_lazy_import():
    registry = Registry("thing", {"pi": 3.14, "join": "os.path:join"})
    assert list(registry) == ["pi", "join"]
    assert "pi" in registry
    assert "e" not in registry
    assert registry.get("pi") == 3.14
    assert registry.get("join")("a", "b") == "a/b"
    assert registry.get("join") is registry.get("join")


def test_nothing_is_imported_before_it_is_asked_for():
    registry = Registry("thing", {"broken": "no_such_module:x"})
    assert "broken" in registry
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        registry.get("broken")


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest():
    registry = Registry("method", {"kcenter": 1, "random": 2})
    with pytest.raises(UnknownNameError) as caught:
        registry.get("K-Center")
    assert str(caught.value) == (
        "unknown method 'K-Center'. Known: kcenter, random. Did you mean 'kcenter'?"
    )


def test_a_name_that_is_like_no_other_gets_no_suggestion():
    assert not suggest("zzz", ["kcenter", "random"])


def test_a_choice_lists_the_allowed_values_and_suggests_the_nearest_or_else_the_hint():
    check_choice("order", "high", ("high", "low"))
    with pytest.raises(ParameterError) as caught:
        check_choice("order", "hihg", ("high", "low"), "Use high.")
    assert str(caught.value) == "order='hihg'. Allowed: high, low. Did you mean 'high'?"
    with pytest.raises(ParameterError, match=r"order=3\. Allowed: high, low\. Use high"):
        check_choice("order", 3, ("high", "low"), "Use high.")


def test_a_name_is_registered_once():
    registry = Registry("method")
    registry.register("mine", len)
    assert registry.get("mine") is len
    with pytest.raises(ParameterError, match="the method 'mine' is already registered"):
        registry.register("mine", max)
    assert registry.get("mine") is len
