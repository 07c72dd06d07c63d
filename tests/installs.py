"""Install what is promised, from the wheel, and run a small job of every verb: `make installs`.

The environments are fresh and hold no checkout: the core alone, each extra alone, and the lowest
versions that `pyproject.toml` declares, alone and with all extras. A job whose packages are there
must succeed; one whose packages are not must say what to install, and leave nothing behind.

    python tests/installs.py UV [NAME...]    UV: the program uv; NAME: of ENVIRONMENTS, else all
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

# What an environment has: the extras that it was installed with, and those that these include.
ENVIRONMENTS = {
    "core": (),
    "observe": ("observe",),
    "models": ("models", "observe"),
    "hf": ("hf", "models", "observe"),
    "torchgeo": ("torchgeo", "models", "observe"),
    "osm": ("osm",),
    "cloud": ("cloud",),
    "stac": ("stac",),
    "lowest-core": (),
    "lowest-all": ("hf", "torchgeo", "osm", "cloud", "stac", "models", "observe"),
}

# Class folders, parts of a scene, and a probe: the public interface, with the core alone.
_SETUP = """
import numpy as np, foveate as fv
from pathlib import Path
from PIL import Image
draw = np.random.default_rng(0)
for name, colour in (("forest", (20, 90, 30)), ("water", (10, 30, 120))):
    folder = Path("classes", name)
    folder.mkdir(parents=True)
    for i in range(12):
        pixels = np.clip(draw.normal(colour, 12, (32, 32, 3)), 1, 255).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{name}{i}.png")
pool = fv.open_pool("classes")
found = fv.embed(pool, fv.load_model("builtin"))
labels = np.array(["water" in str(i) for i in found.ids]).astype(int)
fv.fit_probe(found.x, labels, ["forest", "water"], spec=found.spec).save("probe.safetensors")
"""
_TINY = (
    "from pathlib import Path; from foveate.testing.tiny import tiny_model; p = Path('clip'); "
    "p.mkdir(); tiny_model('hf_clip', p)"
)
# A map of one forest, read through pyogrio.
_MAP = """
import json
from pathlib import Path
from foveate.observe.build.polygons import read_anchors
from foveate.observe.build.rules import read_rules
ring = [[10, 50], [10.01, 50], [10.01, 50.01], [10, 50.01], [10, 50]]
area = {"type": "Feature", "properties": {"landuse": "forest"}}
area["geometry"] = {"type": "Polygon", "coordinates": [ring]}
Path("map.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [area]}))
assert len(read_anchors("map.geojson", read_rules("osm-66"))) == 1
"""
# A server of files by ranges, on loopback.
_SERVER = """
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
class Files(BaseHTTPRequestHandler):
    def do_GET(self):
        file = Path(self.path.lstrip("/"))
        if not file.is_file():
            return self.send_error(404)
        data = file.read_bytes()
        first, _, last = self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(part)))
        end = int(first) + len(part) - 1
        self.send_header("Content-Range", f"bytes {first}-{end}/{len(data)}")
        self.end_headers()
        self.wfile.write(part)
    def do_HEAD(self):
        self.send_error(404)
    def log_message(self, *args):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"
"""
_CLOUD = f"""{_SERVER}
from foveate.raster import FileSource
near, far = (FileSource(f"{{at}}world/images/scene-00.tif").read() for at in ("", f"{{root}}/"))
assert (near.data == far.data).all()
"""
_STAC = f"""{_SERVER}
from foveate.pool.stac.api import api_text
Path("item.json").write_text("made")
assert api_text(f"{{root}}/item.json") == "made"
"""
_PROGRAMS = {
    "SETUP": _SETUP, "TINY": _TINY, "MAP": _MAP, "CLOUD": _CLOUD, "STAC": _STAC,
}  # fmt: skip
_POOL = "world/images --masks world/masks --classes world/classes.yaml --tile 64"


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        line: What is typed.
        extra: Without which it is refused; empty for none.
        only: Environments that it runs in; empty for all.
        refused: Whether it runs without the extra, too: not where what it reads needs that.
    """

    line: str
    extra: str = ""
    only: tuple[str, ...] = ()
    refused: bool = True


