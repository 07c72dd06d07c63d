"""Dense features and labels of cells for pools of plain arrays."""

import numpy as np


def dense(n, seed=0):
    """Return what `rank` takes for methods that look at places: (n, 4, 3) each, by keyword."""
    draw = np.random.default_rng([seed, n])
    tokens = draw.random((n, 4, 3)).astype(np.float16)
    return {"tokens": tokens, "cells": draw.integers(0, 9, (n, 4, 3))}
