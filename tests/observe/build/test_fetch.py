"""Conversion of values with different scales and offsets."""

import numpy as np
import pytest

from foveate.observe.build.fetch import first_scales, harmonised
from foveate.pool.stac.asset_source import AssetSource
from foveate.pool.stac.assets import Facts
from foveate.pool.stac.items import Item
from foveate.raster import write_cog
from foveate.raster.base import Raster


def _item(name, *scaling):
    bands = [{"data_type": "uint16", "scale": s, "offset": o} for s, o in scaling]
    image = {"href": "x.tif", "roles": ["data"], "raster:bands": bands}
    return Item({"id": name, "assets": {"image": image}, "properties": {}}, "items.json")


def test_first_item_with_scales_determines_them():
    items = [_item("none"), _item("a", (0.5, 0), (0.25, 1)), _item("b", (2, 0), (2, 0))]
    assert first_scales(items, ("image",), ()) == (0.5, 0.25)
    assert first_scales(items, ("image",), (2,)) == (0.25,)
    assert (
        first_scales(items, ("image",), (3,)) == ()
    )  # its pairs are dropped when they are fetched
    assert first_scales(items[:1], ("image",), ()) == ()
    assert first_scales(items, ("other",), ()) == ()


@pytest.mark.parametrize(
    ("scaling", "wanted", "expected"),
    [
        ((), (1e-4,), [0, 1, 5000, 65535]),  # unknown: as stored
        (((1e-4, 0.0),), (1e-4,), [0, 1, 5000, 65535]),
        (((1e-4, -0.1),), (), [0, 1, 4000, 64535]),  # 0 is reserved for missing pixels
        (((2e-4, 0.0),), (1e-4,), [0, 2, 10000, 65535]),  # the last value is clipped
        (((2e-5, -0.02),), (1e-4,), [0, 1, 800, 12907]),
    ],
)
def test_values_are_converted_to_one_scale(tmp_path, scaling, wanted, expected):
    stored = np.array([[[0, 1, 5000, 65535]]], np.uint16)
    write_cog(tmp_path / "x.tif", stored, nodata=0)
    facts = Facts(str(tmp_path / "x.tif"), scaling=scaling)
    source = AssetSource(facts.href, item="i", asset="a", facts=facts)
    raster = harmonised(Raster(stored, stored[0] > 0), source, [1], wanted)
    assert raster.data.ravel().tolist() == expected
    assert raster.data.dtype == np.uint16
