"""Every setting of every job changes what a run leaves, or is named with the reason why not.

`JOBS` has a `Walk` for each kind of job. Of two runs that differ in one setting, files other than
``run.json`` differ (`changes`), or are the same (`same`, with the reason). Names of files are
compared without the keys in them, tables without their footers, pages without their section of
inputs: what a run only repeats is no effect. A setting that no table names fails the test.
"""

from __future__ import annotations

# ruff: noqa: FBT003  (values of settings)
import csv
import hashlib
import inspect
import io
import json
import pkgutil
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch")

from affine import Affine
from colour_words import ColourWords, colour_words, register
from looks import colour_model
from odc.geo.geobox import GeoBox
from pair_archive import RULES, write_archive
from paper_data import write_potsdam, write_vaihingen
from patches import write_patches
from stac_files import write_item, write_list

import foveate
from foveate.bench.curate.job import CurateBenchJob
from foveate.bench.focus.job import FocusBenchJob
from foveate.bench.observe.job import BenchJob
from foveate.classify import ClassifyJob
from foveate.curate import CompareJob, CurateJob
from foveate.errors import FoveateError, ParameterError
from foveate.focus import AskJob, LookJob, SegmentJob, TrainScorerJob
from foveate.models import FAMILIES
from foveate.models.job import EmbedJob
from foveate.models.probe import fit_probe
from foveate.models.tune_text import TuneTextJob
from foveate.observe.build import BuildJob
from foveate.observe.jobs import CompleteJob, PrepareJob, SelectJob, TrainJob
from foveate.observe.totals.estimation import EstimateJob, draw_tiles, from_labels
from foveate.observe.totals.statistics import StatsJob
from foveate.raster import write_cog
from foveate.report import write_report
from foveate.run import load_embeddings
from foveate.run.job import Job

PLACE = "where something runs, or in how many pieces: results may not depend on it"
MODEL = "a file of a model: `test_weights_reach_the_model`"
NAMES = "how names are told apart: tests/docs/test_what_counts_pairing.py"


@dataclass(frozen=True)
class On:
    """A value of a setting, on settings that both runs share; `{NAME}` is a path of `Places`."""

    value: Any
    given: dict[str, Any] = field(default_factory=dict)
    page: bool = False
    base: Any = None


@dataclass(frozen=True)
class Walk:
    """A kind of job: how it runs, what both runs have, and its settings."""

    base: dict[str, Any]
    changes: dict[str, Any]
    same: dict[str, tuple[Any, str]]
    elsewhere: dict[str, str] = field(default_factory=dict)  # setting -> reason, nothing is run


def on(value: Any, *, page: bool = False, base: Any = None, **given: Any) -> On:
    return On(value, given, page, base)


# --- what is run on


class _Turned:
    """The colour words with the bands the other way round."""

    def check(self, handle):
        return replace(handle, channels=3)

    def build(self, handle, bands, scale):
        model = colour_words(bands)
        spec = replace(model.spec, name="turned", fingerprint="turned/1")
        return _Backwards(spec, model.text_spec)


class _Backwards(ColourWords):
    def embed(self, batch):
        return super().embed(batch)[:, ::-1]


class _Grid(_Turned):
    """A model with tokens: the mean colours of four parts."""

    def build(self, handle, bands, scale):
        return colour_model(tokens=2)[0]


