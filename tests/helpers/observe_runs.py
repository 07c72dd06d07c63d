"""Runs of `foveate observe`, written by hand: the report must not need what made them."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from foveate.files import write_bytes, write_json, write_parquet
from foveate.raster import write_cog

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
SHARES = [0.02, 0.05, 0.12, 0.25, 0.5]
_POOL = {"tiles": 12, "scenes": 2, "bands": 3, "dtype": "uint8", "georeferenced": False,
         "excluded": 3}  # fmt: skip
_ENCODER = {"name": "builtin", "dim": 8, "bands": [1, 2, 3], "fingerprint": "abc"}


def picture(kind="JPEG", side=16, shade=120):
    target = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 90, 60)).save(target, kind)
    return target.getvalue()


def measures(tiles, cosine=0.6, scenes=0.9):
    return {
        "tiles": tiles, "unseen": tiles, "regions": tiles, "scenes_max": scenes,
        "scenes_mean": scenes, "cosine": cosine, "norm": 0.7,
    }  # fmt: skip


def against_random(verdict="better", *, best=None):
    """Return how policies did against random tiles: by default the learned one is better."""
    ends = {"better": (0.02, 0.12), "worse": (-0.12, -0.02), "tied": (-0.02, 0.04),
            "open": (0.001, 0.09)}[verdict]  # fmt: skip
    mean = sum(ends) / 2
    learned = {"area": 0.58 + mean, "difference": {"mean": mean, "low": ends[0], "high": ends[1]},
               "p": 0.01, "verdict": verdict}  # fmt: skip
    others = {"uniform": {**learned, "area": best}} if best else {}
    return {"groups": 9, "scenes": 12, "random": 0.58, "policies": {"learned": learned, **others},
            "policy": "learned" if verdict == "better" else "uniform", "trained": "learned",
            "validation": {"random": 0.57, "uniform": 0.575, "learned": 0.6}}  # fmt: skip


def training(verdict="better", **facts):
    """Return what a selection repeats of the training of its observer."""
    found = against_random(verdict)
    learned = found["policies"]["learned"]
    return {
        "known": True, "policy": "learned", "fallback": "", "measure": "tile mAP",
        "shares": SHARES, "split": "test", "scenes": 12,
        "groups": 9, "random": 0.58, "value": learned["area"], "best": "learned",
        **{key: learned[key] for key in ("difference", "p", "verdict")}, **facts,
    }  # fmt: skip


def evaluation(*, ours=0.65, fill=0.6, low=0.5, random=0.58, full=0.8, **facts):
    """Return an evaluation in which everything goes well, unless told otherwise."""
    ways = {"none": 0.3, "nearest": 0.35, "fill": fill, "ours": ours, "LR only": low, "full": full}
    policies = {
        name: {"fill": [h - 0.02] * 5, "ours": [h] * 5, "captured": SHARES}
        for name, h in (("random", random), ("uniform", 0.57), ("learned", ours),
                        ("oracle-gain", 0.75))
    }  # fmt: skip
    return {
        "split": "test", "scenes": 12, "tiles": 1140, "obr": 0.12, "supervision": "blend",
        "curve": {"shares": SHARES, "measure": "tile mAP", "policies": policies},
        "efficiency": {"uniform": 0.1, "learned": 0.5},
        "against_random": against_random(),
        "completions": {name: measures(value) for name, value in ways.items()},
        "random": measures(random),
        "concepts": {
            "road": {"prevalence": 0.3, "novel": False, **ways},
            "boat": {"prevalence": 0.01, "novel": True, **ways},
            "tank": {"prevalence": 0.0, "novel": False, **dict.fromkeys(ways)},
        },
        "sweep": [
            {"tau": tau, "obr": 1 - tau, "expected": 1 - tau,
             "drift": 0.01 if 0 < tau < 1 else None, **measures(0.6)}
            for tau in (0.0, 0.55, 1.0)
        ],
        "neighbours": {"HR only": 0.3, "fill": 0.5, "ours": 0.52, "true": 0.58},
        "failures": [
            {"kind": "missed", "scene": "a", "row": 1, "col": 2, "value": 180.0},
            {"kind": "complex", "scene": "far", "row": None, "col": None, "value": 0.5},
        ],
        **facts,
    }  # fmt: skip


def unlabelled():
    """Return an evaluation of pairs without labels."""
    nothing = dict.fromkeys(("tiles", "unseen", "regions", "scenes_max", "scenes_mean"))
    ways = {
        name: {**measures(None, cosine), **nothing}
        for name, cosine in (("fill", 0.6), ("ours", 0.61), ("LR only", 0.6), ("full", None))
    }
    found = evaluation(completions=ways, concepts={}, neighbours={}, split="val", scenes=2)
    found["random"] = {**measures(None, 0.6), **nothing}
    found["curve"]["measure"] = "centred cosine"
    return found


def write_trained(path, *, scene="a", concept="road", command="foveate observe train", **facts):
    """Write a train run with one shown scene of 2 x 3 tiles; `facts` replace its evaluation."""
    write_json(path / "tables/evaluation.json", evaluation(**facts) if facts else evaluation())
    files = {"overview": "thumbs/s.jpg", "ours": "thumbs/s-ours.png", "none": "thumbs/s-none.png"}
    write_bytes(path / files["overview"], picture())
    for name in ("ours", "none"):
        write_bytes(path / files[name], picture("PNG", 3))
    write_bytes(path / "thumbs/t.jpg", picture())
    score = np.linspace(0, 1, 6).reshape(2, 3)
    write_json(path / "tables/shown.json", {
        "scenes": [{
            "scene": scene, "overview": files["overview"], "score": score.tolist(),
            "sd": (score / 10).tolist(), "truth": (score**2).tolist(),
            "seen": [[0, 0, 0], [0, 1, 1]], "here": [[1, 1, 1], [0, 1, 1]],
            "features": {"none": files["none"], "ours": files["ours"]},
            "sweep": [{"tau": 0.55, "obr": 0.4, "picture": files["ours"]}],
        }],
        "search": [{"concept": concept, "tiles": [
            {"picture": "thumbs/t.jpg", "tile": "a/1", "right": True, "observed": True},
            {"picture": "thumbs/t.jpg", "tile": "a/2", "right": False, "observed": False},
        ]}],
    })  # fmt: skip
    epochs = [{"epoch": i, "loss": 1.0, "lr": 0.1, "score": 0.5 + i / 100, "spread": 0.5}
              for i in (1, 2, 3)]  # fmt: skip
    phase = {"epochs": epochs, "best": 2, "before": 0.49, "kept": True}
    write_json(path / "training/fill.json", {"strength": 0.3})
    write_json(path / "training/predictor.json", {"kriging": phase, "blocks": phase})
    write_json(path / "training/predictor-stage-II.json", {**phase, "kept": False})
    write_json(path / "training/sampler-blend.json", {"epochs": epochs, "best": 3})
    _record(path, command, {"pairs": "PAIRS", "obr": 0.12}, {
        "observer": {"size": "nano", "form": "kriged", "supervision": "blend",
                     "scenes": {"train": 39, "val": 9, "test": 12}},
    })  # fmt: skip
    return path


def write_selected(
    path, *, scenes=("a", "b"), shape=(2, 3), chosen=(0, 4), thumbs=True,
    command="foveate observe select lr --observer 'my model' --out 'runs/one two'", trained=None,
    **about,
):  # fmt: skip
    """Write a select run; tiles of 10 x 10 pixels; `about` replaces parts of the summary."""
    columns = _tiles(path, scenes, shape)
    n = len(columns["tile_id"])
    score = np.linspace(1, 0, n)
    rank = {row: place + 1 for place, row in enumerate(chosen)}
    write_parquet(path / "tables/scores.parquet", pa.table({
        **columns, "score": score, "raw": score / 2, "sd": np.full(n, 0.05),
        "area": np.full(n, 100.0), "chosen": [row in rank for row in range(n)],
        "rank": pa.array([rank.get(row) for row in range(n)], pa.int64()),
    }))  # fmt: skip
    for scene in scenes if thumbs else ():
        write_bytes(path / f"thumbs/{scene}.jpg", picture())
    _record(path, command, {"images": ["lr"], "model": "my model"}, {"observe": {
        "task": "select", "mode": "budget", "policy": "learned", "obr": 0.17, "mocr": 0.18,
        "tiles": n, "chosen": len(chosen), "scenes": len(scenes), "threshold": None,
        "expected_obr": None, "drift": None, "per_scene": {"min": 0.0, "median": 0.1, "max": 0.3},
        "area": {"unit": "m2", "chosen": 200.0, "all": 1200.0}, "budget": "17%",
        "observer": "my model", "supervision": "blend", "lr_suffices": [], "notes": [], **about,
    }, "training": trained or training()})  # fmt: skip
    return path


def write_completed(path, *, scenes=("a", "b"), observed=(0, 4), concepts=True, **about):
    """Write a complete run; `about` replaces parts of the summary."""
    columns = _tiles(path, scenes, (2, 3))
    n = len(columns["tile_id"])
    seen = np.isin(np.arange(n), observed)
    write_parquet(path / "tables/completed.parquet", pa.table({
        **columns, "observed": seen, "doubt": np.where(seen, 0, 0.4).astype(np.float32),
    }))  # fmt: skip
    if concepts:
        write_parquet(path / "tables/concepts.parquet", pa.table({
            "tile_id": columns["tile_id"], "road": np.linspace(0, 1, n).astype(np.float32),
        }))  # fmt: skip
    for i, scene in enumerate(scenes):
        bands = np.random.default_rng(i).normal(size=(4, 4, 6)).astype(np.float32)
        bands[:, :2, :2] = np.nan
        (path / "maps").mkdir(parents=True, exist_ok=True)
        write_cog(path / f"maps/{scene}.tif", bands, nodata=float("nan"))
        write_bytes(path / f"thumbs/{scene}.jpg", picture())
    _record(path, "foveate observe complete", {"run": "RUN"}, {"observe": {
        "task": "complete", "scenes": len(scenes), "tiles": n, "observed": len(observed),
        "missing": 1, "missing_tiles": ["a/3"], "not_chosen_but_given": 2, "concepts": ["road"],
        "completed_doubt": 0.4,
        **about,
    }})  # fmt: skip
    return path


def _tiles(path, scenes, shape):
    rows, cols = shape
    place = [(s, r, c) for s in range(len(scenes)) for r in range(rows) for c in range(cols)]
    ids = [f"{scenes[s]}/{r}-{c}" for s, r, c in place]
    names = [scenes[s] for s, _, _ in place]
    row, col = ([p[i] for p in place] for i in (1, 2))
    write_parquet(path / "tiles.parquet", pa.table({
        "tile_id": ids, "scene": names, "y": [10 * r for r in row], "x": [10 * c for c in col],
        "h": [10] * len(ids), "w": [10] * len(ids),
    }))  # fmt: skip
    write_parquet(path / "scenes.parquet", pa.table({
        "scene": list(scenes), "height": [10 * rows] * len(scenes),
        "width": [10 * cols] * len(scenes), "fingerprint": ["f"] * len(scenes),
    }))  # fmt: skip
    write_json(path / "tables/excluded.json", {})
    return {"tile_id": ids, "scene": names, "row": row, "col": col}


def _record(path, command, job, summary):
    write_json(path / "run.json", {
        "schema": 1, "steps": {"evaluate": {"key": "k", "seconds": 1.5, "outputs": []}},
        "environment": {"python": "3"}, "job": job, "command": command,
        "summary": {**summary, "pool": _POOL, "model": _ENCODER, "seed": 0},
    })  # fmt: skip
