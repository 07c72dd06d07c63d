"""The result of an image, whatever was done with its regions, and the files that store it.

``looks/NAME.json`` the result, as ``--json`` prints it; ``looks/NAME.parquet`` all cells with
their scores; ``maps/NAME.tif`` the importance as a cloud-optimised GeoTIFF; ``masks/NAME.tif``
masks; ``thumbs/NAME.jpg`` the image, small; ``crops/NAME-01.jpg`` ... the regions. For all images
``regions.parquet`` (GeoParquet where they are georeferenced) and then also ``regions.geojson``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import (
    read_json,
    read_parquet,
    write_bytes,
    write_geojson,
    write_json,
    write_parquet,
)
from foveate.focus.config import PARTS
from foveate.focus.importance import NONE, relative_to
from foveate.focus.partition import areas
from foveate.focus.refine import STOPS
from foveate.grid import Tiles, Window
from foveate.pool.antimeridian import middles
from foveate.pool.check import note_frames
from foveate.pool.footprints import footprints
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb
from foveate.raster import find_frame, write_cog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.focus.config import Goal
    from foveate.focus.encode import Work
    from foveate.focus.look import Look
    from foveate.focus.refine import SearchResult
    from foveate.pool.notes import Note
    from foveate.raster import Source, SourceInfo


_ALIKE = "The model sees no difference between the cells: the order of the regions says nothing."


@dataclass(frozen=True)
class LookResult:
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
          `foveate.focus.look.Look.query_found`. Only with a query.
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


def look_result(look: Look, scene: str, info: SourceInfo) -> LookResult:
    """Return the outcome of `foveate.focus.look.look_at`."""
    state = look.result.state
    facts: dict[str, Any] = {
        "prediction": look.prediction,
        "prediction_full": look.prediction_full,
        "prediction_tile": look.predictions["tile"].label if look.predictions else None,
        **look.allowance.facts(),
        "answers": {
            kind: {"label": prediction.label, "probability": prediction.probability,
                   "next": [list(pair) for pair in prediction.ranking[1:4]]}
            for kind, prediction in look.predictions.items()
        },
    }  # fmt: skip
    columns: dict[str, list[Any]] = {}
    notes = look.notes
    if look.fit is not None:
        best = int(state.chosen.rows[look.fit[state.chosen.rows].argmax()])
        facts["query"] = {
            "text": look.query, "full": look.full_fit, "best": float(look.fit[best]),
            "unit": "probability" if look.predictions else "cosine",
        }  # fmt: skip
        facts["query_found"] = look.query_found
        columns["fit"] = look.fit.tolist()
        if look.full_fit is not None and look.fit[best] <= look.full_fit:
            notes = (*notes, "No region fits the query better than the whole image does.")
    if not look.predictions and look.result.state.scorer.model.whole <= NONE:
        relative = look.goal.guard
        notes = (*notes, f"L(X) is 0 without classes: losses are relative to {relative:g}.")
    if look.labels is not None:
        columns["label"], columns["probability"] = look.labels
    return LookResult(
        scene, info, look.goal, look.mode, look.removal, look.result, look.work, facts, columns,
        notes,
    )  # fmt: skip


MAP_SIDE = 2048  # longest side of a map, pixels


def heat_map(
    tiles: Tiles, score: NDArray[np.floating], shape: tuple[int, int], side: int = MAP_SIDE
) -> NDArray[np.float32]:
    """Paint the score of each cell over its place.

    Args:
        tiles: n cells of one image that do not overlap.
        score: (n,) their importance.
        shape: ``(height, width)`` of the image in pixels.
        side: Longest side of the map, pixels; never more than the image's.

    Returns:
        (h, w) float32, NaN where there is no cell (nodata). A cell smaller than a pixel of the
        map keeps one pixel, where no other cell is painted after it.
    """
    factor = min(1.0, side / max(shape))
    size = max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
    found = np.full(size, np.nan, np.float32)
    down, across = size[0] / shape[0], size[1] / shape[1]
    for i in range(len(tiles)):
        window = tiles.window(i)
        top, left = round(window.y * down), round(window.x * across)
        bottom = max(top + 1, round((window.y + window.h) * down))
        right = max(left + 1, round((window.x + window.w) * across))
        found[top:bottom, left:right] = score[i]
    return found


def map_geobox(
    geobox: GeoBox | None, shape: tuple[int, int], size: tuple[int, int]
) -> GeoBox | None:
    """Return the georeference of a map of another size over the same ground.

    Args:
        geobox: Georeference of the image, or None.
        shape: ``(height, width)`` of the image in pixels.
        size: ``(height, width)`` of the map in pixels.
    """
    if geobox is None:
        return None
    from affine import Affine
    from odc.geo.geobox import GeoBox

    scale = Affine.scale(shape[1] / size[1], shape[0] / size[0])
    return GeoBox(size, geobox.affine @ scale, geobox.crs)


SCHEMA = 1

REGIONS, REGIONS_GEOJSON = "regions.parquet", "regions.geojson"

_FOOTER = b"foveate"

_PICTURE, _CROP = 1280, 448  # longest sides, pixels


def save_look(path: Path, outcome: LookResult, source: Source, bands: Sequence[int]) -> list[str]:
    """Write everything of one image.

    Args:
        path: Run directory.
        outcome: The result.
        source: The image, for pictures.
        bands: 1-based bands that the user chose; the first three are shown.

    Returns:
        The files, relative to `path`.
    """
    name = file_name(outcome.scene)
    info = outcome.info
    cells = _cell_table(outcome)
    write_parquet(path / f"looks/{name}.parquet", cells)
    state = outcome.result.state
    heat = heat_map(state.tiles, state.scorer.single_importance, info.shape)
    write_cog(
        path / f"maps/{name}.tif", heat, geobox=map_geobox(info.geobox, info.shape, heat.shape),
        nodata=float("nan"), descriptions=("importance",),
    )  # fmt: skip
    files = [f"looks/{name}.parquet", f"maps/{name}.tif"]
    if outcome.mask is not None:
        file = path / f"masks/{name}.tif"
        write_cog(file, outcome.mask, geobox=info.geobox, nodata=0, overviews="nearest")
        files.append(f"masks/{name}.tif")
    use = display_bands(bands, info.bands)
    limits = display_range(source, use)
    small = read_small(source, None, use, _PICTURE)
    write_bytes(path / f"thumbs/{name}.jpg", jpeg(to_rgb(small, limits)), durable=False)
    files.append(f"thumbs/{name}.jpg")
    for rank, row in enumerate(outcome.rows, start=1):
        raster = read_small(source, state.features.windows[row], use, _CROP)
        file = f"crops/{name}-{rank:02d}.jpg"
        write_bytes(path / file, jpeg(to_rgb(raster, limits)), durable=False)
        files.append(file)
    for crop in (path / "crops").glob(f"{name}-[0-9]*.jpg"):
        if f"crops/{crop.name}" not in files:
            crop.unlink()  # of a job with more regions
    if outcome.mask is None:
        (path / f"masks/{name}.tif").unlink(missing_ok=True)
    result = {**outcome.summary(), "regions": _region_records(outcome, cells)}
    result["notes"] = [*outcome.notes, *map(str, _frame_notes(outcome.scene, source, bands))]
    write_json(path / f"looks/{name}.json", result)
    return [*files, f"looks/{name}.json"]


def prune(path: Path, scenes: Sequence[str]) -> None:
    """Remove what earlier jobs left of images that are no longer looked at."""
    known = {file_name(scene) for scene in scenes}
    for folder in ("looks", "maps", "masks", "thumbs", "crops"):
        for file in (path / folder).glob("*"):
            name = file.stem.rpartition("-")[0] if folder == "crops" else file.stem
            if name not in known:
                file.unlink(missing_ok=True)


def load_look(path: Path, scene: str) -> dict[str, Any]:
    """Read the result of one image of a run directory."""
    return read_json(path / f"looks/{file_name(scene)}.json")


def summary(looks: Sequence[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """Return what a run came to, JSON-ready: the facts of `about`, and one entry an image."""
    kept = ("image", "prediction", "prediction_full", "passes", "epsilon", "stop")
    return {
        **about,
        "images": len(looks),
        "passes": round(sum(look["passes"] for look in looks), 6),
        "looks": [{name: look[name] for name in kept} for look in looks],
    }


def save_regions(path: Path, scenes: Sequence[str], about: dict[str, Any]) -> list[str]:
    """Write the regions of all images into one table, and as GeoJSON where they have a place.

    Args:
        path: Run directory.
        scenes: Names of the images.
        about: Facts for the footer, JSON-ready.

    Returns:
        The files, relative to `path`.
    """
    import pyarrow as pa

    tables = [read_parquet(path / f"looks/{file_name(scene)}.parquet") for scene in scenes]
    georeferenced = all("geometry" in table.column_names for table in tables)
    chosen = [table.filter(table["rank"].is_valid()).sort_by("rank") for table in tables]
    table = pa.concat_tables(chosen, promote_options="default")
    if not georeferenced and "geometry" in table.column_names:
        table = table.drop_columns(["geometry"])
    footer = json.dumps({"schema": SCHEMA, **about}, sort_keys=True).encode()
    table = table.replace_schema_metadata({_FOOTER: footer})
    write_parquet(path / REGIONS, table, geo={"geometry": None} if georeferenced else None)
    if not georeferenced:
        (path / REGIONS_GEOJSON).unlink(missing_ok=True)  # of an earlier job
        return [REGIONS]
    write_geojson(path / REGIONS_GEOJSON, table)
    return [REGIONS, REGIONS_GEOJSON]


def file_name(scene: str) -> str:
    """Return a file name for an image: its own where that is safe, else with a hash."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", scene).strip(".-")[:80]
    if safe == scene:
        return safe
    return f"{safe or 'image'}-{hashlib.blake2b(scene.encode(), digest_size=4).hexdigest()}"


