"""What a core-set is worth: models are trained on it, and tested on scenes that were not in it.

`settings` says what presets set, `inputs` opens the imagery (`datasets`: that of the paper),
`design` says which tiles train, validate and test, `leaks` that they share no ground, `probe` and
`unet` are the judges, `measure` is one seed of all of it, `tables` what follows, and `paper` the
tables of the core-set paper.
"""
