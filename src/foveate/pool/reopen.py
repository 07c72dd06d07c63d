"""Reopen the imagery of a run directory.

``scenes.parquet`` stores the file of each scene; further bands and masks are found by the job in
``run.json``. Relative paths refer to the folder in which the command of the run was executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.files import read_parquet, stored_path
from foveate.location import is_url
from foveate.pool.folder import row_scene
from foveate.pool.pairing import pair_files
from foveate.pool.stac.search import Search
from foveate.pool.stac.sources import stac_paths
from foveate.raster import FileSource, StackSource
from foveate.remote import load_headers
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.pool.pairing import Row

_NAMED = 3  # files listed in a message


@dataclass(frozen=True)
class SceneFiles:
    """The files of a scene.

    Attributes:
        scene: Name of the scene.
        source: Its pixels; several files are stacked as in the run.
        mask: Its mask, or None.
    """

    scene: str
    source: FileSource | StackSource
    mask: FileSource | None = None


def reopened(run: Run, scenes: Sequence[str]) -> dict[str, SceneFiles]:
    """Open scenes of a run again.

    Args:
        run: A finished run on imagery.
        scenes: Names of the requested scenes; other files are not opened.

    Returns:
        Name -> files, in the given order.

    Raises:
        DataError: The run has no imagery, files are missing (they are listed) or have changed.
    """
    table = run.path / "scenes.parquet"
    if not table.is_file():
        raise DataError(
            f"the run {str(run.path)!r} has no imagery", "Pixels are read from scenes.",
            "Give a run on images.",
        )  # fmt: skip
    known = {row["scene"]: row for row in read_parquet(table).to_pylist()}
    missing = [name for name in scenes if name not in known]
    if missing:
        raise DataError(
            f"the tables of the run are inconsistent: {missing[0]!r} is not in scenes.parquet", "",
            "Run the command again with a new folder.",
        )  # fmt: skip
    paths = {name: stored_path(str(known[name]["uri"])) for name in scenes}
    load_headers(run.path)
    job = _imagery(run.record.get("job", {}))
    items = bool(job.get("images") and stac_paths(job["images"]))
    if not items:
        _check_there(run, list(paths.values()))
    needed = items or job.get("stack") or job.get("extra") or job.get("masks")
    rows = _rows(job) if needed else {}
    files = {}
    for name, path in paths.items():
        row = rows.get(name)
        if items and row is None:
            raise _missing_item(run, name)
        source = _source(path, row, job.get("nodata"))
        _check_same(name, source, known[name])
        mask = None if row is None or row.mask is None else FileSource(str(row.mask))
        files[name] = SceneFiles(name, source, mask)
    return files


def _imagery(job: dict[str, Any]) -> dict[str, Any]:
    """Return the job with the images; for selections on prepared pairs, the job of `prepare`."""
    images = job.get("images") or []
    if len(images) == 1 and not is_url(images[0]) and (Path(images[0]) / "run.json").is_file():
        return _imagery(Run.load(images[0]).record.get("job", {}))
    return job


def _rows(job: dict[str, Any]) -> dict[str, Row]:
    paired = pair_files(
        job["images"], job.get("masks") or None, [[path] for path in job.get("extra") or ()],
        job.get("stack") or (), job.get("mask_suffix") or "",
        search=_search(job),
    )  # fmt: skip
    return {row.key: row for row in paired.rows}


def _search(job: dict[str, Any]) -> Search:
    return Search(
        tuple(job.get("assets") or ()), job.get("datetime") or "", tuple(job.get("bbox") or ()),
        job.get("max_cloud"),
    )  # fmt: skip


def _source(path: str, row: Row | None, nodata: float | None) -> FileSource | StackSource:
    if row is not None and row.item is not None:
        source = row_scene(row, nodata).source
        assert isinstance(source, FileSource | StackSource)  # noqa: S101  (items have files)
        return source
    if row is None or len(row.paths) + len(row.extra) == 1:
        return FileSource(path, nodata)
    parts = [FileSource(str(p), nodata) for p in row.paths]
    return StackSource((*parts, *(FileSource(str(p)) for p in row.extra)))


def _missing_item(run: Run, name: str) -> DataError:
    return DataError(
        f"the catalogue of the run {str(run.path)!r} no longer contains the item {name!r}",
        "Pixels are read from the assets of the items of the run.",
        "Run the command again with a new folder.",
    )


def _check_there(run: Run, paths: list[str]) -> None:
    missing = [path for path in paths if not is_url(path) and not Path(path).exists()]
    if not missing:
        return
    listed = ", ".join(map(repr, missing[:_NAMED])) + (" ..." if len(missing) > _NAMED else "")
    raise DataError(
        f"{len(missing)} of {len(paths)} images of the run {str(run.path)!r} are missing: {listed}",
        "Pixels are read from the original files of the run.",
        "Restore the files; or, if the run used relative paths, execute the command in the folder "
        "of the run's command.",
    )


def _check_same(name: str, source: FileSource | StackSource, stored: dict[str, Any]) -> None:
    """Check that a file is unchanged, because windows and ranks refer to the original file."""
    info = source.info
    same = list(info.shape) == [stored["height"], stored["width"]]
    if isinstance(source, FileSource) and stored["fingerprint"]:
        prints = {info.fingerprint, source.with_options(physical=True).info.fingerprint}
        same = same and stored["fingerprint"] in prints
    if not same:
        image = source.path if isinstance(source, FileSource) else name
        raise DataError(
            f"the image {image!r} has changed since the run",
            "A selection refers to the original images of the run.",
            "Run the command again, or restore the file.",
        )