class _Sized(_Turned):
    """A model with an input size: a crop is a pass."""

    def build(self, handle, bands, scale):
        return colour_model(size=(24, 24))[0]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Small inputs of every kind."""
    register()
    if "turned" not in FAMILIES:
        FAMILIES.register("turned", _Turned())
        FAMILIES.register("grid", _Grid())
        FAMILIES.register("sized", _Sized())
    root = tmp_path_factory.mktemp("options")
    draw = np.random.default_rng(0)
    box = GeoBox((96, 96), Affine(1, 0, 500_000, 0, -1, 4_000_000), "EPSG:32633")

    def write(path, data, *, nodata=None, geobox=box):
        write_cog(root / path, data, geobox=geobox, nodata=nodata, overviews="nearest")

    def picture(i):
        """Blobs of colour and texture; some pixels are 7, and a corner of a tile is 0."""
        rough = draw.integers(30, 220, (3, 6, 6)).repeat(16, 1).repeat(16, 2)
        data = np.clip(rough + draw.normal(0, 25, (3, 96, 96)), 10, 250).astype(np.uint8)
        data[:, :24, : 12 + 2 * i] = 7
        return data

    for i in range(6):
        data = picture(i)
        labels = (data[0] // 90).astype(np.uint8)
        labels[40:60, 40:80] = 9
        write(f"images/s{i}.tif", data)
        write(f"masks/s{i}.tif", labels)
        write(f"moved/s{i}.tif", np.roll(labels, 31, axis=1))
        if i < 3:
            write(f"spread/{'aab'[i]}/s{i}.tif", data)
            write(f"spreadmasks/{'aab'[i]}/s{i}.tif", labels)
        write(f"dsm/s{i}.tif", draw.integers(0, 99, (1, 96, 96), np.uint8))
        if i < 2:
            write(f"few/s{i}.tif", data)
            write(f"other/s{i}.tif", picture(i)[::-1].copy())
            write(f"gap/s{i}.tif", data * np.uint8(i))
            cloud = np.full((1, 96, 96), 4, np.uint8)  # vegetation, as a class of Sentinel-2
            cloud[:, :32], cloud[:, :12, :40] = 0, 9
            write(f"clouds/s{i}.tif", cloud)
            write(f"SCL/s{i}_SCL.tif", cloud)
            for band in range(3):
                write(f"bands/s{i}_B{band}.tif", data[[band]])
            low = data.reshape(3, 24, 4, 24, 4).mean(axis=(2, 4)).astype(np.uint8)
            coarse = GeoBox((24, 24), Affine(4, 0, 500_000, 0, -4, 4_000_000), "EPSG:32633")
            write(f"low/s{i}.tif", low, geobox=coarse)
            write(f"lowdsm/s{i}.tif", low[:1] // 2, geobox=coarse)
            write(f"lowgap/s{i}.tif", low * np.uint8(i), geobox=coarse)
            for band in range(3):
                write(f"lowbands/s{i}_B{band}.tif", low[[band]], geobox=coarse)
    lights = draw.random((1, 96, 96)).astype(np.float32) ** 4
    write("lights.tif", lights)
    write("dusk.tif", lights[:, ::-1].copy())
    _write_texts(root)
    return SimpleNamespace(root=root, cache={}, out=0)


def _write_texts(root):
    """Write what is no raster: classes, labels, captions, lists."""
    (root / "classes.yaml").write_text("classes: {a: 0, b: 1, c: 2}\nignore: [9]\n")
    (root / "two.yaml").write_text("classes: {a: [0, 1], c: 2}\nignore: [9]\n")
    corners = [f"few s{i}.tif {r} {c} 1.0" for i in range(2) for r in (0, 32) for c in (5, 40)]
    (root / "corners.txt").write_text("\n".join(corners) + "\n")
    (root / "labels.yaml").write_text("red: red\nblue: blue\n")
    objects = [
        {"type": "Feature", "geometry": None,
         "properties": {"kind": "boat", "scene": "s1", "y": 40, "x": 70, "h": 3, "w": 2}}
    ]  # fmt: skip
    (root / "objects.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": objects})
    )
    _write_tables(root)
    write_patches(root / "patches", per_class=10)
    shutil.copytree(root / "patches/images", root / "patches/more")
    for path in (root / "patches/more/openwater").glob("*.png"):
        shutil.copy(root / "patches/images/bare_soil/bare_soil03.png", path)
    captions = (root / "patches/captions.csv").read_text()
    (root / "captions.csv").write_text(captions.replace("bare soil", "red brick"))
    (root / "names.yaml").write_text(
        "bare_soil: brown ground\nDenseForest: many trees\nopenwater: a lake\n"
    )
    names = sorted(str(p.relative_to(root / "patches/images")) for p in
                   (root / "patches/images").rglob("*.png"))  # fmt: skip
    parts = [f"{name},{('train', 'train', 'val', 'test')[k % 4]}" for k, name in enumerate(names)]
    (root / "split.csv").write_text("image,split\n" + "\n".join(parts) + "\n")


def _write_tables(root):
    """Write what goes beside or in the place of images: vectors, columns, lists, polygons."""
    draw = np.random.default_rng(1)
    vectors = {name: list(draw.normal(size=(12, 5)).astype(np.float32)) for name in "ab"}
    names = [f"n{i:02d}" for i in draw.permutation(12)]
    pq.write_table(pa.table({"id": names, **vectors}), root / "vectors.parquet")
    for name, values in (("scores", (1, 2)), ("turned", (2, 1))):
        rows = "".join(f"s{i},{value}\n" for i, value in enumerate(values))
        (root / f"{name}.csv").write_text(f"scene,score\n{rows}")
    for name, kind in (("even", "balance"), ("apart", "diversity")):
        (root / f"{name}.toml").write_text(f'name = "mine"\n[[strategy]]\nkind = "{kind}"\n')
    (root / "start.txt").write_text("s0/y000000_x000000_32x32\ns1/y000032_x000032_32x32\n")
    ring = [[14.9, 36.0], [15.0003, 36.0], [15.0003, 37.0], [14.9, 37.0], [14.9, 36.0]]
    (root / "lake.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))


def at(places, value):
    """Put paths into a value; `{NAME}` is a file or folder, made when it is asked for or before."""
    if isinstance(value, list):
        return [at(places, one) for one in value]
    if not isinstance(value, str) or not value.startswith("{"):
        return value

    def path(found):
        name = found[1]
        return str(MADE[name](places) if name in MADE else places.root / name)

    return re.sub(r"\{([^{}]+)\}", path, value)


def made(make):
    """Make something once."""

    def once(places):
        if make not in places.cache:
            places.cache[make] = make(places)
        return places.cache[make]

    return once


def job_run(kind, **more):
    """Return a maker of a run of the base of a job."""
    return made(lambda places: _run(places, kind, {**JOBS[kind].base, **more})[0])


def _probe(places, flip):
    out = places.root / f"probe{flip}.safetensors"
    folder = _run(places, EmbedJob, JOBS[EmbedJob].base)[0]
    found = load_embeddings(folder)
    truth = (np.arange(len(found.ids)) + flip) % 2
    fit_probe(found.x, truth, ("even", "odd"), spec=found.spec).save(out)
    return out


# --- how it is compared

_KEY = re.compile(r"[0-9a-f]{8,64}")
_REPEATED = {
    "seconds",
    "calls",
    "training",
    "key",
    "job",
    "command",
    "fingerprint",
    "seed",
    "options",
}
_SECONDS = re.compile(r"[ _]s$|^seconds")  # "select s" of a benchmark
_INPUTS = re.compile(rb'<section id="provenance">.*?</section>', re.DOTALL)


def _plain(content):
    """Return JSON without what it only repeats."""
    if isinstance(content, dict):
        kept = {k: v for k, v in content.items() if k not in _REPEATED and not _SECONDS.search(k)}
        return {k: _plain(v) for k, v in kept.items()}
    if isinstance(content, list):
        return [_plain(v) for v in content if not _is_time(v)]
    return content


def _is_time(row):
    """Say whether a row is a measurement of seconds, or the name of one."""
    name = row.get("measure", "") if isinstance(row, dict) else row
    return isinstance(name, str) and name.startswith("seconds")


def contents(folder):
    """Return the hash of what each file says."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = _KEY.sub("KEY", str(path.relative_to(folder)))
        if not path.is_file() or path.name in ("run.json", ".lock", "manifest.json"):
            continue
        if path.suffix == ".md" and path.with_suffix(".json").exists():
            continue  # a table, which its JSON holds without the times
        data = path.read_bytes()
        if path.suffix == ".parquet":
            sink = io.BytesIO()
            table = pq.read_table(io.BytesIO(data)).replace_schema_metadata(None)
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            data = sink.getvalue()
        elif path.suffix in (".json", ".geojson"):
            data = json.dumps(_plain(json.loads(data)), sort_keys=True).encode()
        elif path.suffix == ".csv" and path.parent.name == "tables":
            rows = csv.DictReader(io.StringIO(data.decode()))
            data = json.dumps(_plain(list(rows))).encode()
        elif path.suffix == ".html":
            data = _INPUTS.sub(b"", data)
        elif path.suffix == ".safetensors":
            data = data[8 + int.from_bytes(data[:8], "little") :]
        data = data.replace(str(folder).encode(), b"RUN")
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def _run(places, kind, given, *, page=False):
    """Run a job, or find that it was run; return its folder and what it says, or its error."""
    stated = {name: at(places, value) for name, value in given.items()}
    key = json.dumps([kind.__name__, stated, page], sort_keys=True, default=str)
    if key not in places.cache:
        places.out += 1
        out = places.root / "runs" / f"{places.out:03d}"
        try:
            _do(kind(**stated), out, page=page)
            places.cache[key] = out, contents(out)
        except FoveateError as error:
            places.cache[key] = out, {"error": str(error)}
    return places.cache[key]


