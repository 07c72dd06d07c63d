"""Results of one image, whatever was done with its regions: an object, a table, what is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.focus.config import PARTS
from foveate.focus.importance import NONE, relative_to
from foveate.focus.partition import areas
from foveate.focus.refine import STOPS
from foveate.grid import Tiles, Window
from foveate.models.heads import same_name
from foveate.pool.footprints import footprints
from foveate.selection import Selection
from foveate.tables import GEOMETRY, Tabular

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.focus.config import Allowance, Goal, Mode
    from foveate.focus.encode import Work
    from foveate.focus.question import Prediction
    from foveate.focus.refine import SearchResult
    from foveate.raster import SourceInfo

_ALIKE = "The model sees no difference between the cells: the order of the regions says nothing."


@dataclass(frozen=True)
class StoredResult:
    """Result of any task on one image, ready to be stored.

    Attributes:
        scene: Name of the image.
        info: What is known of the image.
        goal: What for.
        mode: How it was paid.
        removal: What it means that a region is taken away.
        result: Frontier, scores, regions, and how the search ended.
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
    result: SearchResult
    work: Work
    facts: Mapping[str, Any]
    columns: Mapping[str, list[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mask: NDArray[np.uint16] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """(k,) chosen cells, the most important first."""
        return self.result.state.chosen.rows

    def cells(self) -> dict[str, Any]:
        """Return the columns of all cells of the frontier, the chosen ones with their rank."""
        state = self.result.state
        tiles, scorer = state.tiles, state.scorer
        rank = np.zeros(len(tiles), np.int64)
        rank[self.rows] = np.arange(1, self.rows.size + 1)
        shown = np.array(state.features.windows, np.int64).reshape(-1, 4)
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

    def table(self) -> pa.Table:
        """Return the cells as a table; with outlines where the image lies on the Earth."""
        import pyarrow as pa
        import shapely

        columns = self.cells()
        kinds = {"rank": pa.int64(), "weight": pa.float64(), "label": pa.string()}
        arrays = {
            name: pa.array(values, type=kinds.get(name), from_pandas=True)
            for name, values in columns.items()
        }
        box, place = self.info.geobox, self.info.place
        if box is not None and place.kind == "earth":
            shown = np.stack([columns[name] for name in ("y", "x", "h", "w")], axis=1)
            outlines = footprints(Tiles.of(self.scene, shown), box, place=place)
            arrays[GEOMETRY] = pa.array(shapely.to_wkb(outlines))
        return pa.table(arrays)

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
          `Look.query_found`. Only with a query.
        - "epsilon", "loss_set", "loss_full", "epsilon_form": the coreset check, and whether it
          is that of section 4.2 ("set": the mixture of the regions) or Eq. 2 ("weighted": the
          sum of their losses with the weights of a sample). "epsilon_relative_to": L(X), or the
          guard where that is 0.
        - "seen_share": share of the valid image that was seen at the finest resolution of all,
          which is the overview's where "seen_native" is false.
        """
        state, chosen = self.result.state, self.result.state.chosen
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
            "cells_scoring_higher": self.result.scoring_higher,
            "distinct_parents": self.result.distinct_parents,
            "area_share": float(scorer.sizes[chosen.rows].sum() / scorer.whole_area),
            "cell_share": float(area[chosen.rows].sum() / area.sum()),
            "seen_share": _seen_share(self.result),
            "seen_native": bool((state.features.scale < 0).any()),
            "cells": len(state.tiles),
            "depth": int(state.tiles.level.max()),
            "stop": self.result.stop,
            "stop_reason": STOPS[self.result.stop],
            "removal": self.removal,
            "near_ties": self.result.near_ties,
            "forms": {
                "utility": self.goal.utility, "divergence": self.goal.divergence,
                "density": self.goal.density, "synergy": self.goal.synergy,
                "answer": self.goal.answer, "guard": self.goal.guard,
                "weights": vars(self.goal.weights),
            },
            "rounds": [vars(one) for one in self.result.rounds],
            "notes": [*self.notes, *([_ALIKE] if self.result.all_alike else [])],
        }  # fmt: skip


def _seen_share(found: SearchResult) -> float:
    """Return the share of the image that was seen at the finest resolution of all."""
    features, scorer = found.state.features, found.state.scorer
    finest = features.scale == features.scale.min()
    windows = {window: size for window, size, fine in
               zip(features.windows, scorer.sizes, finest, strict=True) if fine}  # fmt: skip
    return float(min(1.0, sum(windows.values()) / scorer.whole_area))


@dataclass(frozen=True, repr=False)
class ImageResult(Tabular):
    """Result of a task on one image: its cells as a table, the chosen ones with their rank.

    Attributes:
        scene: Name of the image.
        info: What is known of the image.
        result: Frontier, scores, regions, and how the search ended.
        work: What the models had to do.
        allowance: What they might do, and what showing them every crop would take.
        notes: What the reader should know.
    """

    scene: str
    info: SourceInfo
    result: SearchResult
    work: Work
    allowance: Allowance
    notes: tuple[str, ...]

    def stored(self) -> StoredResult:
        """Return the result, ready to be stored."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return a line: the image, the regions among the cells, the passes."""
        regions, cells = len(self.windows), len(self.result.state.tiles)
        return (
            f"{type(self).__name__}({self.scene}: {regions} of {cells} cells, "
            f"{self.passes:g} passes)"
        )

    @property
    def passes(self) -> float:
        """Passes of all models; see `foveate.focus.encode` and `foveate.focus.vlm`."""
        return self.work.passes

    @property
    def epsilon(self) -> float:
        """Relative difference of the loss of the regions from the image's, with its sign."""
        return self.result.state.chosen.epsilon

    @property
    def windows(self) -> tuple[Window, ...]:
        """What was shown of each chosen region, the most important first."""
        return self.result.windows

    def to_arrow(self) -> pa.Table:
        """Return a row for each cell: rank (null: not chosen), places, scores; outlines (WKB).

        ``y``, ``x``, ``h``, ``w`` is what was shown of a cell, in pixels of the image.
        """
        return self.stored().table()


_ENOUGH = 8  # cells that were not chosen, to say how far their fits spread

_CLEAR = 1.5  # times what the best of n equals stands out by, so that a fit says something


@dataclass(frozen=True, repr=False)
class Look(ImageResult):
    """Result of a look at one image.

    Attributes:
        goal: What for.
        mode: How it paid.
        removal: What it means that a region is taken away.
        predictions: "full" (the overview), "tile" (the surest single cell), and the answers of
            `foveate.focus.question.answers`; empty without classes.
        query: Text that was asked for, or "".
        labels: Most likely class of each cell and its probability, two lists of n; None without
            classes.
        fit: (n,) how well each cell fits the query: probability among the classes, or cosine;
            None without a query.
        full_fit: The same of the overview.
    """

    goal: Goal
    mode: Mode
    removal: str
    predictions: Mapping[str, Prediction]
    query: str
    labels: tuple[list[str], list[float]] | None
    fit: NDArray[np.float64] | None
    full_fit: float | None

    @property
    def prediction(self) -> str | None:
        """The class by the goal's kind of answer; None without classes."""
        return self.predictions[self.goal.answer].label if self.predictions else None

    @property
    def prediction_full(self) -> str | None:
        """The class by the whole image squeezed into the model's input."""
        return self.predictions["full"].label if self.predictions else None

    @property
    def passes_tiling(self) -> float:
        """Passes that showing the model every crop of the image would take."""
        return self.allowance.tiling

    @property
    def query_found(self) -> bool | None:
        """Whether the query is in the image, as far as this can be said.

        Among classes: True where it is the most likely class of a region. With a cosine, which
        has no zero: False where no region fits better than the whole image does; True where the
        best region stands out from the n cells that were not chosen by ``1.5 sqrt(2 ln n)`` of
        their spread, half as much again as the best of so many that are alike would; None
        between the two. None without a query.
        """
        if self.fit is None or self.full_fit is None:
            return None
        state = self.result.state
        rows = state.chosen.rows
        if self.labels is not None:
            names = {same_name(self.labels[0][row]) for row in rows.tolist()}
            return same_name(self.query) in names
        best = float(self.fit[rows].max())
        if best <= self.full_fit:
            return False
        rest = np.delete(self.fit, rows)
        if rest.size < _ENOUGH:
            return None
        by = _CLEAR * np.sqrt(2 * np.log(rest.size)) * rest.std()
        return True if best > rest.mean() + by else None

    @property
    def selection(self) -> Selection:
        """The chosen cells among all cells of the frontier."""
        state = self.result.state
        rows = state.chosen.rows
        return Selection(
            rows=rows,
            n=len(state.tiles),
            score=state.scorer.single_importance[rows],
            weight=state.chosen.weight,
            ids=state.tiles.tile_id,
            spent={
                "tiles": float(rows.size),
                "pixels": float(state.scorer.sizes[rows].sum()),
                "passes": self.passes,
            },
            meta={"goal": self.goal.name, "mode": self.mode, "stop": self.result.stop},
        )

    def stored(self) -> StoredResult:
        """Return the look, ready to be stored."""
        state = self.result.state
        facts: dict[str, Any] = {
            "prediction": self.prediction,
            "prediction_full": self.prediction_full,
            "prediction_tile": self.predictions["tile"].label if self.predictions else None,
            **self.allowance.facts(),
            "answers": {
                kind: {"label": prediction.label, "probability": prediction.probability,
                       "next": [list(pair) for pair in prediction.ranking[1:4]]}
                for kind, prediction in self.predictions.items()
            },
        }  # fmt: skip
        columns: dict[str, list[Any]] = {}
        notes = self.notes
        if self.fit is not None:
            best = int(state.chosen.rows[self.fit[state.chosen.rows].argmax()])
            facts["query"] = {
                "text": self.query, "full": self.full_fit, "best": float(self.fit[best]),
                "unit": "probability" if self.predictions else "cosine",
            }  # fmt: skip
            facts["query_found"] = self.query_found
            columns["fit"] = self.fit.tolist()
            if self.full_fit is not None and self.fit[best] <= self.full_fit:
                notes = (*notes, "No region fits the query better than the whole image does.")
        if not self.predictions and self.result.state.scorer.model.whole <= NONE:
            relative = self.goal.guard
            notes = (*notes, f"L(X) is 0 without classes: losses are relative to {relative:g}.")
        if self.labels is not None:
            columns["label"], columns["probability"] = self.labels
        return StoredResult(
            self.scene, self.info, self.goal, self.mode, self.removal, self.result, self.work,
            facts, columns, notes,
        )  # fmt: skip
