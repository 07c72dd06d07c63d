"""Runs with rankings, written by hand: what a comparison reads."""

import pyarrow as pa

from foveate.files import write_bytes, write_json, write_parquet

JPEG = b"\xff\xd8\xff\xe0" + b"0" * 20


def write_run(path, orders, *, scenes=("a", "b"), per_scene=4, thumbs=()):
    """Write what a comparison reads of a run: the tiles and the rankings of its methods."""
    ids, scene, x = [], [], []
    for name in scenes:
        for i in range(per_scene):
            ids.append(f"{name}/y000000_x{10 * i:06d}_10x10")
            scene.append(name)
            x.append(10 * i)
    n = len(ids)
    write_parquet(path / "tiles.parquet", pa.table(
        {"tile_id": ids, "scene": scene, "y": [0] * n, "x": x, "h": [10] * n, "w": [10] * n}
    ))  # fmt: skip
    steps = {}
    for name, rows in orders.items():
        file = f"rankings/{name}.parquet"
        table = {"rank": range(1, len(rows) + 1), "tile_id": [ids[row] for row in rows],
                 "score": [1.0] * len(rows)}  # fmt: skip
        write_parquet(path / file, pa.table({k: list(v) for k, v in table.items()}))
        steps[f"rank {name}"] = {"key": "k", "outputs": [file], "seconds": 0}
    entries = [{"kind": "tile", "name": ids[i], "file": f"thumbs/{i}.jpg"} for i in thumbs]
    for entry in entries:
        write_bytes(path / entry["file"], JPEG)
    if entries:
        write_parquet(path / "tables/thumbs.parquet", pa.Table.from_pylist(entries))
    write_json(path / "run.json", {
        "schema": 1, "steps": steps, "summary": {"methods": {name: {} for name in orders}},
    })  # fmt: skip
    return str(path)
