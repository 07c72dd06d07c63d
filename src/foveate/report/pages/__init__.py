"""The pages: a function a kind of run, from its results to a `Page`."""
