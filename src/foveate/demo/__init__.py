"""The whole job on the procedural world: what `foveate demo` runs, offline."""

from foveate.demo.job import TILE, Demo, learn_objects, run_demo

__all__ = ["TILE", "Demo", "learn_objects", "run_demo"]
