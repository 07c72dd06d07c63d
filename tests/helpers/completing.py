"""A selection on the tiny world, and its observer taught to read texts, made once a session.

In a test module: ``from completing import completing  # noqa: F401``; it needs `observing`, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from colour_words import colour_words, register

from foveate.models import embed, load_model
from foveate.observe.data.pairs import open_pairs
from foveate.observe.features import Encoder, encode_tiles
from foveate.observe.jobs import SelectJob
from foveate.observe.networks.heads import ToText
from foveate.observe.observer import Observer
from foveate.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


_MADE: list[Completing] = []  # a session fixture is made once in each module that imports it


@dataclass(frozen=True)
class Completing:
    """Where everything lies; tests read it and write elsewhere.

    Attributes:
        world: Imagery and masks.
        pairs: Pairs of it: 8 scenes of 5 x 5 tiles.
        model: The observer of `observing`, which reads texts by "colours" in this process.
        run: A selection of 24 tiles of the pairs by that observer.
        hr: (n, k * k, d) reduced HR tokens of all tiles, in the order of the pairs.
    """

    world: Path
    pairs: Path
    model: Path
    run: Path
    hr: np.ndarray


def _high(observer, pairs, store):
    with Run.create(store) as run:
        side = observer.record.shape.hr_side
        return observer.hr(encode_tiles(pairs, observer.build("hr"), side, run=run).tokens)


@pytest.fixture(scope="session")
def completing(observing, tmp_path_factory):
    """The selection; modules that import this fixture share one."""
    register()
    if _MADE:
        return _MADE[0]
    root = tmp_path_factory.getbasetemp() / "completing"
    pairs, observer = open_pairs(observing.pairs), Observer.load(observing.model, device="cpu")
    hr = _high(observer, pairs, observing.pairs)
    found = Completing(observing.world, observing.pairs, root / "model", root / "run", hr)
    if not found.run.exists():
        vectors = embed(pairs.pool, colour_words()).x
        text = Encoder("colours", "", colour_words().spec, "uint8")
        record = replace(observer.record, encoders={**observer.record.encoders, "text": text})
        way = ToText.fit(hr.mean(axis=1), vectors)
        handles = {role: observer.handle(role) for role in ("lr", "hr")}
        taught = replace(observer, record=record, to_text=way)
        taught.save(found.model / "model", {**handles, "text": load_model("colours")})
        chosen = SelectJob(
            images=[str(found.pairs)], observer=str(found.model), budget="24", device="cpu"
        )
        chosen.run(found.run)
    _MADE.append(found)
    return found
