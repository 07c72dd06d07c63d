"""The run directory: steps that are not repeated, shards that are resumed."""

from foveate.run.drivers import map_shards
from foveate.run.run import Run
from foveate.run.shards import ShardStore

__all__ = ["Run", "ShardStore", "map_shards"]
