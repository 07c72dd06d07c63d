"""Steps of the prepare job: pairs of an overview and high-resolution tiles from imagery.

The overview of a scene is simulated from its pixels, or a real overview is paired with it by name.
Each overview is a step of the run, so that interrupted runs resume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError
from foveate.files import digest, fingerprint, printable, read_parquet, stored_path, write_parquet
from foveate.grid import Window
from foveate.location import below
from foveate.models.heads import same_name
from foveate.observe.data.concepts import concepts_of
from foveate.observe.data.labels import concept_shares, present
from foveate.observe.data.pairs import LABELS, PAIRS, grid_of, times
from foveate.observe.data.simulation import low_shape, psf_sigma, simulate, write_view
from foveate.pool.quality import leave_out
from foveate.pool.step import Refinement
from foveate.progress import Meter
from foveate.raster import FileSource, metres_per_pixel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.observe.data.concepts import Concept
    from foveate.observe.data.labels import Objects
    from foveate.observe.jobs import PrepareJob
    from foveate.pool import Pool, Scene
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 2  # increased when the same job gives another result
OVERVIEWS = "overviews"


def labelled_names(pool: Pool, objects: Objects | None) -> list[str]:
    """Return the unique names of the mask classes of a pool and the kinds of objects."""
    names = [*(pool.legend.names if pool.legend else ()), *(objects.kinds if objects else ())]
    return list({same_name(name): name for name in reversed(names)}.values())[::-1]


def group_of(scene_id: str) -> str:
    """Return the folder of a scene, or the scene id if it has no folder."""
    folder, _, _ = scene_id.rpartition("/")
    return folder or scene_id


def check_options(job: PrepareJob, *, real: bool) -> None:
    """Check that options do not exclude each other and are in range.

    Args:
        job: The options.
        real: Whether the overviews are real, not simulated.

    Raises:
        ParameterError: Options exclude each other, or are out of range.
    """
    tiles, ratio = job.tiles, job.ratio
    if tiles is not None and job.tile_size is not None:
        raise ParameterError(
            f"--tiles {tiles[0]}x{tiles[1]} and --tile-size {job.tile_size:g}m",
            "The two options exclude each other: a fixed number of tiles per scene, or a fixed "
            "tile size on the ground.",
            "Omit one of them.",
        )
    if tiles is not None and (min(tiles) < 1 or max(tiles) == 1):
        raise ParameterError(
            f"tiles = {times(tiles)}",
            "A scene must have at least two tiles.",
            "For example --tiles 10x10.",
        )
    if real and ratio is not None:
        raise ParameterError(
            f"ratio = {ratio:g} and real overviews",
            "The ratio applies to simulated overviews only.",
            "Omit --ratio or --lr.",
        )
    for name in ("mtf", "snr"):
        if real and (value := getattr(job, name)) != type(job).model_fields[name].default:
            raise ParameterError(
                f"{name} = {0 if value is None else value:g} and real overviews",
                "The option applies to simulated overviews only.",
                f"Omit --{name} or --lr.",
            )
    if not real:
        low_shape((1, 1), job.scale)
        psf_sigma(job.scale, job.mtf)


def valid_overviews(real: Sequence[Scene], min_valid: float) -> Refinement:
    """Return the refinement of a pool that drops tiles with too few valid pixels of an overview.

    A simulated overview is valid where its scene is.

    Args:
        real: The real overviews of the pool; empty if they are simulated.
        min_valid: Minimum share of valid pixels of the overview in a tile, 0 to 1.
    """
    overviews = {scene.scene_id: scene.source for scene in real if scene.source.info.masked}
    if not overviews:
        return Refinement()

    def drop(pool: Pool) -> Pool:
        missing, tiles = np.zeros(len(pool)), pool.tiles
        assert tiles is not None  # noqa: S101  (pairs are cut from scenes)
        for scene, rows in pool.per_scene():
            if (source := overviews.get(scene.scene_id)) is not None:
                for row in rows.tolist():
                    window = _onto(tiles.window(row), scene.source.info.shape, source.info.shape)
                    missing[row] = 1 - source.read(window).valid_share
        what, most = "of their overview without valid pixels", 1 - min_valid
        return leave_out(pool, missing > most, missing, most, what, "--min-valid")

    prints = [[name, source.info.fingerprint] for name, source in overviews.items()]
    return Refinement(("overviews", prints, min_valid), (drop,))


def _onto(window: Window, shape: tuple[int, int], low: tuple[int, int]) -> Window:
    """Return the pixels of an overview that a window of its scene touches."""
    (y, x), (h, w) = (window.y, window.x), (window.h, window.w)
    top, left = y * low[0] // shape[0], x * low[1] // shape[1]
    bottom, right = -(-(y + h) * low[0] // shape[0]), -(-(x + w) * low[1] // shape[1])
    return Window(top, left, bottom - top, right - left)


def simulate_overviews(
    run: Run, pool: Pool, *, ratio: float, mtf: float | None, snr: float | None, seed: int,
    progress: ProgressFn | None = None,
) -> list[str]:  # fmt: skip
    """Simulate the overview of each scene, one step per scene, and return the files."""
    settings = [VERSION, ratio, mtf, snr, seed if snr is not None else None]
    files = []
    with Meter(progress, "simulating overviews", len(pool.scenes)) as meter:
        for scene in pool.scenes:
            info = scene.source.info
            file = f"{OVERVIEWS}/{scene.scene_id}.tif"

            def work(scene: Scene = scene, file: str = file) -> list[str]:
                view = simulate(
                    scene.source, ratio, mtf=mtf, snr=snr, seed=seed, name=scene.scene_id
                )
                write_view(run.path / file, view, scene.source.info.descriptions)
                return [file]

            key = digest([*settings, scene.scene_id, info.fingerprint, info.nodata])
            run.do(f"overview {scene.scene_id}", key, work)
            files.append(file)
            meter.advance()
    return files


def remove_other_overviews(root: Path, files: list[str]) -> None:
    """Remove overviews of an earlier job that are not in `files`."""
    kept = {root / file for file in files}
    for file in sorted((root / OVERVIEWS).rglob("*.tif")):
        if file not in kept:
            file.unlink()


def label(
    run: Run, pool: Pool, pool_key: str, stated: tuple[Concept, ...], objects: Objects | None
) -> tuple[Concept, ...]:
    """Run the labelling step, and return the concepts.

    Args:
        run: Run, open for writing.
        pool: The tiles.
        pool_key: Hash of the pool.
        stated: Concepts of the job; if empty, the concepts of masks and objects.
        objects: Objects, or None.
    """
    concepts = stated or concepts_of(labelled_names(pool, objects))
    source = fingerprint(objects.path) if objects else None
    key = digest([VERSION, pool_key, [concept.to_dict() for concept in concepts], source])
    run.do("labels", key, lambda: save_labels(run.path, pool, concepts, objects))
    return concepts


def save_labels(
    root: Path, pool: Pool, concepts: tuple[Concept, ...], objects: Objects | None
) -> list[str]:
    """Write the share of each concept in each tile, and return the file."""
    import pyarrow as pa

    shares = concept_shares(pool, concepts, objects)
    columns = {concept.name: shares[:, k] for k, concept in enumerate(concepts)}
    ids = pa.array(pool.ids.astype(object), pa.string())
    write_parquet(root / LABELS, pa.table({"tile_id": ids, **columns}))
    return [LABELS]


def pair_rows(
    pool: Pool, files: list[Any], root: Path,
    simulation: tuple[float | None, float | None] | None, cuts: tuple[int, int] | float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the rows of the table of pairs, one per scene.

    Args:
        pool: The scenes.
        files: Overview of each scene, relative to the run or absolute.
        root: Run directory.
        simulation: MTF and signal-to-noise ratio of simulated overviews; None for real overviews.
        cuts: Grid or tile size; see `foveate.observe.data.pairs.grid_of`.
    """
    return [
        _row(scene, file, root, simulation, grid_of(scene, cuts))
        for scene, file in zip(pool.scenes, files, strict=True)
    ]


