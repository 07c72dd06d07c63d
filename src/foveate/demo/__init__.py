"""`foveate demo`: curate, focus and observe on a procedural world, offline."""

from foveate.demo.job import TILE, Demo, learn_objects, run_demo

__all__ = ["TILE", "Demo", "learn_objects", "run_demo"]
