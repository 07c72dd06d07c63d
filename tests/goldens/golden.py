"""What one small run of each job comes to, before and after a change of the code.

    python tests/goldens/golden.py freeze BEFORE
    ... change the code ...
    python tests/goldens/golden.py freeze AFTER
    python tests/goldens/golden.py compare BEFORE AFTER

Goldens are kept beside the checkout, not in it: picks of learned features belong to the machine
that made them. Whole numbers, texts, exit statuses and the keys of ``--json`` must be equal,
other numbers to 1e-6; times, versions, paths and hashes are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

TOLERANCE = 1e-6
SHOWN = 200  # differences that are printed
_UNSTABLE = re.compile(
    r"seconds|started|finished|time|version|commit|fingerprint|digest|key|hash|command|host|"
    r"platform|^(run|report|file|folder|path|uri|out|python|packages|licence|worked)$"
)
# In an order in which each finds what it needs.
_JOBS = """
world: world --scenes 8 --size 160 --bands 3 --seed 5 --out WORLD
curate: curate IMAGES MASKS --tile 32 --method all --budget 20% --out RUNS/curate
released: curate IMAGES MASKS --tile 32 --method all --preset released TIMM --out RUNS/released
embed: embed IMAGES --tile 32 --out RUNS/embed
tokens: embed IMAGES --tile 64 --tokens TIMM --out RUNS/tokens
look-rare: focus look IMAGES --goal rare LOOK --out RUNS/look-rare
look-balanced: focus look IMAGES --goal balanced LOOK --out RUNS/look-balanced
look-paper: focus look IMAGES --goal paper LOOK --out RUNS/look-paper
prepare: observe prepare IMAGES MASKS --concepts forest,road --tiles 5x5 --ratio 4 --out PAIRS
train: observe train PAIRS --size nano --epochs 2 --out OBSERVER
select: observe select PAIRS/overviews --observer OBSERVER --budget 20% --out RUNS/select
random: observe select PAIRS --observer OBSERVER --budget 20% --policy random --out RUNS/random
complete: observe complete RUNS/select --tiles IMAGES --out RUNS/complete
search: observe search RUNS/complete --concept forest
classify: observe classify RUNS/complete --by labels --concepts forest,road
estimate: observe estimate PAIRS --concept forest --budget 20%
bench: bench observe PAIRS --table main --size nano --epochs 1 --seeds 1 --out RUNS/bench
"""
_WORDS = {
    "MASKS": "--masks WORLD/masks --classes WORLD/classes.yaml",
    "TIMM": "--model timm:resnet18@random?size=64 --bands 1,2,3",
    "LOOK": "--crop 32 --cells 2 --passes 12",
    "IMAGES": "WORLD/images", "WORLD": "ROOT/world", "RUNS": "ROOT/runs",
    "PAIRS": "ROOT/pairs", "OBSERVER": "ROOT/observer",
}  # fmt: skip


def jobs(root: Path) -> dict[str, list[str]]:
    """Name -> arguments of the command line, paths below `root`."""
    text = _JOBS
    for word, meaning in {**_WORDS, "ROOT": str(root)}.items():
        text = text.replace(word, meaning)
    lines = (line.partition(": ") for line in text.strip().splitlines())
    return {name: arguments.split() for name, _, arguments in lines}


def freeze(root: Path) -> dict[str, Any]:
    """Run every job and return what came of it."""
    found = {}
    for name, arguments in jobs(root).items():
        status, said = _run([*arguments, "--json"])
        folder = Path(arguments[-1]) if "--out" in arguments else None
        files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder else []
        found[name] = {
            "status": status, "json": said,
            "names": sorted({_plain(str(p.relative_to(folder))) for p in files}),
            "tables": {
                _plain(str(p.relative_to(folder))): pq.read_table(p).to_pydict()
                for p in files if p.suffix == ".parquet"
            },
        }  # fmt: skip
        sys.stdout.write(f"{name}: status {status}, {len(files)} files\n")
    return found


def _run(arguments: list[str]) -> tuple[int, Any]:
    from foveate.cli.main import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main(arguments)
    try:
        return status, json.loads(out.getvalue())
    except ValueError:
        return status, out.getvalue()


def _plain(name: str) -> str:
    """Return a file's name without hashes: of thumbnails and of folders of embeddings."""
    return re.sub(r"[0-9a-f]{8,}", "HASH", name)


def compare(before: Any, after: Any, at: str = "") -> list[str]:
    """Return where two frozen results differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [k for k in {**before, **after} if not _UNSTABLE.search(str(k))]
        lost = [f"{at}/{k}: only {'before' if k in before else 'after'}"
                for k in names if (k in before) != (k in after)]  # fmt: skip
        both = [k for k in names if k in before and k in after]
        return lost + [line for k in both for line in compare(before[k], after[k], f"{at}/{k}")]
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return [f"{at}: {len(before)} and {len(after)} entries"]
        pairs = enumerate(zip(before, after, strict=True))
        return [line for i, (b, a) in pairs for line in compare(b, a, f"{at}[{i}]")]
    if _same(before, after):
        return []
    return [f"{at}: {str(before)[:120]!r}, {str(after)[:120]!r}"]


def _same(before: Any, after: Any) -> bool:
    numbers = all(isinstance(v, int | float) for v in (before, after))
    if not numbers or not isinstance(before, float):
        return bool(before == after)
    near = math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return near or (math.isnan(before) and math.isnan(after))


def run() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["freeze", "compare"])
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    files = [folder.absolute() / "golden.json" for folder in options.folders]
    if options.what == "freeze":
        root = files[0].parent
        root.mkdir(parents=True, exist_ok=True)
        text = json.dumps(freeze(root), default=lambda value: value.hex())
        files[0].write_text(text.replace(str(root), "ROOT"), encoding="utf-8")
        return 0
    before, after = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    lines = compare(before, after)
    sys.stdout.write("\n".join(lines[:SHOWN] or ["no difference"]) + "\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(run())
