"""Sources of embeddings: Parquet files, folders and globs of them, runs of `embed`."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.location import is_url
from foveate.pool.stac.sources import kind_of
from foveate.run import Run
from foveate.run.shards import ShardStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.embeddings import EncoderSpec

SUFFIXES = (".parquet", ".geoparquet", ".pq")
_STEP, _TILES = "embed ", "tiles.parquet"


def embedding_paths(images: Sequence[str | Path]) -> list[Path] | None:
    """Return the paths if they are embeddings, None if they are imagery.

    Embeddings are Parquet files, globs of them, folders that contain only Parquet files and their
    descriptions, folders of shards, and runs with embeddings.

    Raises:
        ParameterError: Some paths are embeddings and others are not.
    """
    kinds = [not is_url(path) and _is_embeddings(Path(path)) for path in images]
    if not any(kinds):
        return None
    if not all(kinds):
        raise ParameterError(
            f"{str(images[kinds.index(False)])!r} is given together with a file of embeddings",
            "A pool consists of either imagery or embeddings.",
            "Give only files of embeddings, or only images.",
        )
    return [Path(path) for path in images]


def _is_embeddings(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return kind_of(str(path)) != "table"  # a table of STAC items
    if not path.is_dir():
        return False
    if (path / "run.json").is_file():
        return (path / "embeddings").is_dir()
    if (path / "manifest.json").is_file():
        return any(path.glob("part-*.parquet"))
    # `export --to embeddings` writes JSON files with descriptions into the folder of the table.
    inside = [
        file for file in path.iterdir()
        if not file.name.startswith((".", "_")) and file.suffix.lower() != ".json"
    ]  # fmt: skip
    return bool(inside) and all(file.suffix.lower() in SUFFIXES for file in inside)


def found_files(paths: list[Path]) -> tuple[list[Path], Path | None, EncoderSpec | None]:
    """Return the files, the table of tiles of their run, and the encoder, if stored.

    Raises:
        DataError: There are no files, or shards of a run are missing.
        ParameterError: A run has embeddings of several models.
    """
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
            files += sorted(f for f in path.iterdir() if _is_table(f))
        elif path.exists():
            files.append(path)
        else:
            files += sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
    if not files:
        if paths[0].is_dir():
            raise _nested(paths[0])
        raise DataError(
            f"{str(paths[0])!r} does not exist", "Give a Parquet file of embeddings.",
            "Check the path.",
        )  # fmt: skip
    return list(dict.fromkeys(files)), None, None


def _nested(folder: Path) -> DataError:
    where = "only in its subfolders" if any(map(_is_table, folder.rglob("*"))) else "nowhere"
    return DataError(
        f"the folder {str(folder)!r} has Parquet files {where}",
        "Files of embeddings are read from the given folder, not from its subfolders.",
        f"Give a glob, in quotes: '{folder}/**/*.parquet'" if where != "nowhere" else "",
    )


def _is_table(file: Path) -> bool:
    """Return whether a file of a folder is a table; hidden files and those of Spark are not."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith((".", "_"))


def _store_of(run: Path) -> ShardStore:
    """Return the shards of a run with embeddings of one model."""
    steps = Run.load(run).record["steps"]
    names = [name for name in steps if name.startswith(_STEP)]
    if not names:
        raise DataError(
            f"the embeddings of the run {str(run)!r} are not finished",
            "Every tile of a pool must have a vector.",
            "Run the command of the run again, without --shard: it computes the missing vectors.",
        )
    if len(names) != 1:
        folders = sorted(f.name for f in (run / "embeddings").iterdir() if f.is_dir())
        raise ParameterError(
            f"the run {str(run)!r} has embeddings of {len(names)} models",
            "A pool is ranked by the embeddings of one model.",
            f"Give the folder of one model: {run / 'embeddings' / folders[0]}" if folders else "",
        )
    return ShardStore.read((run / steps[names[0]]["outputs"][0]).parent)


def _shards(store: ShardStore) -> list[Path]:
    missing = store.missing()
    if missing or store.spec.grid is not None:
        raise DataError(
            f"{len(missing)} of {len(store.shards)} shards are missing in {str(store.path)!r}"
            if missing
            else f"{str(store.path)!r} has several vectors per tile",
            "Every tile must have one vector.",
            "Embed again: only missing vectors are computed."
            if missing
            else "Embed without --tokens.",
        )
    return [store.file(shard.number) for shard in store.shards]
