"""`foveate observe build`: build pairs for any region, as in appendix A of the paper (GL-10M).

`polygons` reads polygons that match the `rules`, and `footprints` places footprints around them.
`planning` reads the catalogues, `matching` finds HR and LR for each footprint, `sampling` selects
footprints, and `plan` and `cost` describe the result. `fetch` reads and checks the imagery of a
pair, `building` records the result of each pair, and `finishing` labels the tiles and writes pairs
for training.
"""

from foveate.observe.build.job import BuildJob

__all__ = ["BuildJob"]
