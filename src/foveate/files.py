"""Atomic writes, fingerprints, JSON, CSV, GeoJSON and (Geo)Parquet.

A file written here is either complete or absent: it is written to a temporary file in the same
folder, synced and renamed. Every failure to write is raised as a `StorageError` with a hint.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError, StorageError
from foveate.geoparquet import ROW_GROUP, spatial_order, with_geometry, without_boxes

if TYPE_CHECKING:
    from collections.abc import Generator

    import pyarrow as pa
    from numpy.typing import NDArray

_LARGE = 1 << 26  # minimum bytes of a Parquet file that is read by several threads
_AGAIN = "Delete the file, and run the command that created it again."
GIVEN = "Check the path, or write the table as Parquet (pandas: to_parquet)."
_WHOLE_FILE = 64 << 20
_BLOCK = 1 << 20
_BLOCKS = 64
_IDS = 65536
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
DEGREE_DIGITS = 7  # decimals, about 1 cm; RFC 7946, section 11.2 advises against more


@contextlib.contextmanager
def atomic_path(path: str | Path, *, durable: bool = True) -> Generator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` on success.

    Parent folders are created. If the block raises, the temporary file is removed and `path` keeps
    its old content.

    Args:
        path: Destination.
        durable: Whether to sync the file to disk. False only for files that are quickly created
            again (thumbnails): syncing takes up to a second per file on a busy disk.

    Raises:
        StorageError: No space, no permission, a read-only file system.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file(path.parent / f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        raise as_storage_error(error, path) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Generator[Path]:
    """Yield a temporary folder next to `path`; rename it to `path` on success.

    Parent folders are created. If the block raises, the folder is removed; a killed process
    leaves a folder with a hidden name (``.NAME.*.tmp``), never a folder at `path`.

    Args:
        path: Destination: must not exist, or be an empty folder.

    Raises:
        StorageError: The destination exists; no space, no permission, a read-only file system.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            what = "a folder that is not empty" if path.is_dir() else "a file"
            raise StorageError(
                f"{str(path)!r} is {what}", "The output folder must be new or empty.",
                "Choose a new or empty folder.",
            )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name[:80]}.{secrets.token_hex(4)}.tmp"
        temporary.mkdir()
        yield temporary
        for folder in (temporary, *(p for p in temporary.rglob("*") if p.is_dir())):
            _sync(folder)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise as_storage_error(error, path) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def as_storage_error(error: OSError, path: str | Path) -> OSError:
    """Convert an error of the operating system to a `StorageError` with a hint."""
    if isinstance(error, StorageError):
        return error
    hints = {
        errno.ENOSPC: ("the disk is full", "Free some space or choose another --out."),
        errno.EDQUOT: ("the disk quota is exceeded", "Free some space or choose another --out."),
        errno.EACCES: ("permission denied", "Choose a folder with write permission."),
        errno.EPERM: ("permission denied", "Choose a folder with write permission."),
        errno.EROFS: ("the file system is read-only", "Choose a folder on another file system."),
        errno.EEXIST: ("a part of the path is a file, not a folder", "Choose another --out."),
        errno.ENOTDIR: ("a part of the path is a file, not a folder", "Choose another --out."),
        errno.EISDIR: ("the path is a folder", "Give the path of a file."),
        errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name."),
    }
    what, hint = hints.get(error.errno or 0, (str(error), "Choose another output path."))
    explained = StorageError(f"cannot write {str(path)!r}: {what}", "", hint)
    explained.errno = error.errno
    return explained


def reason(error: Exception) -> str:
    """Return the reason of an error without errno and path, which messages contain already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def printable(text: str) -> str:
    r"""Return a file name as text that can be printed and stored.

    Bytes that are not valid UTF-8 are written as escapes such as ``\xe9``. With an ASCII locale,
    Python escapes all non-ASCII bytes of file names; those that are valid UTF-8 are decoded.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return text


def stored_path(text: str) -> str:
    r"""Return the path of a stored `printable` name; ``\xe9`` is a byte if such a file exists."""
    plain = text.encode(errors="surrogateescape")
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), plain)
    return next((os.fsdecode(form) for form in (plain, raw) if os.path.lexists(form)), text)


def refuse_empty(given: object, what: str) -> None:
    """Check that a path is not an empty string, which would be the current folder.

    Raises:
        ParameterError: It is empty.
    """
    if given == "":
        raise ParameterError(
            f"the {what} is an empty string",
            "An empty string is not a path.",
            "Check that shell variables are set; for the current folder, use a dot: .",
        )


