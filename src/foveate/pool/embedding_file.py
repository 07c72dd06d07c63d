"""Files of precomputed embeddings: a pool without imagery.

Any Parquet table with one vector per row can be read: Earth Index (id, geometry, embedding),
Clay and LGND, Major TOM, the shards of ``foveate embed`` (a run directory, the folder of an
embedding, or its files), and other tables if the column is given. Several files form one pool.

Vectors are copied block by block into one memory-mapped matrix file: float16, float32 and float64
as stored; int8 and uint8 as float16, which represents all their values exactly. A scale factor
common to all values, as in most quantised products, does not change rankings and is not applied.
Rows are sorted by id, as in every pool that is opened from files.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.embeddings import Embeddings, EncoderSpec, find_rows
from foveate.errors import DataError, ParameterError
from foveate.files import atomic_path, digest, fingerprint, printable, read_parquet
from foveate.pool.attributes import Attributes, is_plain
from foveate.pool.embedding_columns import (
    KINDS,
    batch_rows,
    chosen_column,
    element,
    named,
    open_parquet,
    rows_of,
    schema_of,
    texts,
    vector_columns,
    vector_values,
)
from foveate.pool.embedding_sources import found_files
from foveate.pool.notes import Note, warn
from foveate.pool.outlines import geometry_column, read_outlines
from foveate.pool.pool import Pool, row_names
from foveate.registry import suggest
from foveate.run.shard_table import CONSTANT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

IDS = ("tile_id", "id", "unique_id", "chip_id", "chips_id", "uuid")  # usual names of id columns
NUMBER = "row"  # instead of a column: rows are numbered
_OF_RUN = ("scene", "valid_share")  # columns copied from the tiles of a run


@dataclass(frozen=True)
class EmbeddingFile:
    """Opened files of embeddings, of which only the footers have been read.

    Attributes:
        files: The files.
        column: Column of the vectors.
        id_column: Column of the ids, or "row".
        tiles: Table of the tiles of the same run, with outlines and scenes; None if there is none.
        spec: The encoder; if the files do not describe it, its name is that of the column.
        dtype: dtype of the matrix.
        stored: Whether the files are shards of `embed`.
    """

    files: tuple[Path, ...]
    column: str
    id_column: str
    tiles: Path | None
    spec: EncoderSpec
    dtype: np.dtype[Any]
    stored: bool = False

    @classmethod
    def open(
        cls, paths: Sequence[str | Path], column: str | None = None, id_column: str | None = None
    ) -> Self:
        """Open files and determine their columns.

        Args:
            paths: Files, globs, folders of files, or a run of `embed`.
            column: Column of the vectors; None if the files have only one such column.
            id_column: Column of the ids, or "row" to number the rows; None for the first existing
                column of `IDS`, or row numbers if none exists.

        Raises:
            DataError: A file is not Parquet, has no column of vectors, or the files differ.
            ParameterError: There are several columns of vectors, or the given column is invalid.
        """
        files, tiles, spec = found_files([Path(path) for path in paths])
        schema = schema_of(files[0])
        vectors = vector_columns(schema)
        chosen = chosen_column(schema, vectors, column, files[0])
        kind = schema.field(chosen).type
        for file in files[1:]:
            other = schema_of(file)
            if chosen not in other.names or other.field(chosen).type != kind:
                raise DataError(
                    f"{named(file)} has no column {chosen!r} of type {kind}, unlike "
                    f"{named(files[0])}",
                    "All files of a pool must have the same columns.",
                    "Give files of one product.",
                )
        ids = id_column or next((name for name in IDS if name in schema.names), NUMBER)
        if ids != NUMBER and ids not in schema.names:
            raise ParameterError(
                f"id_column={ids!r}", f"Columns: {', '.join(schema.names)}; or {NUMBER}.",
                suggest(ids, schema.names),
            )  # fmt: skip
        dtype = np.dtype(KINDS[str(element(kind))])
        source = ", ".join(file.name for file in files[:3]) + (" ..." if len(files) > 3 else "")
        given = EncoderSpec(
            name=chosen, dim=0, source=printable(source), dtype=str(element(kind))
        )  # fmt: skip
        return cls(tuple(files), chosen, ids, tiles, spec or given, dtype, spec is not None)

    @property
    def key(self) -> str:
        """Hash of the contents of the files and the names of the columns."""
        tiles = [] if self.tiles is None else [fingerprint(self.tiles)]
        prints = [fingerprint(file) for file in self.files]
        return digest([1, prints, tiles, self.column, self.id_column])

    def pool(self) -> Pool:
        """Read all columns except the vectors.

        Returns:
            A pool without imagery, sorted by id: with outlines if every row has a geometry, and
            with all columns of numbers, strings and dates as attributes.

        Raises:
            DataError: There are no rows, ids repeat or are missing, or the geometry cannot be read.
        """
        import pyarrow as pa

        schema, n = schema_of(self.files[0]), sum(rows_of(file) for file in self.files)
        if not n:
            raise self._empty()
        place = geometry_column(schema)
        plain = [
            f.name for f in schema
            if is_plain(f.type) and f.name not in (self.column, self.id_column, place)
        ]  # fmt: skip
        columns = [*plain, *([place] if place else [])]
        columns += [self.id_column] * (self.id_column != NUMBER)
        parts = [read_parquet(file, columns) for file in self.files]
        _check_alike(parts, self.files)
        outlines, why = None, "its files have no geometry"
        if place:
            outlines, why = _outlines(parts, self.files, place)
            parts = [part.drop_columns([place]) for part in parts]
        table = _as_one(parts, self.files)
        ids = self._ids(table, n)
        order = np.argsort(ids, kind="stable")
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
            notes = warn([Note("place", f"the outlines are ignored: {why}")])
        return Pool(ids=ids, outlines=outlines, attributes=attributes, why=why, notes=notes)

    def vectors(self, pool: Pool, path: Path | None = None) -> Embeddings:
        """Read the vectors, block by block.

        Args:
            pool: Result of `pool`, or some of its rows.
            path: File of the memory-mapped matrix; None to keep it in memory.

        Raises:
            DataError: A vector or a value of a vector is missing, or lengths differ.
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
        """Return a matrix created by `vectors`, with the ids of its rows and the encoder."""
        constant, columns = None, pool.attributes
        if self.stored and columns is not None and CONSTANT in columns:
            constant = columns.number(CONSTANT) > 0
        return Embeddings(pool.ids, matrix, replace(self.spec, dim=matrix.shape[1]), constant)

    def _ids(self, table: pa.Table, n: int) -> NDArray[np.str_]:
        if self.id_column == NUMBER:
            return row_names(np.arange(n), n)
        column = table[self.id_column]
        hint = "Choose another column of ids: --id-column NAME, or --id-column row to number rows."
        if column.null_count:
            raise DataError(
                f"{column.null_count} of {n} rows have no {self.id_column!r}",
                "Every row must have an id.", hint,
            )  # fmt: skip
        ids = texts(column)
        values, times = np.unique(ids, return_counts=True)
        if values.size < n:
            worst = int(times.argmax())
            raise DataError(
                f"{int((times > 1).sum())} ids in the column {self.id_column!r} are not unique: "
                f"{str(values[worst])!r} occurs {int(times[worst])} times",
                "Ids must be unique.", hint,
            )  # fmt: skip
        return ids

    def _places(self, pool: Pool) -> NDArray[np.int64]:
        """Return the row of the pool of each row of the files, -1 for rows not in the pool."""
        n = len(pool)
        if self.id_column == NUMBER:
            total = sum(map(rows_of, self.files))
            return find_rows(pool.ids, row_names(np.arange(total), total))
        parts = [read_parquet(file, [self.id_column]) for file in self.files]
        rows = find_rows(pool.ids, np.concatenate([texts(p[self.id_column]) for p in parts]))
        if int((rows >= 0).sum()) != n:
            raise DataError(
                "the files of embeddings changed while they were read",
                "",
                "Run the command again.",
            )
        return rows

    def _dim(self) -> int:
        for _, lengths, _ in self._blocks():
            if lengths.size:
                return int(lengths[0])
        raise self._empty()

    def _empty(self) -> DataError:
        return DataError(
            f"{named(self.files[0])} has no rows", "A pool must have at least one row."
        )

    def _fill(self, matrix: NDArray[np.floating], place: NDArray[np.int64]) -> None:
        d = matrix.shape[1]
        for start, lengths, values in self._blocks():
            other = np.flatnonzero(lengths != d)
            if other.size or not d:
                row = start + int(other[0]) if other.size else 0
                raise DataError(
                    f"the vectors in {self.column!r} have different lengths: row {row} has "
                    f"{int(lengths[row - start])} values, row 0 has {d}",
                    "All vectors of a pool must have the same length, at least 1.",
                    "Choose another column (--column NAME), or remove the row.",
                )
            rows = place[start : start + lengths.size]
            vectors, kept = values.reshape(-1, d), rows >= 0
            matrix[rows[kept]] = vectors if kept.all() else vectors[kept]
            if isinstance(matrix, np.memmap):
                _let_go(matrix)

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[Any]]]:
        """Yield the first row, the (m,) lengths and the values of the vectors of each block."""
        start = 0
        for file in self.files:
            with file.open("rb") as opened:
                parquet = open_parquet(opened, file)
                rows = batch_rows(parquet, self.column)
                for group in range(parquet.metadata.num_row_groups):
                    for batch in parquet.iter_batches(
                        rows, row_groups=[group], columns=[self.column], use_threads=False
                    ):
                        column = batch.column(0)
                        yield start, *vector_values(column, self.column, start)
                        start += len(column)


