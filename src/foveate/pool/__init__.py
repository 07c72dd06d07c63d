"""Pools: the tiles that can be chosen, with their pixels, masks and class counts."""

from foveate.pool.coordinates import Coordinates, read_coordinates
from foveate.pool.folder import open_pool
from foveate.pool.pool import Pool, Scene
from foveate.pool.scan import scan

__all__ = ["Coordinates", "Pool", "Scene", "open_pool", "read_coordinates", "scan"]
