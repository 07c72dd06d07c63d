"""Completion of whole scenes of HR features from overviews and observed tiles.

Inputs of a scene are the LR tokens stored by the selection and the available HR tiles; the
predictor is run once. Observed tokens are returned unchanged, the others are completed, with an
uncertainty.

    scenes.parquet, tiles.parquet   the pool of the selection
    embeddings/completed-KEY        the mean token of each tile; one shard per scene
    maps/SCENE.tif                  the first three components of the tokens, and the uncertainty
    tables/scenes/SCENE.parquet     the tiles of a scene
    tables/completed.parquet        the tiles of all scenes
    tables/concepts.parquet         probabilities of concepts, if the observer has labels
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import find_rows
from foveate.errors import DataError
from foveate.files import digest, fingerprint, read_parquet, text_column, write_bytes, write_parquet
from foveate.models.embed import fill_invalid
from foveate.observe import dense
from foveate.observe.completion.match_hr import hr_cautions
from foveate.observe.familiarity import caution, unfamiliar
from foveate.observe.features import TileTokens
from foveate.observe.selection.selections import save_thumbs
from foveate.pool.store import FILES
from foveate.progress import Meter
from foveate.raster import resize_geobox, write_cog
from foveate.run import Run
from foveate.run.shard_table import to_half
from foveate.run.shards import ShardStore, load_embeddings, step_name
from foveate.tables import GEOMETRY, Tabular
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.observe.completion.match_hr import MatchedHR
    from foveate.observe.observer import Observer
    from foveate.observe.selection.selections import Selected
    from foveate.progress import ProgressFn

COMPLETED, CONCEPTS = "tables/completed.parquet", "tables/concepts.parquet"
NAME = "completed"  # name of the embeddings
BEYOND = "beyond"  # column of tiles whose overview is unlike the training


@dataclass(frozen=True, eq=False, repr=False)
class Completed(Tabular):
    """Tiles of completed scenes.

    Attributes:
        path: Run directory.
        record: Content of ``run.json``.
        ids: (n,) tile ids.
        scene: (n,) scene ids.
        row: (n,) rows in the grid of the scene.
        col: (n,) columns in the grid of the scene.
        observed: (n,) bool mask of observed tiles.
        doubt: (n,) float32 uncertainty, 0 to 1.
        unfamiliar: (n,) bool, tiles of scenes whose overview is unlike those of the training.
        x: (n, d) float16 mean tokens; a memory map.
    """

    path: Path
    record: dict[str, Any]
    ids: NDArray[np.str_]
    scene: NDArray[np.str_]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    observed: NDArray[np.bool_]
    doubt: NDArray[np.float32]
    unfamiliar: NDArray[np.bool_]
    x: NDArray[np.floating]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return self.ids.size

    def __repr__(self) -> str:
        """Return one line: the number of tiles, scenes and observed tiles."""
        scenes, observed = np.unique(self.scene).size, int(self.observed.sum())
        tiles = plural(len(self), "tile", separators=True)
        of = plural(scenes, "scene", separators=True)
        return f"Completed({tiles} of {of}, {observed:,} observed)"

    def to_arrow(self) -> pa.Table:
        """Return a row for each tile: id, scene, row, col, observed, doubt, unfamiliar, outline.

        Outlines are WKB, if they are known. Mean tokens are not included; see `x`.
        """
        return self.table(np.arange(len(self)), {})

    def table(self, rows: NDArray[np.int64], more: Mapping[str, Any]) -> pa.Table:
        """Return the table of selected rows, with further columns before the outlines.

        Args:
            rows: (m,) rows of tiles, in the order of the result.
            more: Name -> (m,) values of further columns.
        """
        import pyarrow as pa

        ids = self.ids[rows]
        table = pa.table({
            "tile_id": pa.array(ids.tolist(), pa.string()),
            "scene": pa.array(self.scene[rows].tolist(), pa.string()),
            "row": self.row[rows], "col": self.col[rows], "observed": self.observed[rows],
            "doubt": self.doubt[rows].astype(np.float64), "unfamiliar": self.unfamiliar[rows],
            **more,
        })  # fmt: skip
        tiles = read_parquet(self.path / "tiles.parquet")
        if GEOMETRY in tiles.column_names:
            indices = find_rows(text_column(tiles, "tile_id"), ids)
            table = table.append_column(GEOMETRY, tiles[GEOMETRY].take(pa.array(indices)))
        return table

    @property
    def model(self) -> str:
        """Folder of the observer that completed the scenes."""
        return self.record["summary"]["observe"]["observer"]

    def by_scene(self) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """Return the names of the scenes, and the (n,) scene number of each tile."""
        names, numbers = np.unique(self.scene, return_inverse=True)
        return names, numbers.astype(np.int64)


def open_completed(path: str | Path) -> Completed:
    """Open a run of `foveate observe complete`.

    Raises:
        DataError: The run is of another command, or not finished.
    """
    root = Path(path)
    record = Run.load(root).record
    task = record.get("summary", {}).get("observe", {}).get("task")
    if task != "complete":
        raise DataError(
            f"the run {str(root)!r} contains no completed scenes"
            + (f": it is a run of {task!r}" if task else ""),
            "A finished run of 'foveate observe complete' is required.",
            "Complete the scenes first: foveate observe complete RUN --tiles DIR --out SCENES",
        )
    table = read_parquet(root / COMPLETED)
    ids, scene = text_column(table, "tile_id"), text_column(table, "scene")
    return Completed(
        root, record, ids, scene,
        table["row"].to_numpy().astype(np.int64), table["col"].to_numpy().astype(np.int64),
        table["observed"].to_numpy(zero_copy_only=False), table["doubt"].to_numpy(),
        unfamiliar(scene, _beyond(table)), load_embeddings(root, NAME).align(ids),
    )  # fmt: skip


def _beyond(table: pa.Table) -> NDArray[np.bool_]:
    """Return the column of tiles unlike the training; False for runs of an earlier version."""
    if BEYOND not in table.column_names:
        return np.zeros(len(table), bool)
    return table[BEYOND].to_numpy(zero_copy_only=False)


VERSION = 2  # increased when the same inputs give other files
_AXES = 3
_MAX_LISTED = 20  # missing tiles that the summary lists


@dataclass(eq=False)
class Completion:
    """Completes the scenes of a selection, and writes them to a run.

    Attributes:
        run: Run, open for writing.
        selected: The selection.
        observer: Trained observer.
        matched: High resolution of tiles.
        bands: Bands of the high resolution, in the order of the training.
        batch_size: Tiles per batch of the HR encoder.
        device: Device of the encoder and the networks.
    """

    run: Run
    selected: Selected
    observer: Observer
    matched: MatchedHR
    bands: list[int]
    batch_size: int
    device: str

    def complete(self, progress: ProgressFn | None) -> None:
        """Complete all scenes, and join their tables."""
        selected, run = self.selected, self.run
        fingerprints = [fingerprint(selected.path / name) for name in FILES]
        run.do("pool", digest([VERSION, fingerprints]), self._pool)
        target, bands = selected.target, selected.job.bands
        overviews = [scene.source.info.fingerprint for scene in target.overviews]
        run.do(
            "thumbs", digest([VERSION, fingerprints, overviews, bands]),
            lambda: save_thumbs(run.path, target, bands),
        )  # fmt: skip
        with (
            Run.create(selected.path) as store,
            Meter(progress, "completing scenes", len(self._scenes)) as meter,
        ):
            for number, lr, beyond in selected.tokens(self.observer, store, self.device):
                run.do(
                    f"complete {selected.name(number)}", self._key(number),
                    lambda number=number, lr=lr, beyond=beyond: self._scene(number, lr, beyond),
                )  # fmt: skip
                meter.advance()
        keys = [self._key(number) for number in self._scenes]
        run.do(step_name(NAME), digest([VERSION, keys]), self._join_vectors)
        run.do("completed", digest([VERSION, keys, self._head_fingerprint]), self._join_tables)

    @cached_property
    def _common_inputs(self) -> list[Any]:
        """Inputs that all scenes depend on."""
        record = self.observer.record
        hr = record.encoders["hr"].spec.to_dict()
        return [VERSION, self.observer.fingerprint, hr, self.selected.job.min_valid]

    def _key(self, number: int) -> str:
        """Return the hash of all inputs of a completed scene."""
        info = self.selected.target.overviews[number].source.info
        overview = [info.fingerprint, info.nodata, self.selected.job.bands]
        tiles = [self.bands, self._tile_fingerprints(self.selected.target.rows[number])]
        return digest([self.store.key, overview, tiles])

    @cached_property
    def _head_fingerprint(self) -> Any:
        head = self.observer.head
        return None if head is None else digest([head.names, head.weight, head.bias])

    @cached_property
    def _scenes(self) -> list[int]:
        """Numbers of the scenes with tiles, in the order of shards."""
        return np.unique(self.selected.place[:, 0]).tolist()

    @cached_property
    def store(self) -> ShardStore:
        """Store of the mean tokens of tiles."""
        record, hr = self.observer.record, self.observer.record.encoders["hr"].spec
        key = digest([self._common_inputs, self.selected.ids.tolist()])
        spec = replace(
            hr, name=NAME, dim=record.shape.hr_dim, fingerprint=digest(self._common_inputs),
            grid=None, non_negative=False,
        )  # fmt: skip
        return ShardStore.within(self.run.path, key, len(self._scenes), spec)

    def _pool(self) -> tuple[str, ...]:
        for name in FILES:
            write_bytes(self.run.path / name, (self.selected.path / name).read_bytes())
        return FILES

    def _tile_fingerprints(self, rows: NDArray[np.int64]) -> list[Any]:
        selected = self.selected
        return [
            [str(selected.ids[row]), bool(selected.chosen[row]),
             [view.fingerprint() for view in self.matched.views.get(row, ())]]
            for row in rows.tolist()
        ]  # fmt: skip

    def _scene(
        self, number: int, lr: NDArray[np.float32], beyond: NDArray[np.bool_]
    ) -> list[str]:  # fmt: skip
        """Complete one scene from its LR tokens, and write its files; see `Selected.tokens`."""
        import pyarrow as pa

        selected, observer, name = self.selected, self.observer, self.selected.name(number)
        rows, info = selected.target.rows[number], selected.ground(number)
        side, shape = observer.record.shape.hr_side, selected.target.shapes[number]
        index = tuple(selected.place[rows, 1:].T)
        observed = np.zeros(shape, bool)
        hr = np.zeros((*shape, side * side, observer.record.shape.hr_dim), np.float32)
        for row, tokens in self._read_tiles(rows.tolist()):
            i, j = selected.place[row, 1:].tolist()
            observed[i, j], hr[i, j] = True, tokens
        completed = observer.complete_scene(lr, dense.to_tokens(hr[None], side)[0], observed)
        tile_tokens = dense.to_tiles(completed.tokens, side)[0]
        doubt = np.where(observed, 0, completed.doubt[0]).astype(np.float32)
        valid = np.zeros(shape, bool)
        valid[index] = True
        ids = selected.ids[rows]
        columns: dict[str, Any] = {
            "tile_id": pa.array(ids.tolist(), pa.string()),
            "scene": pa.array([name] * len(rows), pa.string()),
            "row": index[0].astype(np.int32), "col": index[1].astype(np.int32),
            "chosen": selected.chosen[rows],
            "given": np.array([row in self.matched.views for row in rows.tolist()]),
            "observed": observed[index], "doubt": doubt[index],
            BEYOND: beyond,
        }  # fmt: skip
        table = _table(name)
        write_parquet(self.run.path / table, pa.table(columns))
        file = _map_file(name)
        write_cog(
            self.run.path / file, _map(completed.tokens[0], doubt, valid, side),
            geobox=resize_geobox(info.geobox, completed.tokens.shape[1:3]),
            nodata=float("nan"),
            descriptions=(*(f"axis {i + 1}" for i in range(_AXES)), "doubt"),
        )  # fmt: skip
        shard = self._scenes.index(number)
        self.store.put(shard, ids, to_half(ids, tile_tokens[index].mean(axis=1)))
        return [table, file, str(self.store.file(shard).relative_to(self.run.path))]

    @cached_property
    def _encoder(self) -> TileTokens:
        """Encoder adapter of HR tiles of the training, built on first use.

        Raises:
            DataError: The encoder has changed since the training.
        """
        spec = self.observer.record.encoders["hr"].spec
        model: Any = self.observer.build("hr", self.device)
        if model.spec.fingerprint != spec.fingerprint:
            raise DataError(
                f"the HR encoder {spec.name!r} has other weights than in training",
                "An observer needs the encoder that it was trained with.",
                "Restore the weights, or train again.",
            )
        return TileTokens(model, self.observer.record.shape.hr_side)

    def _read_tiles(self, rows: list[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (row, (k * k, d) projected HR tokens) of the tiles with enough valid pixels."""
        by_shape: dict[tuple[int, ...], list[tuple[int, NDArray[Any]]]] = {}
        bands = self.bands or self.observer.record.encoders["hr"].spec.bands
        ahead = self.matched.ahead(rows, bands)
        for number, row in enumerate(rows):
            ahead.at(number)
            raster = self.matched.read(row, bands, self.selected.job.min_valid)
            if raster is None:
                continue
            tile = fill_invalid(raster)
            batch = by_shape.setdefault(tile.shape, [])
            batch.append((row, tile))
            if len(batch) == self.batch_size:
                yield from self._encode(by_shape.pop(tile.shape))
        for batch in by_shape.values():
            yield from self._encode(batch)

    def _encode(
        self, batch: list[tuple[int, NDArray[Any]]]
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        tokens, _, _ = self._encoder.unpack(self._encoder.embed(np.stack([t for _, t in batch])))
        # Half precision, like the stored features that the projection was fitted on.
        half = to_half(self.selected.ids[[row for row, _ in batch]], tokens)
        for i, (row, _) in enumerate(batch):
            # One at a time, since rounding of a matrix product depends on the number of rows.
            yield row, self.observer.hr(half[i : i + 1])[0]

    def _join_vectors(self) -> list[str]:
        self.store.finish()
        return [str(file.relative_to(self.run.path)) for file in self.store.files]

    def _join_tables(self) -> list[str]:
        import pyarrow as pa

        path = self.run.path
        names = [self.selected.name(i) for i in self._scenes]
        current = {*map(_table, names), *map(_map_file, names)}
        for file in (*path.glob("tables/scenes/**/*.parquet"), *path.glob("maps/**/*.tif")):
            if str(file.relative_to(path)) not in current:
                file.unlink()  # of a scene that is not in the selection any more
        table = pa.concat_tables([read_parquet(path / _table(name)) for name in names])
        write_parquet(path / COMPLETED, table)
        head = self.observer.head
        if head is None:
            (path / CONCEPTS).unlink(missing_ok=True)  # of an earlier observer
            return [COMPLETED]
        probabilities = head.probabilities(self.store.finish().x)
        columns = {name: probabilities[:, i] for i, name in enumerate(head.names)}
        write_parquet(path / CONCEPTS, pa.table({"tile_id": table["tile_id"], **columns}))
        return [COMPLETED, CONCEPTS]

    def summary(self) -> dict[str, Any]:
        """Return the JSON-ready summary of the run."""
        table = read_parquet(self.run.path / COMPLETED)
        chosen, given, observed = (
            table[name].to_numpy(zero_copy_only=False) for name in ("chosen", "given", "observed")
        )
        doubt, missing = table["doubt"].to_numpy(), chosen & ~given
        names = np.array(table["tile_id"].to_pylist())
        pool, record = self.selected.record["summary"].get("pool", {}), self.observer.record
        unlike = caution(text_column(table, "scene"), _beyond(table))
        cautions = hr_cautions(record, self.matched, self.selected)
        return {
            "observe": {
                "task": "complete",
                "scenes": len(self._scenes),
                "tiles": len(names),
                "chosen": int(chosen.sum()),
                "observed": int(observed.sum()),
                "missing": int(missing.sum()),
                "missing_tiles": names[missing][:_MAX_LISTED].tolist(),
                "empty": int((given & ~observed).sum()),
                "not_chosen_but_given": int((given & ~chosen).sum()),
                "unused": len(self.matched.unused),
                "cautions": [unlike, *cautions] if unlike else cautions,
                "completed_doubt": None if observed.all() else float(doubt[~observed].mean()),
                "concepts": list(self.observer.head.names) if self.observer.head else [],
                "texts": self.observer.to_text is not None,
                "observer": self.observer.folder,
                "trained": self.observer.fingerprint,
                "selection": str(self.selected.path),
                "embeddings": str(self.store.path.relative_to(self.run.path)),
            },
            "pool": pool,
            "model": record.encoders["hr"].spec.to_dict(),
            "seed": self.selected.record["summary"].get("seed", 0),
        }


def _table(scene: str) -> str:
    return f"tables/scenes/{scene}.parquet"


def _map_file(scene: str) -> str:
    return f"maps/{scene}.tif"


def _map(
    tokens: NDArray[np.float32], doubt: NDArray[np.float32], valid: NDArray[np.bool_], side: int
) -> NDArray[np.float32]:
    """Return (4, R * k, C * k): first components and uncertainty; NaN for missing tiles."""
    bands = np.zeros((_AXES + 1, *tokens.shape[:2]), np.float32)
    axes = min(_AXES, tokens.shape[-1])
    bands[:axes] = np.moveaxis(tokens[..., :axes], -1, 0)
    bands[_AXES] = np.kron(doubt, np.ones((side, side), np.float32))
    bands[:, np.kron(~valid, np.ones((side, side), bool))] = np.nan
    return bands
