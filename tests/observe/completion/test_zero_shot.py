"""Zero-shot classification of data sets."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from completing import completing  # noqa: F401
from observing import observing  # noqa: F401

from foveate.errors import (
    DataError,
    MissingCapabilityError,
    ParameterError,
    UnknownNameError,
)
from foveate.observe.completion.zero_shot import PRESETS, zero_shot_dataset
from foveate.observe.observer import Observer


def picture(path, bands, size=64):
    """Write bands as a GeoTIFF; `bands` are their values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.broadcast_to(np.array(bands, np.uint16)[:, None, None], (len(bands), size, size))
    profile = {"driver": "GTiff", "count": len(bands), "height": size, "width": size,
               "dtype": "uint16", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(data)


@pytest.fixture
def taught(completing):  # noqa: F811
    """The observer, for tiles of 32 pixels: few of them."""
    found = Observer.load(completing.model, device="cpu")
    return replace(found, record=replace(found.record, lr_tile=32.0, gsd=None))


CLASSES = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture",
           "PermanentCrop", "Residential", "River", "SeaLake")  # fmt: skip


@pytest.fixture
def eurosat(tmp_path):
    root = tmp_path / "eurosat"
    base = root / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
    names = []
    for i, name in enumerate(CLASSES):
        picture(base / name / f"{name}_1.tif", [300 + 200 * i] * 13)
        names.append(f"{name}_1.jpg")
    for split in ("train", "val", "test"):
        (root / f"eurosat-{split}.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.mark.filterwarnings("ignore")  # what torchgeo and those that it imports have to say
def test_eurosat(taught, eurosat):
    found = zero_shot_dataset(taught, "eurosat", eurosat)
    assert (found["images"], found["classes"]) == (10, 10)
    assert found["bands"] == ["B04", "B03", "B02"]
    assert found["tiles"] == [2, 2]
    assert 0 <= found["top1"] <= 1
    assert "sea lake" in found["each"]
    assert np.mean(list(found["each"].values())) == pytest.approx(found["top1"])
    with pytest.raises(UnknownNameError, match="Did you mean 'B04'"):
        zero_shot_dataset(taught, "eurosat", eurosat, bands=["B4", "B03", "B02"])
    with pytest.raises(ParameterError, match="for a model of 3"):
        zero_shot_dataset(taught, "eurosat", eurosat, bands=["B04"])


@pytest.mark.filterwarnings("ignore")
def test_bigearthnet(taught, tmp_path):
    root = tmp_path / "ben"
    labels = {"one": ["Sea and ocean"], "two": ["Coniferous forest", "Pastures"]}
    order = PRESETS["bigearthnet"].bands
    for name, shown in labels.items():
        folder = root / "BigEarthNet-v1.0" / name
        for i, band in enumerate(order):
            picture(folder / f"{name}_{band}.tif", [100 * i], size=20 if i % 2 else 120)
        (folder / f"{name}_labels.json").write_text(json.dumps({"labels": shown}))
    for split in ("train", "val", "test"):
        (root / f"bigearthnet-{split}.csv").write_text("one,one_s1\ntwo,two_s1\n")
    found = zero_shot_dataset(taught, "bigearthnet", root, split="val")
    assert (found["images"], found["classes"]) == (2, 19)
    assert 0 < found["map"] <= 1
    known = {name for name, value in found["each"].items() if value is not None}
    assert known == {"Marine waters", "Coniferous forest", "Pastures"}


@pytest.mark.filterwarnings("ignore")
def test_data_sets_that_are_not_there(taught, observing, tmp_path):  # noqa: F811
    with pytest.raises(DataError, match="there is no folder"):
        zero_shot_dataset(taught, "eurosat", tmp_path / "nowhere")
    with pytest.raises(DataError, match="does not contain eurosat"):
        zero_shot_dataset(taught, "eurosat", tmp_path)
    with pytest.raises(DataError, match="does not contain bigearthnet"):
        zero_shot_dataset(taught, "bigearthnet", tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'eurosat'"):
        zero_shot_dataset(taught, "eurosatt", tmp_path)
    with pytest.raises(ParameterError, match="train, val, test"):
        zero_shot_dataset(taught, "eurosat", tmp_path, split="all")
    with pytest.raises(MissingCapabilityError, match="without a text model"):
        zero_shot_dataset(observing.model, "eurosat", tmp_path)


def test_values_of_sensors_and_of_pictures(taught):
    from foveate.observe.completion.zero_shot import _Branch

    branch = _Branch(taught, (0, 3000), "cpu")
    assert branch._native(np.array([-5.0, 0, 1500, 9000])).tolist() == [0, 0, 128, 255]
    lr = replace(taught.record.encoders["lr"], dtype="uint16")
    record = replace(taught.record, encoders={**taught.record.encoders, "lr": lr})
    raw = _Branch(replace(taught, record=record), (0, 3000), "cpu")._native(np.array([1234.0]))
    assert raw.dtype == np.uint16
    assert raw.tolist() == [1234]
    assert branch._tiles((64, 120)) == (2, 4)
    known = replace(taught, record=replace(taught.record, lr_tile=8.0, gsd=(4.0, 1.0)))
    assert _Branch(known, (0, 1), "cpu")._tiles((64, 64)) == (20, 20)  # 32 m, of 10 m a pixel
