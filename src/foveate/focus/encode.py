"""Encoding of windows of one image: passes are counted and features are cached.

A pass is one image through the model's image encoder at its standard input size; smaller and
larger inputs count by their pixels. Features are kept, so that no window is paid twice. Building a
model for another input size runs it on one image, once per model and size; this is not counted.

A feature depends on the pixels, the window, the input size and the model, not on the goal or
budget of the job. A look books the passes of cached features too, so that the same job selects
the same regions with and without a cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.focus.importance import perturb, perturb_window
from foveate.grid import Window
from foveate.models.capabilities import need
from foveate.models.embed import fill_invalid
from foveate.models.heads import unit
from foveate.raster import Raster, read_ahead
from foveate.raster.windows import resample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.budget import Ledger
    from foveate.focus.feature_cache import WindowCache
    from foveate.focus.importance import Perturbation
    from foveate.models.capabilities import Model, TakesSizes, TokenSums
    from foveate.models.heads import Inputs
    from foveate.raster import Source
    from foveate.raster.ahead import Look


STANDARD = 256  # side that counts as one pass for a model that takes any size, pixels

_MAP = 1024  # longest side of the map of valid pixels

_LARGE = 4096  # side above which decoding an image costs more than a pass, pixels

_STRIP = 1024  # rows of a scene per read

_MIN_MAP_PIXELS = 64  # windows with fewer pixels of the map are read at full resolution

_OVERSAMPLE = 2  # pixels read per pixel of the model's input; the model downsamples the rest


@dataclass
class Work:
    """Model calls so far, and their cost.

    Attributes:
        passes: Images at the standard size; see the module docstring.
        images: Images of any size.
        calls: Calls of the model.
        seconds: Time in the model, seconds.
        remembered: Passes whose features were cached by an earlier look; part of `passes`.
    """

    passes: float = 0.0
    images: int = 0
    calls: int = 0
    seconds: float = 0.0
    remembered: float = 0.0


@dataclass(frozen=True, eq=False)
class SizedEncoder:
    """The model at one input size.

    Attributes:
        model: The model; the required capabilities depend on the caller.
        shape: ``(height, width)`` of its input, pixels.
        fixed: Whether every window is resized to that size; else smaller windows are not resized.
    """

    model: Any
    shape: tuple[int, int]
    fixed: bool

    @property
    def each(self) -> int:
        """Passes of an image of the standard size: 1, except for classes by answers."""
        return getattr(self.model, "passes_each", 1)

    def pixels(self, window: Window) -> int:
        """Return the number of pixels of the model's input for a window."""
        height, width = self.shape
        if self.fixed:
            return height * width
        return min(window.h, height) * min(window.w, width)

    def passes(self, window: Window) -> float:
        """Return the cost of a window if this is the standard size, in passes."""
        return self.each * self.pixels(window) / (self.shape[0] * self.shape[1])

    def read_shape(self, window: Window) -> tuple[int, int] | None:
        """Return the ``(height, width)`` at which to read a window; None for full resolution."""
        factor = _OVERSAMPLE if self.fixed else 1
        shape = (min(window.h, factor * self.shape[0]), min(window.w, factor * self.shape[1]))
        return None if shape == (window.h, window.w) else shape


def standard_encoder(model: Model) -> SizedEncoder:
    """Return a model at its input size; a model that takes any size at that of a pass."""
    size = model.spec.input_size
    return SizedEncoder(model, size or (STANDARD, STANDARD), fixed=size is not None)


