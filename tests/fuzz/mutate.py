"""Imagery that went wrong: a small good folder, and seeded ways to spoil it.

A mutation takes the folder and a random generator, changes one thing, and says what. Mutations of
three kinds: bytes (flipped, cut, zeroed), rasters rewritten with other types, tags and ground, and
what surrounds them (names, links, classes files, objects).
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from affine import Affine
from PIL import Image
from rasterio._err import CPLE_BaseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.random import Generator

    Mutation = Callable[[Path, Generator], str]

SIDE = 64
_CRS = (
    "EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:32760", "EPSG:3031", "OGC:CRS84",
    "EPSG:25832+5783", "+proj=geos +h=35785831 +lon_0=0 +sweep=y", "IAU_2015:30100", None,
    'LOCAL_CS["Local",LOCAL_DATUM["Local",0],UNIT["metre",1]]',
)  # fmt: skip
_TRANSFORMS = (
    (10, 0, 5e5, 0, -10, 5e6), (10, 0, 5e5, 0, 10, 5e6), (-10, 0, 5e5, 0, -10, 5e6),
    (0, 0, 0, 0, 0, 0), (np.nan, 0, 5e5, 0, -10, 5e6), (1e-4, 0, 179.998, 0, -1e-4, 10),
    (7, 7, 5e5, 7, -7, 5e6), (1e300, 0, 0, 0, -1e300, 0), (1, 0, 0, 0, 1, 0),
    (1e-4, 0, 359, 0, -1e-4, 95),
)  # fmt: skip
_DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "int64", "uint64",
    "complex64", "complex_int16",
)  # fmt: skip
_NODATA = (0, 255, -9999, 1e400, float("nan"), 3.5, 2**63, -(2**63), "0", None)
_NAMES = (
    "café", "cafe\u0301", "a b ", "line\nbreak", "'quote\"", "%s{0}", "-dash", "$HOME", "😀",
    "x" * 200, ".hidden", "IMAGE_mask", "a.tar", "ünï", "con", "tab\there", "a,b;c", "..x",
    "\u202ertl", "~tilde",
)  # fmt: skip
_CLASSES = """

