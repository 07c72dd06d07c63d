"""Models of transformers, from the hub or from a folder; see `foveate.models.hf.family`."""

from foveate.models.hf.family import FAMILY

__all__ = ["FAMILY"]