def _do(job, out, *, page):
    if not isinstance(job, EstimateJob):
        job.run(out, report=write_report if page else None)
        return
    out.mkdir(parents=True)  # an estimate has no run directory
    found = from_labels(draw_tiles(job, labelled=True))
    (out / "estimate.json").write_text(json.dumps(found))


IMAGERY = {
    "images": ["{other}"],
    "extra": on(["{dsm}"]),
    "stack": on(["B1", "B0"], images=["{bands}"], base=["B0", "B1"]),
    "bands": [1],
    "nodata": 7.0,
    "skip_empty": on(True, images=["{gap}"], nodata=0.0),
    "min_valid": on(0.95, nodata=7.0),
}
MASKED = {
    "masks": on(["{moved}"]),
    "classes": on("{two.yaml}"),
    "min_labelled": 0.9,
}
GRID = {
    "coordinates": on("{corners.txt}", images=["{few}"]),
    "tile": 48,
    "stride": 16,
    "edge": on("pad", tile=40, base="drop"),
}
ITEMS = {"images": ["{catalogue.json}"], "assets": ["red", "nir"]}
SEARCHED = {
    "assets": on(["nir", "red"], images=["{catalogue.json}"], base=["red", "nir"]),
    "datetime": on("2024-06/..", **ITEMS),
    "bbox": on([15.0, 50.5, 15.005, 50.6], **ITEMS),
    "max_cloud": on(5.0, **ITEMS),
}
AGAIN = "nothing lies there that could be replaced"
OPENED = "imagery is opened by the same step as that of an EmbedJob"
CATALOGUE = dict.fromkeys(SEARCHED, OPENED)
ONE = {"batch_size": (3, PLACE), "device": ("cpu", PLACE)}
RUNS = {"workers": (2, PLACE), "batch_size": (3, PLACE), "device": ("cpu", PLACE)}
SPREAD = {
    **dict.fromkeys(
        ("shard", "driver", "address", "gpus_per_worker"),
        "tests/run, tests/models: the same bytes wherever shards are made",
    ),
    "on_error": "tests/models/test_skip.py",
}
SKIPS = "tests/integration/test_focus.py"
FEW = {"images": ["{few}"], "tile": 32, "device": "auto"}
# Colours, for most of a training on the 1078 numbers of `builtin` is their covariance.
TRAINED = {"model": "colours", "size": "nano", "epochs": 1, "device": "cpu", "train_batch": 2,
           "val": 0.2}  # fmt: skip
BUILTIN = {"model": "builtin"}
TEXTS = {"text_model": "colours", "supervision": "semantic"}
PAIRED = {
    "images": ["{images}"], "masks": ["{masks}"], "classes": "{classes.yaml}", "tiles": [3, 3],
    "ratio": 4, "snr": 100.0,
}  # fmt: skip
LOOK = {"images": ["{few}/s0.tif"], "cells": 2, "crop": 24, "regions": 2, "passes": 8}
SCORER = {**LOOK, "model": "colours", "labels": ["red", "blue", "green"],
          "images": ["{images}"], "goal": "balanced", "epochs": 2}  # fmt: skip
VECTORS = {"images": ["{vectors.parquet}"], "masks": [], "classes": None, "tile": 256,
           "methods": ["kcenter"]}  # fmt: skip
CHAT = {"model": "hf", "weights": "{chat}"}
NAMED = {"model": "colours", "labels": ["red", "blue", "green"]}
TRAINS = {"judge": "unet", "model": "timm:resnet10t@random?size=32", "steps_per_training": 4,
          "learning_rate": 0.03, "train_batch": 2, "budgets": "50%", "methods": ["random"],
          "samplers": "none", "max_tiles": 10}  # fmt: skip
EPOCHS = {**TRAINS, "steps_per_training": 200, "epochs": 1}
ANSWERED = {"models": ["hf"], "weights": "{chat}", "table": "main", "grid": 2, "count": 1}
NO_SCENES = {"scenes": [], "root": "{patches/images}"}
NO_PAIRS = {"pool": "", "folds": None, "classes": None}
PAIRS = {"pool": "", "folds": None, "train": "{few}:{masks}", "test": "{other}:{masks}"}


BUILT = {
    "anchors": "{archive}/extract.osm.pbf", "rules": "{archive}/rules.toml",
    "hr": "{archive}/hr/catalog.json", "lr": "{archive}/lr.parquet", "tiles": [2, 2],
    "footprint": "64", "lr_gsd": 4.0, "thin": 60.0, "block": 0.128,
}  # fmt: skip

