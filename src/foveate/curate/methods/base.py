"""`Method`: a ranking function, what it needs, and its presets."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import ParameterError
from foveate.registry import Registry, suggest

if TYPE_CHECKING:
    from collections.abc import Callable

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


_NEEDS = ("counts", "embeddings")


@dataclass(frozen=True)
class Method:
    """A ranking method.

    Attributes:
        name: Name on the command line.
        title: Name in reports.
        source: Paper and section.
        function: ``(*, ids, seed, progress, <needs>, <options>) -> Ranking``. `ids` is (n,) str
            in sorted order, `counts` (n, C) int64, `embeddings` (n, d) float. A hybrid gets
            ``parts``, a mapping of method name to its `Ranking`, instead of arrays.
        needs: Subset of "counts" and "embeddings".
        parts: Methods whose rankings a hybrid combines. Their options are options of the hybrid
            under their name.
        presets: Options that "paper" (the text) and "released" (public code and lists) set where
            they differ from the defaults.
        greedy: Whether a smaller depth costs less: such a method takes an option ``depth``.
    """

    name: str
    title: str
    source: str
    function: Callable[..., Ranking]
    needs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    greedy: bool = False

    def __post_init__(self) -> None:
        """Check that the function takes what it will be given.

        Raises:
            ParameterError: An unknown need, or a parameter that is missing.
        """
        unknown = sorted(set(self.needs) - set(_NEEDS))
        if unknown:
            raise ParameterError(
                f"the method {self.name!r} needs {unknown[0]!r}",
                f"A method can need: {', '.join(_NEEDS)}.",
                suggest(unknown[0], _NEEDS),
            )
        given = ("ids", "seed", "progress", *(("parts",) if self.parts else self.needs))
        taken = inspect.signature(self.function).parameters
        lacking = [name for name in given if name not in taken]
        if lacking:
            raise ParameterError(
                f"the function of the method {self.name!r} takes no {', '.join(lacking)}",
                f"It is called with {', '.join(f'{name}=' for name in given)} and its options.",
                f"Declare: def method(*, {', '.join(given)}, ...).",
            )

    @property
    def defaults(self) -> dict[str, Any]:
        """Options and their defaults."""
        fixed = {"ids", "seed", "progress", "parts", *self.needs}
        parameters = inspect.signature(self.function).parameters.values()
        own = {p.name: p.default for p in parameters if p.name not in fixed}
        return own | {name: get_method(name).defaults for name in self.parts}

    def options(self, preset: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return all options: defaults, then the preset, then what was given.

        Raises:
            ParameterError: Unknown preset or option, or a value of another type.
        """
        check_preset(preset)
        defaults = self.defaults
        for name in given or {}:
            if name not in defaults:
                raise ParameterError(
                    f"the method {self.name!r} has no option {name!r}",
                    f"Its options: {', '.join(defaults) or 'none'}.",
                    suggest(name, defaults),
                )
        self._check_types(given or {})
        chosen = {**defaults, **self.presets.get(preset, {}), **(given or {})}
        for name in self.parts:
            chosen[name] = get_method(name).options(preset, (given or {}).get(name))
        return chosen

    def _check_types(self, given: Mapping[str, Any]) -> None:
        """Refuse a text for a number and the like, where the annotation is plain."""
        parameters = inspect.signature(self.function).parameters
        for name, value in given.items():
            if name in self.parts:
                if not isinstance(value, Mapping):
                    raise ParameterError(
                        f"{self.name}.{name}={value!r}",
                        f"Expected options of the method {name!r}: option -> value.",
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


METHODS: Registry[Method] = Registry(
    "method",
    {
        "lc": "foveate.curate.methods.lc:METHOD",
        "fd": "foveate.curate.methods.fd:METHOD",
        "lc-fd": "foveate.curate.methods.lc_fd:METHOD",
        "fa": "foveate.curate.methods.fa:METHOD",
        "cb": "foveate.curate.methods.cb:METHOD",
        "fa-cb": "foveate.curate.methods.fa_cb:METHOD",
        "random": "foveate.curate.methods.random:METHOD",
        "kcenter": "foveate.curate.methods.kcenter:METHOD",
    },
)


def get_method(method: str | Method) -> Method:
    """Return a method by name; a `Method` comes back as it is.

    Raises:
        UnknownNameError: No such method, with a suggestion.
    """
    return method if isinstance(method, Method) else METHODS.get(method)
