"""Results of one image, for all tasks: an object, a table, and a form to store."""

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
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.focus.allowance import Allowance
    from foveate.focus.config import Goal
    from foveate.focus.encode import Work
    from foveate.focus.question import Prediction
    from foveate.focus.refine import SearchResult
    from foveate.raster import SourceInfo

_ALIKE = "The features of all cells are equal: the order of the regions is arbitrary."


@dataclass(frozen=True)
class StoredResult:
    """Result of any task on one image, in the form that is stored.

    Attributes:
        scene: Name of the image.
        info: Description of the image.
        goal: Objective.
        mode: Mode of the look.
        removal: Definition of the removal of a region.
        result: Frontier, scores, regions, and the end of the search.
        work: Model calls and their cost.
        facts: "prediction", "prediction_full" and other facts of the task, JSON-ready.
        columns: Name -> (n,) values of the cells of the frontier, None if missing.
        notes: Notes for the reader.
        mask: (h, w) uint16 rank of the region at every pixel of the image, 0 for none; None for
            tasks without masks.
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
        """(k,) selected cells, the most important first."""
        return self.result.state.chosen.rows

    def cells(self) -> dict[str, Any]:
        """Return the columns of all cells of the frontier, with the ranks of the selected ones."""
        state = self.result.state
        tiles, scorer = state.tiles, state.scorer
        rank = np.zeros(len(tiles), np.int64)
        rank[self.rows] = np.arange(1, self.rows.size + 1)
        windows = np.array(state.features.windows, np.int64).reshape(-1, 4)
        weight: list[float | None] = [None] * len(tiles)
        if state.chosen.weight is not None:
            for row, value in zip(self.rows, state.chosen.weight, strict=True):
                weight[row] = float(value)
        return {
            "rank": [int(r) or None for r in rank],
            "tile_id": tiles.tile_id.tolist(),
            "scene": [self.scene] * len(tiles),
            **{name: windows[:, i] for i, name in enumerate(("y", "x", "h", "w"))},
            "cell_y": tiles.y, "cell_x": tiles.x, "cell_h": tiles.h, "cell_w": tiles.w,
            "level": tiles.level, "valid_share": tiles.valid_share,
            "importance": scorer.single_importance,
            **{name: scorer.singles[:, i] for i, name in enumerate(PARTS)},
            "weight": weight,
            **self.columns,
        }  # fmt: skip

    def table(self) -> pa.Table:
        """Return the cells as a table, with outlines if the image is georeferenced on Earth."""
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
            windows = np.stack([columns[name] for name in ("y", "x", "h", "w")], axis=1)
            outlines = footprints(Tiles.of(self.scene, windows), box, place=place)
            arrays[GEOMETRY] = pa.array(shapely.to_wkb(outlines))
        return pa.table(arrays)

    def summary(self) -> dict[str, Any]:
        """Return the result, JSON-ready; `foveate.focus.store` adds the regions.

        Keys for the headline, besides the `facts` of the task:

        - "passes", "passes_tiling": passes of the look, and of tiling; with a generative model
          tiling computes the loss of every crop.
        - "passes_budget": maximum number of passes, None for no limit. "tiling_advised": whether
          tiling costs no more than the look may.
        - "cells_scoring_higher": number of cells that score higher than the last region but are
          not regions, because they were not refined to crops or exceed the area.
        - "distinct_parents": number of distinct parents of the regions.
        - "query_found": whether the query is in the image, None if this cannot be decided; see
          `Look.query_found`. Only with a query.
        - "epsilon", "loss_set", "loss_full", "epsilon_form": the coreset check, by section 4.2
          ("set": the mixture of the regions) or Eq. 2 ("weighted": the sum of their losses with
          the weights of a sample). "epsilon_relative_to": L(X), or the guard if L(X) is 0.
        - "seen_share": share of the valid image that was encoded at the finest resolution, which
          is that of the overview if "seen_native" is false.
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
            "all_alike": self.result.all_alike,
            "forms": {
                "utility": self.goal.utility, "divergence": self.goal.divergence,
                "density": self.goal.density, "synergy": self.goal.synergy,
                "answer": self.goal.answer, "guard": self.goal.guard,
                "weights": vars(self.goal.weights),
            },
            "rounds": [vars(one) for one in self.result.rounds],
            "notes": [*self.notes, *([_ALIKE] if self.result.all_alike else [])],
        }  # fmt: skip


def _seen_share(result: SearchResult) -> float:
    """Return the share of the image that was encoded at the finest resolution."""
    features, scorer = result.state.features, result.state.scorer
    finest = features.scale == features.scale.min()
    windows = {window: size for window, size, fine in
               zip(features.windows, scorer.sizes, finest, strict=True) if fine}  # fmt: skip
    return float(min(1.0, sum(windows.values()) / scorer.whole_area))