JOBS: dict[type[Job], Walk] = {
    CurateJob: Walk(
        {**FEW, "masks": ["{masks}"], "classes": "{classes.yaml}", "methods": ["fa-cb"],
         "budget": "3"},
        {
            **IMAGERY, **MASKED, **GRID,
            "images": on(["{other}"]),
            "coordinates": on("{corners.txt}", images=["{few}"], masks=[], classes=None,
                              methods=["kcenter"]),
            "stack": on(["B1", "B0"], images=["{bands}"], masks=[], classes=None,
                        methods=["kcenter"], base=["B0", "B1"]),
            "model": "colours", "scale": [(0, 90)], "methods": ["kcenter"],
            "recipes": on(["{even.toml}"], methods=None, base=["{apart.toml}"]),
            "options": {"fa-cb": {"lam": 0.95}}, "budget": "4",
            "preset": on("paper", methods=["fd"]), "seed": on(1, methods=["random"]),
            "max_overlap": on(1.0, stride=8, methods=["kcenter"]),
            "no_overlap": on(True, stride=24, methods=["kcenter"]),
            "min_distance": on(40.0, methods=["kcenter"]),
            "groups": on("scene", methods=["kcenter"]),
            "quota": on({"scene": "2"}, methods=["kcenter"]),
            "strata": on("class=equal", methods=["kcenter"]),
            "start": on(["{start.txt}"], methods=["kcenter"]),
            "column": on("b", base="a", **VECTORS),
            "id_column": on("row", column="a", **VECTORS),
            "attributes": on(["{turned.csv}"], base=["{scores.csv}"], methods=["column"]),
            "quality": on(["{SCL}"]),
            "quality_kind": on("scl", base="mask", quality=["{clouds}"]),
            "max_bad": on(0.1, quality=["{clouds}"], quality_kind="scl", base=1.0),
            "exclude": on(["{lake.geojson}"]),
            "max_excluded": on(0.95, exclude=["{lake.geojson}"]),
        },
        {**RUNS},
        {"weights": MODEL, "mask_suffix": NAMES, **CATALOGUE, **SPREAD},
    ),
    CompareJob: Walk(
        {"rankings": ["{ranked}", "{ranked2}"]},
        {"rankings": ["{ranked}"], "methods": ["cb"], "top": ["20%"],
         "patches": on(1, page=True)},
        {},
    ),
    EmbedJob: Walk(
        FEW,
        {**IMAGERY, **GRID, **SEARCHED, "model": "colours", "scale": [(0, 90)],
         "tokens": on(True, model="grid"),
         "masks": on(["{masks}"]),
         "classes": on("{two.yaml}", masks=["{masks}"], base="{classes.yaml}"),
         "min_labelled": on(0.9, masks=["{masks}"], classes="{classes.yaml}")},
        {**RUNS}, {"weights": MODEL, "mask_suffix": NAMES, **SPREAD},
    ),
    ClassifyJob: Walk(
        {"images": ["{few}"], "tile": 32, "device": "auto", **NAMED},
        {**IMAGERY, **GRID,
         "bands": [3, 2, 1],
         "stack": on(["B1", "B0", "B2"], images=["{bands}"], base=["B0", "B1", "B2"]),
         "extra": on(["{dsm}"], bands=[1, 2, 3], images=["{few}"]),
         "masks": on(["{masks}"], classes="{classes.yaml}", labels=["a", "b", "c"]),
         "classes": on("{two.yaml}", masks=["{masks}"], base="{classes.yaml}",
                       labels=["a", "c"]),
         "min_labelled": on(0.9, masks=["{masks}"], classes="{classes.yaml}",
                            labels=["a", "b", "c"]),
         "model": "turned", "labels": ["red", "grey"],
                  "probe": on("{probe1}", labels=[], model="builtin", base="{probe0}"),
         "templates": "none", "head": on("sigmoid", model="pairs", base="cosine"),
         "prompt": on("Which? {classes}", **CHAT), "length": on("sum", **CHAT),
         "scale": on([(0, 90)], model="builtin", probe="{probe0}", labels=[]),
         "truth_from_folders": on(True, images=["{patches/images}"], tile=None,
                                  labels=["bare_soil", "DenseForest", "openwater"])},
        {**RUNS}, {"weights": MODEL, "mask_suffix": NAMES, **CATALOGUE, **SPREAD},
    ),
    TuneTextJob: Walk(
        {"images": ["{patches/images}"], "captions": "{patches/captions.csv}", "dim": 8,
         "width": 16, "layers": 1, "train_batch": 4, "epochs": 2, "learning_rate": 0.01,
         "device": "cpu"},
        {"images": ["{patches/more}"], "captions": "{captions.csv}", "model": "colours",
         "bands": [1], "scale": [(0, 90)], "dim": 16, "width": 32, "layers": 2,
         "train_batch": 8, "epochs": 3, "learning_rate": 0.02, "seed": 1, "split": "{split.csv}",
         "precision": "bfloat16",
         "classes_from_folders": on(True, captions=None, base=False),
         "labels": on("{names.yaml}", captions=None, classes_from_folders=True),
         "templates": on("none", captions=None, classes_from_folders=True),
         "patience": on(1, epochs=6, learning_rate=1.0)},
        {**RUNS, "replace": (True, AGAIN)},
        {"weights": MODEL, "pair": "tests/models/tune_text/test_captions.py",
         **dict.fromkeys(("extra", "stack", "nodata", "min_valid", "skip_empty"), OPENED),
         **CATALOGUE},
    ),
    LookJob: Walk(
        {**LOOK, **NAMED},
        {"images": ["{other}/s0.tif"], "bands": [3, 2, 1], "nodata": 7.0,
         "extra": on(["{dsm}"], bands=[1, 2, 3]),
         "min_valid": on(1.0, nodata=7.0), "model": "turned",
         "labels": ["red", "grey"],
         "probe": on("{probe1}", labels=[], model="builtin", base="{probe0}"),
         "templates": "none", "goal": "rare", "query": on("red", goal="query", base="blue"),
         "prompt": on("Which? {classes}", crop=48, **CHAT), "length": on("sum", crop=48, **CHAT),
         "mode": "window", "regions": 3,
         "passes": on(6, model="sized", labels=[], goal="rare", base=20),
         "area": on("10%", regions=4), "cells": 3, "crop": 48,
         "partition": on("significance", model="grid", labels=[], goal="rare"), "search": "greedy",
         "neighbours": "all", "branch": on(3, crop=8, forms={"coarse": "whole"}),
         "depth": 0, "persist": False, "epsilon": 0.01,
         "one_sided": on(True, model="grid", labels=[], goal="rare", epsilon=1e-3), "robust": True,
         "forms": {"synergy": "paper"}, "seed": on(1, search="importance"),
         "scorer": "{scorer}",
         "scale": on([(0, 90)], model="builtin", labels=[]),
         "stack": on(["B1", "B0", "B2"], images=["{bands}"], base=["B0", "B1", "B2"])},
        ONE, {"weights": MODEL, "on_error": SKIPS, **CATALOGUE},
    ),
    AskJob: Walk(
        {**LOOK, "model": "hf", "weights": "{chat}", "selector": "colours",
         "prompt": "What is there?", "max_tokens": 3},
        {"images": ["{other}/s0.tif"], "bands": [3, 2, 1], "nodata": 7.0,
         "extra": on(["{dsm}"], bands=[1, 2, 3]), "min_valid": on(1.0, nodata=7.0),
         "goal": "rare", "query": on("red", goal="query", base="blue"), "mode": "window",
         "regions": 3, "passes": on(10, selector="sized", goal="rare", base=24),
         "area": on("10%", regions=4), "cells": 3, "crop": 48,
         "partition": on("significance", selector="grid", goal="rare"), "search": "greedy",
         "neighbours": "all", "branch": on(3, crop=8, forms={"coarse": "whole"}),
         "depth": 0, "persist": False, "epsilon": 0.01,
         "one_sided": on(True, selector="grid", goal="rare", epsilon=1e-3), "robust": True,
         "forms": {"synergy": "paper"}, "seed": on(1, search="importance"),
         "scale": [(0, 90)], "prompt": "How many ships?", "feed": "canvas", "max_tokens": 2,
         "side": 40, "selector": "turned",
         "stack": on(["B1", "B0", "B2"], images=["{bands}"], base=["B0", "B1", "B2"]),
         "templates": on("none", goal="query", query="red")},
        ONE,
        {"weights": MODEL, "selector_weights": MODEL, "model": MODEL, "on_error": SKIPS,
         **CATALOGUE},
    ),
    SegmentJob: Walk(
        {**LOOK, "model": "hf", "weights": "{sam}", "mode": "zoom", "passes": 14},
        {"images": ["{other}/s0.tif"], "bands": [3, 2, 1], "nodata": 7.0,
         "extra": on(["{dsm}"], bands=[1, 2, 3]), "min_valid": on(1.0, nodata=7.0),
         "mode": "feature", "goal": "paper", "robust": False, "regions": 3, "passes": 11,
         "area": on("10%", regions=4, passes=18), "cells": 1, "crop": 48,
         "search": "importance", "neighbours": "all", "branch": on(3, crop=8), "depth": 0,
         "persist": False,
         "epsilon": 0.01, "one_sided": on(True, epsilon=1e-3), "forms": {"synergy": "paper"},
         "seed": on(1, search="importance"), "scale": [(0, 90)],
         "stack": on(["B1", "B0", "B2"], images=["{bands}"], base=["B0", "B1", "B2"])},
        ONE, {"weights": MODEL, "model": MODEL, "on_error": SKIPS, **CATALOGUE},
    ),
    TrainScorerJob: Walk(
        SCORER,
        {"images": ["{spread}"], "preset": "paper", "epochs": 3, "learning_rate": 0.1,
         "goal": "rare", "mode": "window", "robust": False, "seed": 1},
        {**ONE, "replace": (True, AGAIN)},
        {"weights": MODEL,
         **dict.fromkeys(
             set(LookJob.field_names())
             - {"images", "goal", "mode", "robust", "seed", "weights", "scorer", "on_error",
                *ONE},
             "what `LookJob` does with it: both look by `look_at`",
         )},
    ),
    PrepareJob: Walk(
        PAIRED,
        {"images": ["{other}"], "masks": on(["{moved}"]), "classes": "{two.yaml}",
         "extra": ["{dsm}"], "stack": on(["B1", "B0"], images=["{bands}"], base=["B0", "B1"]),
         "nodata": 7.0, "min_valid": on(0.95, nodata=7.0),
         "min_labelled": 0.9, "skip_empty": on(True, images=["{gap}"], nodata=0.0),
         "tiles": [2, 3], "tile_size": on(32.0, tiles=None), "ratio": 3, "mtf": 0.1, "snr": 10.0,
         "lr": on(["{low}"], images=["{few}"], ratio=None),
         "concepts": [{"name": "a", "min_share": 0.9}],
         "objects": "{objects.json}", "seed": 1},
        {}, {"mask_suffix": NAMES, **CATALOGUE},
    ),
    BuildJob: Walk(
        BUILT,
        {"anchors": "{archive}/part.osm.pbf", "rules": "{fewer.toml}",
         "lr": on("{archive}/lr.json", window=400.0), "hr": "{archive}/hr/without-F.json",
         "lr_assets": ["blue", "green", "red"], "hr_assets": ["other"], "hr_bands": [3, 2, 1],
         "scl": ["none"], "tiles": [4, 4], "footprint": "32", "hr_gsd": 2.0, "lr_gsd": 8.0,
         "hr_datetime": on("2021", window=250.0), "lr_datetime": "2023-07-01/2023-12-31",
         "window": 30.0, "span": 5.0, "max_cloud": 0.8, "tries": 1, "max_black": 0.9,
         "thin": 200.0, "min_concepts": 2, "min_labelled": 0.3, "limit": 5, "region": "natural",
         "block": 10.0, "seed": on(1, limit=5)},
        {"workers": (2, PLACE)},
    ),
    TrainJob: Walk(
        {**TRAINED, "pairs": "{pairs}"},
        {"pairs": "{pairs2}", "model": "turned", "lr_model": "turned",
         "target_model": "turned", "saliency_model": on("builtin", supervision="structural"),
         "text_model": on("turned", **{**TEXTS, "text_model": None}, base="colours"),
         "scale": on([(0, 90)], **BUILTIN), "bands": on([1], **BUILTIN),
         "concepts": [{"name": "a"}, {"name": "b", "weight": 3}],
         "templates": on("none", **TEXTS), "size": "tiny",
         "architecture": "residual", "fill": "conv",
         "supervision": "surprise", "similarity": on("logit", **TEXTS, base="cosine"),
         "reference": on("scene", **BUILTIN), "lam": 0.2, "aggregate": on("max", **BUILTIN),
         "factor_scale": on("none", supervision="product", **BUILTIN), "target_scale": "ecdf",
         "sampler": "plain", "preset": on("paper", **TEXTS, size="nano"),
         "align": on("siglip", **TEXTS), "norm_weight": 0.0, "observed_weight": 1.0, "obr": 0.4,
         "init": "{observer}", "val": 0.35, "test": 0.35, "epochs": 2, "train_batch": 1,
         "learning_rate": 1e-2, "patience": on(1, epochs=6, learning_rate=0.5),
         "precision": "bfloat16", "seed": 1},
        {"batch_size": (3, PLACE), "device": ("auto", PLACE),
         "replace": (True, AGAIN)},
        dict.fromkeys(
            ("weights", "lr_weights", "target_weights", "saliency_weights", "text_weights"), MODEL
        ),
    ),
    SelectJob: Walk(
        {"images": ["{pairs}/overviews"], "observer": "{observer}", "budget": "40%",
         "device": "cpu"},
        {"images": ["{low}"], "observer": on("{observer2}", policy="learned"), "budget": "10%",
         "threshold": on(0.9, budget=None, base=0.1), "obr": on(0.7, budget=None, base=0.2),
         "preset": on("paper", budget=None, threshold=0.8), "policy": on("uniform", base="learned"),
         "covariate": on("{dusk.tif}", policy="covariate", base="{lights.tif}"),
         "tile": 12, "bands": [3, 2, 1], "nodata": 7.0, "min_valid": on(1.0, nodata=7.0),
         "lr_cost": on(0.5, page=True), "seed": on(1, policy="random"),
         "extra": on(["{lowdsm}"], images=["{low}"], bands=[1, 2, 3]),
         "skip_empty": on(True, images=["{lowgap}"], nodata=0.0),
         "stack": on(["B1", "B0", "B2"], images=["{lowbands}"], base=["B0", "B1", "B2"])},
        {"device": ("auto", PLACE)}, CATALOGUE,
    ),
    CompleteJob: Walk(
        {"selection": "{selected}", "tiles": ["{images}"], "device": "cpu"},
        {"selection": "{selected2}", "observer": "{observer2}", "tiles": [], "only_chosen": True,
         "bands": [3, 2, 1]},
        {"batch_size": (3, PLACE), "device": ("auto", PLACE)}, {},
    ),
    StatsJob: Walk(
        {"pairs": "{pairs}"}, {"pairs": "{pairs2}", "val": 0.4, "test": 0.4, "seed": 1}, {}, {},
    ),
    EstimateJob: Walk(
        {"pairs": "{pairs}", "concept": "a", "budget": "30%", "device": "cpu"},
        {"pairs": "{pairs2}", "concept": "b", "quantity": "tiles", "budget": "60%",
         "confidence": 0.5,
         "observer": "{observer}", "covariate": on("{lights.tif}"),
         "floor": on(1.0, covariate="{lights.tif}"), "seed": 1},
        {"device": ("auto", PLACE)}, {},
    ),
    # All images lie on one ground: leaks are allowed, but where they are what is asked for.
    CurateBenchJob: Walk(
        {"pool": "{few}:{masks}", "folds": "scene", "classes": "{classes.yaml}", "tile": 32,
         "methods": ["lc"], "budgets": "30%", "seeds": 1, "samplers": "none", "device": "cpu",
         "allow_leaks": True},
        {"pool": "{other}:{masks}", "folds": on("folder", pool="{spread}:{spreadmasks}"),
         "fold_count": on(2, pool="{images}:{masks}"),
         "train": on("{other}:{masks}", **{**PAIRS, "test": "{images}:{masks}"},
                     base="{few}:{masks}"),
         "test": on("{other}:{masks}", **PAIRS, base="{images}:{masks}"),
         "val": on("{images}:{masks}", **PAIRS, **EPOCHS, base=""),
         "dataset": on("potsdam", **NO_PAIRS, root="{isprs}", base="vaihingen"),
         "root": on("{isprs2}", **NO_PAIRS, dataset="vaihingen", base="{isprs}"),
         "bands": on([1]), "nodata": 7.0, "min_valid": on(0.95, nodata=7.0),
         "min_labelled": 0.9, "classes": "{two.yaml}", "tile": 48, "stride": 16,
         "edge": on("pad", tile=40, base="drop"),
         "model": on("turned", methods=["kcenter"]), "scale": [(0, 90)], "methods": ["kcenter"],
         "recipes": on(["{even.toml}"], base=["{apart.toml}"]),
         "budgets": "60%", "seeds": 2, "seed": 1, "redraw": on(False, seeds=2, methods=["random"]),
         "samplers": "balanced",
         "max_tiles": on(9, pool="{images}:{masks}"),
         "preset": on("paper", methods=["fd"], **BUILTIN, judge="probe", base="default"),
         "options": on({"fd": {"clusters": 2}}, methods=["fd"]),
         "max_overlap": on(1.0, stride=8, methods=["kcenter"]),
         "steps_per_training": on(9, **TRAINS), "learning_rate": on(0.3, **TRAINS),
         "epochs": on(3, **EPOCHS, base=1), "schedule": on("constant", **TRAINS),
         "train_batch": on(5, **TRAINS), "unet_bands": on([1, 2], bands=[1, 2, 3], **TRAINS),
         "buffer": 100.0, "allow_leaks": on(True, base=False)},
        {"batch_size": (3, PLACE), "device": ("auto", PLACE), "workers": (2, PLACE)},
        {"weights": MODEL, **dict.fromkeys(("quick", "judge", "lists"), "tests/bench/curate")},
    ),
    FocusBenchJob: Walk(
        {"scenes": ["{patches/images}"], "models": ["colours"], "device": "cpu", "seeds": 1,
         "labels": {"bare_soil": ["red"], "DenseForest": ["green"], "openwater": ["blue"]},
         "kinds": ["rare"], "count": 2, "grid": 4, "crop": 24, "passes": "24",
         "methods": ["look-balanced"]},
        {"scenes": ["{patches/more}"], "dataset": on("aid", **NO_SCENES, base="rsi-cb"),
         "root": on("{patches/more}", **NO_SCENES, dataset="aid", base="{patches/images}"),
         "kinds": ["one"], "count": 3, "grid": 5, "offset": 0.5, "models": ["turned"],
         "labels": {"bare_soil": ["blue"], "DenseForest": ["green"], "openwater": ["red"]},
         "templates": "none", "bands": [3, 2, 1], "table": "depth", "methods": ["look-rare"],
         "passes": "1", "seeds": 2, "seed": 1, "regions": 3, "crop": 12,
         "scale": on([(0, 90)], models=["builtin"], labels=[], methods=["look-rare"]),
         "prompt": on("Which? {classes}", **ANSWERED), "length": on("sum", **ANSWERED)},
        {"batch_size": (3, PLACE), "device": ("auto", PLACE)},
        {"weights": "one model of several", "probe": "tests/bench/focus/test_job.py",
         **dict.fromkeys(("data", "epochs"), "tests/bench/focus/test_segmenting.py"),
         **dict.fromkeys(
             ("masks", "classes", "mask_suffix", "nodata", "targets"),
             "tests/bench/focus/test_labelled.py",
         )},
    ),
    BenchJob: Walk(
        {**TRAINED, "pairs": "{pairs}", "table": "threshold", "seeds": 1, "draws": 1, "test": 0.34,
         "timed": False},
        {"table": "depth", "seeds": 2, "seed": 1, "draws": on(2, table="budget"),
         "supervision": "structural", "obr": on(0.4, table="depth"), "top_k": [1],
         "timed": True},
        {"batch_size": (3, PLACE), "device": ("auto", PLACE)},
        {**dict.fromkeys(
            set(BenchJob.field_names())
            - {"table", "seeds", "seed", "draws", "supervision", "obr", "batch_size", "device",
               "top_k", "timed"},
            "`test_benchmark_has_the_settings_of_a_training`",
        ), **dict.fromkeys(
            ("scales", "covariate", "encoders", "datasets"), "tests/bench/observe"
        )},
    ),
}  # fmt: skip


