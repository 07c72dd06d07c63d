"""The run directory: cached steps and resumable shards."""

from foveate.run.drivers import Placement, map_shards
from foveate.run.run import Run
from foveate.run.shards import ShardStore, load_embeddings

__all__ = ["Placement", "Run", "ShardStore", "load_embeddings", "map_shards"]
