"""Files of embeddings that somebody has already: a pool without imagery.

Read is any table in Parquet with one vector in each row: Earth Index (id, geometry, embedding),
Clay and LGND, Major TOM, the shards of ``foveate embed`` (a run directory, the folder of an
embedding, or its files), and whatever else, with the column named. Several files are one pool.

Vectors go block by block into one matrix file, which is mapped: float16, float32 and float64 as
they are stored; int8 and uint8 as float16, which holds each of their values exactly. A factor that
is common to all values, as of most quantised products, changes no ranking and is not applied.
Rows are in the order of their ids, as those of every pool that is opened from files.
"""

from __future__ import annotations

import glob
import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.embeddings import Embeddings, EncoderSpec, find_rows
from foveate.errors import DataError, ParameterError
from foveate.files import atomic_path, digest, fingerprint, printable, read_parquet, reason
from foveate.pool.attributes import Attributes, is_plain
from foveate.pool.notes import Note, warn
from foveate.pool.outlines import geometry_column, read_outlines
from foveate.pool.pool import Pool, row_names
from foveate.registry import suggest
from foveate.run import Run
from foveate.run.shards import ShardStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

SUFFIXES = (".parquet", ".geoparquet", ".pq")
IDS = ("tile_id", "id", "unique_id", "chip_id", "chips_id", "uuid")  # columns of ids, by custom
NUMBER = "row"  # in the place of a column: rows are numbered
_BLOCK_VALUES = 2**22  # values of vectors read at a time: 16 MiB as float32
_KINDS = {
    "halffloat": np.float16, "float": np.float32, "double": np.float64,
    "int8": np.float16, "uint8": np.float16,
}  # fmt: skip
_STEP = "embed "
_TILES, _OF_RUN = "tiles.parquet", ("scene", "valid_share")


