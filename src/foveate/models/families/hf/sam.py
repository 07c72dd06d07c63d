"""SAM (Kirillov et al. 2023, "Segment anything", ICCV) from transformers: masks from boxes.

The embedding of an image is the mean over the input grid of the mask decoder, so that the
tokens are in its space and their mean is the embedding. A box yields several masks; the one with
the highest predicted quality is used.

Deviation: tiles are resampled to the square that the network takes; the published preprocessing
keeps the aspect ratio and pads. Boxes and masks are transformed accordingly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import ParameterError
from foveate.models.base import check_bands
from foveate.models.capabilities import TokenSpec
from foveate.models.families.hf.common import (
    check_options,
    load_network,
    make_preprocess,
    make_spec,
    read_image_settings,
)
from foveate.models.preprocess import check_boxes
from foveate.models.runtime import InferenceRunner
from foveate.models.weights import weights_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.hf.family import Checkpoint

type _Prompted = tuple[NDArray[Any], NDArray[np.float32]]


class Sam:
    """A frozen SAM.

    Args:
        runner: The network.
        spec: Model specification.

    Attributes:
        prompted: Whether boxes prompt the mask decoder.
    """

    prompted = True

    def __init__(self, runner: InferenceRunner, spec: EncoderSpec) -> None:
        self._runner = runner
        self._net: Any = runner.net
        self.spec = spec
        self.token_spec = TokenSpec(spec.dim, "embedding", pooled=True)

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images in native dtype: (b, d) float32."""
        return self._runner.run(lambda x: self._grid(x).mean(dim=(2, 3)), batch, self.spec)

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        return self._runner.run(lambda x: self._grid(x).permute(0, 2, 3, 1), batch, self.spec)

    def mask_quality(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.float32]:
        """Return the predicted quality of the best masks; see `Segments.mask_quality`."""
        return self._prompted(lambda _, quality: quality.amax(dim=2), batch, boxes)

    def segment(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the best mask in each box; see `Segments.segment`."""
        import torch

        size = (int(batch.shape[-2]), int(batch.shape[-1]))

        def best(logits: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
            index = quality.argmax(dim=2)[:, :, None, None, None]
            chosen = torch.take_along_dim(logits, index, dim=2)[:, :, 0]
            whole = torch.nn.functional.interpolate(
                chosen.float(), size, mode="bilinear", align_corners=False, antialias=True
            )
            return whole > 0

        return self._prompted(best, batch, boxes) > 0

    def decode(self, grid: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks for boxes and their qualities, for training the mask decoder, too.

        Args:
            grid: (b, d, gh, gw) tokens.
            boxes: (b, k, 4) float32 ``x0, y0, x1, y1`` in pixels of the network's input.

        Returns:
            Logits (b, k, m, 4 gh, 4 gw) of m masks for each box, and their qualities (b, k, m).
        """
        output = self._net(image_embeddings=grid, input_boxes=boxes, multimask_output=True)
        return output.pred_masks, output.iou_scores

    @property
    def network(self) -> torch.nn.Module:
        """The network, without gradients."""
        return self._net

    def with_network(self, net: torch.nn.Module) -> Self:
        """Return a model with other weights of the same architecture; this one is unchanged.

        Args:
            net: The network, on the device of this model; it is set to eval mode.
        """
        hashed = weights_hash(net, "hf", self.spec.fingerprint)
        spec = replace(self.spec, fingerprint=hashed)
        return type(self)(self._runner.with_network(net), spec)

    def _grid(self, x: torch.Tensor) -> torch.Tensor:
        """From (b, c, height, width) to the input of the mask decoder: (b, d, gh, gw)."""
        return self._net.get_image_embeddings(x)

    def _prompted(
        self,
        result: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        batch: NDArray[Any],
        boxes: NDArray[Any],
    ) -> NDArray[np.float32]:
        """Run the network on images with their boxes; each image is encoded once.

        Args:
            result: From logits (b, k, m, height, width) of m masks a box and their predicted
                qualities (b, k, m) to (b, k, ...).
            batch: (b, c, h, w).
            boxes: (b, k, 4).
        """
        import torch

        check_bands(batch, self.spec)
        checked = check_boxes(boxes, batch)
        height, width = self._runner.preprocess.size or batch.shape[2:]
        gain = np.array([width / batch.shape[3], height / batch.shape[2]] * 2, np.float32)

        def run(prompted: list[_Prompted]) -> torch.Tensor:
            x = self._runner.preprocess(
                np.stack([image for image, _ in prompted]), self._runner.device
            )
            prompts = torch.from_numpy(np.stack([prompt for _, prompt in prompted]))
            return result(*self.decode(self._grid(x), prompts.to(self._runner.device)))

        return self._runner.in_parts(run, list(zip(batch, checked * gain, strict=True)))


def build(handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale) -> Sam:
    """Build a SAM; see `foveate.models.families.hf.family.Builder`.

    The option ``adapter`` is a file of fine-tuned weights: see
    `foveate.models.families.hf.sam_adapters`.
    """
    from transformers import SamModel

    if "adapter" in handle.options:
        from foveate.models.families.hf import sam_adapters

        return sam_adapters.build(handle, checkpoint, bands, scale)
    check_options(handle)
    net: Any = load_network(checkpoint, SamModel)
    vision = net.config.vision_config
    preprocess = make_preprocess(
        handle, read_image_settings(checkpoint), scale, (vision.image_size, vision.image_size)
    )
    if preprocess.size != (vision.image_size, vision.image_size):
        raise ParameterError(
            f"{handle} with size={handle.options['size']}",
            f"Its encoder only supports images of {vision.image_size} pixels.",
            "Remove 'size'.",
        )
    runner = InferenceRunner(net, preprocess, device=handle.device, options=handle.options)
    spec = make_spec(handle, checkpoint, runner, vision.output_channels, bands)
    return Sam(runner, spec)
