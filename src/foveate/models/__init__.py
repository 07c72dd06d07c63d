"""Frozen models, one family one file, and the loop that embeds a pool with them."""

from foveate.models.base import Embeds, ModelHandle, parse_name
from foveate.models.callable import from_callable
from foveate.models.embedding import bind, embed
from foveate.models.load import FAMILIES, load_model

__all__ = [
    "FAMILIES",
    "Embeds",
    "ModelHandle",
    "bind",
    "embed",
    "from_callable",
    "load_model",
    "parse_name",
]
