"""Pools: the tiles that can be chosen, with their pixels, masks and class counts."""

from foveate.pool.attributes import Attributes
from foveate.pool.cell_counts import count_cells
from foveate.pool.coordinates import Coordinates, read_coordinates
from foveate.pool.embedding_file import open_embeddings
from foveate.pool.folder import open_pool
from foveate.pool.inspection import Inspection, inspect
from foveate.pool.pool import Pool, Scene
from foveate.pool.rules import Rules
from foveate.pool.scan import scan

__all__ = [
    "Attributes",
    "Coordinates",
    "Inspection",
    "Pool",
    "Rules",
    "Scene",
    "count_cells",
    "inspect",
    "open_embeddings",
    "open_pool",
    "read_coordinates",
    "scan",
]
