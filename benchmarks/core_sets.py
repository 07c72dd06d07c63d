"""Which method never loses: core-sets of procedural worlds, and of real imagery that is given.

    python benchmarks/core_sets.py --out DIR [--method all] [--seeds 3] [--model NAME]
        [--weights PATH] [--scenes IMAGES:MASKS CLASSES] [--patches FOLDER] [--budgets 2%,5%]
        [--sets NAME ...] [--recipe FILE ...] [--rivals PYTHON]

Worlds (42 scenes of 384 px, tiles of 64 px; half of the scenes test): all classes; roads
against the rest; buildings, roads and water against the rest (rare classes); all classes with
labels of the training scenes flipped in blobs, up to half of a tile. ``--scenes`` adds a pool that
is divided by folders (`foveate bench curate --folds folder`), ``--patches`` a folder of class
folders, judged by a linear probe on whole embeddings. What is printed: for each method, on which
sets and budgets it is above and below random with the same sampler, beyond the noise; and the mIoU.
``--rivals`` adds what other libraries choose from the same embeddings (`rivals.py`), PYTHON being
an interpreter that has them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import rasterio
import yaml

import rivals
from foveate.bench.curate.inputs import design_of
from foveate.bench.curate.job import CurateBenchJob
from foveate.models.embed import embed
from foveate.run import Run
from foveate.world import CLASSES, WorldSpec, flip_labels, write_world

BUDGETS = "2%,5%,10%,25%"
NAMES = [name for name in CLASSES if name != "cloud"]
GROUPS = {
    "all classes": {name: [name] for name in NAMES},
    "roads": {"road": ["road"], "other": [n for n in NAMES if n != "road"]},
    "rare classes": {
        **{n: [n] for n in ("building", "road", "water")},
        "other": [n for n in NAMES if n not in ("building", "road", "water")],
    },
    "noisy labels": {name: [name] for name in NAMES},
}


def main() -> None:
    """Measure every set and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", default="all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--weights")
    parser.add_argument("--scenes", nargs=2, metavar=("IMAGES:MASKS", "CLASSES"))
    parser.add_argument("--patches", type=Path)
    parser.add_argument("--budgets", default=BUDGETS)
    parser.add_argument("--sets", nargs="+", default=[*GROUPS, "scenes", "patches"])
    parser.add_argument("--recipe", nargs="+", default=[])
    parser.add_argument("--rivals", metavar="PYTHON")
    given = parser.parse_args()
    shared = {
        "methods": given.method, "seeds": given.seeds, "model": given.model,
        "weights": given.weights, "budgets": given.budgets,
        "recipes": given.recipe,
    }  # fmt: skip
    found = {}
    for name, groups in GROUPS.items():
        if name not in given.sets:
            continue
        root = given.out / name.replace(" ", "-")
        train, test, classes = world(root, groups, noisy=name == "noisy labels")
        job = CurateBenchJob.typed(
            train=train, test=test, classes=classes, tile=64, min_labelled=0.5, **shared
        )
        found[name] = result(job, root / "run", given.rivals)
    if given.scenes and "scenes" in given.sets:
        job = CurateBenchJob.typed(
            pool=given.scenes[0], classes=given.scenes[1], folds="folder", tile=128, **shared
        )
        found["scenes"] = result(job, given.out / "scenes", given.rivals)
    if given.patches and "patches" in given.sets:
        found["patches"] = patches(given.patches, given.out / "patches", shared)
    text = summary(found) + "".join(f"\n{name}\n\n{figures(one)}" for name, one in found.items())
    print(text)
    (given.out / "summary.md").write_text(text, "utf-8")


def world(root: Path, groups: dict[str, list[str]], *, noisy: bool) -> tuple[str, str, str]:
    """Draw a world and divide it; return images and masks of both parts, and the classes file."""
    if not (root / "train").exists():
        spec = WorldSpec(scenes=42, size=384, bands=3, seed=11, cloud=0.0, nodata_border=0.0)
        write_world(root / "world", spec)
        for part in ("train", "test"):
            for kind in ("images", "masks"):
                (root / part / kind).mkdir(parents=True)
        for i, image in enumerate(sorted((root / "world/images").glob("*.tif"))):
            part = "test" if i // 7 % 2 else "train"  # each theme in both
            for kind in ("images", "masks"):
                shutil.copy(root / "world" / kind / image.name, root / part / kind / image.name)
        if noisy:
            for i, mask in enumerate(sorted((root / "train/masks").glob("*.tif"))):
                flip(mask, np.random.default_rng(i))
    index = {name: i for i, name in enumerate(CLASSES)}
    content = {
        "classes": {name: [index[m] for m in members] for name, members in groups.items()},
        "ignore": [index["cloud"], 255],
    }
    (root / "classes.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    paths = [f"{root / part / 'images'}:{root / part / 'masks'}" for part in ("train", "test")]
    return paths[0], paths[1], str(root / "classes.yaml")


def flip(path: Path, draw: np.random.Generator, tile: int = 64) -> None:
    """Give blobs of each tile, 0 to 50 % of it, the label of another class."""
    with rasterio.open(path) as file:
        mask, profile, colours = file.read(1), file.profile, file.colormap(1)
    for y in range(0, mask.shape[0], tile):
        for x in range(0, mask.shape[1], tile):
            part = np.s_[y : y + tile, x : x + tile]
            share = draw.uniform(0, 0.5)
            mask[part] = flip_labels(mask[part], share, range(len(NAMES)), draw, "blobs")
    profile = {k: v for k, v in profile.items() if k in ("crs", "transform", "nodata", "dtype")}
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=mask.shape[0], width=mask.shape[1], **profile
    ) as file:
        file.write(mask, 1)
        file.write_colormap(1, colours)