@dataclass(frozen=True)
class EmbeddingFile:
    """Opened files of embeddings; only their footers were read.

    Attributes:
        files: The files.
        column: Column of the vectors.
        id_column: Column of the ids, or "row".
        tiles: Table of the tiles of the same run, with outlines and scenes; None without.
        spec: The encoder; of files that do not say, the name of the column.
        dtype: Of the matrix.
    """

    files: tuple[Path, ...]
    column: str
    id_column: str
    tiles: Path | None
    spec: EncoderSpec
    dtype: np.dtype[Any]

    @classmethod
    def open(
        cls, paths: Sequence[str | Path], column: str | None = None, id_column: str | None = None
    ) -> Self:
        """Open files and see what their columns are.

        Args:
            paths: Files, globs, folders of files, or a run of `embed`.
            column: Column of the vectors; None where the files have one such column.
            id_column: Column of the ids, or "row" to number the rows; None for the first of `IDS`
                that there is, and numbers without one.

        Raises:
            DataError: A file is no Parquet, has no column of vectors, or files differ.
            ParameterError: There are several columns of vectors, or none of that name.
        """
        files, tiles, spec = _found([Path(path) for path in paths])
        schema = _schema(files[0])
        vectors = vector_columns(schema)
        chosen = _chosen_column(schema, vectors, column, files[0])
        kind = schema.field(chosen).type
        for file in files[1:]:
            other = _schema(file)
            if chosen not in other.names or other.field(chosen).type != kind:
                raise DataError(
                    f"{_name(file)} has no column {chosen!r} of type {kind}, as "
                    f"{_name(files[0])} has",
                    "Files of one pool have the same columns.",
                    "Give files of one product.",
                )
        ids = id_column or next((name for name in IDS if name in schema.names), NUMBER)
        if ids != NUMBER and ids not in schema.names:
            raise ParameterError(
                f"id_column={ids!r}", f"Columns: {', '.join(schema.names)}; or {NUMBER}.",
                suggest(ids, schema.names),
            )  # fmt: skip
        dtype = np.dtype(_KINDS[str(_element(kind))])
        source = ", ".join(file.name for file in files[:3]) + (" ..." if len(files) > 3 else "")
        spec = spec or EncoderSpec(
            name=chosen, dim=0, source=printable(source), dtype=str(_element(kind))
        )
        return cls(tuple(files), chosen, ids, tiles, spec, dtype)

    @property
    def key(self) -> str:
        """Hash of the files' contents and of the columns that are read."""
        tiles = [] if self.tiles is None else [fingerprint(self.tiles)]
        prints = [fingerprint(file) for file in self.files]
        return digest([1, prints, tiles, self.column, self.id_column])

    def pool(self) -> Pool:
        """Read everything but the vectors.

        Returns:
            A pool without imagery, sorted by id: outlines where every row has one, and all plain
            columns as attributes.

        Raises:
            DataError: Ids repeat or are missing, or the geometry cannot be read.
        """
        import pyarrow as pa

        schema = _schema(self.files[0])
        place = geometry_column(schema)
        plain = [
            f.name for f in schema
            if is_plain(f.type) and f.name not in (self.column, self.id_column, place)
        ]  # fmt: skip
        wanted = [*plain, *([place] if place else [])]
        wanted += [self.id_column] * (self.id_column != NUMBER)
        parts = [read_parquet(file, wanted) for file in self.files]
        _check_alike(parts, self.files)
        table = pa.concat_tables(parts, promote_options="permissive")
        n = sum(_rows(file) for file in self.files)
        ids = self._ids(table, n)
        order = np.argsort(ids, kind="stable")
        outlines, why = None, "its files have no geometry"
        if place:
            outlines, why = read_outlines(table[place], schema, place)
        attributes = Attributes(table.select(plain).take(order)) if plain else None
        if outlines is not None:
            outlines = outlines.take(pa.array(order))
        ids = ids[order]
        if self.tiles is not None:
            attributes, outlines = _of_run(self.tiles, ids, attributes)
            why = "" if outlines is not None else "its run is not georeferenced"
        _release()
        notes = ()
        if place and outlines is None:
            notes = warn([Note("place", f"the outlines are not used: {why}")])
        return Pool(ids=ids, outlines=outlines, attributes=attributes, why=why, notes=notes)

    def vectors(self, pool: Pool, path: Path | None = None) -> Embeddings:
        """Read the vectors, block by block.

        Args:
            pool: What `pool` gives, or some rows of it.
            path: File for the matrix, which is mapped; None to hold it in memory.

        Raises:
            DataError: A row has no vector, a value of one is missing, or lengths differ.
            StorageError: `path` cannot be written.
        """
        dim = self._dim()
        shape = (len(pool), dim)
        place = self._places(pool)
        if path is None:
            matrix = np.empty(shape, self.dtype)
            self._fill(matrix, place)
            _release()
        else:
            with atomic_path(path) as temporary:
                out = np.lib.format.open_memmap(temporary, "w+", self.dtype, shape)
                self._fill(out, place)
                out.flush()
                del out
            _release()
            matrix = np.load(path, mmap_mode="r")
        return self.embeddings(pool, matrix)

    def embeddings(self, pool: Pool, matrix: NDArray[np.floating]) -> Embeddings:
        """Return a matrix that `vectors` has made with the ids of its rows and the encoder."""
        return Embeddings(pool.ids, matrix, replace(self.spec, dim=matrix.shape[1]))

    def _ids(self, table: pa.Table, n: int) -> NDArray[np.str_]:
        if self.id_column == NUMBER:
            return row_names(np.arange(n), n)
        column = table[self.id_column]
        hint = "Name another column of ids: --id-column NAME, or --id-column row to number rows."
        if column.null_count:
            raise DataError(
                f"{column.null_count} of {n} rows have no {self.id_column!r}",
                "Every row needs an id.", hint,
            )  # fmt: skip
        ids = _texts(column)
        values, times = np.unique(ids, return_counts=True)
        if values.size < n:
            worst = int(times.argmax())
            raise DataError(
                f"{int((times > 1).sum())} ids in the column {self.id_column!r} repeat: "
                f"{str(values[worst])!r} occurs {int(times[worst])} times",
                "Ids must be unique.", hint,
            )  # fmt: skip
        return ids

    def _places(self, pool: Pool) -> NDArray[np.int64]:
        """Return the row of the pool of each row of the files, -1 for those that it lacks."""
        n = len(pool)
        if self.id_column == NUMBER:
            total = sum(map(_rows, self.files))
            return find_rows(pool.ids, row_names(np.arange(total), total))
        parts = [read_parquet(file, [self.id_column]) for file in self.files]
        rows = find_rows(pool.ids, np.concatenate([_texts(p[self.id_column]) for p in parts]))
        if int((rows >= 0).sum()) != n:
            raise DataError(
                "the files of the embeddings have changed while they were read", "", "Run again."
            )
        return rows

    def _dim(self) -> int:
        for _, lengths, _ in self._blocks():
            if lengths.size:
                return int(lengths[0])
        raise DataError(f"{_name(self.files[0])} has no rows", "A pool has at least one.")

    def _fill(self, matrix: NDArray[np.floating], place: NDArray[np.int64]) -> None:
        d = matrix.shape[1]
        for start, lengths, values in self._blocks():
            other = np.flatnonzero(lengths != d)
            if other.size or not d:
                row = start + int(other[0]) if other.size else 0
                raise DataError(
                    f"vectors of mixed lengths in {self.column!r}: row {row} has "
                    f"{int(lengths[row - start])} values, row 0 has {d}",
                    "All vectors of a pool have one length, at least 1.",
                    "Name another column (--column NAME), or leave the row out.",
                )
            rows = place[start : start + lengths.size]
            vectors, kept = values.reshape(-1, d), rows >= 0
            matrix[rows[kept]] = vectors if kept.all() else vectors[kept]
            if isinstance(matrix, np.memmap):
                _let_go(matrix)

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[Any]]]:
        """Yield first row, (m,) lengths and all values of the vectors, block by block."""
        start = 0
        for file in self.files:
            with file.open("rb") as opened:
                found = _parquet(opened, file)
                rows = _batch(found, self.column)
                for group in range(found.metadata.num_row_groups):
                    for batch in found.iter_batches(
                        rows, row_groups=[group], columns=[self.column], use_threads=False
                    ):
                        column = batch.column(0)
                        yield start, *_values(column, self.column, start)
                        start += len(column)


