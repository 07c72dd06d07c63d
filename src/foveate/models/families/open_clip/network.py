"""The network of an architecture for images of a size, with its weights; and its tokenizer."""

from __future__ import annotations

import contextlib
import logging
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError
from foveate.models.families.open_clip.names import HUB, listed_name
from foveate.models.families.open_clip.state import is_spare, to_open_clip
from foveate.models.hub import described, fetch_file
from foveate.models.weights import (
    RANDOM,
    RANDOM_SOURCE,
    checkpoint_key,
    first_line,
    put_state,
    random_weights,
    read_state,
    source_of,
    without_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from foveate.models.base import ModelHandle
    from foveate.models.families.open_clip.names import Architecture

# What repositories of open_clip call their weights, the format without pickles first.
_FILES = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin")


def make_network(
    handle: ModelHandle, shape: Architecture, size: tuple[int, int] | None
) -> tuple[Any, str]:
    """Build the network for images of a size, with its weights.

    Args:
        handle: Which weights.
        shape: Its architecture.
        size: ``(height, width)`` in pixels.

    Returns:
        The network, and where its weights come from.

    Raises:
        DataError: The weights cannot be had, or belong to another architecture.
        ParameterError: The network cannot be built, or not for this size.
    """
    if size is None:
        raise ParameterError(
            f"size=native for {handle}", "These models take images of one size.", "?size=224"
        )
    path, source = _find_weights(handle)
    if path and size != shape.size and isinstance(shape.config["vision_cfg"].get("layers"), list):
        raise ParameterError(
            f"size={size[0]} for {handle}",
            f"Its convolutional tower takes images of {shape.size[0]} only, as in training.",
            "Leave 'size' out.",
        )
    with _root_logger_left_alone():
        net = _build(handle, shape, size)
        if path:
            _load(net, path, handle, interpolate=size != shape.size)
        if _by_timm(shape) and size != shape.size:
            _resize_timm(net, handle, size)
    return net, source


def _by_timm(shape: Architecture) -> bool:
    return bool(shape.config["vision_cfg"].get("timm_model_name"))


def _build(handle: ModelHandle, shape: Architecture, size: tuple[int, int]) -> Any:
    """Build the network with random weights; nothing is downloaded for its towers."""
    config = deepcopy(shape.config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    if _by_timm(shape):  # resized when it has its weights
        vision["timm_model_pretrained"] = False
    elif size != shape.size:
        vision["image_size"] = size[0]  # an option is one number, the side of a square
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False
    kind = _class(config)
    try:
        return random_weights(lambda: kind(**config))
    except Exception as error:  # of open_clip, timm, transformers: each has its own
        if name := text.get("hf_model_name"):
            raise DataError(
                f"the text tower {name!r} of {handle} could not be built: "
                f"{type(error).__name__}: {first_line(error)}",
                "Its configuration comes from the Hugging Face hub, which must be reached once.",
            ) from error
        raise ParameterError(
            f"open_clip cannot build {handle}: {type(error).__name__}: {first_line(error)}"
        ) from error


def _class(config: dict[str, Any]) -> Any:
    """Return the class of a network, and leave only its arguments in the configuration."""
    import open_clip

    custom = config.pop("custom_text", False) or config["text_cfg"].get("hf_model_name")
    if not custom:
        return open_clip.CLIP
    return open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP


def _find_weights(handle: ModelHandle) -> tuple[str, str]:
    """Return the file with the weights, from the hub if need be, and what to call it."""
    import open_clip

    if handle.weights:
        return handle.weights, source_of(handle.weights)
    if handle.tag == RANDOM:
        return "", RANDOM_SOURCE
    repository, file = handle.name.removeprefix(HUB), ""
    if not handle.name.startswith(HUB):
        listed = open_clip.get_pretrained_cfg(listed_name(handle), handle.tag)["hf_hub"]
        repository, _, file = listed.rpartition("/")  # "organisation/repository/file or nothing"
    path = fetch_file(repository, [file] if file else _FILES, name=str(handle))
    return str(path), described(path)


def _load(net: Any, path: str, handle: ModelHandle, *, interpolate: bool) -> None:
    from open_clip.convert import convert_state_dict
    from open_clip.model import resize_pos_embed

    own = net.state_dict()

    def renamed(state: dict[str, Any]) -> dict[str, Any]:
        return to_open_clip(convert_state_dict(net, state), own)

    state = read_state(path, checkpoint_key(handle))
    state = renamed(without_prefix(state, own, path, renamed=renamed))
    if interpolate:  # only where another size is asked for: else the file is of another network
        resize_pos_embed(state, net)
    put_state(net, state, path, handle.name, spare=is_spare)


def _resize_timm(net: Any, handle: ModelHandle, size: tuple[int, int]) -> None:
    try:
        net.visual.set_input_size(size)
    except Exception as error:
        raise ParameterError(
            f"{handle} cannot take images of {size[0]} x {size[1]}: {first_line(error)}",
            "",
            "Leave 'size' out.",
        ) from error


@contextlib.contextmanager
def _root_logger_left_alone() -> Generator[None]:
    """Keep open_clip's calls of ``logging.info`` from setting up logging for the process."""
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)


def make_tokenizer(handle: ModelHandle, shape: Architecture) -> Any:
    """Make the tokenizer of an architecture.

    Raises:
        DataError: It comes from the hub, which cannot be reached.
    """
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    text = shape.config["text_cfg"]
    options = {"context_length": text.get("context_length", 77), **text.get("tokenizer_kwargs", {})}
    if not text.get("hf_tokenizer_name"):
        return SimpleTokenizer(**options)
    source = str(shape.tokenizer or text["hf_tokenizer_name"])
    try:
        return HFTokenizer(source, tokenizer_mode=text.get("tokenizer_mode"), **options)
    except Exception as error:
        raise DataError(
            f"the tokenizer {source!r} of {handle} could not be loaded: "
            f"{type(error).__name__}: {first_line(error)}",
            "It comes from the Hugging Face hub, which must be reached once.",
        ) from error
