"""What turns embeddings into classes: from texts, or from examples."""

from foveate.models.heads.base import Head, Inputs
from foveate.models.heads.probe import Probe, fit_probe
from foveate.models.heads.zero_shot import TextHead, text_head

__all__ = ["Head", "Inputs", "Probe", "TextHead", "fit_probe", "text_head"]
