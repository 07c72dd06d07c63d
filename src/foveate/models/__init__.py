"""Frozen models, one family one file, and the loop that embeds a pool with them."""

from foveate.models.base import ModelHandle, parse_name
from foveate.models.binding import bind
from foveate.models.callable import from_callable
from foveate.models.capabilities import (
    Embeds,
    EmbedsText,
    Generates,
    GivesTokens,
    Question,
    Segments,
    TextSpec,
    TokenSpec,
    capabilities,
)
from foveate.models.embedding import embed
from foveate.models.load import FAMILIES, load_model

__all__ = [
    "FAMILIES",
    "Embeds",
    "EmbedsText",
    "Generates",
    "GivesTokens",
    "ModelHandle",
    "Question",
    "Segments",
    "TextSpec",
    "TokenSpec",
    "bind",
    "capabilities",
    "embed",
    "from_callable",
    "load_model",
    "parse_name",
]