def read_text(path: str | Path, what: str = "") -> str:
    """Read a text file of the user: UTF-8 with or without byte order mark, or UTF-16 with mark.

    Args:
        path: The file.
        what: Kind of the file, for messages: "classes file"; may be empty.

    Returns:
        The text, without the mark; line endings are not converted.

    Raises:
        DataError: The file cannot be read, or has another encoding; the message has the line.
    """
    refuse_empty(path, f"path of the {what or 'file'}")
    name = f"{what and f'the {what} '}{printable(str(path))!r}"
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {name}: {reason(error)}") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"cannot read {name}: {error} (line {line})",
            "Text files must be UTF-8.",
            "Save it as UTF-8, in an editor or by: iconv -f LATIN1 -t UTF-8 OLD > NEW",
        ) from error
    if "\0" in text:
        raise DataError(
            f"cannot read {name}: it contains null bytes and is not a text file",
            "Text files must be UTF-8.",
            "Give a text file; if this is UTF-16 or UTF-32, save it as UTF-8.",
        )
    return text


def write_bytes(path: str | Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` atomically; see `atomic_path`."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically; see `as_json`."""
    text = json.dumps(as_json(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def as_json(value: Any) -> Any:
    """Return the value as read back by `read_json`: tuples as lists, NaN and infinity as null."""
    return _finite(_plain(value))


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        DataError: The file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {str(path)!r} as JSON: {reason(error)}", "", _AGAIN
        ) from error


def write_parquet(
    path: str | Path, table: pa.Table, *, geo: dict[str, Any] | None = None, spatial: bool = False
) -> None:
    """Write a table as Parquet, atomically; equal tables give equal bytes.

    Args:
        path: Destination.
        table: The table; its schema metadata is stored in the footer.
        geo: Geometry column -> CRS as PROJJSON (None: OGC:CRS84, longitude and latitude). The
            column must be WKB; the file is then GeoParquet 1.1, with a bounding box per row.
        spatial: Whether rows are sorted along a Hilbert curve, for exported files whose order has
            no meaning.
    """
    import pyarrow.parquet as pq

    settings: dict[str, Any] = {}
    if geo:
        table = table.take(spatial_order(table[next(iter(geo))])) if spatial else table
        table = with_geometry(table, geo)
        settings["row_group_size"] = ROW_GROUP
    # Passed as an open file, because Arrow decodes names as UTF-8.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd", use_dictionary=False, **settings)


def write_csv(path: str | Path, table: pa.Table) -> None:
    """Write a table as CSV with a header, UTF-8, atomically; NaN and null are empty cells.

    Spreadsheets interpret cells that start with ``= + - @`` as formulas, and tile ids start
    with file names from arbitrary sources. Text cells that start with these characters (or with a
    tab or carriage return) are prefixed by an apostrophe, so that spreadsheets display them as
    text. Numbers are not changed.
    """
    columns = [column.to_pylist() for column in table.columns]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([_cell(name) for name in table.column_names])
        rows.writerows([_cell(value) for value in row] for row in zip(*columns, strict=True))


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def write_geojson(path: str | Path, table: pa.Table, geometry: str = "geometry") -> None:
    """Write a table as GeoJSON (RFC 7946), atomically: a feature per line, in the order of rows.

    Numbers without a JSON representation (NaN, infinities) are written as null.

    Args:
        path: Destination.
        table: Its geometry is WKB in longitude and latitude, WGS84; exterior rings are written
            counter-clockwise.
        geometry: Name of the geometry column.

    Raises:
        DataError: The column does not exist, or has coordinates out of range.
        StorageError: `path` cannot be written.
    """
    shapes = _on_the_globe(table, geometry)
    rows = table.drop_columns([geometry]).to_pylist()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for i, (row, shape) in enumerate(zip(rows, shapes, strict=True)):
            feature = {
                "type": "Feature",
                "geometry": geojson_geometry(shape),
                "properties": {name: _finite(value) for name, value in row.items()},
            }
            file.write(",\n" if i else "\n")
            file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")


def _on_the_globe(table: pa.Table, geometry: str) -> list[Any]:
    """Return the shapes of a table, oriented as required by RFC 7946.

    Raises:
        DataError: There is no geometry, or it is not in longitude and latitude.
    """
    import shapely
    from shapely.geometry.polygon import orient

    if geometry not in table.column_names:
        raise DataError(
            "GeoJSON is not available for scenes that are not on the Earth",
            "Its coordinates must be longitudes and latitudes.",
            "Write a .csv file, which contains the windows in pixels.",
        )
    shapes = np.asarray(shapely.from_wkb(table[geometry].to_pylist()), dtype=object)
    at = shapely.get_coordinates(shapes)
    if not (np.abs(at) <= (180.0, 90.0)).all():  # NaN fails the comparison
        raise DataError(
            "GeoJSON is not available for coordinates that are not longitudes and latitudes",
            "Longitudes must be from -180 to 180, latitudes from -90 to 90 degrees.",
        )
    oriented = {
        "Polygon": orient,
        "MultiPolygon": lambda shape: shapely.MultiPolygon([orient(p) for p in shape.geoms]),
    }
    return [oriented.get(shape.geom_type, lambda same: same)(shape) for shape in shapes]


def geojson_geometry(shape: Any) -> dict[str, Any]:
    """Return a shapely geometry in degrees as GeoJSON, with rounded coordinates."""
    return _rounded(shape.__geo_interface__)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return round(value, DEGREE_DIGITS) if isinstance(value, float) else value


def read_parquet(path: str | Path, columns: list[str] | None = None, hint: str = "") -> pa.Table:
    """Read a Parquet file; bounding boxes of the rows of GeoParquet are dropped.

    Args:
        path: The file.
        columns: Names of the columns; all if None.
        hint: What to do if it cannot be read; `GIVEN` for a file that foveate has not written.

    Raises:
        DataError: The file is missing or is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with Path(path).open("rb") as file:
            # Threads of Arrow only pay off for large files, and must not start while a short
            # program ends, because it would be aborted.
            large = os.fstat(file.fileno()).st_size > _LARGE
            found = pq.ParquetFile(file, pre_buffer=large)
            return without_boxes(found.read(columns=columns, use_threads=large))
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot read {str(path)!r} as Parquet: {reason(error)}", "", hint or _AGAIN
        ) from error


def read_footer(path: str | Path) -> dict[bytes, bytes]:
    """Return the schema metadata of a Parquet file.

    Raises:
        DataError: The file is missing or is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with Path(path).open("rb") as file:
            return dict(pq.ParquetFile(file, pre_buffer=False).schema_arrow.metadata or {})
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot read {str(path)!r} as Parquet: {reason(error)}", "", _AGAIN
        ) from error


def text_column(table: pa.Table, name: str) -> NDArray[np.str_]:
    """Return a column of strings as an array, (n,) str.

    Converted chunk by chunk: Python objects of ten million ids would need gigabytes.
    """
    chunks = table[name].chunks
    parts = [chunk.to_numpy(zero_copy_only=False).astype(np.str_) for chunk in chunks]
    return np.concatenate(parts) if parts else np.empty(0, np.str_)


def digest_ids(ids: NDArray[np.str_]) -> str:
    """Hash (n,) ids in their order, to 32 hex digits; independent of the width of the dtype."""
    width = max(1, int(np.char.str_len(ids).max())) if ids.size else 1
    sha = hashlib.blake2b(f"{ids.size} {width}".encode(), digest_size=16)
    for start in range(0, ids.size, _IDS):
        sha.update(ids[start : start + _IDS].astype(f"<U{width}").tobytes())
    return sha.hexdigest()


def digest(value: Any) -> str:
    """Hash JSON-ready values to 32 hex digits; equal values give equal digits on any machine.

    NaN, the infinities and None are four different values.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def fingerprint(path: str | Path) -> str:
    """Hash the content of a file, independent of its path.

    Up to 64 MiB, the whole content is hashed. For larger files, reading everything would take as
    long as the work it saves: the size, the modification time and 64 evenly spaced blocks of 1 MiB
    are hashed instead.

    Raises:
        DataError: The file cannot be read.
    """
    path = Path(path)
    sha = hashlib.blake2b(digest_size=16)
    try:
        stat = path.stat()
        with path.open("rb") as file:
            if stat.st_size <= _WHOLE_FILE:
                while block := file.read(_BLOCK):
                    sha.update(block)
            else:
                sha.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
                for i in range(_BLOCKS):
                    file.seek(i * (stat.st_size - _BLOCK) // (_BLOCKS - 1))
                    sha.update(file.read(_BLOCK))
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {reason(error)}") from error
    return sha.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _new_file(path: Path) -> Path:
    """Create a new empty file, with the permissions of the user's umask."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _plain(value: Any) -> Any:
    """Convert NumPy values, tuples and sets to JSON types, and file names to printable text."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(v) for v in value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not support, by null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
