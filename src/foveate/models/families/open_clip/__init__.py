"""Models of open_clip, from the hub or from a file; see `family`."""

from foveate.models.families.open_clip.family import FAMILY

__all__ = ["FAMILY"]
