"""A small catalogue of STAC with its imagery: scenes of one place on several dates."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping

from foveate.grid import Grid
from foveate.pool.footprints import footprints
from foveate.raster import write_cog

SIDE = 64
CRS = "EPSG:32633"
BANDS = ("red", "nir")


def box(i=0, step=10.0, side=SIDE):
    return GeoBox((side, side), Affine(step, 0, 5e5 + 1000 * i, 0, -step, 5.6e6), CRS)


def outline(geobox):
    """The ground of a grid in longitude and latitude."""
    return footprints(Grid.split(geobox.shape, 1, 1).tiles("whole"), geobox)[0]


def pixels(i, name):
    """Values of a band, 1 to 2999; 0 in a corner."""
    rng = np.random.default_rng([i, BANDS.index(name)])
    data = rng.integers(1, 3000, (1, SIDE, SIDE)).astype(np.uint16)
    data[:, :8, :8] = 0
    return data


def asset(href, geobox, *bands, old=False):
    """An asset with all that makes reading its header needless; `old`: as before STAC 1.1."""
    found = {
        "href": href, "type": "image/tiff; application=geotiff", "roles": ["data"],
        "proj:shape": list(geobox.shape), "proj:transform": list(geobox.affine[:6]),
    }  # fmt: skip
    return found | {"raster:bands" if old else "bands": list(bands)}


def band(name, dtype="uint16", offset=0.0, *, old=False):
    if old:
        return {"data_type": dtype, "nodata": 0, "scale": 0.0001, "offset": offset}
    return {
        "name": name, "data_type": dtype, "nodata": 0, "raster:scale": 0.0001,
        "raster:offset": offset,
    }  # fmt: skip


def write_item(root, i, *, old=False, offset=0.0, cloud=None, write=True):
    """Write a scene below `root` and return its item; addresses are relative to it."""
    here, fine, coarse = root / f"S{i}", box(i), box(i, 20.0, SIDE // 2)
    assets = {
        name: asset(f"./{name}.tif", fine, band(name, offset=offset, old=old), old=old)
        for name in BANDS
    }
    assets["scl"] = asset("SCL.tif", coarse, {"name": "scl", "data_type": "uint8"})
    assets["thumbnail"] = {"href": "t.png", "type": "image/png", "roles": ["thumbnail"]}
    shape = outline(fine)
    properties = {
        "datetime": f"2024-0{5 + i}-01T10:00:00Z", "platform": f"sentinel-2{'ab'[i % 2]}",
        "eo:cloud_cover": 10 * i if cloud is None else cloud,
    }  # fmt: skip
    properties |= {"proj:epsg": 32633} if old else {"proj:code": CRS}
    item = {
        "type": "Feature", "stac_version": "1.0.0" if old else "1.1.0", "id": f"S{i}",
        "stac_extensions": [], "collection": "s2", "geometry": mapping(shape),
        "bbox": list(shape.bounds), "properties": properties, "links": [], "assets": assets,
    }  # fmt: skip
    if write:
        here.mkdir(parents=True, exist_ok=True)
        for name in BANDS:
            write_cog(here / f"{name}.tif", pixels(i, name), geobox=fine)
        clouds = np.full((1, SIDE // 2, SIDE // 2), 4, np.uint8)
        clouds[:, : SIDE // 4, SIDE // 4 :] = 9  # the upper right quarter
        write_cog(here / "SCL.tif", clouds, geobox=coarse)
        write_json(here / "item.json", item)
    return item


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path


def link(rel, href):
    return {"rel": rel, "href": href, "type": "application/json"}


def write_catalogue(root, items=3, **more):
    """Write a catalogue of a collection of items; return its file and the items."""
    found = [write_item(root, i, **more) for i in range(items)]
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    write_json(root / "collection.json", {
        "type": "Collection", "stac_version": "1.1.0", "id": "s2", "description": "scenes",
        "license": "other", "extent": extent,
        "links": [link("parent", "catalog.json"), link("root", "./catalog.json"),
                  *(link("item", f"./S{i}/item.json") for i in range(items))],
    })  # fmt: skip
    return write_json(root / "catalog.json", {
        "type": "Catalog", "stac_version": "1.1.0", "id": "all", "description": "a catalogue",
        "links": [link("root", "catalog.json"), link("child", "./collection.json")],
    }), found  # fmt: skip


def write_list(root, items, name="items.json"):
    """Write items as a list beside their folders."""
    moved = []
    for item in items:
        assets = {
            key: {**one, "href": f"{item['id']}/{one['href'].removeprefix('./')}"}
            for key, one in item["assets"].items()
        }
        moved.append({**item, "assets": assets})
    return write_json(root / name, {"type": "FeatureCollection", "features": moved})


def write_table(path, items):
    """Items as the specification of stac-geoparquet puts them in a table."""
    rows = [
        {
            **{k: v for k, v in item.items() if k not in ("properties", "geometry", "bbox")},
            **item["properties"],
            "geometry": shapely.geometry.shape(item["geometry"]).wkb,
            "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True)),
        }
        for item in items
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
