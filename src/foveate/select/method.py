"""`Method`: a ranking function, what it needs, and its presets.

The word is one for all verbs that rank. Each verb has a `Methods`, its registry with the arrays
that its methods can need, and a child of `Method` that belongs to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from foveate.errors import ParameterError
from foveate.registry import Registry, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from foveate.selection import Ranking

Preset = Literal["default", "paper", "released"]
_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int, np.integer), "float": (int, float, np.integer, np.floating), "str": (str,),
    "bool": (bool, np.bool_), "None": (type(None),),
}  # fmt: skip
PRESETS: tuple[Preset, ...] = ("default", "paper", "released")


def check_preset(preset: str) -> None:
    """Refuse a name that is no preset.

    Raises:
        ParameterError: No such preset, with a suggestion.
    """
    if preset not in PRESETS:
        raise ParameterError(
            f"preset={preset!r}", f"Allowed: {', '.join(PRESETS)}.", suggest(preset, PRESETS)
        )


class Methods[M: Method](Registry[M]):
    """The methods of one verb, and what they can need.

    Args:
        kind: What the error text calls one of them ("method", "policy").
        needs: Names of the arrays that can be asked for.
        entries: As for `Registry`.
        uncommon: Those of `needs` that not every pool has, or that cost much more to make.

    Attributes:
        needs: The names.
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
        """Return the names that "all" stands for: no option and no uncommon array is needed.

        Args:
            without: Leave out those that need this array, too.
        """
        kept_out = {*self.uncommon, without}
        methods = {name: self.get(name) for name in self}
        return [
            n for n, m in methods.items()
            if m.in_all and not m.requires and kept_out.isdisjoint(m.needs)
        ]  # fmt: skip

    def find(self, method: str | M) -> M:
        """Return a method by name; a method comes back as it is.

        Raises:
            UnknownNameError: No such method, with a suggestion.
            ParameterError: A method of another verb.
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
        function: ``(*, ids, seed, progress, <needs>, <options>) -> Ranking``. `ids` is (n,) str
            in sorted order; the needed arrays have their rows in that order. A hybrid gets
            ``parts``, a mapping of method name to its `Ranking`, instead of arrays. One that also
            takes ``constraint``, a `Constraint` or None, keeps it while it chooses; the order of
            any other is filtered afterwards. One that takes ``initial``, (s,) rows that were picked
            before or None, begins from them and does not rank them; of any other they are left
            out. One that takes ``pictures`` gets what compares the pixels of tiles where there is
            imagery, and None elsewhere.
        needs: Names of arrays, a subset of what the registry knows. A function that takes another
            one of these gets it where the pool has it, and None elsewhere (`uses`).
        parts: Methods whose rankings a hybrid combines. Their options are options of the hybrid
            under their name.
        constrained_parts: Those of `parts` that keep the constraint. The others are ranked
            without it: what forbids is what the hybrid picks, not what its parts would have.
        presets: Options that "paper" (the text) and "released" (public code and lists) set where
            they differ from the defaults.
        requires: Options of which at least one has to be given.
        greedy: Whether a smaller depth costs less: such a method takes an option ``depth``.
        in_all: Whether it is among "all".
        registry: The methods of its verb; set by each child.
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
        """Check that the function takes what it will be given.

        Raises:
            ParameterError: An unknown need, or a parameter that is missing.
        """
        kind, known = self.registry.kind, self.registry.needs
        unknown = sorted(set(self.needs) - set(known))
        if unknown:
            raise ParameterError(
                f"the {kind} {self.name!r} needs {unknown[0]!r}",
                f"A {kind} can need: {', '.join(known)}.",
                suggest(unknown[0], known),
            )
        given = ("ids", "seed", "progress", *(("parts",) if self.parts else self.needs))
        taken = inspect.signature(self.function).parameters
        lacking = [name for name in given if name not in taken]
        if lacking:
            raise ParameterError(
                f"the function of the {kind} {self.name!r} takes no {', '.join(lacking)}",
                f"It is called with {', '.join(f'{name}=' for name in given)} and its options.",
                f"Declare: def {kind}(*, {', '.join(given)}, ...).",
            )

    @property
    def keeps_constraint(self) -> bool:
        """Whether the function keeps a constraint while it chooses."""
        return "constraint" in inspect.signature(self.function).parameters

    @property
    def takes_initial(self) -> bool:
        """Whether the function can begin from rows that were picked before."""
        return "initial" in inspect.signature(self.function).parameters

    @property
    def takes_pictures(self) -> bool:
        """Whether the function can compare the pixels of tiles."""
        return "pictures" in inspect.signature(self.function).parameters

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of arrays that the function makes use of, but does not need."""
        taken = inspect.signature(self.function).parameters
        return tuple(n for n in self.registry.needs if n in taken and n not in self.needs)

    @property
    def defaults(self) -> dict[str, Any]:
        """Options and their defaults."""
        fixed = {
            "ids",
            "seed",
            "progress",
            "parts",
            "constraint",
            "initial",
            "pictures",
            *self.needs,
            *self.uses,
        }
        parameters = inspect.signature(self.function).parameters.values()
        own = {p.name: p.default for p in parameters if p.name not in fixed}
        return own | {name: self.registry.get(name).defaults for name in self.parts}

    def options(self, preset: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return all options: defaults, then the preset, then what was given.

        Raises:
            ParameterError: Unknown preset or option, a value of another type, or none of the
                options that the method requires.
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
                f"At least one of these options is needed: {', '.join(self.requires)}.",
                self.how_to_give(self.requires[0]),
            )
        return chosen

    def how_to_give(self, option: str) -> str:
        """Say how an option is given."""
        return f"In Python {option}=...; in a terminal --option {self.name}.{option}=..."

    def _check_types(self, given: Mapping[str, Any]) -> None:
        """Refuse a text for a number and the like, where the annotation is plain."""
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
            wanted = (
                (hint.__name__ if isinstance(hint, type) else str(hint)).replace(" ", "").split("|")
            )
            if not set(wanted) <= set(_PLAIN):
                continue
            allowed = tuple(t for w in wanted for t in _PLAIN[w])
            stray_bool = isinstance(value, bool) and "bool" not in wanted
            if stray_bool or not isinstance(value, allowed):
                raise ParameterError(
                    f"{self.name}.{name}={value!r}", f"Expected {' or '.join(wanted)}."
                )
