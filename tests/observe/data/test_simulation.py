from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from foveate.errors import ParameterError
from foveate.observe.data.simulation import (
    low_shape,
    psf_sigma,
    psf_weights,
    simulate,
    write_view,
)
from foveate.raster import ArraySource, FileSource, Raster, write_cog

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.grid import Window
    from foveate.raster import SourceInfo


def _wave(shape: tuple[int, int], period: float, axis: int) -> ArraySource:
    # Phase pi / 4: at the Nyquist frequency samples at 0 or pi / 2 would see all or nothing.
    place = np.arange(shape[axis]) + 0.5
    line = 100 + 10 * np.sin(2 * np.pi * place / period + np.pi / 4)
    field = line[:, None] if axis == 0 else line[None, :]
    return ArraySource(np.broadcast_to(field, shape)[None].copy())


@pytest.mark.parametrize("ratio", [2, 4, 7.5, 10, 16.4])
@pytest.mark.parametrize("mtf", [0.1, 0.25, 0.5])
def test_a_wave_at_the_nyquist_frequency_keeps_the_stated_share(ratio: float, mtf: float) -> None:
    low = 60
    high = round(low * ratio)
    for axis, shape in ((0, (high, 40)), (1, (40, high))):
        period = 2 * high / low  # HR pixels
        view = simulate(_wave(shape, period, axis), high / low, mtf=mtf, snr=None)
        line = view.data[0].mean(axis=1 - axis)[10:-10]
        centre = (np.arange(10, low - 10) + 0.5) * high / low
        carrier = np.sin(2 * np.pi * centre / period + np.pi / 4)
        # At the Nyquist frequency the samples alternate, all of one height.
        measured = np.sum((line - 100) * carrier) / np.sum(10 * carrier**2)
        # Where the blur is small and pixels are few, what aliases adds to the wave.
        assert measured == pytest.approx(mtf, rel=0.05 if ratio == 2 else 0.02)