@dataclass
class CropEncoder:
    """Encodes windows of one image with one model.

    Attributes:
        source: The image.
        model: A bound model.
        ledger: Books the passes and enforces their limit.
        min_valid: Windows with a smaller valid share are not encoded.
        batch_size: Images per call; results do not depend on it.
        seed: Seed of the perturbation.
        disturb: Perturbation of Eq. 5.
        cache: Features shared by looks, or None.
        inputs: Scale of the returned vectors: "unit", norm 1, so that all crops have equal weight;
            "raw", the output of the model, for a head that was fitted on raw vectors.
        work: Model calls so far.
    """

    source: Source
    model: Model
    ledger: Ledger
    min_valid: float = 0.5
    batch_size: int = 32
    seed: int = 0
    disturb: Perturbation = perturb
    cache: WindowCache | None = None
    inputs: Inputs = "unit"
    work: Work = field(default_factory=Work)

    def __post_init__(self) -> None:
        """Create the empty caches."""
        self._features: dict[tuple[SizedEncoder, Window, bool], NDArray[np.float32]] = {}
        self._valid: dict[Window, float] = {}
        self._sized: dict[int, SizedEncoder] = {}
        self._view: Raster | None = None
        self.standard = standard_encoder(self.model)

    def at_size(self, side: int) -> SizedEncoder:
        """Return the model for inputs of the largest supported side up to `side` pixels.

        Raises:
            MissingCapabilityError: The model takes inputs of one size only.
        """
        side = max(1, side)
        if side not in self._sized:
            self._sized[side] = self._make_sized(side)
        return self._sized[side]

    def _make_sized(self, side: int) -> SizedEncoder:
        if not self.standard.fixed:
            return SizedEncoder(self.model, (side, side), fixed=False)
        model: TakesSizes = need(self.model, "sizes", "an input of another size")
        step = model.size_step
        rounded = max(step, side // step * step)
        if (rounded, rounded) == self.standard.shape:
            return self.standard
        return SizedEncoder(model.at_size(rounded), (rounded, rounded), fixed=True)

    def price(
        self,
        windows: Sequence[Window],
        sized: SizedEncoder | None = None,
        *,
        disturbed: bool = False,
    ) -> NDArray[np.float64]:
        """Return the cost of encoding windows, in passes: (n,); 0 for encoded ones."""
        sized = sized or self.standard
        return np.array(
            [
                0.0 if (sized, w, disturbed) in self._features else self._passes(sized, w)
                for w in windows
            ]
        )

    def count_new(
        self,
        windows: Sequence[Window],
        sized: SizedEncoder | None = None,
        *,
        disturbed: bool = False,
    ) -> int:
        """Return the number of distinct windows that have not been encoded."""
        sized = sized or self.standard
        return len({w for w in windows if (sized, w, disturbed) not in self._features})

    @property
    def standard_pixels(self) -> int:
        """Pixels of one pass."""
        return self.standard.shape[0] * self.standard.shape[1]

    def _passes(self, sized: SizedEncoder, window: Window) -> float:
        return sized.each * sized.pixels(window) / self.standard_pixels

    def valid_shares(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Return the valid shares of windows, (n,); no pass is needed.

        Large windows use one downsampled read of the image, small ones their own pixels.
        """
        if not self.source.info.masked:
            return np.ones(len(windows))
        new = [w for w in dict.fromkeys(windows) if w not in self._valid and not self._is_large(w)]
        ahead = read_ahead([self.source], len(new), lambda number: [(self.source, new[number])])
        for number, window in enumerate(new):
            ahead.at(number)
            raster = self.source.read(window, bands=self.model.spec.bands)
            self._valid[window] = raster.valid_share
        return np.array([self._valid_share(window) for window in windows])

    def _is_large(self, window: Window) -> bool:
        """Return whether a window has enough pixels in the downsampled image."""
        step_y, step_x = self._steps
        return window.h / step_y * window.w / step_x >= _MIN_MAP_PIXELS

    def _valid_share(self, window: Window) -> float:
        if window not in self._valid:
            self._valid[window] = float(self._reduced.valid[self._slices(window)].mean())
        return self._valid[window]

    @cached_property
    def _reduced(self) -> Raster:
        """The downsampled image: one read for the map of valid pixels and for overviews."""
        shape, bands = self.source.info.shape, self.model.spec.bands
        small = (min(shape[0], _MAP), min(shape[1], _MAP))
        # Scenes are read in strips that fit GDAL's block cache, for bands and masks.
        count = min(-(-shape[0] // _STRIP), small[0]) if max(shape) > _LARGE else 1
        rows = np.arange(count + 1) * small[0] // count
        edges = np.round(rows * (shape[0] / small[0])).astype(int).tolist()
        parts = [
            self.source.read(
                Window(top, 0, bottom - top, shape[1]),
                bands=bands,
                out_shape=(int(height), small[1]),
            )
            for top, bottom, height in zip(edges, edges[1:], np.diff(rows), strict=False)
        ]
        return Raster(
            np.concatenate([part.data for part in parts], axis=1),
            np.concatenate([part.valid for part in parts]),
        )

    @cached_property
    def _steps(self) -> tuple[float, float]:
        """Rows and columns of the image per pixel of the map."""
        shape = self.source.info.shape
        small = self._reduced.valid.shape
        return shape[0] / small[0], shape[1] / small[1]

    def _slices(self, window: Window) -> tuple[slice, slice]:
        """Return the rows and columns of the downsampled image of a window; at least one each."""
        slices = []
        for start, size, step in zip(window[:2], window[2:], self._steps, strict=True):
            first = min(round(start / step), _MAP - 1)
            slices.append(slice(first, max(first + 1, round((start + size) / step))))
        return slices[0], slices[1]

    def embed(
        self,
        windows: Sequence[Window],
        sized: SizedEncoder | None = None,
        *,
        disturbed: bool = False,
    ) -> NDArray[np.float32]:
        """Return the vectors of windows.

        Args:
            windows: n windows; encoded ones cost nothing.
            sized: The model at another input size.
            disturbed: Whether to perturb the windows.

        Returns:
            (n, d) float32, of norm 1 or as output by the model: see `inputs`.

        Raises:
            BudgetError: The remaining passes are too few; no window was encoded.
        """
        sized = sized or self.standard
        keys = [(sized, window, disturbed) for window in windows]
        todo = list(dict.fromkeys(key for key in keys if key not in self._features))
        self.pay(sum(self._passes(sized, window) for _, window, _ in todo), len(todo))
        missing = [window for _, window, _ in todo]
        to_read = [w for w in missing if self._cached(w, sized, disturbed=disturbed) is None]
        at = self.ahead(to_read, sized)
        for start in range(0, len(todo), self.batch_size):
            part = missing[start : start + self.batch_size]
            for window, vector in self._vectors(sized, part, at, disturbed=disturbed):
                self._features[sized, window, disturbed] = vector
        return self.as_inputs(np.stack([self._features[key] for key in keys]))

    def as_inputs(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Scale (..., d) vectors of the model as `inputs` specifies."""
        return unit(x) if self.inputs == "unit" else np.asarray(x, np.float32)

    def tokens(
        self, window: Window, sized: SizedEncoder | None = None, *, disturbed: bool = False
    ) -> NDArray[np.float32]:
        """Return the tokens of one window: (gh, gw, d) float32, not scaled.

        Raises:
            BudgetError: The remaining passes are too few.
        """
        return self._encode_one("tokens", window, sized, disturbed=disturbed)

    def token_sums(
        self, window: Window, sized: SizedEncoder | None = None, *, disturbed: bool = False
    ) -> TokenSums:
        """Return the per-token terms of the pooled embedding of one window."""
        return self._encode_one("token_sums", window, sized, disturbed=disturbed)

    def _encode_one(
        self, method: str, window: Window, sized: SizedEncoder | None, *, disturbed: bool
    ) -> Any:
        sized = sized or self.standard
        self.pay(self._passes(sized, window), 1)
        image = self.read(window, sized, disturbed=disturbed)
        return self.timed(getattr(sized.model, method), image[None])[0]

    def pay(self, passes: float, images: int) -> None:
        """Book passes and images before they are encoded.

        Raises:
            BudgetError: The remaining passes or images are too few.
        """
        self.ledger.spend(passes=passes, crops=float(images))
        self.work.passes += passes
        self.work.images += images

    def read(
        self, window: Window, sized: SizedEncoder | None = None, *, disturbed: bool = False
    ) -> NDArray[Any]:
        """Read a window at the resolution of the model: (c, h, w), invalid pixels filled."""
        image = fill_invalid(self._raster(window, (sized or self.standard).read_shape(window)))
        if disturbed:
            image = perturb_window(image, str(tuple(window)), self.seed, self.disturb)
        return image

    def ahead(
        self, windows: Sequence[Window], sized: SizedEncoder | None = None
    ) -> Callable[[Window], None]:
        """Return a function to call with each window before it is read.

        Windows of a remote image are fetched concurrently, before they are read one by one.

        Args:
            windows: All windows that will be read, in order, without repetitions.
            sized: See `read`.
        """
        shapes = [(sized or self.standard).read_shape(window) for window in windows]

        def reads(number: int) -> list[Look]:
            window, shape = windows[number], shapes[number]
            in_memory = shape is not None and (
                self._in_reduced(window, shape) or window == (0, 0, *self.source.info.shape)
            )
            return [] if in_memory else [(self.source, window, shape)]

        ahead = read_ahead([self.source], len(windows), reads, self.model.spec.bands)
        index = {window: number for number, window in enumerate(windows)}
        return lambda window: ahead.at(index[window])

    def _in_reduced(self, window: Window, shape: tuple[int, int]) -> bool:
        """Return whether the downsampled large image has a window at a sufficient resolution."""
        if max(self.source.info.shape) <= _LARGE:
            return False
        rows, cols = self._slices(window)
        return bool(np.greater_equal(self._reduced.valid[rows, cols].shape, shape).all())

    def _raster(self, window: Window, shape: tuple[int, int] | None) -> Raster:
        """Read a window, from memory if it was read at a sufficient resolution."""
        info, bands = self.source.info, self.model.spec.bands
        if shape is not None and self._in_reduced(window, shape):
            rows, cols = self._slices(window)
            reduced = self._reduced
            return resample(Raster(reduced.data[:, rows, cols], reduced.valid[rows, cols]), shape)
        if max(info.shape) <= _LARGE and shape is not None and window == (0, 0, *info.shape):
            # One read serves all input sizes, so that cached features cannot change the pixels.
            if self._view is None:
                size = self.standard.read_shape(window)
                self._view = self.source.read(window, bands=bands, out_shape=size)
            if not np.less(self._view.valid.shape, shape).any():
                return resample(self._view, shape)
        return self.source.read(window, bands=bands, out_shape=shape)

    def timed(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call the model, and add the time and the call to `work`."""
        start = time.perf_counter()
        output = function(*given)
        self.work.seconds += time.perf_counter() - start
        self.work.calls += 1
        return output

    def _cached(
        self, window: Window, sized: SizedEncoder, *, disturbed: bool
    ) -> NDArray[np.float32] | None:
        return None if self.cache is None else self.cache.get(window, sized.shape, disturbed)

    def _vectors(
        self,
        sized: SizedEncoder,
        windows: Sequence[Window],
        at: Callable[[Window], None],
        *,
        disturbed: bool,
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Yield the vectors of windows, cached ones first, then in batches of equal shapes."""
        shapes: dict[tuple[int, ...], tuple[list[Window], list[NDArray[Any]]]] = {}
        for window in windows:
            cached = self._cached(window, sized, disturbed=disturbed)
            if cached is not None:
                self.work.remembered += self._passes(sized, window)
                yield window, cached
                continue
            at(window)
            image = self.read(window, sized, disturbed=disturbed)
            same_shape, images = shapes.setdefault(image.shape, ([], []))
            same_shape.append(window)
            images.append(image)
        for same_shape, images in shapes.values():
            vectors = np.asarray(self.timed(sized.model.embed, np.stack(images)), np.float32)
            for window, vector in zip(same_shape, vectors, strict=True):
                if self.cache is not None:
                    self.cache.put(window, sized.shape, disturbed, vector)
                yield window, vector