def result(job: CurateBenchJob, out: Path, python: str | None = None) -> dict:
    """Run a benchmark, with what rivals choose if there is a Python for them."""
    from foveate.report import headlines, write_report

    seconds = {}
    if python:
        lists, seconds = rival_lists(job, out, python)
        job = job.model_copy(update={"lists": lists})
    run = job.run(out, report=write_report)
    print(out, headlines(run.path)[""].text, sep="\n  ", flush=True)
    return run.record["summary"]["core_sets"] | {"seconds": seconds}


def rival_lists(
    job: CurateBenchJob, out: Path, python: str
) -> tuple[dict[str, str], dict[str, float]]:
    """Let rivals choose from the embeddings of each fold; return their lists and CPU seconds."""
    headers, (encoder, _) = job.check()
    with Run.create(out) as run:
        design = design_of(job, headers, run, None)
        x = embed(design.pool, encoder, run=run).align(design.pool.ids).astype(np.float32)
    folds = []
    for fold in design.folds:
        sizes = [int(share * fold.train.size) for share in job.budgets if share < 1]
        chosen = rivals.Fold(x[fold.train], design.pool.counts[fold.train], sizes)
        folds.append((design.pool.ids[fold.train], chosen))
    seeds = range(job.seed, job.seed + job.seeds)
    return rivals.write_lists(python, out.with_name(f"{out.name}-rivals"), folds, seeds)


def patches(folder: Path, out: Path, shared: dict) -> dict:
    """Judge a folder of class folders: each patch gets a mask of its class, and is one tile."""
    from PIL import Image

    kinds = sorted(p.name for p in folder.iterdir() if p.is_dir())
    for number, kind in enumerate(kinds):
        for i, image in enumerate(sorted((folder / kind).iterdir())):
            part = "test" if i % 2 else "train"
            place = out / part / "images" / image.name
            mask = out / part / "masks" / f"{image.stem}.png"
            for file in (place, mask):
                file.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(image.resolve())
                size = Image.open(image).size
                Image.fromarray(np.full(size[::-1], number, np.uint8)).save(mask)
    classes = out / "classes.json"
    classes.write_text(json.dumps({"classes": {k: i for i, k in enumerate(kinds)}}), "utf-8")
    pair = {part: f"{out / part / 'images'}:{out / part / 'masks'}" for part in ("train", "test")}
    job = CurateBenchJob.typed(
        **pair, classes=str(classes), tile=224, edge="drop", allow_leaks=True, **shared
    )
    return result(job, out / "run")


def summary(found: dict[str, dict]) -> str:
    """Return the table of methods by set: above and below random, by sampler."""
    methods = dict.fromkeys(m for one in found.values() for m in one["methods"] if m != "random")
    lines = [
        "| method | " + " | ".join(found) + " | above | below |",
        "|---|" + "---|" * (len(found) + 2),
    ]
    for method in methods:
        said = [verdicts(one, method) for one in found.values()]
        cells = [" ".join(f"`{text}`" for text in of_set.values()) for of_set in said]
        every = "".join(text for of_set in said for text in of_set.values())
        cells += [str(every.count("+")), str(every.count("-"))]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figures(one: dict) -> str:
    """Return the mIoU by method, sampler and budget, with the marks of `verdicts`, and seconds."""
    samplers, entries = one["samplers"], one["entries"]
    heads = [f"{100 * e['share']:g} %, {sampler}" for sampler in samplers for e in entries]
    lines = [f"| method | {' | '.join(heads)} | CPU s |", "|---|" + "---|" * (len(heads) + 1)]
    marks = {"better": " ▲", "worse": " ▼"}
    seconds = dict(one.get("seconds", {}))
    for method in one["methods"]:
        cells = []
        for sampler in samplers:
            for entry in entries:
                row = next((r for r in entry["rows"] if r["block"] == sampler
                            and r["label"] == method and "miou" in r["means"]), None)  # fmt: skip
                if row is None:
                    cells.append("")
                    continue
                cells.append(f"{row['means']['miou']:.3f}{marks.get(row['verdict'], '')}")
                seconds.setdefault(method, row["means"].get("select s"))
        took = seconds.get(method)
        last = "" if took is None else f"{took:.1f}"
        lines.append(f"| `{method}` | {' | '.join(cells)} | {last} |")
    floors = [entry["floor"].get(sampler) for sampler in samplers for entry in entries]
    noise = ["" if floor is None else f"{floor:.3f}" for floor in floors]  # none at 100 %
    lines.append(f"| *noise (sd)* | {' | '.join(noise)} | |")
    return "\n".join(lines) + "\n"


def verdicts(one: dict, method: str) -> dict[str, str]:
    """Return sampler -> a mark for each budget: + above random, - below, = tied, ? open."""
    marks = {"better": "+", "worse": "-", "tied": "=", "open": "?"}
    said = dict.fromkeys(one["samplers"], "")
    for entry in one["entries"]:
        rows = {row["block"]: row for row in entry["rows"] if row["label"] == method}
        for sampler in said:
            said[sampler] += marks.get(rows[sampler]["verdict"], " ") if sampler in rows else " "
    return said


if __name__ == "__main__":
    main()
