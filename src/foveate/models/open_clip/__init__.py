"""Models of open_clip, from the hub or from a file; see `foveate.models.open_clip.family`."""

from foveate.models.open_clip.family import FAMILY

__all__ = ["FAMILY"]
