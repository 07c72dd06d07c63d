"""Attention pooling with masked tokens: embeddings of parts of an image in one pass.

CLIP's embedding is the class token after the last block, SigLIP's what one trained query finds in
the last tokens. Either way one query attends to all tokens, and what it takes from them are sums
over them (`foveate.models.capabilities.TokenSums`). So the last attention with some of its keys
masked needs no further pass, only what follows it: an output projection and one MLP per part.

Value tokens (MaskCLIP, Zhou et al. 2022) would not even need that. But their mean is not the
embedding, and it is the embedding that texts and probes were fitted to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.models.capabilities import TokenSums
from foveate.models.preprocess import grid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.runtime import InferenceRunner

_CLOSE = 1e-4  # of the largest component: rounding


@dataclass(frozen=True)
class Pooling:
    """Description of a tower's pooling.

    Attributes:
        site: Module that is called with all tokens, (b, t, w).
        heads: Of its attention.
        query: From (b, t, w) tokens to (b, w), the one query that counts.
        keys: From (b, t, w) tokens to (b, t, w).
        values: From (b, t, w) tokens to (b, t, w).
        finish: From what the heads found, (m, w), and the class token, (1, w), to (m, d).
        class_token: Whether the first token is one, which always is a key.
    """

    site: torch.nn.Module
    heads: int
    query: Callable[[torch.Tensor], torch.Tensor]
    keys: Callable[[torch.Tensor], torch.Tensor]
    values: Callable[[torch.Tensor], torch.Tensor]
    finish: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    class_token: bool


class Repooler:
    """Decomposes the pooling of a tower and recomputes it for parts.

    Args:
        runner: The network.
        pooling: How it pools.
        embed: From (b, c, height, width) to (b, d): calls the pooling on the way.
    """

    def __init__(
        self,
        runner: InferenceRunner,
        pooling: Pooling,
        embed: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self._runner, self._pooling, self._embed = runner, pooling, embed

    def token_sums(self, batch: NDArray[Any], spec: EncoderSpec) -> list[TokenSums]:
        """See `foveate.models.capabilities.PoolsParts`."""
        grid = (0, 0)

        def packed(x: torch.Tensor) -> torch.Tensor:
            nonlocal grid
            grid = (int(x.shape[2]), int(x.shape[3]))
            return self._packed(x)

        outputs = self._runner.run(packed, batch, spec)
        return [self._unpacked(output, grid) for output in outputs]

    def pool_sums(self, sums: NDArray[np.floating], of: TokenSums) -> NDArray[np.float32]:
        """See `foveate.models.capabilities.PoolsParts`."""
        z, some = self._found(sums)
        pooled = self._runner.in_parts(lambda part: self._finished(part, of), z)
        return np.where(some[:, None], pooled, 0).astype(np.float32)

    def _found(self, sums: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the outputs of the heads, (m, w), and whether any token contributed, (m,)."""
        heads = self._pooling.heads
        weight = np.asarray(sums[:, :heads], np.float64)
        some = weight > 0
        z = np.asarray(sums[:, heads:], np.float64).reshape(len(sums), heads, -1)
        z = z / np.where(some, weight, 1)[:, :, None]
        return z.reshape(len(sums), -1).astype(np.float32), some.any(axis=1)

    def _finished(self, z: NDArray[np.float32], of: TokenSums) -> torch.Tensor:
        import torch

        device = self._runner.device
        stream = torch.from_numpy(of.stream).to(device)[None]
        return self._pooling.finish(torch.from_numpy(z).to(device), stream)

    def works(self, image: torch.Tensor, vector: torch.Tensor) -> bool:
        """Return whether the recomputed pooling of all tokens equals the embedding.

        Args:
            image: (1, c, height, width), preprocessed.
            vector: (1, d) its embedding.
        """
        import torch

        try:
            with torch.inference_mode():
                packed = self._packed(image).float().cpu().numpy()[0]
                of = self._unpacked(packed, (int(image.shape[2]), int(image.shape[3])))
                z, _ = self._found((of.terms.sum(axis=(0, 1)) + of.always)[None])
                actual = self._finished(z, of).cpu().numpy()
        except (AttributeError, RuntimeError, TypeError, ValueError, IndexError):
            return False
        expected = vector.float().cpu().numpy()
        return bool(np.abs(actual - expected).max() <= _CLOSE * np.abs(expected).max())

    def _packed(self, x: torch.Tensor) -> torch.Tensor:
        """Return e_i and v_i of all tokens, and the class token last: (b, t + 1, heads + w)."""
        import torch

        how = self._pooling
        tokens = _input_of(how.site, lambda: self._embed(x))
        q, k, v = (project(tokens).float() for project in (how.query, how.keys, how.values))
        b, t, w = k.shape
        size = w // how.heads
        score = torch.einsum(
            "bhc,bthc->bth", q.reshape(b, how.heads, size), k.reshape(b, t, how.heads, size)
        )
        score = score / size**0.5
        e = (score - score.amax(dim=1, keepdim=True)).exp()
        last = torch.zeros(b, 1, how.heads + w, device=e.device)
        last[:, 0, :w] = tokens[:, 0]
        return torch.cat([torch.cat([e, v], dim=2), last], dim=1)

    def _unpacked(self, packed: NDArray[np.float32], size: tuple[int, int]) -> TokenSums:
        heads = self._pooling.heads
        rows, stream = packed[:-1], packed[-1, : packed.shape[1] - heads]
        e, v = rows[:, :heads], rows[:, heads:]
        width = v.shape[1] // heads
        terms = np.concatenate([e, e.repeat(width, axis=1) * v], axis=1)
        first = int(self._pooling.class_token)
        grid = grid_of(len(terms) - first, size)
        return TokenSums(
            terms[first:].reshape(*grid, -1),
            terms[0] if first else np.zeros(terms.shape[1], np.float32),
            v[first:].reshape(*grid, -1),
            np.ascontiguousarray(stream),
        )


class Repooled(ABC):
    """Base class of models that pool parts of an image; see `PoolsParts`."""

    spec: EncoderSpec

    def token_sums(self, batch: NDArray[Any]) -> list[TokenSums]:
        """Return the per-token terms of the pooled embedding of (b, c, h, w) images."""
        return self._repooler.token_sums(batch, self.spec)

    def pool_sums(self, sums: NDArray[np.floating], of: TokenSums) -> NDArray[np.float32]:
        """Return the embeddings of parts of one image: (m, q) to (m, d) float32."""
        return self._repooler.pool_sums(sums, of)

    @property
    @abstractmethod
    def _repooler(self) -> Repooler:
        """The decomposed pooling of the image tower."""


class _ReachedError(Exception):
    """Raised when a module is called: the remaining forward pass is not needed."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__()
        self.given = tensor


def _input_of(module: torch.nn.Module, run: Callable[[], object]) -> torch.Tensor:
    """Return the arguments of a module's call in a forward pass, which ends there.

    Raises:
        ValueError: It is not called.
    """

    def reached(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        raise _ReachedError(args[0] if args else next(iter(kwargs.values())))

    handle = module.register_forward_pre_hook(reached, with_kwargs=True)
    try:
        run()
    except _ReachedError as found:
        return found.given
    finally:
        handle.remove()
    raise ValueError("the network has another way than through its last block")


def joint_projections(attention: Any) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """Return query, key and value of a `torch.nn.MultiheadAttention`: functions of (..., w)."""
    from torch.nn import functional

    weights = attention.in_proj_weight.chunk(3)
    biases = (None,) * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)

    def projection(index: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: functional.linear(x, weights[index], biases[index])

    return [projection(index) for index in range(3)]
