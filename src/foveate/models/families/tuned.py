"""A frozen encoder with a text tower trained by `tune_text`: ``tuned:FOLDER``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.models.base import parse_name
from foveate.models.capabilities import (
    Embeds,
    GivesTokens,
    TakesSizes,
    TextSpec,
    TokenSpec,
)
from foveate.models.preprocess import clean_texts, note_truncated
from foveate.models.runtime import resolve_device
from foveate.models.tune_text.texts import CONTEXT, words_of
from foveate.models.weights import weights_hash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.tune_text.network import Pair


class TunedModel:
    """A frozen encoder with trained towers; see `foveate.models.tune_text`.

    Args:
        base: The frozen encoder.
        towers: The trained text tower and image head, in eval mode, on the CPU or a GPU.
        name: For the spec.
        source: Training data of the towers.

    If the encoder supports other sizes, an instance also has `size_step` and `at_size`; the
    towers are the same for all sizes.
    """

    def __init__(self, base: Embeds, towers: Pair, name: str, source: str) -> None:
        self._base = base
        self._towers = towers.eval().requires_grad_(requires_grad=False)
        head = towers.image
        # Standardisation and linear layer of the head as one affine map.
        mean, std, weight, bias = (
            t.detach().cpu().double().numpy()
            for t in (head.mean, head.std, head.linear.weight, head.linear.bias)
        )
        self._weight = np.ascontiguousarray((weight / std).T, np.float32)
        self._bias = (bias - weight @ (mean / std)).astype(np.float32)
        self.spec = replace(
            base.spec,
            name=name,
            dim=self._bias.size,
            non_negative=False,
            licence="",  # the licence of the texts is unknown
            source=source,
            fingerprint=weights_hash(towers, base.spec.fingerprint),
        )
        self.text_spec = TextSpec(
            scale=float(towers.log_scale.exp()),
            bias=float(towers.bias),
            head="sigmoid",
            context=CONTEXT,
        )
        if isinstance(base, TakesSizes):
            vars(self).update(
                size_step=base.size_step,
                at_size=lambda side: _over(base.at_size(side), towers, name, source),
            )

    def project(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map (..., base dim) embeddings or tokens of the base into the common space."""
        return np.asarray(x, np.float32) @ self._weight + self._bias

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images in native dtype: (b, d) float32."""
        return self.project(self._base.embed(batch))

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 of norm 1.

        Raises:
            ParameterError: A text contains no word.
        """
        import torch

        from foveate.models.tune_text.network import embed_texts

        cleaned = clean_texts(texts)
        if empty := [text for text in cleaned if not words_of(text)]:
            raise ParameterError(
                f"the text {empty[0]!r} contains no word", "Use at least one word."
            )
        note_truncated(cleaned, [len(words_of(text)) for text in cleaned], CONTEXT)
        device = next(self._towers.parameters()).device
        with torch.inference_mode():
            return embed_texts(self._towers, cleaned, device)


class TunedTokens(TunedModel):
    """A tuned model over an encoder with tokens.

    Tokens whose mean is the embedding are projected like it, and keep that property, for the
    head is affine; others stay in the space of the encoder.

    Args:
        base: The frozen encoder.
        towers: See `TunedModel`.
        name: For the spec.
        source: Training data of the towers.
    """

    def __init__(self, base: Any, towers: Pair, name: str, source: str) -> None:
        super().__init__(base, towers, name, source)
        self._tokens: GivesTokens = base
        spec: TokenSpec = base.token_spec
        self.token_spec = (
            TokenSpec(self.spec.dim, "embedding", pooled=True) if spec.pooled else spec
        )

    def tokens(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the tokens of (b, c, h, w) images: (b, gh, gw, d) float32."""
        tokens = self._tokens.tokens(batch)
        return self.project(tokens) if self.token_spec.pooled else tokens


class _Tuned:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Check that the tuned model exists, and its options."""
        from foveate.models.tune_text.store import find, read_record

        if not handle.name:
            raise ParameterError(
                "the folder of the tuned model is missing", "", "For example tuned:MODEL."
            )
        record = read_record(find(handle.name))
        spec = record.base_spec
        pictures = record.dtype == "uint8"
        usual = pictures and spec.scale == ((0.0, 255.0),) * len(spec.bands)
        return replace(
            handle,
            channels=len(spec.bands),
            # The bands and the stretch of the tuning, unless set by the user.
            bands=handle.bands or spec.bands,
            scale=handle.scale or (None if usual or not pictures else spec.scale),
            native_scale=None if pictures else spec.scale,
        )

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> TunedModel:
        """Build the frozen encoder and the towers.

        Raises:
            DataError: The towers were trained for another encoder.
        """
        from foveate.models.load import build_model, load_model
        from foveate.models.tune_text.store import find, load_towers, read_record

        folder = find(handle.name)
        record = read_record(folder)
        local = handle.weights or (record.base_weights and str(folder / record.base_weights))
        base_handle = load_model(_base_name(record.base, handle, folder), weights=local or None)
        base_handle = replace(base_handle, device=handle.device)
        base = build_model(base_handle, bands, scale)
        if base.spec.fingerprint != record.base_spec.fingerprint:
            raise DataError(
                f"the encoder {record.base!r} with {base.spec.source or 'these weights'} is not "
                f"the one that {handle} was tuned over",
                f"That was {record.base_spec.source}: the towers fit one set of weights only.",
                "Use those with --weights." if handle.weights or not local else "Tune again.",
            )
        towers = load_towers(folder, record).to(resolve_device(handle.device))
        source = f"{record.training.get('captions', 'texts')}, over {record.base}"
        return _over(base, towers, str(handle), source)


FAMILY = _Tuned()


def _over(base: Embeds, towers: Pair, name: str, source: str) -> TunedModel:
    """Build the model with the capabilities of its encoder."""
    make = TunedTokens if isinstance(base, GivesTokens) else TunedModel
    return make(base, towers, name, source)


def _base_name(base: str, handle: ModelHandle, folder: Path) -> str:
    """Return the name of the encoder with the options of the tuned model added."""
    parsed = parse_name(base)
    beside = folder / parsed.name
    name = str(beside) if parsed.name and beside.is_file() else parsed.name
    return str(replace(parsed, name=name, options={**parsed.options, **handle.options}))
