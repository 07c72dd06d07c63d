"""500 windows of tiled rasters over loopback with 20 ms of latency: foveate and rasterio.

The server runs in a process of its own; rasterio has its default settings. Prints a table, and
fails unless all pixels are equal and foveate requested no byte twice. With ``--s3`` both speak
to the server as to an object store (``s3://``, unsigned).

A second table is of the crops of a look at one large scene, encoded by `builtin`: fetched
ahead, and one after the other.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from cogs import pixels, write
from web_files import serving

from foveate.budget import Ledger
from foveate.focus.encode import CropEncoder
from foveate.grid import Window
from foveate.location import locate
from foveate.models.load import build_model, load_model
from foveate.raster import FileSource, close_files, read_ahead
from foveate.remote import forget, open_together, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    Windows = Sequence[tuple[int, Window]]

FILES, WINDOWS, SIDE, TILE = 50, 500, 1024, 256
SCENE, CROP, CROPS = 4096, 224, 200
LATENCY = 0.02  # seconds


def serve(root: str, pipe: Connection) -> None:
    files = {f"/pool/{p.name}": p.read_bytes() for p in Path(root).iterdir()}
    with serving(files, latency=LATENCY) as web:
        pipe.send(web.url)
        while pipe.recv() == "asked":
            pipe.send(list(web.asked))
            web.asked.clear()


def ours(url: str, windows: Windows) -> list[NDArray[Any]]:
    urls = [f"{url}/{k}.tif" for k in range(FILES)]
    open_together([locate(u) for u in urls])
    sources = [FileSource(u) for u in urls]
    ahead = read_ahead(sources, len(windows), lambda i: [(sources[windows[i][0]], windows[i][1])])
    found = []
    for number, (k, window) in enumerate(windows):
        ahead.at(number)
        found.append(sources[k].read(window).data)
    close_files()
    return found


def theirs(url: str, windows: Windows) -> list[NDArray[Any]]:
    files = [rasterio.open(f"{url}/{k}.tif") for k in range(FILES)]
    found = [files[k].read(window=RasterioWindow(w.x, w.y, w.w, w.h)) for k, w in windows]
    for file in files:
        file.close()
    return found


class OneByOne:
    """A source whose windows are not known before they are read."""

    def __init__(self, source: FileSource) -> None:
        self.info, self.read = source.info, source.read


def crops(url: str, *, ahead: bool) -> NDArray[Any]:
    """Encode crops of a scene, as a look does."""
    source = FileSource(f"{url}/scene.tif")
    model = build_model(load_model("builtin"), (1, 2, 3), ((0, 255),) * 3)
    encoder = CropEncoder(source if ahead else OneByOne(source), model, Ledger({}))
    corners = np.random.default_rng(1).integers(0, SCENE - CROP, (CROPS, 2))
    found = encoder.embed([Window(int(y), int(x), CROP, CROP) for y, x in corners])
    close_files()
    forget()
    return found


def main() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, SIDE - TILE, (WINDOWS, 2))
    windows = [
        (i * FILES // WINDOWS, Window(int(y), int(x), TILE, TILE))
        for i, (y, x) in enumerate(corners)
    ]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as root:
        for k in range(FILES):
            write(Path(root) / f"{k}.tif", pixels(k, 3, SIDE), driver="COG", blocksize=256,
                  compress="deflate")  # fmt: skip
        write(Path(root) / "scene.tif", pixels(0, 3, SCENE), driver="COG", blocksize=256,
              compress="deflate")  # fmt: skip
        here, there = context.Pipe()
        server = context.Process(target=serve, args=(root, there))
        server.start()
        url = address(here.recv())
        crops(url, ahead=True)  # loads what the first call loads
        here.send("asked")
        here.recv()
        table(here, {
            "foveate": lambda: ours(url, windows),
            "rasterio, its defaults": lambda: theirs(url, windows),
        })  # fmt: skip
        print(f"counted by foveate: {traffic()}\n")
        table(here, {
            "crops of one scene, ahead": lambda: crops(url, ahead=True),
            "one after the other": lambda: crops(url, ahead=False),
        })  # fmt: skip
        here.send("stop")
        server.join()


def table(server: Connection, readers: dict[str, Callable[[], Sequence[NDArray[Any]]]]) -> None:
    """Print what two readers of the same pixels took; the first must read no byte twice."""
    rows, results = [], []
    for name, read in readers.items():
        start = time.perf_counter(), time.process_time()
        results.append(read())
        seconds = time.perf_counter() - start[0], time.process_time() - start[1]
        server.send("asked")
        every = server.recv()
        asked = [entry for entry in every if entry[0] == "GET" and entry[4] == 206]
        rows.append((name, seconds, len(every), asked))
    assert all(  # noqa: S101
        np.array_equal(a, b) for a, b in zip(*results, strict=True)
    ), "pixels differ"
    print("| | seconds | CPU s | requests | of ranges | MB | bytes requested again |")
    print("|---|---|---|---|---|---|---|")
    for name, (wall, used), every, asked in rows:
        size = sum(end - start for _, _, start, end, _ in asked) / 1e6
        print(f"| {name} | {wall:.1f} | {used:.1f} | {every} | {len(asked)} | {size:.1f} "
              f"| {again(asked):,} |")  # fmt: skip
    print(f"\n{rows[1][1][0] / rows[0][1][0]:.1f} times as fast")
    assert again(rows[0][3]) == 0  # noqa: S101


def address(server: str) -> str:
    """Return where the files are, for both."""
    if "--s3" not in sys.argv:
        return f"{server}/pool"
    host = server.partition("://")[2]
    os.environ |= {
        "AWS_ENDPOINT_URL": server, "AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "us-east-1",
        "AWS_S3_ENDPOINT": host, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }  # fmt: skip
    return "s3://pool"


def again(asked: Sequence[Any]) -> int:
    total = 0
    for path in {entry[1] for entry in asked}:
        seen = np.zeros(max(end for _, p, _, end, _ in asked if p == path), np.uint8)
        for _, _, start, end, _ in (entry for entry in asked if entry[1] == path):
            total += int(seen[start:end].sum())
            seen[start:end] = 1
    return total


if __name__ == "__main__":
    main()
