"""A tiny world with pairs and a trained observer, made once a session.

In a test module: ``from observing import observing  # noqa: F401``, and ask for the fixture; each
function that does has ``# noqa: F811``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from foveate.observe.jobs import PrepareJob, TrainJob
from foveate.world import WorldSpec, write_world

if TYPE_CHECKING:
    from pathlib import Path

_MADE: list[Observing] = []  # a session fixture is made once in each module that imports it
CONCEPTS = ["forest", "road", {"name": "cropland", "min_gsd": 10.0}]


@dataclass(frozen=True)
class Observing:
    """Where everything lies; tests read it and write elsewhere.

    Attributes:
        world: Imagery and masks: 8 scenes of 160 px at 1 m, 3 bands, uint8.
        pairs: Pairs of it: 5 x 5 tiles of 32 px; overviews of 40 px at 4 m, so 8 px a tile.
        model: A run of `foveate observe train`: builtin, nano, 2 epochs.
    """

    world: Path
    pairs: Path
    model: Path

    @property
    def overviews(self) -> Path:
        """The folder of the overviews of the pairs."""
        return self.pairs / "overviews"


@pytest.fixture(scope="session")
def observing(tmp_path_factory):
    """The tiny world; modules that import this fixture share one."""
    if _MADE:
        return _MADE[0]
    root = tmp_path_factory.getbasetemp() / "observing"
    found = Observing(root / "world", root / "pairs", root / "model")
    if not (found.model / "model/observer.json").exists():
        spec = WorldSpec(scenes=8, size=160, bands=3, seed=5, cloud=0.0, nodata_border=0.0)
        write_world(found.world, spec)
        job = PrepareJob(
            images=[str(found.world / "images")], masks=[str(found.world / "masks")],
            classes=str(found.world / "classes.yaml"), tiles=(5, 5), ratio=4,
            concepts=[c if isinstance(c, dict) else {"name": c} for c in CONCEPTS],
        )  # fmt: skip
        job.run(found.pairs)
        TrainJob(
            pairs=str(found.pairs), size="nano", epochs=2, supervision="additive", device="cpu"
        ).run(
            found.model,
        )
    _MADE.append(found)
    return found
