"""The imagery of a run directory, opened again by what the run knows of it.

``scenes.parquet`` has the file of each scene, the job in ``run.json`` which further bands and masks
belong to it. Relative paths are as they were typed: from the folder in which the run was made.
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

_NAMED = 3  # files of a message


@dataclass(frozen=True)
class SceneFiles:
    """The files of a scene.

    Attributes:
        scene: Its name.
        source: Its pixels, those of several files stacked as the run read them.
        mask: Its mask as a file, or None.
    """

    scene: str
    source: FileSource | StackSource
    mask: FileSource | None = None


def reopened(run: Run, scenes: Sequence[str]) -> dict[str, SceneFiles]:
    """Open scenes of a run again.

    Args:
        run: A finished run on imagery.
        scenes: Names of the scenes that are wanted; no other file is looked at.

    Returns:
        Name -> files, in the order given.

    Raises:
        DataError: The run is of no imagery, files have moved (they are named) or have changed.
    """
    table = run.path / "scenes.parquet"
    if not table.is_file():
        raise DataError(
            f"the run {str(run.path)!r} is of no imagery", "Pixels are read from scenes.",
            "Give a run that was made from images.",
        )  # fmt: skip
    known = {row["scene"]: row for row in read_parquet(table).to_pylist()}
    lacking = [name for name in scenes if name not in known]
    if lacking:
        raise DataError(
            f"the run's tables contradict each other: {lacking[0]!r} is not in scenes.parquet", "",
            "Run the job again into a new folder.",
        )  # fmt: skip
    paths = {name: stored_path(str(known[name]["uri"])) for name in scenes}
    load_headers(run.path)
    job = _imagery(run.record.get("job", {}))
    items = bool(job.get("images") and stac_paths(job["images"]))
    if not items:
        _check_there(run, list(paths.values()))
    needed = items or job.get("stack") or job.get("extra") or job.get("masks")
    rows = _rows(job) if needed else {}
    found = {}
    for name, path in paths.items():
        row = rows.get(name)
        if items and row is None:
            raise _gone(run, name)
        source = _source(path, row, job.get("nodata"))
        _check_same(name, source, known[name])
        mask = None if row is None or row.mask is None else FileSource(str(row.mask))
        found[name] = SceneFiles(name, source, mask)
    return found


def _imagery(job: dict[str, Any]) -> dict[str, Any]:
    """Return the job that names the images: of a selection on pairs that which prepared them."""
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
        assert isinstance(source, FileSource | StackSource)  # noqa: S101  (made of files)
        return source
    if row is None or len(row.paths) + len(row.extra) == 1:
        return FileSource(path, nodata)
    parts = [FileSource(str(p), nodata) for p in row.paths]
    return StackSource((*parts, *(FileSource(str(p)) for p in row.extra)))


def _gone(run: Run, name: str) -> DataError:
    return DataError(
        f"the catalogue of the run {str(run.path)!r} has no item {name!r} any more",
        "Pixels are read from the assets of the items that the run was made from.",
        "Run the job again into a new folder.",
    )


def _check_there(run: Run, paths: list[str]) -> None:
    gone = [path for path in paths if not is_url(path) and not Path(path).exists()]
    if not gone:
        return
    named = ", ".join(map(repr, gone[:_NAMED])) + (" ..." if len(gone) > _NAMED else "")
    raise DataError(
        f"{len(gone)} of {len(paths)} images of the run {str(run.path)!r} are not where they were: "
        f"{named}",
        "Pixels are read from the files that the run was made from.",
        "Put them back; or, if the run was made in another folder with relative paths, type the "
        "command there.",
    )


def _check_same(name: str, source: FileSource | StackSource, stored: dict[str, Any]) -> None:
    """Refuse a file that is another one by now: windows and order would say nothing of it."""
    info = source.info
    same = list(info.shape) == [stored["height"], stored["width"]]
    if isinstance(source, FileSource) and stored["fingerprint"]:
        prints = {info.fingerprint, source.with_options(physical=True).info.fingerprint}
        same = same and stored["fingerprint"] in prints
    if not same:
        what = source.path if isinstance(source, FileSource) else name
        raise DataError(
            f"the image {what!r} has changed since the run was made",
            "A selection is of the images that the run has looked at.",
            "Run the job again, or put the file back.",
        )
