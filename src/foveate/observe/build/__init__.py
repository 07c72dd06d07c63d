"""`foveate observe build`: pairs of one's own country, as GL-10M was made (the paper's appendix A).

`polygons` that show concepts by `rules` become `footprints`; `catalogue` and `matching` find HR and
LR for each; `sampling` says which are fetched (`plan`, `cost`), `fetch` reads and checks them,
`building` keeps what came of each, and `finishing` labels tiles and writes pairs that a training
opens.
"""

from foveate.observe.build.job import BuildJob

__all__ = ["BuildJob"]
