"""The pages: one function per kind of run, from its results to a `Page`."""
