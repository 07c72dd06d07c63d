"""A small archive to build pairs from, with what must come of each place.

The ground is 9 x 6 cells of 64 m, cut into six HR quads of 3 x 3 cells (1 m, four bands, two
dates). LR scenes (4 m, three assets and a classification layer of 8 m) cover it and 64 m around it.
Areas of an OpenStreetMap extract lie in the middle of cells; `EXPECTED` says which becomes no pair,
and why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from foveate.files import write_parquet
from foveate.raster import write_cog
from foveate.world import WorldSpec, make_scene

if TYPE_CHECKING:
    from pathlib import Path

CELL, QUAD, COLS, ROWS = 64, 192, 9, 6
LEFT, TOP, CRS = 460_000.0, 5_800_000.0, "EPSG:32633"
_THERE = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)

RULES = """
min_area = 100
[concepts.forest]
tags = [{ landuse = "forest" }, { natural = "wood" }]
min_share = 0.2
[concepts.lake]
tags = [{ natural = "water", water = "lake" }]
[concepts.airport]
tags = [{ aeroway = "aerodrome" }]
"""
OPTIONS = ["--tiles", "2x2", "--footprint", "64", "--hr-gsd", "1", "--lr-gsd", "4", "--thin", "60",
           "--block", "0.128", "--min-labelled", "2%"]  # fmt: skip

# Middle of each area, in cells from the north-west corner: (column, row).
FOREST = {
    "way/1": (0.5, 0.5), "way/2": (1.5, 0.5), "way/3": (0.5, 1.5), "way/4": (1.5, 1.5),
    "way/5": (2.5, 2.5), "way/6": (4.5, 0.5), "way/7": (3.0, 0.5), "way/8": (6.5, 3.5),
    "way/9": (6.5, 5.5), "way/10": (7.5, 4.5), "way/11": (8.5, 4.5), "way/12": (3.5, 1.5),
    "way/13": (7.5, 0.5), "way/14": (1.5, 4.5), "way/15": (4.5, 5.5), "way/16": (9.0, 1.5),
    "way/17": (14.5, 1.5),
}  # fmt: skip
SMALL = {"way/3", "way/5", "way/9"}  # 16 m a side, the others 32 m
LAKES = {"relation/1": (0.5, 2.5), "relation/2": (5.5, 2.5)}  # with an island
EXPECTED = {
    "way/12": "HR tile black", "way/13": "HR missing or unreadable",
    "way/14": "HR elsewhere than its item says", "way/15": "HR missing or unreadable",
    "way/16": "HR covers a part only", "way/17": "no HR in the range of dates",
    "way/11": "LR under cloud",
}  # fmt: skip
KEPT = sorted((FOREST.keys() | LAKES.keys()) - EXPECTED.keys())
SECOND = "way/10"  # under cloud on the nearest date


@dataclass(frozen=True)
class Archive:
    """Where an archive lies.

    Attributes:
        root: The folder.
        extract: OpenStreetMap extract.
        rules: Tag rules.
        hr: Static catalogue.
        lr: stac-geoparquet.
    """

    root: Path
    extract: Path
    rules: Path
    hr: Path
    lr: Path

    @property
    def sources(self):
        return ["--anchors", self.extract, "--rules", self.rules, "--hr", self.hr, "--lr", self.lr]


def write_archive(root: Path) -> Archive:
    """Write an archive, in which addresses are relative."""
    spec = WorldSpec(scenes=1, size=(ROWS * CELL, COLS * CELL), bands=4, seed=3, cloud=0.0,
                     nodata_border=0.0)  # fmt: skip
    image = make_scene(spec, 0).image
    found = Archive(
        root, root / "extract.osm.pbf", root / "rules.toml", root / "hr/catalog.json",
        root / "lr.parquet",
    )  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    found.rules.write_text(RULES)
    _write_extract(found.extract, FOREST)
    _write_extract(root / "part.osm.pbf", dict(list(FOREST.items())[:6]))
    _write_hr(root, image)
    _write_lr(root, image)
    return found


def cell_box(col: float, row: float, wide: float, high: float):
    """A rectangle around a place in cells, metres wide and high, in longitude and latitude."""
    x, y = LEFT + col * CELL, TOP - row * CELL
    box = shapely.box(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
    return shapely.transform(box, lambda xy: np.stack(_THERE.transform(*xy.T), axis=1))


# --- OpenStreetMap


class _Extract:
    """Writes closed ways and relations, nodes first."""

    def __init__(self):
        self.nodes, self.ways, self.relations = [], [], []

    def ring(self, shape, way, tags=None):
        start = len(self.nodes) + 1
        at = list(shape.exterior.coords)[:-1]
        self.nodes += [(start + k, lon, lat) for k, (lon, lat) in enumerate(at)]
        self.ways.append((way, [*range(start, start + len(at)), start], tags or {}))

    def write(self, path):
        import osmium

        path.unlink(missing_ok=True)
        writer = osmium.SimpleWriter(str(path))
        for number, lon, lat in self.nodes:
            writer.add_node(osmium.osm.mutable.Node(id=number, location=(lon, lat)))
        for number, nodes, tags in sorted(self.ways):
            writer.add_way(osmium.osm.mutable.Way(id=number, nodes=nodes, tags=tags))
        for number, members, tags in self.relations:
            writer.add_relation(osmium.osm.mutable.Relation(id=number, members=members, tags=tags))
        writer.close()


def _write_extract(path, forest):
    extract = _Extract()
    for name, (col, row) in forest.items():
        tags = {"natural": "wood"} if name == "way/2" else {"landuse": "forest"}
        side = 16 if name in SMALL else 32
        extract.ring(cell_box(col, row, side, side), int(name.partition("/")[2]), tags)
    for number, (name, (col, row)) in enumerate(LAKES.items()):
        extract.ring(cell_box(col, row, 48, 48), 101 + 2 * number)
        extract.ring(cell_box(col, row, 16, 16), 102 + 2 * number)
        members = [("w", 101 + 2 * number, "outer"), ("w", 102 + 2 * number, "inner")]
        tags = {"type": "multipolygon", "natural": "water", "water": "lake"}
        extract.relations.append((int(name.partition("/")[2]), members, tags))
    # Beside an anchor that is rarer: no anchor, but ground of the north-eastern tile.
    extract.ring(cell_box(0.75, 2.25, 32, 32), 201, {"landuse": "forest"})
    extract.ring(cell_box(1.5, 2.5, 5, 5), 202, {"landuse": "forest"})  # 25 square metres
    extract.ring(cell_box(2.5, 0.5, 32, 32), 203, {"landuse": "meadow"})
    bow = shapely.Polygon(shapely.get_coordinates(cell_box(2.5, 1.5, 32, 32))[[0, 2, 1, 3, 0]])
    extract.ring(bow, 204, {"landuse": "forest"})  # crosses itself
    extract.write(path)


# --- imagery


def _item(name, when, shape, assets, **properties):
    lonlat = shapely.transform(shape, lambda xy: np.stack(_THERE.transform(*xy.T), axis=1))
    return {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "id": name,
        "geometry": shapely.geometry.mapping(lonlat), "bbox": list(lonlat.bounds), "links": [],
        "properties": {"datetime": when, **properties}, "assets": assets,
    }  # fmt: skip


def _write_hr(root, image):
    items = []
    for year, quads in ((2021, "AC"), (2023, "ABCDEF")):
        for quad in quads:
            number = "ABCDEF".index(quad)
            row, col = divmod(number, 3)
            data = image[:, row * QUAD : (row + 1) * QUAD, col * QUAD : (col + 1) * QUAD].copy()
            if quad == "B":  # most of the north-western tile of the cell (3, 1)
                data[:, CELL : CELL + 28, :32] = 0
            x, y = LEFT + col * QUAD, TOP - row * QUAD
            crs = "EPSG:32634" if quad == "D" else CRS
            name = f"{quad}-{year}"
            file = root / "hr" / f"{name}.tif"
            write_cog(file, data, geobox=GeoBox(data.shape[1:], Affine(1, 0, x, 0, -1, y), crs))
            if quad == "E":
                content = file.read_bytes()
                file.write_bytes(content[: int(len(content) * 0.6)])
            if name == "C-2023":
                file.unlink()
            asset = {
                "href": f"./{name}.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
            }  # fmt: skip
            when = f"{year}-06-{11 if quad == 'B' else 1:02d}T16:00:00Z"
            shape = shapely.box(x, y - QUAD, x + QUAD, y)
            assets = {"image": asset}
            if quad == "F":  # the other way round, and no imagery to look at by its role
                other = file.with_name(f"{name}-other.tif")
                write_cog(
                    other, 255 - data, geobox=GeoBox(data.shape[1:], Affine(1, 0, x, 0, -1, y), crs)
                )
                href = asset["href"].replace(name, f"{name}-other")
                assets["other"] = asset | {"href": href, "roles": ["overview"]}
            items.append(_item(name, when, shape, assets, gsd=1.0))
    for item in items:
        (root / "hr" / f"{item['id']}.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": f"./{item['id']}.json"} for item in items]
    quads = {"type": "FeatureCollection", "features": [i for i in items if i["id"][0] != "F"]}
    (root / "hr/without-F.json").write_text(json.dumps(quads))
    catalog = {"type": "Catalog", "id": "hr", "stac_version": "1.1.0", "description": "HR",
               "links": links}  # fmt: skip
    (root / "hr/catalog.json").write_text(json.dumps(catalog))


def low_values(image):
    """The LR image as it must arrive: means of 4 x 4 pixels, times 40, 64 m around filled."""
    _, h, w = image.shape
    low = image[:3].reshape(3, h // 4, 4, w // 4, 4).mean(axis=(2, 4))
    return np.rint(np.pad(low, [(0, 0), (16, 16), (16, 16)], mode="edge") * 40).astype(np.uint16)


def _write_lr(root, image):
    low = low_values(image)
    shape = low.shape[1:]
    grid = GeoBox(shape, Affine(4, 0, LEFT - CELL, 0, -4, TOP + CELL), CRS)
    half = GeoBox((shape[0] // 2, shape[1] // 2), Affine(8, 0, LEFT - CELL, 0, -8, TOP + CELL), CRS)
    outline = shapely.box(*grid.boundingbox.bbox)
    items = []
    for name, when, cover, finer, offset in (  # stored: values * finer + offset
        ("near", "2023-05-20", 1.0, 1, 0),
        ("later", "2023-07-30", 0.5, 5, 1000),
        ("cloudy", "2023-06-02", 40.0, 1, 0),
        ("old", "2022-01-01", 0.0, 1, 0),
    ):
        layer = np.full(half.shape, 4, np.uint8)
        if name == "near":
            _under_cloud(layer, 7, 4, 9)
        if name in ("near", "later"):
            _under_cloud(layer, 8, 4, 8)
            layer[:2, :2] = 3
        assets = {}
        for band, values in zip(("red", "green", "blue"), low, strict=True):
            stored = values * finer + offset
            write_cog(root / "lr" / f"{name}-{band}.tif", stored, geobox=grid, nodata=0)
            scaling = {"scale": 1e-4 / finer, "offset": -offset * 1e-4 / finer}
            assets[band] = {
                "href": f"./lr/{name}-{band}.tif", "roles": ["data"],
                "raster:bands": [{"data_type": "uint16", "nodata": 0, **scaling}],
            }  # fmt: skip
        write_cog(root / "lr" / f"{name}-scl.tif", layer, geobox=half, nodata=0)
        assets["scl"] = {"href": f"./lr/{name}-scl.tif", "roles": ["data"],
                         "raster:bands": [{"data_type": "uint8", "nodata": 0}]}  # fmt: skip
        items.append(_item(name, f"{when}T10:00:00Z", outline, assets, **{"eo:cloud_cover": cover}))
    write_items(root / "lr.parquet", items)
    later = {"type": "FeatureCollection", "features": [i for i in items if i["id"] == "later"]}
    (root / "lr.json").write_text(json.dumps(later))


def _under_cloud(layer, col, row, value):
    """Cover a cell, whose pixels are 8 m, counted from 64 m outside of the ground."""
    layer[(row + 1) * 8 : (row + 2) * 8, (col + 1) * 8 : (col + 2) * 8] = value


def write_items(path, items):
    """Write items as stac-geoparquet."""
    rows = []
    for item in items:
        row = {k: v for k, v in item.items() if k not in ("geometry", "properties", "bbox")}
        row["bbox"] = dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True))
        row["geometry"] = shapely.to_wkb(shapely.geometry.shape(item["geometry"]))
        rows.append(row | item["properties"])
    for row in rows:
        row["links"] = [{"rel": "collection", "href": "./collection.json"}]
        row.pop("stac_extensions")
    write_parquet(path, pa.Table.from_pylist(rows), geo={"geometry": None})