ABSTRACT = {
    "FormulaOptions", "ImageryJob", "PoolJob", "ModelJob", "SpreadJob", "ClassJob", "FocusJob",
}  # fmt: skip


def concrete(kind=Job):
    """Return every kind of job that there is; what other jobs are made from is none."""
    found = {sub for own in kind.__subclasses__() for sub in (own, *concrete(own))}
    return {
        sub
        for sub in found
        if sub.__module__.startswith("foveate.") and sub.__name__ not in ABSTRACT
    }


def _observer(places, name, **more):
    pairs = MADE["pairs"](places)
    out = places.root / name
    TrainJob(**{**TRAINED, "pairs": str(pairs), **more}).run(out)
    return out


def _tiny(places, kind):
    from foveate.testing.tiny import tiny_model

    tiny_model(kind, places.root / kind)
    return places.root / kind


def _isprs(places, name, train):
    for write in (write_vaihingen, write_potsdam):
        write(places.root / name, train=train)
    return places.root / name


def _catalogue(places):
    items = [write_item(places.root / "items", i) for i in range(2)]
    return write_list(places.root / "items", items)


def _fewer(places):
    path = places.root / "fewer.toml"
    path.write_text(RULES.replace(', { natural = "wood" }', ""))
    return path


MADE = {
    "archive": made(lambda p: write_archive(p.root / "archive").root),
    "fewer.toml": made(_fewer),
    "catalogue.json": made(_catalogue),
    "isprs": made(lambda p: _isprs(p, "isprs", 4)),
    "isprs2": made(lambda p: _isprs(p, "isprs2", 3)),
    "probe0": made(lambda p: _probe(p, 0)),
    "probe1": made(lambda p: _probe(p, 1)),
    "chat": made(lambda p: _tiny(p, "hf_qwen2_vl")),
    "sam": made(lambda p: _tiny(p, "hf_sam")),
    "scorer": job_run(TrainScorerJob),
    "pairs": job_run(PrepareJob),
    "pairs2": job_run(PrepareJob, tiles=[2, 3]),
    "observer": made(lambda p: _observer(p, "observer")),
    "observer2": made(lambda p: _observer(p, "observer2", supervision="structural", seed=1)),
    "selected": job_run(SelectJob),
    "selected2": job_run(SelectJob, budget="70%"),
    "ranked": job_run(CurateJob, methods=["cb", "random"]),
    "ranked2": job_run(CurateJob, methods=["cb", "random"], seed=1),
}