STEPS = [
    Step("foveate --version"),
    Step("foveate doctor --json"),
    Step("foveate models"),
    Step("python -c SETUP"),
    Step("foveate world --out world --scenes 10 --size 320"),
    Step(f"foveate curate {_POOL} --method all --out curated"),
    Step("foveate embed world/images --tile 64 --out embedded"),
    Step("foveate classify classes --probe probe.safetensors --out classified"),
    Step("foveate mosaic classes --grid 4 --kind one --count 1 --out mosaics"),
    Step("foveate join classes/water --rows 3 --cols 4 --out joined.png"),
    Step("foveate focus look joined.png --probe probe.safetensors --crop 32 --out looked"),
    Step("foveate export curated --to csv --method fa-cb --out curated.csv"),
    Step("foveate export curated --to geojson --method fa-cb --out curated.geojson"),
    Step("foveate export curated --to geoparquet --method fa-cb --out curated.parquet"),
    Step("foveate report curated --out curated.html"),
    Step(
        "foveate observe prepare world/images --masks world/masks --classes world/classes.yaml "
        "--concepts water,forest,cropland --tiles 5x5 --ratio 8 --out pairs"
    ),
    Step("foveate observe estimate pairs --concept water --quantity tiles --budget 20%"),
    Step("foveate observe train pairs --size nano --epochs 2 --out observer", "observe"),
    Step(
        "foveate observe select pairs/overviews --observer observer --budget 12% --out chosen",
        "observe",
    ),
    Step(
        "foveate observe complete chosen --tiles world/images --out scenes", "observe",
        refused=False,
    ),
    Step("foveate observe search scenes --concept water", "observe", refused=False),
    Step(
        "foveate observe classify scenes --by labels --concepts water,forest", "observe",
        refused=False,
    ),
    Step(
        "foveate bench observe pairs --table threshold --size nano --epochs 1 --seeds 1 "
        "--out bench",
        "observe",
    ),
    Step("foveate tune-text classes --classes-from-folders --epochs 2 --out tuned", "observe"),
    Step("foveate classify classes --model tuned:tuned --labels forest,water --out c2", "observe"),
    Step(
        f"foveate curate {_POOL} --model timm:resnet10t@random --bands 1,2,3 --out c-timm", "models"
    ),
    Step(
        "foveate embed classes --model open_clip:RN50@random --batch-size 4 --out c-clip", "models"
    ),
    Step("python -c TINY", "hf", refused=False),
    Step("foveate classify classes --model hf --weights clip --labels forest,water --out h", "hf"),
    Step(
        "foveate embed classes --model torchgeo:resnet18@random --out c-torchgeo", "torchgeo"
    ),
    Step("python -c MAP", "osm", refused=False),
    Step("python -c CLOUD", "cloud", refused=False),
    Step("python -c STAC", "stac", refused=False),
    Step("foveate inspect http://127.0.0.1/scene.tif", "cloud", only=("core", "observe")),
    Step("foveate demo --out demo", only=("core", "observe")),  # the longest
]  # fmt: skip


def main(uv: str, names: list[str]) -> int:
    """Build the wheel, make the environments one after the other, and run all steps in each."""
    uv = str(Path(shutil.which(uv) or uv).absolute())  # steps run elsewhere
    known = {name: ENVIRONMENTS[name] for name in names or ENVIRONMENTS}
    failed: list[str] = []
    # Beside nothing of the checkout, and away when it ends.
    with tempfile.TemporaryDirectory(prefix="foveate-installs-") as folder:
        root = Path(folder)
        build = [uv, "build", "--quiet", "--wheel", "--python", sys.executable]
        subprocess.run([*build, "--out-dir", root, _ROOT], check=True)
        wheel = next(root.glob("*.whl"))
        for name, extras in known.items():
            begun = time.monotonic()
            wrong = _try(uv, root / name, wheel, name, extras)
            print(f"== {name}: {f'{len(wrong)} FAILED' if wrong else 'passed'}, "
                  f"{time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
            failed += wrong
            shutil.rmtree(root / name)
    print(f"{len(known)} environments, {len(failed)} failures")
    for what in failed:
        print(what)
    return 1 if failed else 0


def _try(uv: str, folder: Path, wheel: Path, name: str, extras: tuple[str, ...]) -> list[str]:
    """Install one environment and run all steps; return what failed."""
    environment, work = folder / "environment", folder / "work"
    work.mkdir(parents=True)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", environment]
    begun = time.monotonic()
    if name.startswith("lowest"):
        chosen = [argument for extra in extras for argument in ("--extra", extra)]
        project = ["-r", _ROOT / "pyproject.toml", *chosen]
        done = subprocess.run([*install, "--resolution", "lowest-direct", *project], check=False)
        done = done.returncode or subprocess.run([*install, "--no-deps", wheel], check=False)
    else:
        of = f"{wheel}[{extras[0]}]" if extras else str(wheel)
        done = subprocess.run([*install, of], check=False)
    if isinstance(done, int) or done.returncode:
        return [f"{name}: does not install"]
    print(f"== {name}: installed in {time.monotonic() - begun:.0f} s", flush=True)
    steps = [step for step in STEPS if name in (step.only or (name,))]
    return [f"{name}: {what}" for step in steps if (what := _run(step, environment, work, extras))]


def _run(step: Step, environment: Path, work: Path, extras: tuple[str, ...]) -> str:
    """Run one step; return what is wrong with it, or nothing."""
    if step.extra not in ("", *extras) and not step.refused:
        return ""
    program, *arguments = step.line.split()
    if program == "python":
        arguments = ["-c", _PROGRAMS[arguments[-1]]]
    before = sorted(work.iterdir())
    done = subprocess.run(
        [environment / "bin" / program, *arguments],
        cwd=work, capture_output=True, text=True, check=False, timeout=900,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip
    said = (done.stdout[-2000:] + done.stderr[-2000:]).strip()
    if step.extra in ("", *extras):
        return "" if done.returncode == 0 else f"{step.line}\n    exit {done.returncode}: {said}"
    # What a refused step would have read is not there: only the missing package may be said.
    if done.returncode == 1 and "pip install 'foveate[" in done.stderr:
        left = sorted(work.iterdir())
        return "" if left == before else f"{step.line}\n    left something behind: {left}"
    return f"{step.line}\n    is not refused as it should: exit {done.returncode}: {said}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
