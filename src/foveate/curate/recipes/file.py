"""Recipes in files: TOML, YAML or JSON, with the location of errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.curate.methods.base import METHODS
from foveate.curate.recipes.builtin import RECIPES, get_recipe
from foveate.curate.recipes.recipe import WRAPPERS, Recipe
from foveate.curate.recipes.strategy import Strategy
from foveate.documents import read_document
from foveate.errors import DataError, FoveateError, ParameterError, UnknownNameError
from foveate.files import printable
from foveate.pool.rules import Rules
from foveate.registry import check_choice, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from foveate.curate.methods.base import Method
    from foveate.curate.recipes.recipe import Wrapper

SUFFIXES = (".toml", ".yaml", ".yml", ".json")
_KEYS = ("name", "combine", "scale", "strategy", "wrapper", "rules")
_EXPECTED = f"Keys of a recipe: {', '.join(_KEYS)}."


def find_recipe(given: str | Path) -> Recipe:
    """Return a recipe by name, or read it from a file.

    Args:
        given: One of `RECIPES`, or a file; names take precedence.

    Raises:
        UnknownNameError: The recipe is unknown.
        DataError: The file cannot be read, or is invalid.
    """
    text = str(given)
    if text in RECIPES:
        return RECIPES.get(text)
    if _is_file(text):
        return read_recipe(given)
    raise UnknownNameError(
        f"unknown recipe {text!r}", f"Known: {', '.join(RECIPES)}, or a file.",
        suggest(text, RECIPES) or f"Suffixes of files: {', '.join(SUFFIXES)}, as in {text}.toml.",
    )  # fmt: skip


def recipes_by_name(given: Iterable[str]) -> dict[str, Method]:
    """Return recipes as methods, by their names.

    Args:
        given: As for `find_recipe`.

    Raises:
        UnknownNameError: A recipe is unknown.
        DataError: A file cannot be read, or is invalid.
        ParameterError: The name of a recipe is used by another one, or by a method.
    """
    found: dict[str, Method] = {}
    for one in dict.fromkeys(given):
        method = find_recipe(one).method
        name = method.name
        taken = found.get(name) or (METHODS.get(name) if name in METHODS else None)
        if taken is not None and taken.definition != method.definition:
            kind = "another recipe" if name in found or name in RECIPES else "a method"
            raise ParameterError(
                f"the recipe {printable(one)!r} with the name {name!r}",
                f"The name is used by {kind}.",
                "Change the name in the file.",
            )
        found[name] = method
    return found


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a file: TOML, YAML or JSON, by its suffix.

    Args:
        path: The file. Paths in its wrapper are relative to its folder.

    Raises:
        DataError: The file cannot be read, is malformed, has an unknown key or an invalid value,
            or wraps itself through other files. The message contains the location.
    """
    return _read(Path(path), ())


def recipe_from(content: Any, inner: Callable[[Any], Recipe | str] = lambda given: given) -> Recipe:
    """Make a recipe from the content of a document, as returned by `Recipe.to_dict`.

    Args:
        content: Mapping with the keys of a file.
        inner: Returns the recipe of the wrapper for its name or path.

    Raises:
        ParameterError: A key is unknown, or a value is invalid.
        UnknownNameError: The name of a kind, method or recipe is unknown.
    """
    stated = _mapping(content, "a recipe", _EXPECTED)
    _check_keys(stated, _KEYS, "")
    if "name" not in stated:
        raise ParameterError("a recipe without a name", _EXPECTED, 'name = "my-recipe"')
    parts = stated.get("strategy", [])
    if not isinstance(parts, list):
        raise ParameterError(
            f"strategy: {type(parts).__name__}", "Expected a list of strategies.",
            "In TOML, start each with [[strategy]].",
        )  # fmt: skip
    strategies = tuple(
        _made(Strategy, part, f"strategy {number}") for number, part in enumerate(parts, 1)
    )
    wrapper = stated.get("wrapper")
    more = {name: stated[name] for name in ("combine", "scale") if name in stated}
    return Recipe(
        stated["name"], strategies, **more,
        wrapper=None if wrapper is None else _wrapper(wrapper, inner),
        rules=_made(Rules, stated.get("rules", {}), "rules"),
    )  # fmt: skip


def _read(path: Path, outer: tuple[Path, ...]) -> Recipe:
    """Read a recipe that is wrapped by the files `outer`."""
    where = path.resolve()
    if where in outer:
        loop = [*outer[outer.index(where) :], where]
        raise DataError(
            f"the recipe {printable(str(path))!r}, which wraps itself",
            " -> ".join(printable(one.name) for one in loop) + ".",
            "Wrappers must not form a cycle. Remove one of them.",
        )
    content = read_document(path, "recipe", _EXPECTED)

    def inner(given: Any) -> Recipe | str:
        if isinstance(given, str) and given not in RECIPES and _is_file(given):
            return _read(path.parent / given, (*outer, where))
        return recipe_from(given) if isinstance(given, Mapping) else given

    try:
        return recipe_from(content, inner)
    except DataError:
        raise  # an error of an inner file, which contains its path
    except FoveateError as error:
        raise DataError(
            f"the recipe {printable(str(path))!r}: {error.given}", error.allowed, error.hint
        ) from error


def _is_file(given: str) -> bool:
    return Path(given).suffix.lower() in SUFFIXES or Path(given).is_file()


def _wrapper(stated: Any, inner: Callable[[Any], Recipe | str]) -> Wrapper:
    given = dict(_mapping(stated, "wrapper", f"Expected a kind: {', '.join(WRAPPERS)}."))
    kind = given.pop("kind", None)
    check_choice("wrapper: kind", kind, WRAPPERS)
    if kind != "stratified" and "recipe" not in given:
        raise ParameterError(
            f"wrapper: {kind!r} without a recipe",
            "Expected another recipe: a file, the name of a recipe, or a method.",
            'recipe = "other.toml"',
        )
    if "recipe" in given:
        given["recipe"] = inner(given["recipe"])
        if isinstance(given["recipe"], Mapping):
            given["recipe"] = recipe_from(given["recipe"])
        elif isinstance(given["recipe"], str):
            given["recipe"] = _placed("wrapper", lambda: get_recipe(given["recipe"]))
    return _made(WRAPPERS[kind], given, "wrapper")


def _made[T](kind: Callable[..., T], stated: Any, place: str) -> T:
    """Make a part of a recipe; errors contain its location."""
    known = tuple(one.name for one in fields(kind))  # ty: ignore[invalid-argument-type]
    given = _mapping(stated, place, f"Expected {', '.join(known)}.")
    _check_keys(given, known, f"{place}: ")
    return _placed(place, lambda: kind(**given))


def _placed[T](place: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except DataError:
        raise
    except FoveateError as error:
        raise type(error)(f"{place}: {error.given}", error.allowed, error.hint) from error


def _mapping(stated: Any, place: str, allowed: str) -> Mapping[str, Any]:
    if not isinstance(stated, Mapping):
        raise ParameterError(f"{place}: {type(stated).__name__}", allowed)
    return stated


def _check_keys(stated: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in stated:
        if key not in known:
            raise ParameterError(
                f"{place}unknown key {key!r}", f"Allowed: {', '.join(known)}.",
                suggest(str(key), known),
            )  # fmt: skip
