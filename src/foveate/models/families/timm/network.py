"""The network of a timm model, with its weights and without its classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError
from foveate.models.families.timm.names import full_name
from foveate.models.hub import described, fetch_file, hub_error
from foveate.models.weights import (
    RANDOM,
    RANDOM_SOURCE,
    checkpoint_key,
    load_state,
    random_weights,
)

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.models.base import ModelHandle

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def make_network(handle: ModelHandle, options: dict[str, Any], channels: int) -> tuple[Any, str]:
    """Build the network with the weights that the handle names.

    Args:
        handle: Which network and weights.
        options: For ``timm.create_model``.
        channels: Number of bands.

    Returns:
        The network, and what of the hub it has.

    Raises:
        DataError: The weights cannot be had, or belong to another architecture.
        ParameterError: timm cannot create the network.
    """
    net, source = _create(handle, options, channels)
    if handle.weights:
        _load_weights(net, handle)
    return net, source


def _create(handle: ModelHandle, options: dict[str, Any], channels: int) -> tuple[Any, str]:
    import timm

    random = handle.tag == RANDOM
    name = full_name(handle)
    download = not handle.weights and not random
    arguments: dict[str, Any] = {
        "num_classes": 0,
        "in_chans": channels,
        **options,
        "pretrained": download,
    }
    source = RANDOM_SOURCE if random else f"timm: {name}"
    if download and (file := _hub_file(name, handle)):
        arguments["pretrained_cfg_overlay"] = {"file": str(file)}
        source = described(file)
    try:
        return random_weights(lambda: timm.create_model(name, **arguments)), source
    except TypeError as error:
        raise ParameterError(
            f"timm's {handle.name} does not take these options: {error}",
            f"Given: {options}.",
            "Remove the option after '?'.",
        ) from error
    except Exception as error:
        if not download:
            raise ParameterError(f"timm cannot create {name!r}: {error}") from error
        raise hub_error(name, error) from error


def _hub_file(name: str, handle: ModelHandle) -> Path | None:
    """Return the weights of the hub; None for the few models that timm fetches from elsewhere."""
    import timm

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.hf_hub_id:
        return None
    named = [cfg.hf_hub_filename] if cfg.hf_hub_filename else []
    return fetch_file(cfg.hf_hub_id, [*named, *_HUB_FILES], name=str(handle))


def _load_weights(net: Any, handle: ModelHandle) -> None:
    """Load a state dict into the backbone; only the classifier may be left over."""
    classifier = net.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    roots = {head.split(".")[0] for head in heads}
    load_state(
        net,
        handle.weights,
        handle.name,
        key=checkpoint_key(handle),
        spare=lambda name: name.split(".")[0] in roots,
    )
