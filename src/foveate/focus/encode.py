"""Windows of one image go through the model; passes are counted and features are cached.

A pass is one image through the model's image encoder at its standard input size; smaller and
larger inputs count by their pixels. What has been seen is kept, so that no window is paid twice.
Building a model for another input size tries it on one image: once a model and size, not once an
image, and so not among the passes.

A feature depends on the pixels, the window, the input size and the model, and on nothing of the
job: neither on its goal nor on its budget. A look books its passes whether they are made or
cached, so that the same job gives the same regions with and without a cache.
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
    from foveate.focus.feature_cache import FeatureCache
    from foveate.focus.importance import Perturbation
    from foveate.models.capabilities import Model, TakesSizes, TokenSums
    from foveate.models.heads import Inputs
    from foveate.raster import Source
    from foveate.raster.ahead import Look


STANDARD = 256  # side that counts as one pass for a model that takes any size, pixels

_MAP = 1024  # longest side of the map of valid pixels

_LARGE = 4096  # side from which decoding an image costs more than a pass, pixels

_STRIP = 1024  # rows of a scene that are read at a time

_ENOUGH = 64  # pixels of that map from which a share of them is exact enough

_OVERSAMPLE = 2  # pixels read for each pixel that the model sees; its own filter does the rest


@dataclass
class Work:
    """Model calls so far, and their cost.

    Attributes:
        passes: Images at the standard size; see the head of this module.
        images: Images of any size.
        calls: Calls of the model.
        seconds: In the model.
        remembered: Passes that an earlier look had made; part of `passes`.
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
        model: The model; what it must be able to do depends on who looks.
        shape: ``(height, width)`` of its input, pixels.
        fixed: Whether every window is brought to that size; else smaller ones stay as they are.
    """

    model: Any
    shape: tuple[int, int]
    fixed: bool

    @property
    def each(self) -> int:
        """Passes that an image of the standard size takes: 1 but for classes by answers."""
        return getattr(self.model, "passes_each", 1)

    def pixels(self, window: Window) -> int:
        """Return how many pixels of a window the model sees."""
        height, width = self.shape
        if self.fixed:
            return height * width
        return min(window.h, height) * min(window.w, width)

    def passes(self, window: Window) -> float:
        """Return what showing a window costs if this is the standard size, in passes."""
        return self.each * self.pixels(window) / (self.shape[0] * self.shape[1])

    def read_shape(self, window: Window) -> tuple[int, int] | None:
        """Return the size to read a window at; None for its own."""
        more = _OVERSAMPLE if self.fixed else 1
        shape = (min(window.h, more * self.shape[0]), min(window.w, more * self.shape[1]))
        return None if shape == (window.h, window.w) else shape


def standard_encoder(model: Model) -> SizedEncoder:
    """Return a model at its own input size; one that takes any size at that of a pass."""
    size = model.spec.input_size
    return SizedEncoder(model, size or (STANDARD, STANDARD), fixed=size is not None)


@dataclass
class CropEncoder:
    """Encodes windows of one image with one model.

    Attributes:
        source: The image.
        model: A bound model.
        ledger: Pays the passes, and refuses one too many.
        min_valid: Windows with a smaller share of valid pixels are not shown to the model.
        batch_size: Images per call; no result depends on it.
        seed: Of the perturbation.
        disturb: The perturbation of Eq. 5.
        cache: Keeps vectors from one look to the next, or None.
        inputs: What vectors are returned as: "unit" of norm 1, so that no crop counts more than
            another; "raw" as the model gives them, for a head that was fitted on such.
        work: What was done so far.
    """

    source: Source
    model: Model
    ledger: Ledger
    min_valid: float = 0.5
    batch_size: int = 32
    seed: int = 0
    disturb: Perturbation = perturb
    cache: FeatureCache | None = None
    inputs: Inputs = "unit"
    work: Work = field(default_factory=Work)

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self._features: dict[tuple[SizedEncoder, Window, bool], NDArray[np.float32]] = {}
        self._valid: dict[Window, float] = {}
        self._sized: dict[int, SizedEncoder] = {}
        self._view: Raster | None = None
        self.standard = standard_encoder(self.model)

    def at_size(self, side: int) -> SizedEncoder:
        """Return the model for inputs of about `side` pixels, never of more.

        Raises:
            MissingCapabilityError: It takes inputs of one size only.
        """
        side = max(1, side)
        if side not in self._sized:
            self._sized[side] = self._make_sized(side)
        return self._sized[side]

    def _make_sized(self, side: int) -> SizedEncoder:
        if not self.standard.fixed:
            return SizedEncoder(self.model, (side, side), fixed=False)
        able: TakesSizes = need(self.model, "sizes", "an input of another size")
        step = able.size_step
        fitting = max(step, side // step * step)
        if (fitting, fitting) == self.standard.shape:
            return self.standard
        return SizedEncoder(able.at_size(fitting), (fitting, fitting), fixed=True)

    def price(
        self,
        windows: Sequence[Window],
        sized: SizedEncoder | None = None,
        *,
        disturbed: bool = False,
    ) -> NDArray[np.float64]:
        """Return what seeing windows costs, in passes: (n,); 0 for those that were seen."""
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
        """Return how many of some windows have not been seen."""
        sized = sized or self.standard
        return len({w for w in windows if (sized, w, disturbed) not in self._features})

    @property
    def standard_pixels(self) -> int:
        """Pixels of one pass."""
        return self.standard.shape[0] * self.standard.shape[1]

    def _passes(self, sized: SizedEncoder, window: Window) -> float:
        return sized.each * sized.pixels(window) / self.standard_pixels

    def valid_shares(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """Return the share of valid pixels of windows, (n,); no pass is needed.

        Large windows are judged on one reduced reading of the image, small ones on their own
        pixels.
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
        """Whether the reduced image shows enough of a window to judge it."""
        step_y, step_x = self._steps
        return window.h / step_y * window.w / step_x >= _ENOUGH

    def _valid_share(self, window: Window) -> float:
        if window not in self._valid:
            self._valid[window] = float(self._reduced.valid[self._places(window)].mean())
        return self._valid[window]

    @cached_property
    def _reduced(self) -> Raster:
        """The whole image, small: one reading for the map of valid pixels and for overviews."""
        shape, bands = self.source.info.shape, self.model.spec.bands
        small = (min(shape[0], _MAP), min(shape[1], _MAP))
        # A scene is read strip by strip, which GDAL's cache of blocks holds for bands and masks.
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
        """Pixels of the image for each of the map, down and right."""
        shape = self.source.info.shape
        small = self._reduced.valid.shape
        return shape[0] / small[0], shape[1] / small[1]

    def _places(self, window: Window) -> tuple[slice, slice]:
        """Return rows and columns of the reduced image that show a window; one at least."""
        found = []
        for start, size, step in zip(window[:2], window[2:], self._steps, strict=True):
            first = min(round(start / step), _MAP - 1)
            found.append(slice(first, max(first + 1, round((start + size) / step))))
        return found[0], found[1]

    def embed(
        self,
        windows: Sequence[Window],
        sized: SizedEncoder | None = None,
        *,
        disturbed: bool = False,
    ) -> NDArray[np.float32]:
        """Return the vectors of windows.

        Args:
            windows: n windows; those that were seen before cost nothing.
            sized: The model at another input size.
            disturbed: Whether they are perturbed first.

        Returns:
            (n, d) float32, of norm 1 or as the model gives them: see `inputs`.

        Raises:
            BudgetError: The passes are not there; nothing was seen.
        """
        sized = sized or self.standard
        keys = [(sized, window, disturbed) for window in windows]
        todo = list(dict.fromkeys(key for key in keys if key not in self._features))
        self.pay(sum(self._passes(sized, window) for _, window, _ in todo), len(todo))
        wanted = [window for _, window, _ in todo]
        fresh = [w for w in wanted if self._remembered(w, sized, disturbed=disturbed) is None]
        at = self.ahead(fresh, sized)
        for start in range(0, len(todo), self.batch_size):
            part = wanted[start : start + self.batch_size]
            for window, vector in self._vectors(sized, part, at, disturbed=disturbed):
                self._features[sized, window, disturbed] = vector
        return self.as_inputs(np.stack([self._features[key] for key in keys]))

    def as_inputs(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Bring (..., d) vectors of the model to what `inputs` says."""
        return unit(x) if self.inputs == "unit" else np.asarray(x, np.float32)

    def tokens(
        self, window: Window, sized: SizedEncoder | None = None, *, disturbed: bool = False
    ) -> NDArray[np.float32]:
        """Return the tokens of one window: (gh, gw, d) float32, as the model gives them.

        Raises:
            BudgetError: The passes are not there.
        """
        return self._seen("tokens", window, sized, disturbed=disturbed)

    def token_sums(
        self, window: Window, sized: SizedEncoder | None = None, *, disturbed: bool = False
    ) -> TokenSums:
        """Return what the pooling of one window adds up, of a model that pools parts."""
        return self._seen("token_sums", window, sized, disturbed=disturbed)

    def _seen(
        self, what: str, window: Window, sized: SizedEncoder | None, *, disturbed: bool
    ) -> Any:
        sized = sized or self.standard
        self.pay(self._passes(sized, window), 1)
        image = self.read(window, sized, disturbed=disturbed)
        return self.timed(getattr(sized.model, what), image[None])[0]

    def pay(self, passes: float, images: int) -> None:
        """Book passes before they are made, and the images that they show.

        Raises:
            BudgetError: They are not there.
        """
        self.ledger.spend(passes=passes, crops=float(images))
        self.work.passes += passes
        self.work.images += images

    def read(
        self, window: Window, sized: SizedEncoder | None = None, *, disturbed: bool = False
    ) -> NDArray[Any]:
        """Read a window no finer than the model can see it: (c, h, w) without holes."""
        image = fill_invalid(self._raster(window, (sized or self.standard).read_shape(window)))
        if disturbed:
            image = perturb_window(image, str(tuple(window)), self.seed, self.disturb)
        return image

    def ahead(
        self, windows: Sequence[Window], sized: SizedEncoder | None = None
    ) -> Callable[[Window], None]:
        """Return what is to be told each window before it is read.

        Those of a remote image are fetched side by side, before they are read one by one.

        Args:
            windows: All windows that `read` is asked for, in their order, each once.
            sized: As for `read`.
        """
        shapes = [(sized or self.standard).read_shape(window) for window in windows]

        def wanted(number: int) -> list[Look]:
            window, shape = windows[number], shapes[number]
            held = shape is not None and (
                self._in_reduced(window, shape) or window == (0, 0, *self.source.info.shape)
            )
            return [] if held else [(self.source, window, shape)]

        ahead = read_ahead([self.source], len(windows), wanted, self.model.spec.bands)
        places = {window: number for number, window in enumerate(windows)}
        return lambda window: ahead.at(places[window])

    def _in_reduced(self, window: Window, shape: tuple[int, int]) -> bool:
        """Whether the reduced reading of a large image shows a window in enough detail."""
        if max(self.source.info.shape) <= _LARGE:
            return False
        rows, cols = self._places(window)
        return bool(np.greater_equal(self._reduced.valid[rows, cols].shape, shape).all())

    def _raster(self, window: Window, shape: tuple[int, int] | None) -> Raster:
        """Read a window; what was read already in enough detail is not read once more."""
        info, bands = self.source.info, self.model.spec.bands
        if shape is not None and self._in_reduced(window, shape):
            rows, cols = self._places(window)
            reduced = self._reduced
            return resample(Raster(reduced.data[:, rows, cols], reduced.valid[rows, cols]), shape)
        if max(info.shape) <= _LARGE and shape is not None and window == (0, 0, *info.shape):
            # Of one reading, whichever lens comes first: what is remembered must not change it.
            if self._view is None:
                size = self.standard.read_shape(window)
                self._view = self.source.read(window, bands=bands, out_shape=size)
            if not np.less(self._view.valid.shape, shape).any():
                return resample(self._view, shape)
        return self.source.read(window, bands=bands, out_shape=shape)

    def timed(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call the model and keep the time."""
        start = time.perf_counter()
        found = function(*given)
        self.work.seconds += time.perf_counter() - start
        self.work.calls += 1
        return found

    def _remembered(
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
        """Yield the vectors of windows, images of one shape after the other."""
        shapes: dict[tuple[int, ...], tuple[list[Window], list[NDArray[Any]]]] = {}
        for window in windows:
            known = self._remembered(window, sized, disturbed=disturbed)
            if known is not None:
                self.work.remembered += self._passes(sized, window)
                yield window, known
                continue
            at(window)
            image = self.read(window, sized, disturbed=disturbed)
            where, images = shapes.setdefault(image.shape, ([], []))
            where.append(window)
            images.append(image)
        for where, images in shapes.values():
            found = np.asarray(self.timed(sized.model.embed, np.stack(images)), np.float32)
            for i, window in enumerate(where):
                vector = found[i]
                if self.cache is not None:
                    self.cache.put(window, sized.shape, disturbed, vector)
                yield window, vector
