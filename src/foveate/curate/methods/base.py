"""The methods of `curate`, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foveate.select.method import PRESETS, Methods, Preset, check_preset
from foveate.select.method import Method as AnyMethod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.curate.recipes.recipe import Recipe
    from foveate.pool.rules import Rules

__all__ = ["METHODS", "PRESETS", "Method", "Preset", "check_preset", "get_method"]

METHODS: Methods[Method] = Methods(
    "method",
    ("counts", "embeddings", "attributes", "tokens", "cells"),
    {
        "lc": "foveate.curate.methods.lc:METHOD",
        "fd": "foveate.curate.methods.fd:METHOD",
        "lc-fd": "foveate.curate.methods.lc_fd:METHOD",
        "fa": "foveate.curate.methods.fa:METHOD",
        "cb": "foveate.curate.methods.cb:METHOD",
        "fa-cb": "foveate.curate.methods.fa_cb:METHOD",
        "random": "foveate.curate.methods.random:METHOD",
        "kcenter": "foveate.curate.methods.kcenter:METHOD",
        "facility": "foveate.curate.methods.facility:METHOD",
        "max-herding": "foveate.curate.methods.max_herding:METHOD",
        "typiclust": "foveate.curate.methods.typiclust:METHOD",
        "hierarchical": "foveate.curate.methods.hierarchical:METHOD",
        "semdedup": "foveate.curate.methods.semdedup:METHOD",
        "similar": "foveate.curate.methods.similar:METHOD",
        "column": "foveate.curate.methods.column:METHOD",
        "label-noise": "foveate.curate.methods.label_noise:METHOD",
        "cover-balance": "foveate.curate.recipes.builtin:COVER_BALANCE",
        "cover-diverse": "foveate.curate.recipes.builtin:COVER_DIVERSE",
        "diverse-balance": "foveate.curate.recipes.builtin:DIVERSE_BALANCE",
        "fa-cb-facility": "foveate.curate.recipes.builtin:FA_CB_FACILITY",
    },
    uncommon=("attributes", "tokens"),
)


@dataclass(frozen=True)
class Method(AnyMethod):
    """A ranking method of `curate`.

    It can need "counts", (n, C) int64 pixels per class, "embeddings", (n, d) float, "attributes",
    the `Attributes` of the n tiles, "tokens", (n, t, d) float, dense features of t cells of each
    tile, and "cells", (n, t, C) integer, pixels per class in each of these cells. All arrays
    except the attributes may be memory maps.

    Attributes:
        definition: Definition of a method that is not code, such as a recipe; part of the cache
            key of its rankings. JSON-ready.
        columns: Columns of the attributes that it uses.
        rules: Rules of its selections in addition to those of a run.
        full_depth: For greedy methods: larger pools are ranked only as deep as the budget needs.
    """

    definition: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rules: Rules | None = None
    full_depth: int = 20_000
    registry = METHODS


def get_method(method: str | Method | Recipe) -> Method:
    """Return a method by name; a `Method` is returned unchanged, a `Recipe` as a method.

    Raises:
        UnknownNameError: The method is unknown; the message contains a suggestion.
    """
    if isinstance(method, str):
        return METHODS.get(method)
    from foveate.curate.recipes.recipe import Recipe

    return METHODS.find(method.method if isinstance(method, Recipe) else method)
