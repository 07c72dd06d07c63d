"""Where embeddings are found: files in Parquet, folders and globs of them, runs of `embed`."""

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
    """Return the paths if they are of embeddings, None if of imagery.

    Embeddings are files in Parquet, globs of them, folders that hold nothing else but what
    describes them, folders of shards, and runs that hold embeddings.

    Raises:
        ParameterError: Some are and some are not.
    """
    kinds = [not is_url(path) and _is_embeddings(Path(path)) for path in images]
    if not any(kinds):
        return None
    if not all(kinds):
        raise ParameterError(
            f"{str(images[kinds.index(False)])!r} beside a file of embeddings",
            "A pool is made of imagery or of embeddings.",
            "Give files of embeddings alone, or images alone.",
        )
    return [Path(path) for path in images]


def _is_embeddings(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return kind_of(str(path)) != "table"  # items of STAC
    if not path.is_dir():
        return False
    if (path / "run.json").is_file():
        return (path / "embeddings").is_dir()
    if (path / "manifest.json").is_file():
        return any(path.glob("part-*.parquet"))
    # Descriptions in JSON lie beside the table of `export --to embeddings`.
    inside = [
        file for file in path.iterdir()
        if not file.name.startswith((".", "_")) and file.suffix.lower() != ".json"
    ]  # fmt: skip
    return bool(inside) and all(file.suffix.lower() in SUFFIXES for file in inside)


def found_files(paths: list[Path]) -> tuple[list[Path], Path | None, EncoderSpec | None]:
    """Return the files, the table of tiles of their run, and the encoder, where they say it.

    Raises:
        DataError: There are no files, or shards of a run are missing.
        ParameterError: A run holds embeddings of several models.
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
    if not names:
        raise DataError(
            f"the embedding of the run {str(run)!r} is not finished",
            "A pool is ranked once each of its tiles has a vector.",
            "Start the command of the run again, without --shard: it makes what is missing.",
        )
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
            f"{len(missing)} of {len(store.shards)} shards are missing in {str(store.path)!r}"
            if missing
            else f"{str(store.path)!r} holds a vector for each place of a tile",
            "Every tile needs one vector.",
            "Embed again: only what is missing is made." if missing else "Embed without --tokens.",
        )
    return [store.file(shard.number) for shard in store.shards]
