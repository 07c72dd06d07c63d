"""Benchmark of core-sets: models are trained on them, and tested on other scenes.

`settings` contains the presets, `inputs` opens the imagery (`datasets`: that of the paper),
`design` divides it into training, validation and test tiles, `leaks` checks that these share no
ground, `probe` and `unet` train and test the models, `measure` runs one seed, `tables` compares
the results, and `paper` makes the tables of the core-set paper.
"""
