"""Models of open_clip: images and texts in one space, with hub or local weights.

The embedding is the image tower's output before it is normalised; texts come normalised. The
tokens are the features of the last layer on the grid of the image, after the last norm; where
their projections average to the embedding, which is measured on one image, they are projected.

Weights of remote sensing load as local files of the architecture that their authors' own examples
build: RemoteCLIP and SkyCLIP as ViT-B-32 or ViT-L-14 (RemoteCLIP as RN50 too), GeoRSCLIP as
ViT-B-32-quickgelu or ViT-H-14, CLIP-RSICD as ViT-B-32-quickgelu. Files do not say which activation
they were trained with; the name or ``?quick_gelu=`` does.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.errors import ParameterError
from foveate.models.capabilities import TextSpec
from foveate.models.families.open_clip.model import assemble, try_image
from foveate.models.families.open_clip.names import check_name, describe
from foveate.models.families.open_clip.network import make_network, make_tokenizer
from foveate.models.families.open_clip.sizes import image_sizes
from foveate.models.frozen import Frozen
from foveate.models.inputs import Inputs, own_options
from foveate.models.texts import tokenizer_hash
from foveate.models.weights import check_state, checkpoint_key, weights_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.open_clip.model import OpenClip


class _OpenClip:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Check the architecture, its tag and that the weights file can be read."""
        if not handle.name:
            raise ParameterError(
                "an open_clip model without a name", "",
                "Type e.g. open_clip:ViT-B-32@laion2b_s34b_b79k.",
            )  # fmt: skip
        if unknown := sorted(set(own_options(handle.options)) - {"quick_gelu"}):
            raise ParameterError(
                f"the options {', '.join(unknown)} of {handle}",
                "Allowed: size, mean, std, precision, quick_gelu, checkpoint_key.",
            )
        check_name(handle)
        key = checkpoint_key(handle)
        if handle.weights:
            check_state(handle.weights, key)
        return replace(handle, channels=3)

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> OpenClip:
        """Build the model.

        Options: ``size`` (side in pixels that tiles are resampled to; position embeddings are
        interpolated), ``mean`` and ``std`` (override the normalisation of the weights),
        ``precision``, ``quick_gelu`` (the activation, where the tag does not say),
        ``checkpoint_key`` (which weights of a local file).

        Raises:
            DataError: The weights cannot be read or belong to another architecture, or the hub
                cannot be reached.
            ParameterError: An option cannot be used.
        """
        shape = describe(handle)
        inputs = Inputs.read(
            handle.options, scale, mean=shape.preprocess["mean"], std=shape.preprocess["std"],
            size=shape.size, resample=shape.preprocess["interpolation"],
        )  # fmt: skip
        net, source = make_network(handle, shape, inputs.size)
        fingerprint = weights_hash(net, "open_clip", json.dumps(shape.config, sort_keys=True))
        frozen = Frozen(net, inputs, device=handle.device, options=handle.options)
        dim, token_spec = try_image(handle, frozen)
        spec = frozen.spec(
            str(handle), dim=dim, bands=bands, source=source, fingerprint=fingerprint
        )
        text = shape.config["text_cfg"]
        bias = getattr(net, "logit_bias", None)
        text_spec = TextSpec(
            scale=float(net.logit_scale.exp()),
            bias=0.0 if bias is None else float(bias),
            head="cosine" if bias is None else "sigmoid",
            context=int(text.get("context_length", 77)),
            fingerprint="" if shape.tokenizer is None else tokenizer_hash(shape.tokenizer),
        )
        # Made when the first text comes, and once for all sizes.
        tokenizer = functools.cache(lambda: make_tokenizer(handle, shape))
        sizes = image_sizes(frozen, dim)
        return assemble(frozen, spec, text_spec, tokenizer, token_spec=token_spec, sizes=sizes)


FAMILY = _OpenClip()
