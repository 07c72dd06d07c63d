"""The methods of `curate`, by name."""

from __future__ import annotations

from foveate.select.method import PRESETS, Methods, Preset, check_preset
from foveate.select.method import Method as AnyMethod

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
    },
    uncommon=("attributes", "tokens"),
)


class Method(AnyMethod):
    """A ranking method of `curate`.

    It can need "counts", (n, C) int64 pixels per class, "embeddings", (n, d) float, "attributes",
    the `Attributes` of the n tiles, "tokens", (n, t, d) float, dense features of t cells of each
    tile, and "cells", (n, t, C) whole numbers, pixels per class in each of these cells. All but
    the attributes may be memory maps.
    """

    registry = METHODS


def get_method(method: str | Method) -> Method:
    """Return a method by name; a `Method` comes back as it is.

    Raises:
        UnknownNameError: No such method, with a suggestion.
    """
    return METHODS.find(method)