# The settings that `make test` changes; `make test-slow` has the rest. Imagery is opened by one
# step in every job, so that `EmbedJob` stands for all. Of trainings and benchmarks they are those
# of the equations and of the results; of the kinds of focus that need a large model, those that
# `LookJob` does not have.
OPENING = {*IMAGERY, *GRID, *SEARCHED, "scale", "batch_size", "workers"} - {"images"}
FAST = {
    CurateBenchJob: {"train", "folds", "methods", "samplers", "redraw"},
    FocusBenchJob: {"scenes", "labels", "kinds", "count", "grid", "offset", "table", "methods"},
    TrainJob: {"norm_weight"},
    TuneTextJob: {"images", "captions", "split", "classes_from_folders", "labels", "patience"},
    BenchJob: set(),
    TrainScorerJob: {"goal", "preset"},
    AskJob: {"images", "prompt", "feed", "selector"},
    BuildJob: {"limit", "max_black"},
    CompleteJob: {"selection", "tiles", "only_chosen"},
    SegmentJob: {"images", "mode", "goal", "partition"},
}


def is_fast(kind, name):
    """Say whether the default tests change a setting of a job."""
    opens_as_embed = kind is not EmbedJob and name in OPENING
    return name in FAST.get(kind, {name}) and not opens_as_embed


