"""The ranking methods of `curate`, one file each.

A method is a function ``(ids, seed, **needed arrays, **options) -> Ranking`` wrapped in
a `Method` that declares the arrays it needs and the options of its presets.
"""

from foveate.curate.methods.base import METHODS, Method, get_method

__all__ = ["METHODS", "Method", "get_method"]
