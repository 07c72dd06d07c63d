"""Frozen models, embedding of pools, and samplers of selections for PyTorch."""

from foveate.models.answer_head import answer_classes
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
from foveate.models.dense import dense_features
from foveate.models.embed import bind, embed
from foveate.models.families.callable import from_answers, from_callable
from foveate.models.geo_sampler import geo_sampler
from foveate.models.hand_off import balanced_sampler, balanced_weights, torch_subset
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
    "answer_classes",
    "balanced_sampler",
    "balanced_weights",
    "bind",
    "capabilities",
    "dense_features",
    "embed",
    "from_answers",
    "from_callable",
    "geo_sampler",
    "load_model",
    "parse_name",
    "torch_subset",
]
