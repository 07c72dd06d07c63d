"""The ranking methods of `curate`, one file each.

A method is a function ``(ids, seed, progress, **needed arrays, **options) -> Ranking`` wrapped in
a `Method` that says which arrays it needs and which options its presets set.
"""

from foveate.curate.methods.base import METHODS, Method, get_method

__all__ = ["METHODS", "Method", "get_method"]
