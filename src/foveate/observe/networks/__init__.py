"""The networks of `observe`: the LR fill, the predictor and the sampler, with their losses.

They are small networks on stored features, not on pixels. Modules of this package import torch at
the top, so import them only where they are used.
"""
