"""Compare acquired tiles with the high resolution that an observer was trained on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.observe.selection.overviews import MAX_FACTOR, check_bands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.observe.completion.match_hr import MatchedHR
    from foveate.observe.observer import Observer
    from foveate.observe.observer_config import ObserverConfig
    from foveate.observe.selection.selections import Selected


def check_like(observer: Observer, matched: MatchedHR, chosen: Sequence[int]) -> None:
    """Check that matched files have the bands and dtype of the training.

    Raises:
        DataError: Bands or dtype differ.
        ParameterError: The choice of bands is ambiguous.
    """
    encoder = observer.record.encoders["hr"]
    infos = {name: source.info for name, source in matched.sources().items()}
    named = {repr(name): info for name, info in infos.items()}
    check_bands(named, encoder, chosen, of=" of high resolution")
    for name, info in infos.items():
        if (info.dtype == "uint8") != (encoder.dtype == "uint8"):
            raise DataError(
                f"dtype mismatch: {name!r} has the dtype {info.dtype}",
                f"The observer was trained on high resolution of {encoder.dtype}.",
                f"Convert it: gdal_translate -ot Byte -scale LOW HIGH 0 255 {Path(name).name} "
                "out.tif"
                if encoder.dtype == "uint8"
                else "Use the product level of the training.",
            )


def hr_cautions(record: ObserverConfig, matched: MatchedHR, selected: Selected) -> list[str]:
    """Return cautions (sentences) about acquired tiles with other pixel sizes than in training.

    The pixel size of a tile is that of its overview divided by the ratio of their pixels, so it is
    also known for files without a georeference.

    Args:
        record: Configuration of the observer.
        matched: The tiles.
        selected: The tiles of the run, with their overviews.
    """
    target, different = selected.target, {}
    for row, views in matched.views.items():
        scene = int(selected.place[row, 0])
        low = math.prod(target.overviews[scene].source.info.shape) / math.prod(target.shapes[scene])
        usual = record.ratio
        if record.gsd is not None and target.gsd is not None:
            usual = target.gsd[scene] / record.gsd[1]
        for view in views:
            factor = usual / math.sqrt(view.window.h * view.window.w / low)
            # Windows are rounded to whole pixels.
            if not 0.98 / MAX_FACTOR <= factor <= MAX_FACTOR / 0.98:
                different.setdefault(view.name, factor)
    if not different:
        return []
    name = max(different, key=lambda name: abs(math.log(different[name])))
    factor = different[name]
    size = f"{factor:.2g} times as large as in training"
    if record.gsd is not None and target.gsd is not None:
        size = f"{factor * record.gsd[1]:.2g} m wide, not {record.gsd[1]:g} m as in training"
    files = "1 file" if len(different) == 1 else f"{len(different)} files"
    text = (
        f"The pixel size of {files} of high resolution differs from that of the training by more "
        f"than a factor {MAX_FACTOR:g}: pixels of {Path(name).name!r} are {size}. Features of "
        "observed tiles may be meaningless. Use imagery of the resolution of the training."
    )
    return [text]
