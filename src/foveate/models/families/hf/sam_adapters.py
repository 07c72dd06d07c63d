"""Fine-tuned SAMs: Med-SA (adapters) and SAMed (low rank), from published files.

Name: ``hf:facebook/sam-vit-base?adapter=FILE``: the SAM that the file was trained on, and the
file. The layout is detected; see `foveate.models.families.hf._sam_published` for where the
layouts are documented.

- Med-SA (Wu et al., "Medical SAM adapter", 2025): all parameters come from the file. A box
  is the prompt; the first of the decoder's masks is used, as in training. Not loaded: the depth
  adapters, which are for 3D images only.
- SAMed (Zhang and Liu, "Customized segment anything model for medical image segmentation", 2023):
  prompts are not used; the decoder returns a channel per class, the background first, with a
  softmax. ``class=N`` selects one (default 1), and a box clips its mask. ``size=`` is that of the
  training (default 512). Files that adapt only some of the blocks are rejected.

Both take images in [0, 1] without SAM's normalisation. Neither predicts the quality of a
mask; it is the mean probability inside the mask, which ranks masks of one model and is not an
intersection over union.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.models.base import check_bands
from foveate.models.checkpoint_file import read_state
from foveate.models.families.hf.common import (
    ImageSettings,
    check_options,
    load_network,
    make_preprocess,
    make_spec,
)
from foveate.models.families.hf.sam import Sam
from foveate.models.preprocess import check_boxes
from foveate.models.runtime import InferenceRunner
from foveate.models.weights import source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.hf.family import Checkpoint

ADAPTER = "adapter"
_CLASS = "class"
_SIDE = 512  # of images of SAMed, pixels
_UNSCALED = ImageSettings((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None, "bilinear")


class MedSa(Sam):
    """A SAM with the adapters of Med-SA."""

    def decode(self, grid: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first mask of each box, and the mean probability inside it.

        Args:
            grid: (b, d, gh, gw) tokens.
            boxes: (b, k, 4) float32 ``x0, y0, x1, y1`` in pixels of the network's input.
        """
        output = self._net(image_embeddings=grid, input_boxes=boxes, multimask_output=False)
        logits = output.pred_masks.float()
        inside = logits > 0
        count = inside.sum(dim=(3, 4)).clamp(min=1)
        return logits, (logits.sigmoid() * inside).sum(dim=(3, 4)) / count


