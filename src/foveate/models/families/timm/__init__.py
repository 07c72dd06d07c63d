"""Image backbones of timm, from the hub or from a file; see `family`."""

from foveate.models.families.timm.family import FAMILY

__all__ = ["FAMILY"]
