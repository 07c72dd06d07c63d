"""Pools: the tiles that can be chosen, with their pixels, masks and class counts."""

from foveate.pool.coordinates import Coordinates, read_coordinates
from foveate.pool.folder import open_pool
from foveate.pool.inspection import Inspection, inspect
from foveate.pool.pool import Pool, Scene
from foveate.pool.scan import scan

__all__ = [
    "Coordinates",
    "Inspection",
    "Pool",
    "Scene",
    "inspect",
    "open_pool",
    "read_coordinates",
    "scan",
]
