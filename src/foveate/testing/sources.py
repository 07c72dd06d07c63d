"""Test suite for imagery sources."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import FoveateError
from foveate.grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.raster import Raster, Source
from foveate.testing.rules import CheckFailed, need


def check_source(source: Source) -> None:
    """Check a source of imagery.

    `info` must match the result of `read`; a window must equal the same part of the whole;
    bands are in the requested order; pixels outside the raster are invalid; `out_shape` is
    kept; results are not shared; and the source survives pickling. The raster must be
    small: it is read as a whole.

    Args:
        source: At least 4 x 4 pixels.

    Raises:
        CheckFailed: A rule is violated.
    """
    trial = _SourceTrial(source)
    trial.check_info()
    trial.check_windows()
    trial.check_edges()
    trial.check_bands()
    trial.check_out_shape()
    trial.check_copies()
    again = pickle.loads(pickle.dumps(source))  # noqa: S301  (pickled in this line)
    need(again.info == source.info, f"{trial.name}: info changes in pickling")
    trial.same(again.read(), trial.whole, "pixels change in pickling")


class _SourceTrial:
    """Reads a source in different ways and compares the results."""

    def __init__(self, source: Source) -> None:
        self.source, self.info, self.whole = source, source.info, source.read()
        self.name = f"source {type(source).__name__}"
        self.height, self.width = self.info.shape

    def same(self, a: Raster, b: Raster, rule: str, where: str = "") -> None:
        """Check for the same valid pixels with the same values; invalid pixels are ignored."""
        where = f"{self.name}: {where}" if where else self.name
        need(a.data.shape == b.data.shape, rule, where, f"{a.data.shape}, not {b.data.shape}")
        need(a.data.dtype == b.data.dtype, rule, where, f"{a.data.dtype}, not {b.data.dtype}")
        need(np.array_equal(a.valid, b.valid), rule, where, "the valid pixels differ")
        need((a.data == b.data)[:, b.valid].all(), rule, where, "the values differ")

    def cut(self, window: Window) -> Raster:
        """Return the window as a part of the whole raster."""
        part = np.s_[window.y : window.y + window.h, window.x : window.x + window.w]
        return type(self.whole)(self.whole.data[:, *part], self.whole.valid[part])

    def check_info(self) -> None:
        info, data, valid = self.info, self.whole.data, self.whole.valid
        need(min(info.shape) >= 4, f"{self.name}: the suite needs at least 4 x 4 pixels")
        need(
            data.shape == (info.bands, *info.shape), f"{self.name}: info.shape and info.bands", "",
            f"are {(info.bands, *info.shape)}, read returns {data.shape}",
        )  # fmt: skip
        need(
            data.dtype.name == info.dtype,
            f"{self.name}: info.dtype is {info.dtype}, read returns {data.dtype}",
        )
        need(
            valid.dtype == bool and valid.shape == info.shape,
            f"{self.name}: valid must be bool {info.shape}",
        )
        need(info.masked or valid.all(), f"{self.name}: invalid pixels, but info.masked is False")
        need(info.fingerprint, f"{self.name}: info.fingerprint is empty")
        need(
            len(info.descriptions) in (0, info.bands),
            f"{self.name}: {len(info.descriptions)} descriptions for {info.bands} bands",
        )
        need(
            info.geobox is None or tuple(info.geobox.shape) == tuple(info.shape),
            f"{self.name}: the geobox must have the shape of the raster",
        )
        need(self.source.info == info, f"{self.name}: info changes between two calls")

    def check_windows(self) -> None:
        h, w = self.height, self.width
        for window in (
            Window(0, 0, h, w), Window(0, 0, 1, 1), Window(h - 1, w - 1, 1, 1), Window(1, 0, 2, w),
            Window(0, w // 2, h, 2), Window(h // 3, w // 4, h - h // 3, w - w // 4),
        ):  # fmt: skip
            self.same(
                self.source.read(window), self.cut(window),
                "a window differs from the part of the whole", f"{window}",
            )  # fmt: skip

    def check_edges(self) -> None:
        h, w = self.height, self.width
        for y, x in ((-2, -1), (h - 2, w - 3), (-1, w - 1), (h + 5, 0), (0, -9)):
            window = Window(y, x, 4, 5)
            found = self.source.read(window)
            where = f"{self.name}: {window}"
            need(
                found.data.shape == (self.info.bands, 4, 5) and found.valid.shape == (4, 5),
                "a window beyond the edge keeps its size", where, f"got {found.data.shape}",
            )  # fmt: skip
            rows, cols = np.arange(y, y + 4), np.arange(x, x + 5)
            inside = ((rows >= 0) & (rows < h))[:, None] & ((cols >= 0) & (cols < w))[None]
            need(not found.valid[~inside].any(), "outside the raster is invalid", where)
            if not inside.any():
                continue
            top, left = max(y, 0), max(x, 0)
            part = Window(top, left, min(h, y + 4) - top, min(w, x + 5) - left)
            cut = np.s_[top - y : top - y + part.h, left - x : left - x + part.w]
            seen = type(found)(found.data[:, *cut], found.valid[cut])
            self.same(seen, self.cut(part), "the inside of a window beyond the edge", f"{window}")

    def check_bands(self) -> None:
        count = self.info.bands
        orders: list[Sequence[int]] = [[count], list(range(count, 0, -1)), [1, 1]]
        for bands in orders:
            found = self.source.read(bands=bands)
            expected = self.whole.data[[b - 1 for b in bands]]
            ok = found.valid & self.whole.valid
            need(
                found.data.shape == expected.shape and (found.data == expected)[:, ok].all(),
                f"{self.name}: bands must be in the requested order", f"bands={bands}",
            )  # fmt: skip
        for wrong in ([0], [count + 1], []):
            try:
                self.source.read(bands=wrong)
            except FoveateError:
                continue
            raise CheckFailed(f"{self.name}: bands={wrong} of {count} must be rejected")

    def check_out_shape(self) -> None:
        h, w = self.height, self.width
        window = Window(0, 0, h - h % 2, w - w % 2)
        plain = self.cut(window)
        values = plain.data[:, plain.valid]
        for shape in ((window.h // 2, window.w // 2), (h + 3, w + 5), (1, 1)):
            found = self.source.read(window, out_shape=shape)
            where = f"out_shape={shape}"
            need(
                found.data.shape == (self.info.bands, *shape) and found.valid.shape == shape,
                f"{self.name}: out_shape is not kept", where, f"got {found.data.shape}",
            )  # fmt: skip
            need(
                found.data.dtype.name == self.info.dtype,
                f"{self.name}: the dtype must be that of info", where,
            )  # fmt: skip
            seen = found.data[:, found.valid]
            if seen.size and not self.info.masked:
                need(
                    seen.min() >= values.min() and seen.max() <= values.max(),
                    f"{self.name}: resampling must stay in the range of the values", where,
                )  # fmt: skip
        same = self.source.read(window, out_shape=(window.h, window.w))
        self.same(same, plain, "out_shape of the window's own size changes pixels")

    def check_copies(self) -> None:
        before = self.source.read(Window(0, 0, 3, 3))
        kept = type(before)(before.data.copy(), before.valid.copy())
        if before.data.flags.writeable:
            before.data[...] = 0
        if before.valid.flags.writeable:
            before.valid[...] = False
        self.same(self.source.read(Window(0, 0, 3, 3)), kept, "writing into a result changes it")
