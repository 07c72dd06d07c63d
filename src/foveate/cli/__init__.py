"""The command line. It parses, calls the library and prints; it decides nothing."""

from foveate.cli.main import main

__all__ = ["main"]
