"""A tiny run directory, written by hand: the report must not need the program that made it."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from foveate.files import write_bytes, write_json, write_parquet
from foveate.stats import kendall_tau

ENCODER = {
    "name": "builtin", "dim": 8, "bands": [1, 2, 3], "scale": [[0.0, 255.0]] * 3, "mean": [],
    "std": [], "input_size": None, "dtype": "float32", "gsd": None, "non_negative": True,
    "licence": "Apache-2.0", "source": "no weights", "fingerprint": "abc",
}  # fmt: skip


def jpeg(shade=120, side=16):
    target = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 90, 60)).save(target, "JPEG")
    return target.getvalue()


def write_run(
    path, *, scenes=("a", "b"), per_scene=4, tile=10, step=10, classes=("water", "land"),
    counts=None, methods=None, titles=None, kept=2, excluded=None, thumbs=True, depth=None,
    uri="file.tif", command="foveate curate images",
):  # fmt: skip
    """Write a run of `per_scene` windows in a row in each scene, `step` pixels apart.

    `methods` maps a name to the order of the rows, best first; scores fall from 1.
    """
    path = Path(path)
    ids, scene, x = [], [], []
    for name in scenes:
        for i in range(per_scene):
            ids.append(f"{name}/y000000_x{i * step:06d}_{tile}x{tile}")
            scene.append(name)
            x.append(i * step)
    n = len(ids)
    methods = methods or {"fa-cb": np.arange(n)}
    titles = titles or {}
    width = step * (per_scene - 1) + tile
    windows = {"y": [0] * n, "x": x, "h": [tile] * n, "w": [tile] * n}
    tiles = {"tile_id": ids, "scene": scene, **windows}
    if classes:
        c = len(classes)
        table = np.asarray(counts if counts is not None else np.ones((n, c)), np.int64)
        kind = pa.list_(pa.int64(), c)
        tiles["counts"] = pa.FixedSizeListArray.from_arrays(pa.array(table.ravel()), type=kind)
    write_parquet(path / "tiles.parquet", pa.table(tiles))
    rows = [
        {"scene": s, "uri": uri, "height": tile, "width": width, "bands": 3, "dtype": "uint8",
         "nodata": None, "crs": None, "affine": None, "fingerprint": "f"}
        for s in scenes
    ]  # fmt: skip
    write_parquet(path / "scenes.parquet", pa.Table.from_pylist(rows))
    classes = classes or ()
    palette = [f"#{(40 * i) % 256:02X}80{(90 * i) % 256:02X}" for i in range(len(classes))]
    legend = {"classes": {}, "colors": dict(zip(classes, palette, strict=True))}
    write_json(path / "tables/legend.json", legend if classes else None)
    write_json(path / "tables/excluded.json", excluded or {})
    scores = {"tile_id": ids}
    infos, summary, steps = [], {}, {}
    for name, order in methods.items():
        picks = np.asarray(order)[:kept]
        known = np.asarray(order)[:depth]
        rank, score = np.zeros(n, np.int64), np.full(n, np.nan)
        rank[known] = np.arange(1, known.size + 1)
        score[known] = 1 - np.arange(known.size) / n
        scores[f"rank:{name}"] = pa.array(rank, mask=rank == 0)
        scores[f"score:{name}"] = score
        chosen = {"rank": np.arange(1, kept + 1), "tile_id": [ids[i] for i in picks],
                  "score": score[picks], "scene": [scene[i] for i in picks],
                  **{k: [v[i] for i in picks] for k, v in windows.items()},
                  "cost_tiles": np.ones(kept), "weight": np.ones(kept)}  # fmt: skip
        footer = {"spent": {"tiles": kept}, "unspent": {"tiles": 0.0}, "budget": str(kept)}
        write_parquet(
            path / f"selection/{name}.parquet",
            pa.table(chosen).replace_schema_metadata({b"foveate": json.dumps(footer).encode()}),
        )
        infos.append({"method": name, "title": titles.get(name, name.upper()), "source": "paper",
                      "selected": kept, "pool": n})  # fmt: skip
        summary[name] = {"selected": kept, "options": {"lam": 0.5}, "report": {"seed": 0}}
        steps[f"rank {name}"] = {"key": "k", "seconds": 0.25, "outputs": []}
    write_parquet(path / "tables/scores.parquet", pa.table(scores))
    write_parquet(path / "tables/methods.parquet", pa.Table.from_pylist(infos))
    pairs = _pairs(methods, kept, full=depth is None)
    kind = {"a": pa.string(), "b": pa.string(), "kendall": pa.float64(), "overlap": pa.float64()}
    write_parquet(
        path / "tables/agreement.parquet", pa.Table.from_pylist(pairs, schema=pa.schema(kind))
    )
    _thumbs(path, ids if thumbs else [], scenes if thumbs else [])
    record = {
        "schema": 1, "steps": steps, "command": command,
        "job": {"images": ["images"], "budget": str(kept), "min_valid": 0.5, "tile": tile},
        "environment": {"python": "3.12", "foveate": "0.1.0"},
        "summary": {"pool": {"bands": 3, "dtype": "uint8", "georeferenced": False},
                    "budget": str(kept), "model": ENCODER, "seed": 0, "preset": "default",
                    "methods": summary},
    }  # fmt: skip
    write_json(path / "run.json", record)
    return path


def _pairs(methods, kept, *, full):
    names, pairs = list(methods), []
    place = {m: np.argsort(np.asarray(order)) for m, order in methods.items()}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            same = len(set(list(methods[a])[:kept]) & set(list(methods[b])[:kept]))
            tau = float(kendall_tau(place[a], place[b])) if full else float("nan")
            pairs.append({"a": a, "b": b, "kendall": tau, "overlap": same / kept})
    return pairs


def _thumbs(path, ids, scenes):
    entries = []
    for kind, names in (("tile", ids), ("scene", scenes)):
        for i, name in enumerate(names):
            file = f"thumbs/{kind}s/{i}.jpg"
            write_bytes(path / file, jpeg(40 + i % 200))
            entries.append({"kind": kind, "name": name, "file": file})
    schema = pa.schema({"kind": pa.string(), "name": pa.string(), "file": pa.string()})
    write_parquet(path / "tables/thumbs.parquet", pa.Table.from_pylist(entries, schema=schema))


@pytest.fixture
def make_run(tmp_path):
    return lambda **options: write_run(tmp_path / "run", **options)
