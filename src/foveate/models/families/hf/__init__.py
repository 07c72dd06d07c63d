"""Models of transformers, from the hub or from a folder; see `family`."""

from foveate.models.families.hf.family import FAMILY

__all__ = ["FAMILY"]
