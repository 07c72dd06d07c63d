"""Inference of frozen networks: device, precision, and batches that fit into memory."""

from __future__ import annotations

import contextlib
import copy
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import MemoryLimitError, ParameterError
from foveate.models.base import check_bands
from foveate.models.checkpoint_file import first_line
from foveate.registry import check_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.models.preprocess import Preprocess


_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device(name: str) -> None:
    """Check the name of a device, without importing torch.

    Other devices of torch either do not compute ("meta") or require other packages.

    Raises:
        ParameterError: The device is not supported.
    """
    if not _NAMES.fullmatch(name):
        raise _unusable(name, "it is not supported")


def resolve_device(name: str = "auto") -> torch.device:
    """Return the torch device for a name.

    Args:
        name: "auto" selects CUDA, then MPS, then the CPU; else "cpu", "cuda", "cuda:1", "mps".

    Raises:
        ParameterError: The device does not exist on this machine.
    """
    import torch

    check_device(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        # The message about a missing backend lists all others.
        why = str(error).splitlines()[0].split(" This could be", 1)[0].split(" Please ", 1)[0]
        raise _unusable(name, why.rstrip(".")) from error
    return device


def _unusable(name: str, why: str) -> ParameterError:
    return ParameterError(
        f"the device {name!r} cannot be used: {why}",
        "Allowed: auto, cpu, cuda, cuda:N, mps.",
        "Use --device auto.",
    )


Precision = Literal["float32", "bfloat16", "float16"]


class InferenceRunner:
    """Runs functions of a network over batches.

    Args:
        net: The network; it is set to eval mode, without gradients, on the device.
        preprocess: Preprocessing of pixels.
        device: Name for `resolve_device`.
        options: Options of the model name; ``precision`` is "float32", "bfloat16", "float16" or
            "auto": bfloat16 on a GPU that supports it, else float32.

    Attributes:
        net: The network.
        preprocess: As given.
        device: The torch device.
        precision: Precision of matrix products.

    Raises:
        ParameterError: No such device or precision.
    """

    def __init__(
        self,
        net: torch.nn.Module,
        preprocess: Preprocess,
        *,
        device: str = "auto",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        self.device = resolve_device(device)
        self.precision = _precision((options or {}).get("precision", "auto"), self.device)
        self.net = net.eval().requires_grad_(requires_grad=False).to(self.device)
        # Convolutions on a CPU take two thirds of the time in channels-last memory format. Weights
        # of 3-D convolutions (Qwen-VL) have five dimensions and do not support it.
        for weight in self.net.parameters():
            if weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.preprocess = preprocess
        self._max_batch: int | None = None  # set after the first out-of-memory error

    def at_size(self, size: tuple[int, int], net: torch.nn.Module | None = None) -> InferenceRunner:
        """Return a copy for inputs of another size.

        Args:
            size: ``(height, width)`` in pixels.
            net: The network for this size, if it differs; it is on the same device and shares the
                weights.
        """
        other = copy.copy(self)
        if net is not None:
            other.net = net.eval().requires_grad_(requires_grad=False)
        other.preprocess = replace(self.preprocess, size=size)
        other._max_batch = None  # noqa: SLF001  (same class)
        return other

    def with_network(self, net: torch.nn.Module) -> InferenceRunner:
        """Return a copy for another network on the same device."""
        other = copy.copy(self)
        other.net = net.eval().requires_grad_(requires_grad=False)
        return other

    def run(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        batch: NDArray[Any],
        spec: EncoderSpec,
    ) -> NDArray[np.float32]:
        """Apply a function of the network to images.

        Args:
            function: From (b, c, height, width) float32 on the device to (b, ...).
            batch: (b, c, h, w) in the native dtype; b may be 0.
            spec: Spec of the model, to check the bands.

        Returns:
            (b, ...) float32.

        Raises:
            DataError: The batch has other bands.
            MemoryLimitError: A single image does not fit into memory.
            ParameterError: The network does not support images of this size.
        """
        check_bands(batch, spec)
        if not len(batch):  # the shape of the result depends on the network
            return self.run(function, np.zeros((1, *batch.shape[1:]), batch.dtype), spec)[:0]
        try:
            return self.in_parts(lambda part: function(self.preprocess(part, self.device)), batch)
        except (AssertionError, RuntimeError) as error:
            # A fixed size was tested when the model was built.
            if self.preprocess.size is not None or not _is_about_size(error):
                raise
            height, width = batch.shape[2:]
            raise ParameterError(
                f"{spec.name} does not support tiles of {height} x {width} pixels: "
                f"{first_line(error)}",
                "",
                f"Set a supported size (?size={_other_size(height, width)}), or another --tile.",
            ) from error

    def spec(
        self,
        name: str,
        *,
        dim: int,
        bands: Sequence[int],
        source: str,
        fingerprint: str,
        licence: str = "",
    ) -> EncoderSpec:
        """Return the spec of the vectors of the network.

        Args:
            name: Name of the model, as given by the user.
            dim: Length of a vector.
            bands: 1-based bands, one per input channel.
            source: Source of the weights.
            fingerprint: Hash of the weights.
            licence: Licence of the weights.
        """
        preprocess = self.preprocess
        return EncoderSpec(
            name=name,
            dim=dim,
            bands=tuple(bands),
            scale=preprocess.scale,
            mean=preprocess.mean,
            std=preprocess.std,
            input_size=preprocess.size,
            resample=preprocess.resample,
            precision=self.precision,
            licence=licence,
            source=source,
            fingerprint=fingerprint,
        )

    def in_parts[T: (NDArray[Any], list[Any])](
        self, function: Callable[[T], torch.Tensor], items: T
    ) -> NDArray[np.float32]:
        """Apply a function to items, in batches that fit into memory.

        Args:
            function: From a part of the items to (b, ...) on any device.
            items: n items, n >= 1.

        Returns:
            (n, ...) float32.

        Raises:
            MemoryLimitError: A single item does not fit into memory.
        """
        import torch

        parts: list[NDArray[np.float32]] = []
        start = 0
        while start < len(items):
            size = min(self._max_batch or len(items), len(items) - start)
            try:
                with torch.inference_mode(), self.autocast():
                    found = function(items[start : start + size])
                    parts.append(found.float().cpu().numpy())
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise MemoryLimitError(
                        f"a single image does not fit into the memory of {self.device}",
                        "",
                        "Use smaller tiles, or a smaller ?size="
                        + (".", ", or --device cpu.")[str(self.device) != "cpu"],
                    ) from error
                self._max_batch = size // 2
            else:
                start += size
                continue
            if self.device.type == "cuda":  # outside the handler, which still holds the tensors
                torch.cuda.empty_cache()
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context for computation in `precision`."""
        import torch

        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.precision))


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error is an out-of-memory error of any device."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _other_size(height: int, width: int) -> int:
    """Return a common input size that differs from the size of the tiles."""
    return 224 if (height, width) != (224, 224) else 256


def _is_about_size(error: Exception) -> bool:
    """Return whether an error is about the input size: timm asserts, torch has no class for it."""
    return isinstance(error, AssertionError) or bool(re.search("size|shape", str(error)))


def _precision(option: Any, device: torch.device) -> Precision:
    import torch

    if option == "auto":
        supported = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return "bfloat16" if supported else "float32"
    check_choice("precision", option, ("auto", *get_args(Precision)), "Use ?precision=float32.")
    return cast("Precision", option)
