"""`Method`: a ranking function, the arrays it needs, and its presets.

All commands that rank use it. Each has a registry, `Methods`, with the arrays that its methods can
need, and a subclass of `Method`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from foveate.errors import ParameterError
from foveate.registry import Registry, check_choice, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from foveate.selection import Ranking

Preset = Literal["default", "paper", "released"]
_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int, np.integer), "float": (int, float, np.integer, np.floating), "str": (str,),
    "bool": (bool, np.bool_), "None": (type(None),),
}  # fmt: skip
_OPTIONAL = ("progress", "constraint", "initial", "pictures")  # parameters, not options
PRESETS: tuple[Preset, ...] = ("default", "paper", "released")


def check_preset(preset: str) -> None:
    """Check the name of a preset.

    Raises:
        ParameterError: The preset is unknown; the message contains a suggestion.
    """
    check_choice("preset", preset, PRESETS)


class Methods[M: Method](Registry[M]):
    """Registry of the methods of one command, with the arrays that they can need.

    Args:
        kind: Name of an entry in error messages ("method", "policy").
        needs: Names of the arrays that methods can need.
        entries: As for `Registry`.
        uncommon: Arrays of `needs` that not every pool has, or that are expensive to compute.

    Attributes:
        needs: Names of the arrays.
        uncommon: As given.
    """

    def __init__(
        self, kind: str, needs: Iterable[str], entries: dict[str, M | str] | None = None,
        uncommon: Iterable[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(kind, entries)
        self.needs = tuple(needs)
        self.uncommon = tuple(uncommon)

    def ready(self, without: str = "") -> list[str]:
        """Return the methods of "all": those that need no option and no uncommon array.

        Args:
            without: Also exclude methods that need this array.
        """
        excluded = {*self.uncommon, without}
        methods = {name: self.get(name) for name in self}
        return [
            n for n, m in methods.items()
            if m.in_all and not m.requires and excluded.isdisjoint(m.needs)
        ]  # fmt: skip

    def find(self, method: str | M) -> M:
        """Return a method by name; a method is returned unchanged.

        Raises:
            UnknownNameError: The method is unknown; the message contains a suggestion.
            ParameterError: The method belongs to another registry.
        """
        if isinstance(method, str):
            return self.get(method)
        if method.registry is not self:
            raise ParameterError(
                f"the {method.registry.kind} {method.name!r} where a {self.kind} is expected",
                f"Known: {', '.join(self)}.",
            )
        return method


@dataclass(frozen=True)
class Method:
    """A ranking method.

    Attributes:
        name: Name on the command line.
        title: Name in reports.
        source: Paper and section.
        function: ``(*, ids, seed, <needs>, <options>) -> Ranking``. `ids` is (n,) str in sorted
            order; the rows of the arrays are in that order. A hybrid gets ``parts``, a mapping of
            method name to its `Ranking`, instead of arrays. Optional parameters: ``progress``,
            a callback for ticks or None; ``constraint``, a `Constraint` or None, which the
            function applies while it selects (rankings of other functions are filtered
            afterwards); ``initial``, (s,) rows that are already selected or None, which the
            function takes into account and does not rank (they are removed from rankings of other
            functions); ``pictures``, which compares the pixels of tiles, or None without imagery.
        needs: Names of the required arrays, a subset of `Methods.needs`. Other arrays of these are
            optional parameters, None if the pool does not have them (`uses`).
        parts: Methods whose rankings a hybrid combines. Their options are options of the hybrid
            under their name.
        constrained_parts: The `parts` that are ranked with the constraint. The others are ranked
            without it, because only picks of the hybrid forbid tiles.
        presets: Options of "paper" (the text) and "released" (public code and lists) that differ
            from the defaults.
        requires: Options of which at least one is required.
        greedy: Whether a smaller depth is faster; such methods have an option ``depth``.
        in_all: Whether it is included in "all".
        registry: Registry of its command; set by each subclass.
    """

    name: str
    title: str
    source: str
    function: Callable[..., Ranking]
    needs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    constrained_parts: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    greedy: bool = False
    requires: tuple[str, ...] = ()
    in_all: bool = True
    registry: ClassVar[Methods[Any]]

    def __post_init__(self) -> None:
        """Check the signature of the function.

        Raises:
            ParameterError: A need is unknown, or a parameter is missing.
        """
        kind, known = self.registry.kind, self.registry.needs
        unknown = sorted(set(self.needs) - set(known))
        if unknown:
            raise ParameterError(
                f"the {kind} {self.name!r} needs {unknown[0]!r}",
                f"A {kind} can need: {', '.join(known)}.",
                suggest(unknown[0], known),
            )
        given = ("ids", "seed", *(("parts",) if self.parts else self.needs))
        missing = [name for name in given if not self.takes(name)]
        if missing:
            raise ParameterError(
                f"the function of the {kind} {self.name!r} without the parameter "
                f"{', '.join(missing)}",
                f"It is called with {', '.join(f'{name}=' for name in given)} and its options.",
                f"Declare: def {kind}(*, {', '.join(given)}, ...).",
            )

    def takes(self, name: str) -> bool:
        """Return whether the function has a parameter."""
        return name in inspect.signature(self.function).parameters

    def call(self, optional: Mapping[str, Any], **given: Any) -> Ranking:
        """Call the function.

        Args:
            optional: Values of optional parameters; those that the function does not have are left
                out.
            given: The other arguments.
        """
        return self.function(**given, **{k: v for k, v in optional.items() if self.takes(k)})

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the needed arrays that the function takes; hybrids may leave them to parts."""
        return tuple(n for n in self.needs if not self.parts or self.takes(n))

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of the optional arrays of the function."""
        return tuple(n for n in self.registry.needs if self.takes(n) and n not in self.needs)

    @property
    def defaults(self) -> dict[str, Any]:
        """Options and their defaults."""
        fixed = {"ids", "seed", "parts", *_OPTIONAL, *self.needs, *self.uses}
        parameters = inspect.signature(self.function).parameters.values()
        options = {p.name: p.default for p in parameters if p.name not in fixed}
        return options | {name: self.registry.get(name).defaults for name in self.parts}

    def options(self, preset: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return all options: defaults, then the preset, then what was given.

        Raises:
            ParameterError: The preset or an option is unknown, a value has the wrong type, or none
                of the required options is given.
        """
        check_preset(preset)
        defaults = self.defaults
        for name in given or {}:
            if name not in defaults:
                raise ParameterError(
                    f"the {self.registry.kind} {self.name!r} has no option {name!r}",
                    f"Its options: {', '.join(defaults) or 'none'}.",
                    suggest(name, defaults),
                )
        self._check_types(given or {})
        chosen = {**defaults, **self.presets.get(preset, {}), **(given or {})}
        for name in self.parts:
            chosen[name] = self.registry.get(name).options(preset, (given or {}).get(name))
        if self.requires and not any(chosen[name] for name in self.requires):
            raise ParameterError(
                f"the {self.registry.kind} {self.name!r} without {' or '.join(self.requires)}",
                f"At least one of these options is required: {', '.join(self.requires)}.",
                self.how_to_give(self.requires[0]),
            )
        return chosen

    def how_to_give(self, option: str) -> str:
        """Return a hint on how to give an option."""
        return f"In Python: {option}=...; on the command line: --option {self.name}.{option}=..."

    def _check_types(self, given: Mapping[str, Any]) -> None:
        """Check the types of options with plain annotations."""
        parameters = inspect.signature(self.function).parameters
        for name, value in given.items():
            if name in self.parts:
                if not isinstance(value, Mapping):
                    raise ParameterError(
                        f"{self.name}.{name}={value!r}",
                        f"Expected options of the {self.registry.kind} {name!r}: option -> value.",
                    )
                continue
            hint = parameters[name].annotation
            names = (
                (hint.__name__ if isinstance(hint, type) else str(hint)).replace(" ", "").split("|")
            )
            if not set(names) <= set(_PLAIN):
                continue
            allowed = tuple(t for kind in names for t in _PLAIN[kind])
            unexpected_bool = isinstance(value, bool) and "bool" not in names
            if unexpected_bool or not isinstance(value, allowed):
                raise ParameterError(
                    f"{self.name}.{name}={value!r}", f"Expected {' or '.join(names)}."
                )
