"""Any image backbone of timm, with hub or local weights.

The embedding is the pooled output of the backbone without its classifier (``num_classes=0``): for
ResNet-18 the 512 features after the last spatial pooling, as in the core-set paper, section
III-B. The tokens are what stands before the pooling, put on the grid of the image: feature maps
of convolutional and hierarchical backbones, patch tokens of transformers. Where they lie,
whether their mean is the embedding, and whether the network takes images of other sizes is
measured on one image, not looked up by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.models.families.timm.model import finish
from foveate.models.families.timm.names import check_name, check_options
from foveate.models.families.timm.network import make_network
from foveate.models.inputs import own_options, stated_channels
from foveate.models.weights import check_state, checkpoint_key, source_of, weights_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.timm.model import TimmModel


class _Timm:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Check the architecture's name and that the weights file can be read."""
        check_name(handle)
        check_options(handle)
        key = checkpoint_key(handle)
        if handle.weights:
            check_state(handle.weights, key)
        return replace(handle, channels=stated_channels(handle.options) or 3)

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> TimmModel:
        """Build the model.

        Options for foveate: ``size`` (side in pixels that tiles are resampled to, or "native";
        that of the pretrained weights by default), ``mean`` and ``std`` (override the
        normalisation of the weights), ``precision``,
        ``checkpoint_key`` (which weights of a local file). All others go to ``timm.create_model``.

        Raises:
            DataError: The weights cannot be read or belong to another architecture, or the hub
                cannot be reached.
            ParameterError: An option cannot be used.
        """
        options = own_options(handle.options)
        net, hub = make_network(handle, options, len(bands))
        fingerprint = weights_hash(net, "timm", sorted(options.items()))
        return finish(handle, net, bands, scale, fingerprint, source=source_of(handle.weights, hub))


FAMILY = _Timm()