def open_embeddings(
    paths: str | Path | Sequence[str | Path],
    *,
    column: str | None = None,
    id_column: str | None = None,
    matrix: str | Path | None = None,
) -> tuple[Pool, Embeddings]:
    """Open files of embeddings as a pool without imagery, and read its vectors.

    Args:
        paths: A Parquet file, a glob, a folder of files, a run of `embed`, or several of them.
        column: Column of the vectors; None if there is only one.
        id_column: Column of the ids, or "row" to number the rows; None for the usual names.
        matrix: File into which the vectors are copied and from which they are memory-mapped; None
            to keep them in memory.

    Returns:
        The pool, sorted by id, with outlines and attributes if the files contain them; and the
        embeddings of its rows.

    Raises:
        DataError: A file is not Parquet, vectors are missing or have different lengths, or ids are
            not unique.
        ParameterError: There are several columns of vectors, or the given column is invalid.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    file = EmbeddingFile.open(given, column, id_column)
    pool = file.pool()
    return pool, file.vectors(pool, None if matrix is None else Path(matrix))


def _of_run(
    tiles: Path, ids: NDArray[np.str_], attributes: Attributes | None
) -> tuple[Attributes | None, pa.Array | None]:
    """Return attributes and outlines, with columns from the table of tiles of the same run."""
    table = read_parquet(tiles)
    rows = find_rows(np.asarray(table["tile_id"].to_pylist(), np.str_), ids)
    if (rows < 0).any():
        return attributes, None
    selected = table.take(rows)
    extra = Attributes(selected.select([c for c in _OF_RUN if c in selected.column_names]))
    outlines = None
    if "geometry" in selected.column_names:
        outlines = selected["geometry"].combine_chunks()
    return extra if attributes is None else attributes.joined(extra), outlines


def _let_go(matrix: np.memmap[Any, Any]) -> None:
    """Release written pages from the memory of this process; they remain in the file."""
    mapped = getattr(matrix, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _release() -> None:
    """Return memory that Arrow used for reading to the system."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _outlines(
    parts: list[pa.Table], files: Sequence[Path], name: str
) -> tuple[pa.Array | None, str]:
    """Return the outlines of all files, each read in its own CRS; see `read_outlines`."""
    import pyarrow as pa

    found = []
    for table, file in zip(parts, files, strict=True):
        outlines, why = read_outlines(table[name], schema_of(file), name)
        if outlines is None:
            return None, why if len(files) == 1 else f"{why} in {named(file)}"
        found.append(outlines)
    return pa.concat_arrays(found), ""


def _as_one(parts: list[pa.Table], files: Sequence[Path]) -> pa.Table:
    """Return the rows of all files.

    Raises:
        DataError: A column has different types that have no common type.
    """
    import pyarrow as pa

    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException:
        pass
    for table, file in zip(parts, files, strict=True):
        for name, kind in zip(table.schema.names, table.schema.types, strict=True):
            first = parts[0].schema.field(name).type
            try:
                pa.unify_schemas(
                    [pa.schema({name: first}), pa.schema({name: kind})],
                    promote_options="permissive",
                )
            except pa.ArrowException as error:
                raise DataError(
                    f"the column {name!r} is {kind} in {named(file)} and {first} in "
                    f"{named(files[0])}",
                    "All files of a pool must have columns of the same types.",
                    "Write them with one schema, or without this column.",
                ) from error
    raise DataError("the files have columns of different types", "", "Write them with one schema.")


def _check_alike(parts: list[pa.Table], files: Sequence[Path]) -> None:
    for table, file in zip(parts, files, strict=True):
        if table.schema.names != parts[0].schema.names:
            raise DataError(
                f"{named(file)} and {named(files[0])} have different columns",
                "All files of a pool must have the same columns.",
                "Give files of one product.",
            )