def check_file_names(scenes: Sequence[str]) -> None:
    """Refuse images whose results would share a file.

    Raises:
        DataError: Two of them would.
    """
    seen: dict[str, str] = {}
    for scene in scenes:
        name = file_name(scene).casefold()  # some file systems ignore case
        if name in seen:
            raise DataError(
                f"the images {seen[name]!r} and {scene!r} would share the file {name!r}",
                "Names of images differ by more than case.",
                "Rename one of them.",
            )
        seen[name] = scene


def _frame_notes(scene: str, source: Source, bands: Sequence[int]) -> list[Note]:
    frame = find_frame(source, bands or None)
    return note_frames({scene: frame}, 1) if frame else []


def _cell_table(outcome: LookResult) -> pa.Table:
    """Return all cells; with outlines of what was shown where the image is georeferenced."""
    import pyarrow as pa
    import shapely

    columns = outcome.cells()
    kinds = {"rank": pa.int64(), "weight": pa.float64(), "label": pa.string()}
    arrays = {
        name: pa.array(values, type=kinds.get(name), from_pandas=True)
        for name, values in columns.items()
    }
    box, place = outcome.info.geobox, outcome.info.place
    if box is not None and place.kind == "earth":
        shown = np.stack([columns[name] for name in ("y", "x", "h", "w")], axis=1)
        outlines = footprints(Tiles.of(outcome.scene, shown), box, place=place)
        arrays["geometry"] = pa.array(shapely.to_wkb(outlines))
    return pa.table(arrays)


def _region_records(outcome: LookResult, cells: pa.Table) -> list[dict[str, Any]]:
    rows = cells.drop_columns(["geometry"] if "geometry" in cells.column_names else [])
    records = rows.take([int(row) for row in outcome.rows]).to_pylist()
    for record in records:
        del record["scene"]
        window = Window(*(record[name] for name in ("y", "x", "h", "w")))
        record.update(_geo_bounds(outcome, window))
    return records


def _geo_bounds(outcome: LookResult, window: Window) -> dict[str, Any]:
    """Return bounds in the image's CRS, and the centre where it has longitude and latitude."""
    box = outcome.info.geobox
    if box is None or box.crs is None:
        return {}
    tile = Tiles.of("", [window])
    own = footprints(tile, box, None)[0]
    found = {"bounds": [float(v) for v in own.bounds], "crs": str(box.crs)}
    if outcome.info.place.kind == "earth":
        lon, lat = middles(footprints(tile, box, place=outcome.info.place))
        found |= {"lon": float(lon[0]), "lat": float(lat[0])}
    return found