@dataclass(frozen=True, repr=False)
class ImageResult(Tabular):
    """Result of a task on one image: its cells as a table, with the ranks of the selected ones.

    Attributes:
        scene: Name of the image.
        info: Description of the image.
        result: Frontier, scores, regions, and the end of the search.
        work: Model calls and their cost.
        allowance: Limits of the look, and the cost of tiling.
        notes: Notes for the reader.
        goal: Objective.
        mode: Mode of the look.
        removal: Definition of the removal of a region.
    """

    scene: str
    info: SourceInfo
    result: SearchResult
    work: Work
    allowance: Allowance
    notes: tuple[str, ...]
    goal: Goal
    mode: str
    removal: str

    def stored(self) -> StoredResult:
        """Return the result in its stored form."""
        raise NotImplementedError

    def _stored(
        self, facts: Mapping[str, Any], columns: Mapping[str, list[Any]],
        more: Sequence[str] = (), mask: NDArray[np.uint16] | None = None,
    ) -> StoredResult:  # fmt: skip
        """Return the stored form, with the facts and columns of the task, and `more` notes."""
        return StoredResult(
            self.scene, self.info, self.goal, self.mode, self.removal, self.result, self.work,
            facts, columns, (*self.notes, *more), mask,
        )  # fmt: skip

    def __repr__(self) -> str:
        """Return one line: image, number of regions and cells, passes."""
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
        """Signed relative difference of the losses of the regions and the image."""
        return self.result.state.chosen.epsilon

    @property
    def windows(self) -> tuple[Window, ...]:
        """Encoded windows of the selected regions, the most important first."""
        return self.result.windows

    def to_arrow(self) -> pa.Table:
        """Return one row per cell: rank (null: not selected), windows, scores; outlines (WKB).

        ``y``, ``x``, ``h``, ``w`` is the encoded window of a cell, in pixels of the image.
        """
        return self.stored().table()


_MIN_OTHERS = 8  # minimum number of unselected cells to estimate the spread of their fits

_CLEAR = 1.5  # required margin, relative to the expected maximum of n equal cells


@dataclass(frozen=True, repr=False)
class Look(ImageResult):
    """Result of a look at one image.

    Attributes:
        predictions: "full" (the overview), "tile" (the single cell with the highest class
            probability), and those of `foveate.focus.question.answers`; empty without classes.
        query: Text to search for, or "".
        labels: Most likely class of each cell and its probability, two lists of n; None without
            classes.
        fit: (n,) match of each cell with the query: class probability, or cosine; None without a
            query.
        full_fit: Match of the overview with the query.
    """

    predictions: Mapping[str, Prediction]
    query: str
    labels: tuple[list[str], list[float]] | None
    fit: NDArray[np.float64] | None
    full_fit: float | None

    @property
    def prediction(self) -> str | None:
        """Predicted class, by the aggregation of the goal; None without classes."""
        return self.predictions[self.goal.answer].label if self.predictions else None

    @property
    def prediction_full(self) -> str | None:
        """Predicted class of the whole image downsampled to the model's input."""
        return self.predictions["full"].label if self.predictions else None

    @property
    def passes_tiling(self) -> float:
        """Passes of tiling, i.e. of encoding every crop of the image."""
        return self.allowance.tiling

    @property
    def query_found(self) -> bool | None:
        """Whether the query is in the image; None if this cannot be decided.

        With classes: True if the query is the most likely class of a region. With cosines, which
        have no absolute zero: False if no region matches better than the whole image; True if the
        best region exceeds the mean of the n unselected cells by ``1.5 sqrt(2 ln n)`` standard
        deviations, 1.5 times the expected maximum of n equal cells; None in between. None without
        a query.
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
        others = np.delete(self.fit, rows)
        if others.size < _MIN_OTHERS:
            return None
        margin = _CLEAR * np.sqrt(2 * np.log(others.size)) * others.std()
        return True if best > others.mean() + margin else None

    @property
    def selection(self) -> Selection:
        """Selection of regions among all cells of the frontier."""
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
        """Return the look in its stored form."""
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
        more = []
        if self.fit is not None:
            best = int(state.chosen.rows[self.fit[state.chosen.rows].argmax()])
            facts["query"] = {
                "text": self.query, "full": self.full_fit, "best": float(self.fit[best]),
                "unit": "probability" if self.predictions else "cosine",
            }  # fmt: skip
            facts["query_found"] = self.query_found
            columns["fit"] = self.fit.tolist()
            if self.full_fit is not None and self.fit[best] <= self.full_fit:
                more.append("No region matches the query better than the whole image.")
        if not self.predictions and self.result.state.scorer.model.whole <= NONE:
            guard = self.goal.guard
            more.append(f"L(X) is 0 without classes: losses are relative to {guard:g}.")
        if self.labels is not None:
            columns["label"], columns["probability"] = self.labels
        return self._stored(facts, columns, more)
