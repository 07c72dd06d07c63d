"""A focus run, written by hand: the report must not need the program that made it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from PIL import Image

from foveate.files import write_json, write_parquet
from foveate.raster import write_cog

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"

_ANSWERS = {
    "full": {"label": "meadow", "probability": 0.47, "next": [["overpass", 0.2]]},
    "tile": {"label": "overpass", "probability": 0.9, "next": []},
    "vote": {"label": "meadow", "probability": 0.5, "next": [["overpass", 0.25]]},
    "first": {"label": "overpass", "probability": 0.89, "next": [["meadow", 1e-5]]},
}


def cells(label):
    """Return the columns of five cells that cover 2048 x 2048 pixels, two of them chosen."""
    y, x = [0, 0, 0, 1024, 1024], [0, 256, 1024, 0, 1024]
    h, w = [1024, 1024, 1024, 1024, 1024], [256, 768, 1024, 1024, 1024]
    found = {
        "rank": pa.array([None, 1, None, 2, None], pa.int64()),
        "tile_id": [f"t{i}" for i in range(5)], "scene": ["s"] * 5,
        "y": y, "x": x, "h": [256, 256, 1024, 256, 256], "w": [256, 256, 1024, 256, 256],
        "cell_y": y, "cell_x": x, "cell_h": h, "cell_w": w, "level": [1] * 5,
        "valid_share": [1.0] * 5, "importance": [0.31, 1.31, 0.81, 0.61, 0.51],
        "utility": [0.31, 1.31, 0.81, 0.61, 0.51], "representativeness": [None] * 5,
        "robustness": [None] * 5, "synergy": [0.5] * 5, "weight": [None] * 5,
        "label": ["meadow", label, "meadow", "meadow", "meadow"],
        "probability": [0.5, 0.89, 0.5, 0.5, 0.5],
    }  # fmt: skip
    kinds = {name: pa.float64() for name in ("representativeness", "robustness", "weight")}
    return pa.table({k: pa.array(v, kinds.get(k)) if k in kinds else v for k, v in found.items()})


def write_focus(
    path, *, names=("scene",), task="look", goal="rare", label="overpass", shape=(2048, 2048),
    georeferenced=False, mask=False, job=None, command="foveate focus look images", **facts,
):  # fmt: skip
    """Write a run of images that all show the same; `facts` replace those of the result."""
    steps = {}
    for number, name in enumerate(names):
        table = cells(label)
        if georeferenced:
            table = table.append_column("geometry", pa.array([b"wkb"] * 5))
        write_parquet(path / f"looks/{number}.parquet", table)
        plain = table.drop_columns(["geometry"] if georeferenced else [])
        regions = plain.take([1, 3]).to_pylist()
        for region in regions:
            region.update({"quality": 0.25} if task == "segment" else {})
            region.update({"lon": -98.25, "lat": 47.5} if georeferenced else {})
        write_json(path / f"looks/{number}.json", {
            "image": name, "shape": list(shape), "goal": goal, "mode": "zoom",
            "prediction": "overpass", "prediction_full": "meadow", "answers": _ANSWERS,
            "passes": 24.0, "remembered": 4.0, "images": 37, "calls": 3, "seconds": 1.5,
            "epsilon": 0.11, "coreset_ok": True, "loss_full": 1.6, "loss_set": 1.8,
            "area_share": 0.125, "cells": 5, "depth": 1, "stop": "passes",
            "stop_reason": "the remaining budget does not suffice for another cell",
            "removal": "crops encoded separately", "near_ties": 1,
            "forms": {"answer": "first", "weights": {
                "area": 0.7, "representativeness": 0.0, "robustness": 0.0, "synergy": 0.0}},
            "rounds": [{"cells": 4, "chosen": 2, "importance": 0.7, "epsilon": -0.1, "passes": 5.0},
                       {"cells": 5, "chosen": 2, "importance": 0.9, "epsilon": 0.11,
                        "passes": 24.0}],
            "notes": ["The robustness was not computed."], **facts, "regions": regions,
        })  # fmt: skip
        files = [f"thumbs/{number}.jpg", f"crops/{number}-01.jpg", f"crops/{number}-02.jpg"]
        for file in files:
            (path / file).parent.mkdir(exist_ok=True)
            Image.new("RGB", (32, 32), (9, 99, 9 + number)).save(path / file)
        if mask:
            numbers = np.zeros((64, 64), np.uint16)
            numbers[:20, 8:24] = 2
            write_cog(path / f"masks/{number}.tif", numbers, nodata=0)
            files.append(f"masks/{number}.tif")
        files += [f"looks/{number}.parquet", f"looks/{number}.json"]
        steps[f"look {name}"] = {"key": "k", "seconds": 0.5, "outputs": files}
    scenes = {"scene": list(names), "fingerprint": ["f"] * len(names)}
    write_parquet(path / "scenes.parquet", pa.table(scenes))
    about = {"task": task, "goal": goal, "mode": "zoom", "query": ""}
    write_json(path / "run.json", {
        "schema": 1, "steps": steps, "command": command, "environment": {"foveate": "0.1.0"},
        "job": {"images": ["images"], "epsilon": 0.98, "passes": 24.0, "min_valid": 0.5,
                "forms": {"synergy": "paper"}, **(job or {})},
        "summary": {
            "focus": {**about, "images": len(names), "looks": [{"image": n} for n in names]},
            "pool": {"bands": 3, "dtype": "uint8", "georeferenced": georeferenced},
            "model": {"name": "clip", "input_size": [224, 224], "fingerprint": "abc"}, "seed": 0,
        },
    })  # fmt: skip
    return path