def open_embeddings(
    paths: str | Path | Sequence[str | Path],
    *,
    column: str | None = None,
    id_column: str | None = None,
    matrix: str | Path | None = None,
) -> tuple[Pool, Embeddings]:
    """Open files of embeddings as a pool without imagery, and its vectors.

    Args:
        paths: A file in Parquet, a glob, a folder of files, a run of `embed`, or several of them.
        column: Column of the vectors; None where there is one.
        id_column: Column of the ids, or "row" to number the rows; None for the usual names.
        matrix: File that the vectors are copied into and mapped from; None to hold them in memory.

    Returns:
        The pool, sorted by id, with outlines and attributes as far as there are any; and the
        embeddings of its rows.

    Raises:
        DataError: No Parquet, no vectors, some of another length or missing, or ids that repeat.
        ParameterError: There are several columns of vectors, or none of that name.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    file = EmbeddingFile.open(given, column, id_column)
    pool = file.pool()
    return pool, file.vectors(pool, None if matrix is None else Path(matrix))


def embedding_paths(images: Sequence[str | Path]) -> list[Path] | None:
    """Return the paths if they are of embeddings, None if of imagery.

    Embeddings are files in Parquet, globs of them, folders that hold nothing else, folders of
    shards, and runs that hold embeddings.

    Raises:
        ParameterError: Some are and some are not.
    """
    kinds = [_is_embeddings(Path(path)) for path in images]
    if not any(kinds):
        return None
    if not all(kinds):
        raise ParameterError(
            f"{str(images[kinds.index(False)])!r} beside a file of embeddings",
            "A pool is made of imagery or of embeddings.",
            "Give files of embeddings alone, or images alone.",
        )
    return [Path(path) for path in images]


def vector_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that hold a vector of small numbers or fractions in each row."""
    found = [f.name for f in schema if str(_element(f.type)) in _KINDS]
    return [name for name in found if "bbox" not in name.lower()]


