"""Frozen models, one family one file, and the loop that embeds a pool with them."""

from foveate.models.base import ModelHandle, parse_name
from foveate.models.capabilities import (
    Embeds,
    EmbedsText,
    Generates,
    GivesTokens,
    JudgesAnswers,
    Question,
    Segments,
    TakesSizes,
    TextSpec,
    TokenSpec,
    capabilities,
)
from foveate.models.embed import bind, embed
from foveate.models.families.callable import from_answers, from_callable
from foveate.models.load import FAMILIES, load_model

__all__ = [
    "FAMILIES",
    "Embeds",
    "EmbedsText",
    "Generates",
    "GivesTokens",
    "JudgesAnswers",
    "ModelHandle",
    "Question",
    "Segments",
    "TakesSizes",
    "TextSpec",
    "TokenSpec",
    "bind",
    "capabilities",
    "embed",
    "from_answers",
    "from_callable",
    "load_model",
    "parse_name",
]
