"""Runs of `foveate bench observe`, written by hand: the report must not need what made them."""

from __future__ import annotations

from foveate.files import write_json


def row(label, mean=0.5, gap=None, verdict="", *, block="", reference="base", **means):
    """Return a row of a table; `gap` is (mean, low, high)."""
    difference = None if gap is None else dict(zip(("mean", "low", "high"), gap, strict=True))
    return {
        "label": label, "block": block, "means": {"tiles": mean, **means},
        "sds": {"tiles": 0.01}, "reference": reference if gap is not None else "",
        "difference": difference if gap is None else {**difference, "p": 0.01},
        "p": None if gap is None else 0.02, "clusters": 0 if gap is None else 21,
        "verdict": verdict, "skipped": "",
    }  # fmt: skip


def rows(**more):
    """Return rows of every verdict."""
    return [
        row("base", 0.5, verdict="reference", **more),
        row("up", 0.6, (0.1, 0.05, 0.15), "better", **more),
        row("down", 0.4, (-0.1, -0.15, -0.05), "worse", **more),
        row("same", 0.5, (0.0, -0.02, 0.02), "tied", **more),
        row("maybe", 0.52, (0.02, 0.001, 0.04), "open", **more),
    ]


def table(name="main", title="Policies", found=None, **facts):
    """Return a table as the benchmark writes it."""
    return {
        "table": name, "title": title, "lead": "tiles", "columns": ["obr", "tiles", "cosine"],
        "titles": {"obr": "OBR", "tiles": "tile mAP", "cosine": "cosine"}, "seeds": 2, "obr": 0.12,
        "test": {"scenes": 12, "groups": 22}, "clusters": 21, "note": "A note.", "how": "So.",
        "cautions": [], "rows": rows() if found is None else found,
        "left_out": {"gone": "no labels"},
        "says": [
            {"text": "up is better than base", "reached": True},
            {"text": "down is worse", "reached": False},
            {"text": "up is the best", "reached": None},
        ],
        **facts,
    }  # fmt: skip


def write_benched(path, *tables, command="foveate bench observe"):
    """Write a run of some tables; the record is of the last one."""
    tables = tables or (table(),)
    for found in tables:
        write_json(path / "tables" / f"{found['table']}.json", found)
    steps = {
        f"{name} {i}": {"key": "k", "seconds": 30.0, "outputs": []}
        for name in ("train work/a/seed", "measure main work/a/seed") for i in range(2)
    }  # fmt: skip
    pool = {"tiles": 5744, "scenes": 60, "bands": 3, "dtype": "uint8", "georeferenced": True,
            "excluded": 256}  # fmt: skip
    write_json(path / "run.json", {
        "schema": 1, "steps": steps, "command": command, "environment": {"foveate": "0.1.0"},
        "job": {"pairs": "pairs", "model": "builtin", "size": "nano", "architecture": "kriged",
                "supervision": "blend", "seed": 0, "seeds": 2, "draws": 5},
        "summary": {"bench": tables[-1], "pool": pool, "seed": 0},
    })  # fmt: skip
    return path
