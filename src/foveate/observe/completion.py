"""What a completion is made of: HR tokens of tiles that were bought, and a scene from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import fingerprint
from foveate.models.embed import fill_invalid
from foveate.models.load import FAMILIES
from foveate.observe.features import TileTokens
from foveate.observe.observer import WEIGHTS, Observer, Scenes
from foveate.run.shards import to_half

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.observe.bought import Bought

WHOLE = 1024  # tiles of a scene that are completed at once; the memory of attention and kriging


def weights_print(observer: Observer) -> str:
    """Return what tells an observer from others, wherever it lies: a hash of its weights."""
    return fingerprint(Path(observer.folder) / WEIGHTS)


def built(observer: Observer, role: str, device: str = "auto") -> Any:
    """Build an encoder of an observer, for the bands and values of its training.

    Raises:
        DataError: The observer has no such encoder.
    """
    handle = observer.handle(role, device)
    spec = observer.record.encoders[role].spec
    return FAMILIES.get(handle.family).build(handle, spec.bands, spec.scale or ())


@dataclass(eq=False)
class HighTokens:
    """Reads tiles that were bought with the HR encoder of an observer.

    Attributes:
        observer: The observer.
        bought: Where the tiles are.
        ids: (n,) names of all tiles.
        bands: 1-based bands to read; empty for those of the training.
        min_valid: Smallest share of valid pixels of a tile that counts as observed.
        batch_size: Tiles per call of the encoder.
        device: Of the encoder.
    """

    observer: Observer
    bought: Bought
    ids: NDArray[np.str_]
    bands: Sequence[int] = ()
    min_valid: float = 0.5
    batch_size: int = 32
    device: str = "auto"

    @cached_property
    def _encoder(self) -> TileTokens:
        """Reads HR tiles, as in training; built when the first one is read.

        Raises:
            DataError: The encoder is another one by now.
        """
        spec = self.observer.record.encoders["hr"].spec
        model: Any = built(self.observer, "hr", self.device)
        if model.spec.fingerprint != spec.fingerprint:
            raise DataError(
                f"the HR encoder {spec.name!r} is another one than in training",
                "Features of two encoders do not mix.",
                "Put the weights of the training back, or train again.",
            )
        return TileTokens(model, self.observer.record.shape.hr_side)

    def read(self, rows: Iterable[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the reduced HR tokens, (k * k, d), of the tiles that can be read."""
        waiting: dict[tuple[int, ...], list[tuple[int, NDArray[Any]]]] = {}
        bands = self.bands or self.observer.record.encoders["hr"].spec.bands
        for row in rows:
            raster = self.bought.read(row, bands, self.min_valid)
            if raster is None:
                continue
            tile = fill_invalid(raster)
            batch = waiting.setdefault(tile.shape, [])
            batch.append((row, tile))
            if len(batch) == self.batch_size:
                yield from self._encode(waiting.pop(tile.shape))
        for batch in waiting.values():
            yield from self._encode(batch)

    def _encode(
        self, batch: list[tuple[int, NDArray[Any]]]
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        tokens, _, _ = self._encoder.unpack(self._encoder.embed(np.stack([t for _, t in batch])))
        # In half precision, as features are kept that the reduction was fitted to.
        half = to_half(self.ids[[row for row, _ in batch]], tokens)
        for i, (row, _) in enumerate(batch):
            # Each by itself: the bits of a product depend on how many rows it has.
            yield row, self.observer.hr(half[i : i + 1])[0]


def in_blocks(
    observer: Observer, lr: NDArray[np.floating], hr: NDArray[np.floating],
    seen: NDArray[np.bool_], whole: int = WHOLE,
) -> Scenes:  # fmt: skip
    """Complete one scene; a large one in blocks of about as many tiles as in training.

    Attention and kriging look at all pairs of tiles. In a block what was observed in others has no
    effect.

    Args:
        observer: Who completes.
        lr: (R * r, C * r, lr_dim) reduced LR tokens.
        hr: (R * k, C * k, hr_dim) reduced HR tokens of observed tiles.
        seen: (R, C) bool.
        whole: Most tiles that are completed at once.

    Returns:
        Arrays of one scene.
    """
    if seen.size <= whole:
        return observer.complete(lr[None], hr[None], seen[None])
    r, k = observer.record.shape.lr_side, observer.record.shape.hr_side
    edges = [
        np.arange(parts + 1) * n // parts
        for n, own in zip(seen.shape, observer.record.tiles, strict=True)
        for parts in (-(-n // own),)
    ]
    tokens, fill = np.empty((2, *hr.shape), np.float32)
    doubt = np.empty(seen.shape, np.float32)
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            own, low, high = (np.s_[top * n : bottom * n, left * n : right * n] for n in (1, r, k))
            part = observer.complete(lr[low][None], hr[high][None], seen[own][None])
            tokens[high], fill[high], doubt[own] = part.tokens[0], part.fill[0], part.doubt[0]
    return Scenes(tokens[None], fill[None], doubt[None])


def check_like(observer: Observer, bought: Bought, chosen: Sequence[int]) -> None:
    """Check bands and dtype of what was bought.

    Raises:
        DataError: They are not those of the training.
        ParameterError: It is not clear which bands are meant.
    """
    encoder = observer.record.encoders["hr"]
    trained = encoder.spec.bands
    listed = ",".join(map(str, trained))
    if chosen and len(chosen) != len(trained):
        raise ParameterError(
            f"band mismatch: --bands {','.join(map(str, chosen))}",
            f"The observer was trained on {len(trained)} bands of high resolution: {listed}.",
            "State as many, in the same order.",
        )
    for name, source in bought.sources().items():
        info = source.info
        has = f"band mismatch: {name!r} has {info.bands} band{'s' if info.bands > 1 else ''}"
        if info.bands < max(chosen or trained):
            raise DataError(
                has, f"The observer was trained on the bands {listed} of high resolution.",
                "Give imagery with these bands.",
            )  # fmt: skip
        if not chosen and info.bands != max(trained):
            raise ParameterError(
                f"{has}, and the observer was trained on the bands {listed}",
                "Which bands it should see is never guessed.",
                f"State them in the order of the training: --bands {listed}",
            )
        if (info.dtype == "uint8") != (encoder.dtype == "uint8"):
            raise DataError(
                f"dtype mismatch: {name!r} holds {info.dtype}",
                f"The observer was trained on high resolution of {encoder.dtype}.",
                f"Convert it: gdal_translate -ot Byte -scale LOW HIGH 0 255 {Path(name).name} "
                "out.tif"
                if encoder.dtype == "uint8"
                else "Give the product level of the training.",
            )
