"""The prepare job: from imagery to pairs of an overview and high-resolution tiles.

The overview of a scene is simulated from its pixels, or a real one is paired with it by name. Each
is a step of its own, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator

from foveate.errors import ParameterError
from foveate.files import digest, fingerprint, printable, read_parquet, stored_path, write_parquet
from foveate.models.heads import same_name
from foveate.observe.concepts import Concept, concepts_of
from foveate.observe.labels import check_known, concept_shares, present
from foveate.observe.objects import Objects, read_objects
from foveate.observe.opening import open_headers, times
from foveate.observe.simulate import low_shape, psf_sigma, simulate, write_view
from foveate.pool.find import need_paths
from foveate.pool.settings import ImagerySettings, PathText
from foveate.pool.step import measure
from foveate.progress import Meter
from foveate.raster import FileSource, metres_per_pixel
from foveate.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

    from foveate.pool import Pool, Scene
    from foveate.progress import ProgressFn

VERSION = 2  # raised when the same job gives another result
PAIRS, LABELS, OVERVIEWS = "pairs.parquet", "tables/labels.parquet", "overviews"
RATIO = 10.0


class PrepareJob(ImagerySettings):
    """Which scenes become pairs, and where their overviews and labels are from.

    Paths are kept absolute, so that the pairs open from any folder.

    Attributes:
        tiles: ``(rows, cols)`` into which each scene is cut.
        ratio: Side of a pixel of the simulated overviews in pixels of the scene; 10 when None.
            None with `lr`.
        mtf: Modulation of the simulated overviews at their Nyquist frequency; see `simulate`.
        snr: Signal to noise of the simulated overviews; None for no noise.
        lr: Folders or files of real overviews, instead of simulated ones.
        concepts: Entries as `concepts_of` takes them. Empty: a concept for each class of the masks
            and each kind of the objects; none without masks and objects.
        objects: GeoJSON of objects, with a property ``kind``.
        seed: Of the noise.
    """

    absent = frozenset({"bands"})  # overviews show all of them; a training chooses
    tiles: tuple[int, int] = (10, 10)
    ratio: float | None = None
    mtf: float | None = 0.25
    snr: float | None = Field(100.0, gt=0)
    lr: list[PathText] = Field([])
    concepts: list[dict[str, Any]] = Field([])
    objects: PathText | None = None
    seed: int = Field(0, ge=0)

    @field_validator("images", "masks", "extra", "lr")
    @classmethod
    def _absolute(cls, paths: list[str]) -> list[str]:
        return [str(Path(path).absolute()) for path in paths]

    @field_validator("classes", "objects")
    @classmethod
    def _absolute_file(cls, path: str | None) -> str | None:
        return None if path is None else str(Path(path).absolute())

    @property
    def scale(self) -> float:
        """Side of a pixel of the simulated overviews in pixels of the scene."""
        return RATIO if self.ratio is None else self.ratio

    def stated_concepts(self) -> tuple[Concept, ...]:
        """Return the concepts that were stated; none where those of masks and objects count."""
        return concepts_of(self.concepts) if self.concepts else ()

    @property
    def labelled(self) -> bool:
        """Whether something tells which tile shows which concept."""
        return bool(self.masks or self.objects)


def run(
    job: PrepareJob,
    out: str | Path,
    *,
    command: str = "",
    progress: ProgressFn | None = None,
) -> Run:
    """Do the job; `open_pairs` opens what it wrote.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with.
        command: The command that repeats the job, for the record.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input, before anything is written where
            that can be known; overviews that are finished are kept.
    """
    _check(job)
    stated = job.stated_concepts()
    objects = read_objects(job.objects) if job.objects else None
    headers, real = open_headers(job)
    if stated and job.labelled and (headers.legend is not None or not job.masks):
        classes = headers.legend.names if headers.legend else ()
        check_known(stated, classes, objects.kinds if objects else ())
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        pool, pool_key = measure(headers, job, opened, progress)
        files = [scene.uri for scene in real] if real else _overviews(job, pool, opened, progress)
        _prune(opened.path, [] if real else files)
        if job.labelled:
            told = fingerprint(job.objects) if job.objects else None
            concepts = stated or concepts_of(named_in(pool, objects))
            key = digest([VERSION, pool_key, [c.to_dict() for c in concepts], told])
            opened.do("labels", key, lambda: _save_labels(opened, pool, concepts, objects))
        rows = [
            _row(job, scene, file, opened.path)
            for scene, file in zip(pool.scenes, files, strict=True)
        ]
        settings = digest(job.model_dump(mode="json"))
        key = digest([VERSION, pool_key, rows, settings, opened.key("labels")])
        opened.do("pairs", key, lambda: _save_pairs(opened, rows, settings))
        opened.describe(summary=_summary(job, pool, rows, opened.path))
    return opened


def named_in(pool: Pool, objects: Objects | None) -> list[str]:
    """Return the classes of the masks of a pool, and the kinds of objects: each name once."""
    names = [*(pool.legend.names if pool.legend else ()), *(objects.kinds if objects else ())]
    return list({same_name(name): name for name in reversed(names)}.values())[::-1]


def labelled_concepts(job: PrepareJob, labels: pa.Table) -> tuple[Concept, ...]:
    """Return the concepts of a table of labels: those that were stated, or its columns."""
    columns = [name for name in labels.column_names if name != "tile_id"]
    return job.stated_concepts() or concepts_of(columns)


def group_of(scene_id: str) -> str:
    """Return the folder of a scene; the scene itself where it lies in none."""
    folder, _, _ = scene_id.rpartition("/")
    return folder or scene_id


def _check(job: PrepareJob) -> None:
    """Refuse what can be known to be wrong before a file is opened.

    Raises:
        DataError: A path does not exist.
        ParameterError: Settings that exclude each other, or cannot be.
    """
    need_paths(job.images, "image")
    need_paths(job.masks, "mask")
    need_paths(job.lr, "overview")
    if min(job.tiles) < 1 or max(job.tiles) == 1:
        raise ParameterError(
            f"tiles = {times(job.tiles)}",
            "A scene is cut into at least two tiles.",
            "--tiles 10x10",
        )
    if job.lr and job.ratio is not None:
        raise ParameterError(
            f"ratio = {job.ratio:g} and real overviews",
            "The ratio is that of overviews that are simulated.",
            "Leave out --ratio, or --lr.",
        )
    if not job.lr:
        low_shape((1, 1), job.scale)
        psf_sigma(job.scale, job.mtf)


def _overviews(job: PrepareJob, pool: Pool, opened: Run, progress: ProgressFn | None) -> list[str]:
    """Simulate the overview of each scene, each in its own step, and return the files."""
    ratio = job.scale
    asked = [VERSION, ratio, job.mtf, job.snr, job.seed if job.snr is not None else None]
    files = []
    with Meter(progress, "simulating overviews", len(pool.scenes)) as meter:
        for scene in pool.scenes:
            info = scene.source.info
            file = f"{OVERVIEWS}/{scene.scene_id}.tif"

            def work(scene: Scene = scene, file: str = file) -> list[str]:
                view = simulate(
                    scene.source, ratio, mtf=job.mtf, snr=job.snr, seed=job.seed,
                    name=scene.scene_id,
                )  # fmt: skip
                write_view(opened.path / file, view, scene.source.info.descriptions)
                return [file]

            key = digest([*asked, scene.scene_id, info.fingerprint, info.nodata])
            opened.do(f"overview {scene.scene_id}", key, work)
            files.append(file)
            meter.advance()
    return files


def _prune(root: Path, files: list[str]) -> None:
    """Remove overviews of an earlier job that this one does not have."""
    kept = {root / file for file in files}
    for file in sorted((root / OVERVIEWS).rglob("*.tif")):
        if file not in kept:
            file.unlink()


def _save_labels(
    opened: Run, pool: Pool, concepts: tuple[Concept, ...], objects: Objects | None
) -> list[str]:
    import pyarrow as pa

    shares = concept_shares(pool, concepts, objects)
    columns = {concept.name: shares[:, k] for k, concept in enumerate(concepts)}
    ids = pa.array(pool.ids.astype(object), pa.string())
    write_parquet(opened.path / LABELS, pa.table({"tile_id": ids, **columns}))
    return [LABELS]


def _row(job: PrepareJob, scene: Scene, file: str, root: Path) -> dict[str, Any]:
    """Return the row of a scene in the table of pairs."""
    info, low = scene.source.info, FileSource(stored_path(str(root / file))).info
    return {
        "scene": scene.scene_id,
        "group": group_of(scene.scene_id),
        "hr": os.fspath(scene.uri),
        "lr": file,
        "mask": printable(scene.mask.path) if isinstance(scene.mask, FileSource) else None,
        "height": info.shape[0],
        "width": info.shape[1],
        "lr_height": low.shape[0],
        "lr_width": low.shape[1],
        "ratio": round((info.shape[0] * info.shape[1] / (low.shape[0] * low.shape[1])) ** 0.5, 6),
        "gsd": metres_per_pixel(info),
        "lr_gsd": metres_per_pixel(low),
        "simulated": not job.lr,
        "mtf": None if job.lr else job.mtf,
        "snr": None if job.lr else job.snr,
        "hr_fingerprint": info.fingerprint,
        "lr_fingerprint": low.fingerprint,
        "mask_fingerprint": scene.mask.info.fingerprint if scene.mask else None,
    }


def _save_pairs(opened: Run, rows: list[dict[str, Any]], settings: str) -> list[str]:
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    kinds = {
        "height": whole, "width": whole, "lr_height": whole, "lr_width": whole, "ratio": real,
        "gsd": real, "lr_gsd": real, "simulated": pa.bool_(), "mtf": real, "snr": real,
    }  # fmt: skip
    schema = pa.schema(
        [(name, kinds.get(name, text)) for name in rows[0]], metadata={b"job": settings.encode()}
    )
    write_parquet(opened.path / PAIRS, pa.Table.from_pylist(rows, schema=schema))
    return [PAIRS]


def _summary(job: PrepareJob, pool: Pool, rows: list[dict[str, Any]], root: Path) -> dict[str, Any]:
    """Return what came out, JSON-ready."""

    def span(name: str) -> list[float] | None:
        values = [row[name] for row in rows]
        return None if None in values else [min(values), max(values)]

    return {
        "pool": pool.describe(),
        "pairs": {
            "tiles": list(job.tiles),
            "groups": len({row["group"] for row in rows}),
            "overviews": "real" if job.lr else "simulated",
            "mtf": rows[0]["mtf"],
            "snr": rows[0]["snr"],
            "ratio": span("ratio"),
            "gsd": span("gsd"),
            "lr_gsd": span("lr_gsd"),
            "file": PAIRS,
        },
        "concepts": _shown(job, root),
        "seed": job.seed,
    }


def _shown(job: PrepareJob, root: Path) -> dict[str, int | None]:
    """Return concept -> how many tiles show it, None where that is not known."""
    if not job.labelled:
        return {concept.name: None for concept in job.stated_concepts()}
    table = read_parquet(root / LABELS)
    concepts = labelled_concepts(job, table)
    shares = np.stack([table[concept.name].to_numpy() for concept in concepts], axis=1)
    counts = present(shares, concepts).sum(axis=0).tolist()
    known = np.isfinite(shares).any(axis=0).tolist()
    return {c.name: n if k else None for c, n, k in zip(concepts, counts, known, strict=True)}