{}
classes:
classes: []
classes: {a: 0}
classes: {a: 0, a: 1}
classes: {a: 0, b: '#FF0000'}
classes: {a: 0, b: 1, c: 2, d: 3, e: '<300'}
classes: {no: 0, yes: 1}
\tclasses: {a: 0}
classes: {a: [0, 1], b: [1, 2]}
classes: {a: 1e3, b: 010}
[1, 2, 3]
!!python/object:os.system x
classes: &a {x: *a}
classes: {a: 0, b: 1, c: 2, d: 3, ignore: [z]}
classes: {a: 99999999999999999999}
classes: {a: '<2', b: '>=2'}
classes: {a: '>5', b: '<9'}
classes: {a: -1, b: 0, c: 1, d: 2, e: 3}
""".strip("\n").split("\n")
_STRANGERS = (
    "@eaDir/s0.tif", "._s0.tif", "Thumbs.db", ".ipynb_checkpoints/s0.tif", "run/run.json",
    "s0.tif.aux.xml", "s0.tfw", "s0.tif.msk", "s0.ovr", "sub/s0.tif", "notes.txt", "pipe.tif",
)  # fmt: skip
_TEXTS = (
    b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n", b"\x89PNG\r\n\x1a\n",
    b"II*\0",
)  # fmt: skip
_POINTS = ([], [1e308, 1e308], ["a", "b"], [500000, 5000000])
_BOW = [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]


def good_folder(root: Path) -> None:
    """Write three images with masks, a classes file, and objects."""
    rng = np.random.default_rng(7)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(3):
        place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5 + i * 640, 0, -10, 5e6)}
        _write(root / f"images/s{i}.tif", rng.integers(1, 255, (3, SIDE, SIDE)), "uint8", **place)
        _write(root / f"masks/s{i}.tif", rng.integers(0, 4, (1, SIDE, SIDE)), "uint8", **place)
    names = "classes: {water: 0, wood: 1, town: 2, field: 3}\n"
    (root / "classes.yaml").write_text(names, encoding="utf-8")
    point = {"type": "Point", "coordinates": [15.003, 45.152]}
    feature = {"type": "Feature", "properties": {"kind": "tank"}, "geometry": point}
    content = json.dumps({"type": "FeatureCollection", "features": [feature]})
    (root / "objects.geojson").write_text(content, encoding="utf-8")


def _write(path: Path, data: np.ndarray, dtype: str, **profile: object) -> None:
    kind = {"complex_int16": "complex64"}.get(dtype, dtype)
    size = {"count": data.shape[0], "height": data.shape[1], "width": data.shape[2]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", dtype=dtype, **size, **profile) as file:
            file.write(data.astype(kind))


def _pick(rng: Generator, among: tuple) -> object:
    return among[int(rng.integers(len(among)))]


def _files(root: Path, folders: str = "images masks") -> list[Path]:
    files = [p for name in folders.split() for p in sorted((root / name).iterdir())]
    return [p for p in files if p.is_file() and not p.is_symlink()]


def _raster(root: Path, rng: Generator) -> Path:
    return _pick(rng, tuple(_files(root)))


# bytes


def flip_bytes(root: Path, rng: Generator) -> str:
    """Change single bytes, mostly near the front, where the header is."""
    path = _pick(rng, (*_files(root), root / "classes.yaml", root / "objects.geojson"))
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 9))):
        end = len(content) if rng.random() < 0.4 else min(len(content), 400)
        if end:
            content[int(rng.integers(end))] = int(rng.integers(256))
    path.write_bytes(content)
    return f"bytes of {path.name} flipped"


def cut(root: Path, rng: Generator) -> str:
    """Cut a file off, perhaps to nothing."""
    path = _pick(rng, (*_files(root), root / "classes.yaml", root / "objects.geojson"))
    size = path.stat().st_size
    keep = int(size * rng.random() ** 2)
    os.truncate(path, keep)
    return f"{path.name} cut to {keep} of {size} bytes"


def zero_range(root: Path, rng: Generator) -> str:
    """Zero a range, as a broken download does."""
    path = _raster(root, rng)
    content = bytearray(path.read_bytes())
    start, end = sorted(int(v) for v in rng.integers(0, len(content) + 1, 2))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return f"{path.name} zeroed from {start} to {end}"


def other_content(root: Path, rng: Generator) -> str:
    """Put something that is no raster under the name of one."""
    path = _raster(root, rng)
    path.write_bytes(_pick(rng, _TEXTS))
    return f"{path.name} holds something else"


# rasters


def retype(root: Path, rng: Generator) -> str:
    """Another dtype, band count, size or layout."""
    path = _raster(root, rng)
    dtype, bands = _pick(rng, _DTYPES), int(_pick(rng, (1, 2, 3, 4, 5, 13)))
    height, width = (int(_pick(rng, (1, 7, 63, SIDE, 65, 130))) for _ in range(2))
    high = int(_pick(rng, (1, 4, 256, 60000)))
    data = rng.integers(0, high, (bands, height, width)).astype(np.float64)
    if dtype.startswith("float") and rng.random() < 0.5:
        data[:, rng.random((height, width)) < 0.3] = _pick(rng, (np.nan, np.inf, 1e38, -3.4e38))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _write(path, data, dtype, crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5e6))
    return f"{path.name} as {bands} x {height} x {width} {dtype} below {high}"


def retag(root: Path, rng: Generator) -> str:
    """Nodata, scale, offset, orientation-like and band tags."""
    path = _raster(root, rng)
    said = []
    with warnings.catch_warnings(), rasterio.open(path, "r+") as file:
        warnings.simplefilter("ignore")
        for name in rng.choice(["nodata", "scale", "interp", "text", "mask"], 2, replace=False):
            value: object = None
            if name == "nodata":
                value = _pick(rng, _NODATA)
                file.update_tags(1, x=1)
                file.nodata = float(value) if value is not None else None
            elif name == "scale":
                value = _pick(rng, (1e-4, 0.0, np.nan, -1.0, 1e300))
                file.scales, file.offsets = (value,) * file.count, (-0.1,) * file.count
            elif name == "interp":
                kinds = rasterio.enums.ColorInterp
                value = _pick(rng, (kinds.alpha, kinds.gray, kinds.undefined, kinds.nir))
                file.colorinterp = [*file.colorinterp[:-1], value]
            elif name == "text":
                value = "b\ud7ff\u202e</script>"
                file.descriptions = (value,) * file.count
            else:
                file.write_mask(rng.random((file.height, file.width)) < _pick(rng, (0.0, 0.5)))
            said.append(f"{name} {value!r}")
    return f"{path.name}: {', '.join(said)}"


def replace_place(root: Path, rng: Generator) -> str:
    """Another CRS or transform, or none."""
    path = _raster(root, rng)
    crs, numbers = _pick(rng, _CRS), _pick(rng, _TRANSFORMS)
    with rasterio.open(path) as file:
        data = file.read()
    place = {"transform": Affine(*numbers)}
    if crs is not None:
        place["crs"] = crs
    _write(path, data, data.dtype.name, **place)
    return f"{path.name} at {crs} {numbers}"


def as_png(root: Path, rng: Generator) -> str:
    """The same picture as PNG or JPEG of some mode, with a turned orientation at times."""
    path = _raster(root, rng)
    mode = _pick(rng, ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))
    pixels = rng.integers(0, 4 if path.parent.name == "masks" else 256, (SIDE, SIDE, 3))
    picture = Image.fromarray(pixels.astype(np.uint8))
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16))
    else:
        picture = picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(0, 10))
    jpeg = mode in {"L", "RGB"} and rng.random() < 0.4
    target = path.with_suffix(".jpg" if jpeg else ".png")
    more = {"transparency": int(rng.integers(4))} if mode in {"P", "L"} and not jpeg else {}
    picture.save(target, exif=exif, **more)
    path.unlink()
    return f"{path.name} as {target.suffix} of mode {mode} with orientation {exif[0x0112]}"


# what surrounds them


def rename(root: Path, rng: Generator) -> str:
    """Odd names, for the image and mostly for its mask too."""
    path = _pick(rng, tuple(_files(root, "images")))
    name = f"{_pick(rng, _NAMES)}{_pick(rng, ('.tif', '.TIF', '.tiff', '.dat', ''))}"
    twin = root / "masks" / path.name
    if rng.random() < 0.2:
        latin = os.fsdecode(b"caf\xe9.tif")
        path.rename(path.with_name(latin))
        if twin.exists():
            twin.rename(twin.with_name(latin))
        return f"{path.name} renamed in Latin-1"
    path.rename(path.with_name(name))
    if twin.exists() and rng.random() < 0.8:
        twin.rename(twin.with_name(name))
    return f"{path.name} renamed {name!r}"


def link(root: Path, rng: Generator) -> str:
    """Links: dangling, to a file outside, to themselves, to a folder above."""
    kind = int(rng.integers(4))
    path = root / "images" / f"link{kind}.tif"
    target = (root / "absent.tif", root / "images/s0.tif", path, root)[kind]
    path.symlink_to(target)
    return ("a dangling link", "a link to an image", "a link to itself", "a link upwards")[kind]


def strangers(root: Path, rng: Generator) -> str:
    """What other programs leave in a folder."""
    name = _pick(rng, _STRANGERS)
    path = root / "images" / name
    if path.exists():
        return f"nothing ({name} is there)"
    path.parent.mkdir(exist_ok=True)
    if name == "pipe.tif":
        os.mkfifo(path)
    elif name.endswith("tif") and not name.startswith("._"):
        shutil.copy(_files(root)[0], path)
    else:
        path.write_bytes(b"{}" if name.endswith("json") else b"10\n0\n0\n-10\n500000\n5000000\n")
    return f"{name} lies there too"


def remove(root: Path, rng: Generator) -> str:
    """A file is missing."""
    path = _raster(root, rng)
    path.unlink()
    return f"{path.parent.name}/{path.name} removed"


def classes(root: Path, rng: Generator) -> str:
    """Another classes file."""
    text = _pick(rng, tuple(_CLASSES))
    marks = (b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00")
    (root / "classes.yaml").write_bytes(_pick(rng, marks) + text.encode())
    return f"classes file {text!r}"


def objects(root: Path, rng: Generator) -> str:
    """Other objects."""
    path = root / "objects.geojson"
    content = json.loads(path.read_text(encoding="utf-8"))
    feature = content["features"][0]
    name = str(_pick(rng, ("place", "point", "facts", "crs", "bow", "list", "none", "circle")))
    if name == "place":
        feature["geometry"] = None
    elif name == "point":
        feature["geometry"]["coordinates"] = _pick(rng, _POINTS)
    elif name == "facts":
        feature["properties"] = None
    elif name == "crs":
        code = _pick(rng, ("EPSG:32633", "EPSG:0", 7))
        content["crs"] = {"type": "name", "properties": {"name": code}}
    elif name == "bow":
        feature["geometry"] = {"type": "Polygon", "coordinates": _BOW}
    elif name == "list":
        content = [content]
    elif name == "none":
        content["features"] = []
    else:
        feature["geometry"] = {"type": "Circle", "coordinates": [0, 0]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"objects: {name}"


MUTATIONS: tuple[Mutation, ...] = (
    flip_bytes, flip_bytes, cut, zero_range, other_content, retype, retype, retag, retag,
    replace_place, as_png, rename, link, strangers, remove, classes, objects,
)  # fmt: skip


def spoil(root: Path, seed: int) -> list[str]:
    """Write the good folder and spoil it one to three times; return what was done."""
    good_folder(root)
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(int(_pick(rng, (1, 1, 1, 2, 2, 3)))):
        mutation = _pick(rng, MUTATIONS)
        try:
            said.append(mutation(root, rng))
        except (
            rasterio.errors.RasterioError, CPLE_BaseError, OSError, ValueError, TypeError,
            IndexError,
        ) as error:  # fmt: skip
            # GDAL would not write that, or an earlier mutation has left nothing to change.
            said.append(f"{mutation.__name__} could not be done: {type(error).__name__}")
    return said
