"""What a core-set is worth: models are trained on it, and tested on scenes that were not in it.

`design` says which tiles train and which test, `leaks` that they share no ground, `cells` and
`probe` or `unet` are the judges, `measure` one seed of all of it, `tables` what follows.
"""
