"""Qwen2-VL and Qwen2.5-VL: images at their own resolution.

Papers: Wang et al., Qwen2-VL, 2024; Bai et al., Qwen2.5-VL technical report, 2025. The vision
transformer takes any number of patches and merges squares of them into one token of the language
model; those are the tokens, on the grid of merged patches, and their mean is the embedding.

Questions use each image near its own size, as in the papers: sides are rounded to whole merged
patches, and the area is kept between ``min_pixels`` and ``max_pixels``. Embeddings and tokens are
of one fixed ``size`` instead, so that all tiles have the same grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError
from foveate.models.families.hf.chat import (
    ChatModel,
    Shown,
    freeze,
    load_generative,
    make_chat_model,
)
from foveate.models.families.hf.common import (
    check_options,
    make_preprocess,
    make_spec,
    read_image_settings,
)
from foveate.models.families.hf.prompt import Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.hf.family import Checkpoint
    from foveate.models.runtime import InferenceRunner

_TOKENS = 16  # per side of an embedded tile, without the option "size"
_LEAST, _MOST = 56 * 56, 28 * 28 * 1280  # pixels, if the image settings do not state them
_LONGEST = 200  # times the shorter side; the published limit
_PLAIN = Plain(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{images}{prompt}<|im_end|>\n<|im_start|>assistant\n",
    "<|vision_start|><|image_pad|><|vision_end|>",
)


def build(
    handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale
) -> ChatModel:
    """Build a Qwen2-VL or Qwen2.5-VL; see `foveate.models.families.hf.family.Builder`.

    Options: ``size`` of embedded tiles in pixels, a multiple of the side of a merged patch, or
    "native" for the size used in questions; ``min_pixels`` and ``max_pixels`` of that size.

    Raises:
        DataError: The files are not a supported model.
        ParameterError: An option cannot be used.
    """
    import transformers

    check_options(handle, "min_pixels", "max_pixels")
    architecture = (
        transformers.Qwen2VLForConditionalGeneration
        if checkpoint.model_type == "qwen2_vl"
        else transformers.Qwen2_5_VLForConditionalGeneration
    )
    settings = read_image_settings(checkpoint)
    limits = _limits(handle, settings.raw)
    net = load_generative(handle, checkpoint, architecture)
    patches = Patches.of(net.config.vision_config, *limits)
    side = _TOKENS * patches.unit
    preprocess = make_preprocess(handle, settings, scale, (side, side))
    if preprocess.size is not None and preprocess.size[0] % patches.unit:
        raise ParameterError(
            f"{handle} with size={preprocess.size[0]}",
            f"The size must be a multiple of the token size, {patches.unit} pixels.",
            f"?size={side}",
        )
    runner = freeze(handle, net, preprocess)
    see = _VisionTower(runner, patches)
    dim = int(net.config.text_config.hidden_size)
    spec = make_spec(handle, checkpoint, runner, dim, bands, *limits)
    return make_chat_model(runner, spec, checkpoint, see, show=see.native, plain=_PLAIN, typed=True)


@dataclass(frozen=True)
class Patches:
    """Patch and image sizes.

    Attributes:
        side: Of a patch in pixels.
        merge: Patches on each side of a token.
        frames: Frames of a patch; an image is repeated as a static video.
        least: Smallest area of an image in pixels.
        most: Largest area of an image in pixels.
    """

    side: int
    merge: int
    frames: int
    least: int
    most: int

    @classmethod
    def of(cls, vision: Any, least: int, most: int) -> Patches:
        """Read a vision config of transformers.

        Raises:
            ParameterError: The limits allow no size.
        """
        made = cls(vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size,
                   least, most)  # fmt: skip
        if not made.unit**2 <= most >= least > 0:
            raise ParameterError(
                f"min_pixels={least} and max_pixels={most}",
                f"max_pixels must be at least {made.unit**2}, and min_pixels at most max_pixels.",
            )
        return made

    @property
    def unit(self) -> int:
        """Side of the square that one token covers, in pixels."""
        return self.side * self.merge

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Return the size to which an image is resampled: ``(height, width)`` in pixels.

        Raises:
            ParameterError: The aspect ratio is too large.
        """
        if max(height, width) > _LONGEST * min(height, width):
            raise ParameterError(
                f"an image of {height} x {width}",
                f"The longer side must be at most {_LONGEST} times the shorter side.",
                "Cut it into tiles.",
            )
        unit = self.unit
        rows, columns = round(height / unit), round(width / unit)
        area = rows * columns * unit**2
        if area > self.most:
            shrink = math.sqrt(height * width / self.most)
            rows = max(1, math.floor(height / shrink / unit))
            columns = max(1, math.floor(width / shrink / unit))
        elif area < self.least:
            grow = math.sqrt(self.least / (height * width))
            rows, columns = math.ceil(height * grow / unit), math.ceil(width * grow / unit)
        return max(1, rows) * unit, max(1, columns) * unit

    def cut(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut images into patches in the order in which they are merged.

        Args:
            x: (b, c, height, width), sides of whole units.

        Returns:
            The patches (b * n, c * frames * side * side), those of one token one after the other,
            and for each image (b, 3) how many there are in time, down and across.
        """
        import torch

        b, c, height, width = x.shape
        down, across = height // self.side, width // self.side
        cells = x.reshape(
            b, c, down // self.merge, self.merge, self.side,
            across // self.merge, self.merge, self.side,
        )  # fmt: skip
        cells = cells.permute(0, 2, 5, 3, 6, 1, 4, 7)  # tokens, patches of a token, c, pixels
        still = cells.unsqueeze(6).expand(*cells.shape[:6], self.frames, self.side, self.side)
        grid = torch.tensor([[1, down, across]] * b, device=x.device)
        return still.reshape(b * down * across, -1), grid


class _VisionTower:
    """Encodes images with the vision transformer of a Qwen-VL.

    Args:
        runner: The network.
        patches: Patch and image sizes.
    """

    def __init__(self, runner: InferenceRunner, patches: Patches) -> None:
        self._runner, self._patches = runner, patches
        self._net: Any = runner.net

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens of images: (b, c, height, width) to (b, gh, gw, d)."""
        import torch

        if self._runner.preprocess.size is None:  # the tiles have their own size
            size = self._patches.fit(int(x.shape[2]), int(x.shape[3]))
            if size != tuple(x.shape[2:]):
                mode = self._runner.preprocess.resample
                x = torch.nn.functional.interpolate(
                    x, size, mode=mode, align_corners=False, antialias=True
                )
        pixels, grid = self._patches.cut(x)
        features = self._net.get_image_features(pixels, grid).pooler_output
        gh, gw = (n // self._patches.unit for n in x.shape[2:])
        return torch.stack(list(features)).reshape(len(x), gh, gw, -1)

    def native(self, images: Sequence[NDArray[Any]]) -> Shown:
        """Encode images near their own size."""
        import torch

        pixels, grids = [], []
        for image in images:
            size = self._patches.fit(int(image.shape[1]), int(image.shape[2]))
            x = replace(self._runner.preprocess, size=size)(image[None], self._runner.device)
            patches, grid = self._patches.cut(x)
            pixels.append(patches)
            grids.append(grid)
        grid = torch.cat(grids)
        lengths = (grid.prod(dim=1) // self._patches.merge**2).tolist()
        return Shown(tuple(lengths), {"pixel_values": torch.cat(pixels), "image_grid_thw": grid})


def _limits(handle: ModelHandle, raw: dict[str, Any]) -> tuple[int, int]:
    """Return the smallest and largest image area: from options, or from the weights."""
    size = raw.get("size") or {}
    limits = []
    for name, edge, default in (
        ("min_pixels", "shortest_edge", _LEAST),
        ("max_pixels", "longest_edge", _MOST),
    ):
        # Old files state the limits; newer ones store them as edges that are areas.
        value = handle.options.get(name, raw.get(name) or size.get(edge) or default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ParameterError(
                f"{name}={value!r}", "Must be a number of pixels.", f"?{name}={default}"
            )
        limits.append(value)
    return limits[0], limits[1]