def test_an_edge_has_the_stated_mtf() -> None:
    # The slanted edge of ISO 12233 without the slant: an edge at 16 places gives the edge spread at
    # a sixteenth of an LR pixel; its derivative is the line spread, whose transform is the MTF.
    ratio, mtf, low = 16, 0.25, 40
    spread = []
    for shift in range(ratio):
        step = (np.arange(low * ratio) >= low * ratio // 2 - shift).astype(float)
        image = np.broadcast_to(step, (32, low * ratio))[None].copy()
        spread.append(simulate(ArraySource(image), ratio, mtf=mtf, snr=None).data[0, 1])
    line = np.diff(np.stack(spread, axis=1).ravel())
    place = np.arange(line.size)
    measured = abs(np.sum(line * np.exp(-1j * np.pi * place / ratio))) / line.sum()
    # Steps between whole HR pixels: their own size is not in it.
    assert measured * np.sinc(0.5 / ratio) == pytest.approx(mtf, rel=0.03)


def test_the_box_bounds_the_mtf() -> None:
    assert psf_sigma(1000, 0.25) == pytest.approx(1000 * 0.435, rel=0.01)
    assert psf_sigma(10, 0.1) > psf_sigma(10, 0.5) > 0
    for bad in (None, 0, -0.1, 0.64, 1.0, float("nan")):
        with pytest.raises(ParameterError, match=r"0\.637"):
            psf_sigma(10, bad)


@given(
    high=st.integers(2, 300),
    share=st.floats(0.02, 0.9),
    mtf=st.floats(0.02, 0.3),
)
def test_weights_are_shares_and_keep_the_mean(high: int, share: float, mtf: float) -> None:
    low = max(1, int(high * share))
    if low == high:
        low -= 1
    index, weight = psf_weights(high, low, mtf)
    assert (weight >= 0).all()
    np.testing.assert_allclose(weight.sum(axis=0), 1, rtol=1e-6)
    assert index.min() >= 0
    assert index.max() < high
    # The same from both ends: no shift.
    dense = np.zeros((low, high))
    np.add.at(dense, (np.arange(low)[None].repeat(len(index), 0), index), weight)
    np.testing.assert_allclose(dense, dense[::-1, ::-1], rtol=1e-6, atol=1e-7)


@settings(max_examples=15)
@given(ratio=st.floats(1.2, 12), value=st.integers(1, 255))
def test_a_constant_stays(ratio: float, value: int) -> None:
    view = simulate(ArraySource(np.full((2, 37, 53), value, np.uint8)), ratio, snr=None)
    assert (view.data == value).all()
    assert view.data.shape[1:] == low_shape((37, 53), ratio)
    assert view.nodata is None


def test_the_mean_is_kept_away_from_the_edges() -> None:
    image = np.zeros((1, 200, 200))
    image[0, 93:107, 90:99] = 50.0
    view = simulate(ArraySource(image), 7.3, snr=None)
    h, w = view.data.shape[1:]
    assert view.data.sum() * (200 / h) * (200 / w) == pytest.approx(image.sum(), rel=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_blocks_do_not_matter(dtype: str) -> None:
    random = np.random.default_rng(0)
    data = (random.random((3, 97, 61)) * 200).astype(dtype)
    valid = random.random((97, 61)) > 0.3
    source = ArraySource(data, valid)
    whole = simulate(source, 4.3, seed=3, name="a")
    for block in (1, 5, 1000):
        part = simulate(source, 4.3, seed=3, name="a", block=block)
        assert part.data.tobytes() == whole.data.tobytes()
        assert part.valid.tobytes() == whole.valid.tobytes()
    assert whole.data.dtype == dtype


def test_noise_has_the_stated_size_and_belongs_to_its_scene() -> None:
    source = ArraySource(np.stack([np.full((900, 900), 1000.0), np.full((900, 900), -10.0)]))
    view = simulate(source, 9, snr=50, seed=1, name="a")
    assert view.data[0].std() == pytest.approx(1000 / 50, rel=0.05)
    assert view.data[1].std() == pytest.approx(10 / 50, rel=0.05)
    assert view.data[0].mean() == pytest.approx(1000, abs=1)
    again, other, seed = (
        simulate(source, 9, snr=50, seed=s, name=n) for s, n in ((1, "a"), (1, "b"), (2, "a"))
    )
    assert np.array_equal(again.data, view.data)
    assert not np.array_equal(other.data, view.data)
    assert not np.array_equal(seed.data, view.data)
    with pytest.raises(ParameterError, match="snr = 0"):
        simulate(source, 9, snr=0)
    for bad in (1.0, 0.5, float("inf"), float("nan")):
        with pytest.raises(ParameterError, match="ratio"):
            simulate(source, bad)


def test_nodata_stays_out_and_never_appears(tmp_path: Path) -> None:
    image = np.full((2, 120, 120), 40, np.uint8)
    image[:, :, :63] = 0  # nodata: the seventh column of LR is three tenths valid
    image[0, 100:, 100:] = 0  # black in one band is a measurement
    box = GeoBox((120, 120), Affine(1.5, 0, 500000, 0, -1.5, 6e6), "EPSG:32633")
    write_cog(tmp_path / "a.tif", image, geobox=box, nodata=0, descriptions=("red", "nir"))
    source = FileSource(str(tmp_path / "a.tif"))
    view = simulate(source, 10, snr=None)
    assert view.nodata == 0
    assert view.valid.sum(axis=1).tolist() == [6] * 12
    assert (view.data[1, :, 6:] == 40).all()  # nothing of the frame leaks in
    assert (view.data[:, view.valid] > 0).all()
    assert view.data[0, -1, -1] == 1  # beside nodata
    write_view(tmp_path / "low.tif", view, source.info.descriptions)
    low = FileSource(str(tmp_path / "low.tif"))
    assert low.info.geobox is not None
    assert low.info.geobox.extent.boundingbox == box.extent.boundingbox
    assert low.info.descriptions == ("red", "nir")
    assert np.array_equal(low.read().valid, view.valid)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("int16", -32768), ("float32", None), ("float64", None)]
)
def test_a_mask_becomes_a_nodata_value(dtype: str, nodata: float | None) -> None:
    valid = np.ones((40, 40), bool)
    valid[:20] = False
    view = simulate(ArraySource(np.full((1, 40, 40), 7, dtype), valid), 8, snr=None)
    assert not view.valid[0].any()
    assert view.valid[-1].all()
    assert view.nodata is not None
    assert np.isnan(view.nodata) if nodata is None else view.nodata == nodata
    assert view.data[:, view.valid] == pytest.approx(7, rel=1e-12)


def test_values_stay_in_the_range_of_the_dtype() -> None:
    white = ArraySource(np.full((1, 50, 50), 255, np.uint8))
    view = simulate(white, 5, snr=10)
    assert view.data.dtype == np.uint8
    assert view.data.max() == 255
    assert view.data.min() > 100  # nothing has wrapped around


@dataclasses.dataclass
class _Watched:
    """A source that notes what is asked of it."""

    inner: ArraySource
    asked: list[tuple[Window | None, Any]] = dataclasses.field(default_factory=list)

    @property
    def info(self) -> SourceInfo:
        return self.inner.info

    def read(
        self, window: Window | None = None, *, bands: Any = None, out_shape: Any = None
    ) -> Raster:
        self.asked.append((window, out_shape))
        return self.inner.read(window, bands=bands, out_shape=out_shape)


def test_every_pixel_is_read_at_its_own_size_in_bands() -> None:
    watched = _Watched(ArraySource(np.zeros((1, 400, 30), np.uint8)))
    simulate(watched, 10, snr=None, block=4)
    assert len(watched.asked) == 10
    seen = np.zeros(400, bool)
    for window, shape in watched.asked:
        assert shape is None
        assert window is not None
        assert window.h <= 40 + 2 * 5 * 4.4 + 3
        seen[window.y : window.y + window.h] = True
    assert seen.all()
