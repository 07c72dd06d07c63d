"""Store the headers of remote files with a run, so that resuming it does not fetch them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.files import read_parquet, write_parquet
from foveate.remote.objects import Header, expect, headers
from foveate.remote.stores import Meta

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "headers.parquet"
_LARGEST = 16 << 20  # bytes; larger headers are not stored


def keep_headers(run: Path) -> None:
    """Write the headers of all opened objects to a run, unless the file is current.

    Raises:
        StorageError: The file cannot be written.
    """
    small = {url: header for url, header in headers().items() if _size(header) <= _LARGEST}
    if not small:
        return
    table = _to_table(small)
    file = run / FILE
    if not file.exists() or not read_parquet(file).equals(table):
        write_parquet(file, table)


def load_headers(run: str | Path) -> None:
    """Load the headers stored with a run; each is used only if its object is unchanged."""
    file = Path(run) / FILE
    if not file.is_file():
        return
    try:
        table = read_parquet(file)
    except DataError:
        return  # the headers are fetched again
    for row in table.to_pylist():
        beside = {
            name: None if meta is None else Meta(**meta)
            for name, meta in json.loads(row["beside"]).items()
        }
        meta = Meta(row["size"], row["e_tag"], row["modified"])
        expect(
            row["url"],
            Header(meta, dict(zip(row["starts"], row["data"], strict=True)), beside),
        )


def _size(header: Header) -> int:
    return sum(map(len, header.segments.values()))


def _to_table(stored: dict[str, Header]) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            "url": url,
            "size": header.meta.size,
            "e_tag": header.meta.e_tag,
            "modified": header.meta.modified,
            "beside": json.dumps(
                {
                    name: None if meta is None else vars(meta)
                    for name, meta in sorted(header.beside.items())
                }
            ),
            "starts": sorted(header.segments),
            "data": [header.segments[start] for start in sorted(header.segments)],
        }
        for url, header in stored.items()
    ]
    schema = pa.schema(
        {
            "url": pa.string(), "size": pa.int64(), "e_tag": pa.string(), "modified": pa.string(),
            "beside": pa.string(), "starts": pa.list_(pa.int64()), "data": pa.list_(pa.binary()),
        }
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)