def settings_of(part):
    """Return a case for each setting in a part of the tables."""
    return [
        pytest.param(
            kind, name, id=f"{kind.__name__}-{name}",
            marks=() if is_fast(kind, name) else pytest.mark.slow,
        )
        for kind, walk in JOBS.items()
        for name in getattr(walk, part)
    ]  # fmt: skip


def test_every_setting_of_every_job_is_listed():
    modules = [m.name for m in pkgutil.walk_packages(foveate.__path__, "foveate.")]
    sources = {m: Path(inspect.getsourcefile(foveate)).parent for m in modules}
    root = next(iter(sources.values()))
    written = {
        name
        for path in root.rglob("*.py")
        for name in re.findall(r"^class (\w+Job)\(", path.read_text("utf-8"), re.MULTILINE)
    }
    assert (
        written - ABSTRACT
        == {kind.__name__ for kind in JOBS}
        == {kind.__name__ for kind in concrete()}
    )
    for kind, walk in JOBS.items():
        named = [*walk.changes, *walk.same, *walk.elsewhere]
        assert sorted(named) == sorted(kind.field_names()), kind.__name__


def two(places, kind, name):
    """Return what is in the files of two runs that differ in one setting."""
    walk = JOBS[kind]
    value = walk.changes[name] if name in walk.changes else walk.same[name][0]
    stated = value if isinstance(value, On) else On(value)
    given = {**walk.base, **stated.given}
    if stated.base is not None:
        given[name] = stated.base
    one, other = ({**given}, {**given, name: stated.value})
    return [_run(places, kind, each, page=stated.page)[1] for each in (one, other)]