class SaMed(Sam):
    """A SAM with the low-rank matrices and the classes of SAMed.

    Args:
        runner: The network.
        spec: Model specification.
        wanted: Number of the class that is segmented, from 1.
    """

    prompted = False

    def __init__(self, runner: InferenceRunner, spec: EncoderSpec, wanted: int) -> None:
        super().__init__(runner, spec)
        self._wanted = wanted

    def mask_quality(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.float32]:
        """Return the mean probability of the class inside its mask in each box, 0 without a mask.

        See `Segments.mask_quality` for shapes and errors.
        """
        from scipy.special import expit

        masks, logits = self._cut(batch, boxes)
        count = np.maximum(masks.sum(axis=(2, 3)), 1)
        inside = (expit(logits)[:, None] * masks).sum(axis=(2, 3))
        return (inside / count).astype(np.float32)

    def segment(self, batch: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the mask of the class, clipped to each box; see `Segments.segment`."""
        return self._cut(batch, boxes)[0]

    def _cut(
        self, batch: NDArray[Any], boxes: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return masks clipped to boxes (b, k, h, w), and the logits of the class (b, h, w)."""
        import torch

        check_bands(batch, self.spec)
        checked = check_boxes(boxes, batch)
        size = (int(batch.shape[2]), int(batch.shape[3]))

        def run(x: torch.Tensor) -> torch.Tensor:
            logits = self._classes(self._grid(x))
            whole = torch.nn.functional.interpolate(
                logits, size, mode="bilinear", align_corners=False, antialias=True
            )
            others = torch.cat([whole[:, : self._wanted], whole[:, self._wanted + 1 :]], dim=1)
            # The sigmoid of this difference is the softmax of the class.
            return whole[:, self._wanted] - others.logsumexp(dim=1)

        logits = self._runner.run(run, batch, self.spec)
        y, x = np.mgrid[: size[0], : size[1]] + 0.5
        x0, y0, x1, y1 = np.moveaxis(checked, 2, 0)[..., None, None]
        within = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        return within & (logits > 0)[:, None], logits

    def _classes(self, grid: torch.Tensor) -> torch.Tensor:
        """Return the logits of all classes, the background first: (b, classes, height, width)."""
        import torch

        net, count = self._net, grid.shape[0]
        prompts = net.prompt_encoder(
            input_points=None, input_labels=None, input_boxes=None, input_masks=None
        )
        places = net.get_image_wide_positional_embeddings().repeat(count, 1, 1, 1)
        logits = [
            net.mask_decoder(
                image_embeddings=grid,
                image_positional_embeddings=places,
                sparse_prompt_embeddings=prompts[0],
                dense_prompt_embeddings=prompts[1],
                multimask_output=several,
            )[0]
            for several in (False, True)  # transformers returns the first channel separately
        ]
        return torch.cat(logits, dim=2)[:, 0].float()


def build(handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale) -> Sam:
    """Build a fine-tuned SAM; see the module docstring.

    Args:
        handle: Its option ``adapter`` names the file; ``class`` and ``size`` are those of SAMed.
        checkpoint: The SAM.
        bands: 1-based bands, one per input channel.
        scale: ``(low, high)`` per band.

    Raises:
        DataError: The file has an unsupported layout, or is from another SAM.
        ParameterError: An option cannot be used.
    """
    from transformers import SamModel

    from foveate.models.families.hf import _sam_published as published

    check_options(handle, ADAPTER, _CLASS)
    path = str(handle.options[ADAPTER])
    if not Path(path).is_file():
        raise DataError(f"there is no adapter file {path!r}", "", "Check ?adapter=FILE.")
    state = read_state(path)
    base: Any = load_network(checkpoint, SamModel)
    low_rank = published.is_lora(state)
    if low_rank:
        net = published.with_low_rank(base, state, path, _trained_side(handle, base))
    elif published.is_adapted(state):
        _refuse(handle, "size", _CLASS)
        net = published.with_adapters(base, state, path)
    else:
        raise DataError(
            f"{path!r} contains neither adapters nor low-rank matrices",
            "Supported: files of Med-SA (...Adapter.D_fc1...) and SAMed (w_a_000, ...).",
            "For a complete SAM use a folder: --weights FOLDER.",
        )
    side = int(net.config.vision_config.image_size)
    preprocess = make_preprocess(handle, _UNSCALED, scale, (side, side))
    runner = InferenceRunner(net, preprocess, device=handle.device, options=handle.options)
    class_number = _wanted(handle, net) if low_rank else 0
    dim = int(net.config.vision_config.output_channels)
    spec = make_spec(handle, checkpoint, runner, dim, bands, "samed" if low_rank else "med-sa",
                     side, class_number)  # fmt: skip
    spec = replace(spec, source=f"{spec.source} + {source_of(path)}")
    return SaMed(runner, spec, class_number) if low_rank else MedSa(runner, spec)


def _trained_side(handle: ModelHandle, base: Any) -> int:
    """Return the training image side of a SAMed.

    Raises:
        ParameterError: It is not a multiple of the patch size.
    """
    side, patch = handle.options.get("size", _SIDE), int(base.config.vision_config.patch_size)
    if not isinstance(side, int) or side < patch or side % patch:
        raise ParameterError(
            f"{handle} with size={side}",
            f"The size must be a multiple of the patch size, {patch} pixels.",
            f"?size={_SIDE}",
        )
    return side


def _wanted(handle: ModelHandle, net: Any) -> int:
    """Return the number of the class that is segmented.

    Raises:
        ParameterError: The class does not exist.
    """
    classes = int(net.config.mask_decoder_config.num_multimask_outputs)
    number = handle.options.get(_CLASS, 1)
    if not isinstance(number, int) or not 1 <= number <= classes:
        raise ParameterError(
            f"{handle} with class={number}", f"Its classes are 1 to {classes}; 0 is the background."
        )
    return number


def _refuse(handle: ModelHandle, *names: str) -> None:
    """Reject options of SAMed.

    Raises:
        ParameterError: Such an option is given.
    """
    for name in names:
        if name in handle.options:
            raise ParameterError(
                f"{handle} with {name}={handle.options[name]}",
                "Med-SA is prompted, and its size is stated by the file.",
                f"Remove {name!r}.",
            )