def _is_embeddings(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_dir():
        return False
    if (path / "run.json").is_file():
        return (path / "embeddings").is_dir()
    if (path / "manifest.json").is_file():
        return any(path.glob("part-*.parquet"))
    inside = [file for file in path.iterdir() if not file.name.startswith((".", "_"))]
    return bool(inside) and all(file.suffix.lower() in SUFFIXES for file in inside)


def _found(paths: list[Path]) -> tuple[list[Path], Path | None, EncoderSpec | None]:
    """Return the files, the table of tiles of their run, and the encoder, where they say it."""
    if len(paths) == 1 and (paths[0] / "run.json").is_file():
        store = _store_of(paths[0])
        tiles = paths[0] / _TILES
        return _shards(store), tiles if tiles.is_file() else None, store.spec
    if len(paths) == 1 and (paths[0] / "manifest.json").is_file():
        store = ShardStore.read(paths[0])
        return _shards(store), None, store.spec
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
        elif path.exists():
            files.append(path)
        else:
            files += sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
    if not files:
        raise DataError(
            f"there is no {str(paths[0])!r}", "Give a file of embeddings in Parquet.",
            "Check the path.",
        )  # fmt: skip
    return list(dict.fromkeys(files)), None, None


def _store_of(run: Path) -> ShardStore:
    """Return the shards of the one model of a run."""
    steps = Run.load(run).record["steps"]
    names = [name for name in steps if name.startswith(_STEP)]
    if len(names) != 1:
        folders = sorted(f.name for f in (run / "embeddings").iterdir() if f.is_dir())
        raise ParameterError(
            f"the run {str(run)!r}, which holds embeddings of {len(names)} models",
            "A pool is ranked by one.",
            f"Give the folder of one: {run / 'embeddings' / folders[0]}" if folders else "",
        )
    return ShardStore.read((run / steps[names[0]]["outputs"][0]).parent)


def _shards(store: ShardStore) -> list[Path]:
    missing = store.missing()
    if missing or store.spec.grid is not None:
        raise DataError(
            f"{len(missing)} of {store.shards} shards are missing in {str(store.path)!r}"
            if missing
            else f"{str(store.path)!r} holds a vector for each place of a tile",
            "Every tile needs one vector.",
            "Embed again: only what is missing is made." if missing else "Embed without --tokens.",
        )
    return [store.file(i) for i in range(store.shards)]


def _of_run(
    tiles: Path, ids: NDArray[np.str_], attributes: Attributes | None
) -> tuple[Attributes | None, pa.Array | None]:
    """Return attributes and outlines with what the table of tiles of the same run knows."""
    table = read_parquet(tiles)
    rows = find_rows(np.asarray(table["tile_id"].to_pylist(), np.str_), ids)
    if (rows < 0).any():
        return attributes, None
    found = table.take(rows)
    extra = Attributes(found.select([c for c in _OF_RUN if c in found.column_names]))
    outlines = None
    if "geometry" in found.column_names:
        outlines = found["geometry"].combine_chunks()
    return extra if attributes is None else attributes.joined(extra), outlines


def _chosen_column(schema: pa.Schema, vectors: list[str], column: str | None, file: Path) -> str:
    if column is not None:
        if column in schema.names and str(_element(schema.field(column).type)) in _KINDS:
            return column
        what = f"column={column!r}"
        if column in schema.names:
            what += f" of type {schema.field(column).type}"
        raise ParameterError(
            what,
            f"Columns of vectors in {_name(file)}: {', '.join(vectors) or 'none'}; a vector is a "
            "list of float16, float32, float64, int8 or uint8.",
            suggest(column, vectors) or (f"Type --column {vectors[0]}." if vectors else ""),
        )
    if not vectors:
        columns = ", ".join(f"{f.name} ({f.type})" for f in schema) or "none"
        raise DataError(
            f"{_name(file)} has no column of vectors",
            f"A vector is a list of float16, float32, float64, int8 or uint8. Columns: {columns}.",
            "Give a file of embeddings.",
        )
    if len(vectors) > 1:
        raise ParameterError(
            f"{_name(file)} has {len(vectors)} columns of vectors",
            f"They are: {', '.join(vectors)}.",
            f"Say which one: --column {vectors[0]}, column={vectors[0]!r}.",
        )
    return vectors[0]


def _element(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the values of a list; None of anything else."""
    import pyarrow.types as kinds

    kind = getattr(kind, "storage_type", kind)  # of a tensor, a list
    lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    return kind.value_type if any(is_list(kind) for is_list in lists) else None


def _values(column: pa.Array, name: str, start: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the lengths of vectors, (m,), and their values, which are a view of the column's."""
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    column = getattr(column, "storage", column)
    if column.null_count:
        row = start + int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise DataError(
            f"row {row} has no vector in {name!r} (nor have {column.null_count - 1} more of its "
            "block)",
            "Every row needs one.",
            "Leave out rows without a vector.",
        )
    if kinds.is_fixed_size_list(column.type):
        lengths = np.full(len(column), column.type.list_size)
    else:
        lengths = np.asarray(pc.call_function("list_value_length", [column])).astype(np.int64)
    values = column.flatten()
    if values.null_count:
        place = int(values.is_null().to_numpy(zero_copy_only=False).argmax())
        row = start + int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        raise DataError(
            f"a value of the vector of row {row} in {name!r} is missing",
            "Every vector is complete.",
            "Leave out the row.",
        )
    return lengths, values.to_numpy(zero_copy_only=False)


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """Return a column of ids as text, chunk by chunk."""
    import pyarrow as pa

    chunks = column.cast(pa.string()).chunks
    parts = [chunk.to_numpy(zero_copy_only=False).astype(np.str_) for chunk in chunks]
    return np.concatenate(parts) if parts else np.empty(0, np.str_)


def _let_go(matrix: np.memmap[Any, Any]) -> None:
    """Let pages that were written leave this process; they stay in the file."""
    mapped = getattr(matrix, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _release() -> None:
    """Give the memory that Arrow has read with back to the system."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _batch(file: pq.ParquetFile, column: str) -> int:
    """Return how many rows are read at a time."""
    places = [i for i, path in enumerate(_leaves(file)) if path.split(".")[0] == column]
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    values = sum(group.column(i).num_values for group in groups for i in places)
    return max(1, min(65_536, _BLOCK_VALUES * file.metadata.num_rows // max(values, 1)))


def _leaves(file: pq.ParquetFile) -> list[str]:
    schema = file.metadata.schema
    return [schema.column(i).path for i in range(len(schema))]


def _schema(file: Path) -> pa.Schema:
    with file.open("rb") as opened:
        return _parquet(opened, file).schema_arrow


def _rows(file: Path) -> int:
    with file.open("rb") as opened:
        return _parquet(opened, file).metadata.num_rows


def _parquet(opened: Any, file: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(opened, pre_buffer=False)  # it would read all of the file
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{_name(file)} is not a Parquet file: {reason(error)}",
            "Embeddings are read from Parquet.",
            "Check the path, or write the table as Parquet (pandas: to_parquet).",
        ) from error


def _check_alike(parts: list[pa.Table], files: Sequence[Path]) -> None:
    for part, file in zip(parts, files, strict=True):
        if part.schema.names != parts[0].schema.names:
            raise DataError(
                f"{_name(file)} and {_name(files[0])} have different columns",
                "Files of one pool have the same columns.",
                "Give files of one product.",
            )


def _name(file: Path) -> str:
    return repr(printable(str(file)))