def _row(
    scene: Scene, file: str, root: Path,
    simulation: tuple[float | None, float | None] | None, grid: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    mtf, snr = simulation or (None, None)
    info, low = scene.source.info, FileSource(stored_path(below(root, file))).info
    return {
        "scene": scene.scene_id,
        "group": group_of(scene.scene_id),
        "hr": scene.uri,
        "lr": file,
        "mask": printable(scene.mask.path) if isinstance(scene.mask, FileSource) else None,
        "height": info.shape[0],
        "width": info.shape[1],
        "rows": grid[0],
        "cols": grid[1],
        "lr_height": low.shape[0],
        "lr_width": low.shape[1],
        "ratio": round((info.shape[0] * info.shape[1] / (low.shape[0] * low.shape[1])) ** 0.5, 6),
        "gsd": metres_per_pixel(info),
        "lr_gsd": metres_per_pixel(low),
        "simulated": simulation is not None,
        "mtf": mtf,
        "snr": snr,
        "hr_fingerprint": info.fingerprint,
        "lr_fingerprint": low.fingerprint,
        "mask_fingerprint": scene.mask.info.fingerprint if scene.mask else None,
    }


def save_pairs(root: Path, rows: list[dict[str, Any]], settings: str) -> list[str]:
    """Write the table of pairs with the hash of its job, and return the file."""
    import pyarrow as pa

    types = {
        **dict.fromkeys(("height", "width", "rows", "cols", "lr_height", "lr_width"), pa.int64()),
        **dict.fromkeys(("ratio", "gsd", "lr_gsd", "mtf", "snr"), pa.float64()),
        "simulated": pa.bool_(),
    }  # fmt: skip
    schema = pa.schema(
        [(name, types.get(name, pa.string())) for name in rows[0]],
        metadata={b"job": settings.encode()},
    )
    write_parquet(root / PAIRS, pa.Table.from_pylist(rows, schema=schema))
    return [PAIRS]


def describe_pairs(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a JSON-ready summary of the table of pairs; "tiles" is the largest grid."""

    def span(name: str) -> list[float] | None:
        values = [row[name] for row in rows]
        return None if None in values else [min(values), max(values)]

    return {
        "tiles": [max(row[side] for row in rows) for side in ("rows", "cols")],
        "grids": len({(row["rows"], row["cols"]) for row in rows}),
        "groups": len({row["group"] for row in rows}),
        "overviews": "simulated" if rows[0]["simulated"] else "real",
        "mtf": rows[0]["mtf"],
        "snr": rows[0]["snr"],
        "ratio": span("ratio"),
        "gsd": span("gsd"),
        "lr_gsd": span("lr_gsd"),
        "file": PAIRS,
    }


def concept_counts(root: Path, concepts: tuple[Concept, ...]) -> dict[str, int | None]:
    """Return concept -> number of tiles with it, or None for a concept without labels."""
    table = read_parquet(root / LABELS)
    shares = np.stack([table[concept.name].to_numpy() for concept in concepts], axis=1)
    counts = present(shares, concepts).sum(axis=0).tolist()
    known = np.isfinite(shares).any(axis=0).tolist()
    return {c.name: n if k else None for c, n, k in zip(concepts, counts, known, strict=True)}
