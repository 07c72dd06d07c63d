from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from observed import box

from foveate.errors import DataError, ParameterError
from foveate.models.embed import bind
from foveate.models.load import load_model
from foveate.pool import open_pool
from foveate.testing import check_model


def write(path, data, scales=None, offsets=None):
    path.parent.mkdir(exist_ok=True)
    c, h, w = data.shape
    place = box((h, w))
    with rasterio.open(
        path, "w", "GTiff", w, h, c, str(place.crs), place.affine, data.dtype.name
    ) as file:
        file.write(data)
        if scales is not None:
            file.scales, file.offsets = scales, offsets
    return path


def opened(folder):
    return open_pool(folder, split=(1, 1))


def test_it_passes_the_suite_of_models():
    check_model(load_model("features", bands=(1, 2, 3, 4, 5), scale=((0, 1),)), dtype="float32")


def test_stored_integers_become_what_they_were(tmp_path):
    data = np.random.default_rng(0).integers(-127, 128, (3, 4, 5)).astype(np.int8)
    scales, offsets = (0.1, 0.02, 3.0), (0.0, 1.5, -7.0)
    write(tmp_path / "p/a.tif", data, scales, offsets)
    model = bind(load_model("features"), opened(tmp_path / "p"))
    found = model.tokens(data[None])[0]
    wanted = np.moveaxis(
        data * np.reshape(scales, (3, 1, 1)) + np.reshape(offsets, (3, 1, 1)), 0, 2
    )
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert model.embed(data[None])[0] == pytest.approx(wanted.mean(axis=(0, 1)), rel=1e-4, abs=1e-4)
    assert model.token_spec.dim == 3


def test_floats_are_taken_as_they_are(tmp_path):
    data = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    write(tmp_path / "p/a.tif", data)
    model = bind(load_model("features"), opened(tmp_path / "p"))
    assert model.tokens(data[None])[0] == pytest.approx(np.moveaxis(data, 0, 2))


def test_alphaearth_is_stored_by_the_root(tmp_path):
    data = np.array([-127, -64, 0, 1, 127], np.int8).reshape(5, 1, 1)
    write(tmp_path / "p/a.tif", data)
    model = bind(load_model("features:alphaearth"), opened(tmp_path / "p"))
    values = data.ravel().astype(float)
    assert model.embed(data[None])[0] == pytest.approx(np.sign(values) * (values / 127.5) ** 2)
    assert model.spec.fingerprint != load_spec(tmp_path).fingerprint


def load_spec(tmp_path):
    write(tmp_path / "q/a.tif", np.ones((5, 1, 1), np.float32))
    return bind(load_model("features"), opened(tmp_path / "q")).spec


def test_what_the_numbers_mean_is_never_guessed(tmp_path):
    data = np.ones((2, 3, 3), np.int8)
    write(tmp_path / "p/a.tif", data)
    with pytest.raises(DataError, match="no scale is stated") as caught:
        bind(load_model("features"), opened(tmp_path / "p"))
    assert "gdal_edit.py -scale S -offset O" in str(caught.value)
    write(tmp_path / "q/a.tif", data, (0.1, 0.1), (0, 0))
    write(tmp_path / "q/b.tif", data, (0.2, 0.1), (0, 0))
    with pytest.raises(DataError, match="different scales"):
        bind(load_model("features"), opened(tmp_path / "q"))


@pytest.mark.parametrize("name", ["features:clay", "features@x"])
def test_there_are_no_other_products(name):
    with pytest.raises(ParameterError, match="features:alphaearth"):
        load_model(name)


def test_there_are_no_weights(tmp_path):
    (tmp_path / "w").write_bytes(b"")
    handle = replace(load_model("features"), weights=str(tmp_path / "w"))
    with pytest.raises(ParameterError, match="without weights"):
        load_model(str(handle), weights=handle.weights)
