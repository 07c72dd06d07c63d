"""Directories of remote files, kept with a run: a run that goes on reads none of them again."""

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
_LARGEST = 16 << 20  # bytes of one header that are kept


def keep_headers(run: Path) -> None:
    """Write the directories of all objects that were opened into a run, unless they are there.

    Raises:
        StorageError: They cannot be written.
    """
    found = {text: one for text, one in headers().items() if _size(one) <= _LARGEST}
    if not found:
        return
    table = _to_table(found)
    file = run / FILE
    if not file.exists() or not read_parquet(file).equals(table):
        write_parquet(file, table)


def load_headers(run: str | Path) -> None:
    """Take over the directories that a run holds; each is used if its object is unchanged."""
    file = Path(run) / FILE
    if not file.is_file():
        return
    try:
        table = read_parquet(file)
    except DataError:
        return  # they are read again
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


def _to_table(found: dict[str, Header]) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            "url": text,
            "size": one.meta.size,
            "e_tag": one.meta.e_tag,
            "modified": one.meta.modified,
            "beside": json.dumps(
                {
                    name: None if meta is None else vars(meta)
                    for name, meta in sorted(one.beside.items())
                }
            ),
            "starts": sorted(one.segments),
            "data": [one.segments[start] for start in sorted(one.segments)],
        }
        for text, one in found.items()
    ]
    schema = pa.schema(
        {
            "url": pa.string(), "size": pa.int64(), "e_tag": pa.string(), "modified": pa.string(),
            "beside": pa.string(), "starts": pa.list_(pa.int64()), "data": pa.list_(pa.binary()),
        }
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)
