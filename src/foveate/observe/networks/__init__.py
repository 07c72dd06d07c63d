"""The networks of `observe`: the LR fill, the predictor and the sampler, with their losses.

They work on stored features, not on pixels, and are small. torch is imported here at the top of
files: import this package where it is used.
"""
