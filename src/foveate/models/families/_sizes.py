"""Several input sizes with one set of weights, for torch networks.

Convolutional networks support other sizes directly. Transformers need resampled position
vectors, and some other windows: their modules are copied and the parameters shared, so that a copy
only holds resampled values of its own. Whether this works for a network is tested on one image of
about half its size.
"""

from __future__ import annotations

import copy
import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.errors import FoveateError, ParameterError
from foveate.models.checkpoint_file import first_line
from foveate.models.preprocess import read_size

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from foveate.models.capabilities import Embeds
    from foveate.models.runtime import InferenceRunner

    Forward = Callable[[Any, torch.Tensor], torch.Tensor]
    Resize = Callable[[Any, tuple[int, int]], None]

_NATIVE = 64  # start side for networks without a fixed size, pixels
_STEP = 32  # reduction factor of most networks


@dataclass(frozen=True)
class Sizes:
    """The input sizes of a frozen network.

    Attributes:
        runner: The network at the size that it was built for. Every other is made from it, so
            that nothing is resampled twice.
        step: Sides must be multiples of it, in pixels.
        dim: Length of a vector.
        forward: From a network and images (b, c, h, w) to vectors (b, d).
        resize: Adapts a network to images of ``(height, width)``, in place and without writing
            into its parameters; None for networks that support any size.
    """

    runner: InferenceRunner
    step: int
    dim: int
    forward: Forward
    resize: Resize | None

    def at(self, side: int | tuple[int, int], name: str) -> InferenceRunner:
        """Return the network for an input size, tested on one image.

        Args:
            side: Side of a square, or ``(height, width)``, in pixels.
            name: Model name for the error message.

        Raises:
            MemoryLimitError: One image alone does not fit.
            ParameterError: The network does not support inputs of this size.
        """
        current = self.runner.preprocess.size
        size = read_size(side, self.step, name, also=(current,))
        if size == current:
            return self.runner
        try:
            runner = self.runner.at_size(size, self._resized(size))
            shape = self._try(runner, size)
        except FoveateError:
            raise
        except Exception as error:  # each network raises its own errors
            raise self._refusal(size, name, first_line(error)) from error
        if shape != (1, self.dim):
            raise self._refusal(size, name, f"its output gets the shape {shape}")
        return runner

    def offer[M: Embeds](self, model: M, build: Callable[[InferenceRunner], M]) -> M:
        """Add the capability to a model; see `foveate.models.capabilities.TakesSizes`.

        The attributes are set on the instance, because not every network of a family supports it.

        Args:
            model: The model.
            build: From the network at another size to the model with it.
        """
        name = model.spec.name

        @functools.cache  # once: it copies position vectors and tests the network
        def at_size(side: int | tuple[int, int]) -> M:
            return build(self.at(side, name))

        vars(model).update(size_step=self.step, at_size=at_size)
        return model

    def _resized(self, size: tuple[int, int]) -> Any:
        """Return a copy for a size, or None if the network itself supports it."""
        if self.resize is None:
            return None
        net = share_weights(self.runner.net)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about the library's resampling
            self.resize(net, size)
        return net

    def _try(self, runner: InferenceRunner, size: tuple[int, int]) -> tuple[int, ...]:
        """Return the output shape for one image."""
        import torch

        draw = torch.Generator().manual_seed(0)
        image = torch.randn(1, len(runner.preprocess.scale), *size, generator=draw)
        output = runner.in_parts(
            lambda part: self.forward(runner.net, torch.from_numpy(part).to(runner.device)),
            image.numpy(),
        )
        return output.shape

    def _refusal(self, size: tuple[int, int], name: str, reason: str) -> ParameterError:
        half = _half(self.runner.preprocess.size, self.step)[0]
        return ParameterError(
            f"{name} does not support images of {size[0]} x {size[1]}: {reason}",
            f"Input sides must be multiples of {self.step} pixels.",
            f"For example at_size({half}).",
        )


def find_sizes(
    runner: InferenceRunner, *, step: int, dim: int, forward: Forward, resize: Resize | None
) -> Sizes | None:
    """Test a network at about half its size; None if it fails.

    Args:
        runner: The network at the size that it was built for.
        step: See `Sizes`.
        dim: See `Sizes`.
        forward: See `Sizes`.
        resize: See `Sizes`.
    """
    sizes = Sizes(runner, step, dim, forward, resize)
    try:
        sizes.at(_half(runner.preprocess.size, step), "")
    except ParameterError:
        return None
    return sizes


def share_weights[N: torch.nn.Module](net: N) -> N:
    """Copy the modules of a network and share its parameters.

    Buffers are copied: they are small, and what changes a network's size may write into them.
    """
    return copy.deepcopy(net, {id(weight): weight for weight in net.parameters()})


def reduction(net: Any) -> int:
    """Return the reduction factor stated by a timm network, in pixels."""
    layers = getattr(net, "feature_info", None)
    return int(layers[-1]["reduction"]) if layers else _STEP


def _half(own: tuple[int, int] | None, step: int) -> tuple[int, int]:
    """Return about half a size, in whole steps, never the size itself."""
    height, width = own or (_NATIVE, _NATIVE)
    half = tuple(step * max(1, round(side / 2 / step)) for side in (height, width))
    return (half[0] + step, half[1] + step) if half == own else (half[0], half[1])
