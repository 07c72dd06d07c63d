"""What a look at one image comes to, whatever was done with its regions: `look`, `ask`, `segment`.

The regions of all three are cells with scores; what the model made of them differs, and is in
`facts` for the record and in `columns` region by region.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.focus.goals import PARTS
from foveate.focus.importance import NONE, relative_to
from foveate.focus.modes.base import areas
from foveate.focus.refine import STOPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.focus.eye import Work
    from foveate.focus.goals import Goal
    from foveate.focus.looking import Look
    from foveate.focus.refine import Found
    from foveate.raster import SourceInfo

_ALIKE = "The model sees no difference between the cells: the order of the regions says nothing."


@dataclass(frozen=True)
class Outcome:
    """A look at one image, ready to be stored.

    Attributes:
        scene: Name of the image.
        info: What is known of the image.
        goal: What for.
        mode: How it was paid.
        removal: What it means that a region is taken away.
        found: Frontier, scores, regions, and how the search ended.
        work: What the model had to do.
        facts: "prediction", "prediction_full" and what else belongs to the task, JSON-ready.
        columns: Name -> (n,) values for the cells of the frontier, None where there is none.
        notes: What the reader should know.
        mask: (h, w) uint16 number of the region at every pixel of the image, 0 for none; None
            unless the task makes masks.
    """

    scene: str
    info: SourceInfo
    goal: Goal
    mode: str
    removal: str
    found: Found
    work: Work
    facts: Mapping[str, Any]
    columns: Mapping[str, list[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mask: NDArray[np.uint16] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """(k,) chosen cells, the most important first."""
        return self.found.state.chosen.rows

    def cells(self) -> dict[str, Any]:
        """Return the columns of all cells of the frontier, the chosen ones with their rank."""
        state = self.found.state
        tiles, scorer = state.tiles, state.scorer
        rank = np.zeros(len(tiles), np.int64)
        rank[self.rows] = np.arange(1, self.rows.size + 1)
        shown = np.array(state.seen.windows, np.int64).reshape(-1, 4)
        weight: list[float | None] = [None] * len(tiles)
        if state.chosen.weight is not None:
            for row, value in zip(self.rows, state.chosen.weight, strict=True):
                weight[row] = float(value)
        found: dict[str, Any] = {
            "rank": [int(r) or None for r in rank],
            "tile_id": tiles.tile_id.tolist(),
            "scene": [self.scene] * len(tiles),
            **{name: shown[:, i] for i, name in enumerate(("y", "x", "h", "w"))},
            "cell_y": tiles.y, "cell_x": tiles.x, "cell_h": tiles.h, "cell_w": tiles.w,
            "level": tiles.level, "valid_share": tiles.valid_share,
            "importance": scorer.single_importance,
            **{name: scorer.singles[:, i] for i, name in enumerate(PARTS)},
            "weight": weight,
            **self.columns,
        }  # fmt: skip
        return found

    def summary(self) -> dict[str, Any]:
        """Return the result, JSON-ready; regions are added by what stores it.

        What a headline has to know, besides `facts` of the task:

        - "passes", "passes_tiling": spent, and what showing the model every crop would take; of a
          generative model what judging every crop would.
        - "passes_budget": most passes, None for no limit. "tiling_advised": whether tiling costs
          no more than the look might.
        - "cells_scoring_higher": cells that score higher than the last of the regions and are
          not among them, because the search had not come to their crops or for their area.
        - "distinct_parents": cells that the regions were cut out of; 1 where all of them are
          parts of one.
        - "query_found": whether the query is in the image, None where that cannot be said; see
          `foveate.focus.looking.Look.query_found`. Only with a query.
        - "epsilon", "loss_set", "loss_full", "epsilon_form": the coreset check, and whether it
          is that of section 4.2 ("set": the mixture of the regions) or Eq. 2 ("weighted": the
          sum of their losses with the weights of a sample). "epsilon_relative_to": L(X), or the
          guard where that is 0.
        - "seen_share": share of the valid image that was seen at the finest resolution of all,
          which is the overview's where "seen_native" is false.
        """
        state, chosen = self.found.state, self.found.state.chosen
        scorer, area = state.scorer, areas(state.tiles)
        loss_set, loss_full = scorer.compared(chosen.rows, chosen.weight)
        height, width = self.info.shape
        return {
            "image": self.scene,
            "shape": [height, width],
            "goal": self.goal.name,
            "mode": self.mode,
            **self.facts,
            "passes": round(self.work.passes, 6),
            "remembered": round(self.work.remembered, 6),
            "images": self.work.images,
            "calls": self.work.calls,
            "seconds": round(self.work.seconds, 3),
            "epsilon": chosen.epsilon,
            "coreset_ok": chosen.ok,
            "epsilon_form": "set" if chosen.weight is None else "weighted",
            "epsilon_relative_to": relative_to(loss_full, self.goal.guard),
            "loss_full": loss_full,
            "loss_set": loss_set,
            "cells_scoring_higher": self.found.scoring_higher,
            "distinct_parents": self.found.distinct_parents,
            "area_share": float(scorer.sizes[chosen.rows].sum() / scorer.whole_area),
            "cell_share": float(area[chosen.rows].sum() / area.sum()),
            "seen_share": _seen_share(self.found),
            "seen_native": bool((state.seen.scale < 0).any()),
            "cells": len(state.tiles),
            "depth": int(state.tiles.level.max()),
            "stop": self.found.stop,
            "stop_reason": STOPS[self.found.stop],
            "removal": self.removal,
            "near_ties": self.found.near_ties,
            "forms": {
                "utility": self.goal.utility, "divergence": self.goal.divergence,
                "density": self.goal.density, "synergy": self.goal.synergy,
                "answer": self.goal.answer, "guard": self.goal.guard,
                "weights": vars(self.goal.weights),
            },
            "rounds": [vars(one) for one in self.found.rounds],
            "notes": [*self.notes, *([_ALIKE] if self.found.all_alike else [])],
        }  # fmt: skip


def _seen_share(found: Found) -> float:
    """Return the share of the image that was seen at the finest resolution of all."""
    seen, scorer = found.state.seen, found.state.scorer
    finest = seen.scale == seen.scale.min()
    windows = {window: size for window, size, fine in
               zip(seen.windows, scorer.sizes, finest, strict=True) if fine}  # fmt: skip
    return float(min(1.0, sum(windows.values()) / scorer.whole_area))


def of_look(look: Look, scene: str, info: SourceInfo) -> Outcome:
    """Return the outcome of `foveate.focus.looking.look_at`."""
    state = look.found.state
    facts: dict[str, Any] = {
        "prediction": look.prediction,
        "prediction_full": look.prediction_full,
        "prediction_tile": look.said["tile"].label if look.said else None,
        **look.allowance.facts(),
        "answers": {
            kind: {"label": said.label, "probability": said.probability,
                   "next": [list(pair) for pair in said.ranking[1:4]]}
            for kind, said in look.said.items()
        },
    }  # fmt: skip
    columns: dict[str, list[Any]] = {}
    notes = look.notes
    if look.fit is not None:
        best = int(state.chosen.rows[look.fit[state.chosen.rows].argmax()])
        facts["query"] = {
            "text": look.query, "full": look.full_fit, "best": float(look.fit[best]),
            "unit": "probability" if look.said else "cosine",
        }  # fmt: skip
        facts["query_found"] = look.query_found
        columns["fit"] = look.fit.tolist()
        if look.full_fit is not None and look.fit[best] <= look.full_fit:
            notes = (*notes, "No region fits the query better than the whole image does.")
    if not look.said and look.found.state.scorer.model.whole <= NONE:
        relative = look.goal.guard
        notes = (*notes, f"L(X) is 0 without classes: losses are relative to {relative:g}.")
    if look.labels is not None:
        columns["label"], columns["probability"] = look.labels
    return Outcome(
        scene, info, look.goal, look.mode, look.removal, look.found, look.work, facts, columns,
        notes,
    )  # fmt: skip