@pytest.mark.parametrize(("kind", "name"), settings_of("changes"))
def test_setting_changes_the_files_of_a_run(places, kind, name):
    before, after = two(places, kind, name)
    assert "error" not in after, after
    if name not in ("skip_empty", "probe", "classes_from_folders", "allow_leaks"):
        assert "error" not in before, before
    assert before != after, f"{name} of {kind.__name__} is accepted and changes nothing"


@pytest.mark.parametrize(("kind", "name"), settings_of("same"))
def test_setting_changes_no_file_of_a_run(places, kind, name):
    before, after = two(places, kind, name)
    assert "error" not in before, before
    assert before == after


@pytest.mark.parametrize("kind", JOBS, ids=lambda kind: kind.__name__)
def test_setting_of_another_job_is_an_error(kind):
    for name in kind.absent:
        default = kind.model_fields[name].get_default()
        for value in (["x"], "x", 7, True):
            if value != default:
                with pytest.raises(ParameterError, match="no such setting"):
                    kind(**{**JOBS[kind].base, name: value})


def test_weights_reach_the_model(places):
    """A file of weights is the model's: what it does with it is tested with the families."""
    for kind, setting, model in (
        (CurateJob, "weights", "model"), (EmbedJob, "weights", "model"),
        (CurateBenchJob, "weights", "model"),
        (ClassifyJob, "weights", "model"), (TuneTextJob, "weights", "model"),
        (LookJob, "weights", "model"), (AskJob, "weights", "model"),
        (SegmentJob, "weights", "model"), (TrainScorerJob, "weights", "model"),
    ):  # fmt: skip
        chat = at(places, "{chat}")
        base = {name: value for name, value in JOBS[kind].base.items() if name != "probe"}
        job = kind(**{**base, model: "hf", setting: chat})
        assert job.handle().weights == chat
    job = AskJob(**{**JOBS[AskJob].base, "selector": "hf", "selector_weights": chat})
    assert job.selector_handle().weights == chat
    for role in ("hr", "lr", "target", "saliency", "text"):
        prefix = "" if role == "hr" else f"{role}_"
        given = {prefix + "model": "hf", prefix + "weights": chat}
        assert TrainJob(pairs="p", **given).handle(role).weights == chat


def test_benchmark_has_the_settings_of_a_training():
    """Each setting of a training goes to those of a benchmark, and `JOBS` has shown its effect."""
    base = {"pairs": "p", "table": "main"}
    for name in sorted(set(TrainJob.field_names()) - {"replace", "pairs", "seed"}):
        walk = JOBS[TrainJob]
        value = walk.changes.get(name, walk.same.get(name, ("weights",))[0])
        value = value.value if isinstance(value, On) else value
        own = TrainJob(**{"pairs": "p", name: value})
        passed = BenchJob(**{**base, name: value}).training(0)
        assert passed.model_dump() == own.model_dump(), name
