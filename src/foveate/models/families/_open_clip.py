"""Networks of open_clip: names, construction and weights.

Published CLIP weights come in three forms. Files of open_clip and of models trained with it
(RemoteCLIP, GeoRSCLIP, SkyCLIP) load directly, the latter as training checkpoints. Where a
network has a separate text tower, older files do not. And `CLIPModel` of transformers
(CLIP-RSICD) has other names, separate query, key and value matrices, and transposed projections.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models.base import unknown_model
from foveate.models.checkpoint_file import first_line, read_state
from foveate.models.families._published import from_graft, is_graft
from foveate.models.hub import described, fetch_file
from foveate.models.weights import (
    RANDOM,
    RANDOM_SOURCE,
    put_state,
    random_weights,
    read_weights,
    source_of,
    without_prefix,
)
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

    from foveate.models.base import ModelHandle

    State = dict[str, torch.Tensor]


HUB = "hf-hub:"  # before the name of a repository

_CONFIG = "open_clip_config.json"  # of a repository

_TOWERS = ("embed_dim", "vision_cfg", "text_cfg")


@dataclass(frozen=True)
class Architecture:
    """Description of a network.

    Attributes:
        config: Arguments of the network, as in open_clip's configuration files.
        preprocess: Image preprocessing: "mean", "std", "interpolation".
        folder: Folder of the configuration, if it is a local file.
    """

    config: dict[str, Any]
    preprocess: dict[str, Any]
    folder: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Training image size ``(height, width)`` in pixels."""
        size = self.config["vision_cfg"].get("image_size", 224)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return int(height), int(width)

    @property
    def tokenizer(self) -> Path | None:
        """Folder of the tokenizer, if it is stored next to the configuration."""
        own_tokenizer = self.folder is not None and self.config["text_cfg"].get("hf_tokenizer_name")
        is_stored = own_tokenizer and (self.folder / "tokenizer_config.json").exists()
        return self.folder if is_stored else None


def describe(handle: ModelHandle) -> Architecture:
    """Return the architecture of a model handle.

    Raises:
        UnknownNameError: open_clip has no such architecture.
        DataError: A file is not a configuration, or the hub cannot be reached.
    """
    return _from_hub(handle) if handle.name.startswith(HUB) else _local(handle)


def check_name(handle: ModelHandle) -> None:
    """Validate a name as far as possible without the hub.

    Raises:
        UnknownNameError: There is no such architecture or tag.
        ParameterError: No weights are selected.
        DataError: A file is not a configuration.
    """
    if not handle.name.startswith(HUB):
        _local(handle)
        _check_tag(handle)
    elif handle.tag not in {"", RANDOM}:
        raise ParameterError(
            f"{handle} with a tag", "A repository on the hub has one set of weights.",
            f"open_clip:{handle.name}",
        )  # fmt: skip


def _local(handle: ModelHandle) -> Architecture:
    """Return an architecture without network access: from open_clip or a local file.

    Raises:
        UnknownNameError: open_clip has no such architecture.
        DataError: The file is not a configuration.
    """
    import open_clip

    if handle.name.endswith(".json"):
        shape = _read_config(Path(handle.name))
    else:
        config = open_clip.get_model_config(listed_name(handle))
        if config is None:
            raise unknown_model("open_clip", handle.name, open_clip.list_models())
        shape = _described(config, {})
    tag = open_clip.get_pretrained_cfg(listed_name(handle), handle.tag) if handle.tag else {}
    config, preprocess = shape.config, {**shape.preprocess, **tag}
    # The wrong activation degrades embeddings without an error: the tag decides.
    gelu = tag.get("quick_gelu", config.get("quick_gelu", False))
    config["quick_gelu"] = _gelu(handle, default=gelu)
    return Architecture(config, preprocess, shape.folder)


def _gelu(handle: ModelHandle, *, default: bool) -> bool:
    """Return whether to use the QuickGELU activation.

    Raises:
        ParameterError: The option is neither true nor false.
    """
    value = handle.options.get("quick_gelu", bool(default))
    if not isinstance(value, bool):
        raise ParameterError(f"quick_gelu={value!r}", "Allowed: true, false.", "?quick_gelu=true")
    return value


def listed_name(handle: ModelHandle) -> str:
    """Return the name in the form of open_clip; OpenAI writes ViT-B/32."""
    return handle.name.replace("/", "-")


def _described(
    config: dict[str, Any], preprocess: dict[str, Any], folder: Path | None = None
) -> Architecture:
    import open_clip

    usual = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
    }
    return Architecture(deepcopy(config), {**usual, **preprocess}, folder)


def _read_config(path: Path) -> Architecture:
    """Read a configuration: the towers at the top, or under "model_cfg" as on the hub."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the configuration {str(path)!r}: {error}", "Expected a JSON file."
        ) from error
    content = values if isinstance(values, dict) else {}
    config, preprocess = content.get("model_cfg", content), content.get("preprocess_cfg", {})
    if lacking := [key for key in _TOWERS if key not in config]:
        raise DataError(
            f"the configuration {str(path)!r} has no {', '.join(lacking)}",
            "Expected a configuration of open_clip: embed_dim, vision_cfg and text_cfg.",
        )
    return _described(config, preprocess, path.parent)


def _check_tag(handle: ModelHandle) -> None:
    """Validate the tag: one of the architecture, or another source of weights.

    Raises:
        ParameterError: No weights are selected.
        UnknownNameError: The tag does not exist for the architecture.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(listed_name(handle))
    allowed = f"Tags of {handle.name}: {', '.join(tags) or 'none'}; or random."
    if not handle.tag and not handle.weights:
        usual = [tag for tag in tags if tag.startswith("laion2b")]
        example = [RANDOM, *tags, *usual][-1]
        raise ParameterError(
            f"{handle} does not select weights", allowed,
            f"Use open_clip:{handle.name}@{example}, or give a file with --weights PATH.",
        )  # fmt: skip
    known = open_clip.get_pretrained_cfg(listed_name(handle), handle.tag)
    if handle.tag not in ("", RANDOM) and not known:
        raise UnknownNameError(
            f"{handle.name} has no weights {handle.tag!r}", allowed, suggest(handle.tag, tags)
        )


def _from_hub(handle: ModelHandle) -> Architecture:
    """Return the architecture of a hub repository.

    Raises:
        DataError: It cannot be reached, or contains no model of open_clip.
    """
    path = fetch_file(handle.name.removeprefix(HUB), [_CONFIG], name=str(handle))
    shape = _read_config(path)
    if "quick_gelu" in handle.options:
        shape.config["quick_gelu"] = _gelu(handle, default=False)
    return shape


# Weight file names of open_clip repositories, safetensors first.
_FILES = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin")


def make_network(
    handle: ModelHandle, shape: Architecture, size: tuple[int, int] | None
) -> tuple[Any, str]:
    """Build the network with its weights for an image size.

    Args:
        handle: Which weights.
        shape: Its architecture.
        size: ``(height, width)`` in pixels.

    Returns:
        The network, and the source of its weights.

    Raises:
        DataError: The weights are not available, or are from another architecture.
        ParameterError: The network cannot be built for this size.
    """
    if size is None:
        raise ParameterError(
            f"size=native for {handle}", "These models require a fixed image size.", "?size=224"
        )
    path, source = _find_weights(handle)
    if path and size != shape.size and isinstance(shape.config["vision_cfg"].get("layers"), list):
        raise ParameterError(
            f"size={size[0]} for {handle}",
            f"Its convolutional tower only supports the training size, {shape.size[0]}.",
            "Remove 'size'.",
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
                "Its configuration comes from the Hugging Face hub, which must be reachable once.",
            ) from error
        raise ParameterError(
            f"open_clip cannot build {handle}: {type(error).__name__}: {first_line(error)}"
        ) from error


def _class(config: dict[str, Any]) -> Any:
    """Return the class of a network and remove it from the configuration."""
    import open_clip

    custom = config.pop("custom_text", False) or config["text_cfg"].get("hf_model_name")
    if not custom:
        return open_clip.CLIP
    return open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP


def _find_weights(handle: ModelHandle) -> tuple[str, str]:
    """Return the weights file, downloaded if required, and its source name."""
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

    state = read_weights(handle, path)
    if is_graft(state):
        state = _with_texts(state, handle)
    state = renamed(without_prefix(state, own, path, renamed=renamed))
    if interpolate:  # only where another size is asked for: else the file is of another network
        resize_pos_embed(state, net)
    put_state(net, state, path, handle.name, spare=is_spare)


def _with_texts(state: dict[str, Any], handle: ModelHandle) -> dict[str, Any]:
    """Return the weights of GRAFT with the text tower of CLIP added.

    Raises:
        DataError: The file of the text tower is not given.
    """
    texts = handle.options.get(TEXT_WEIGHTS)
    if texts is None:
        raise DataError(
            f"the weights {handle.weights!r} are from GRAFT, which has no text tower",
            "It uses the text tower of CLIP (openai/clip-vit-base-patch16).",
            f"Add ?{TEXT_WEIGHTS}=FILE to the model name.",
        )
    return from_graft(state, read_state(str(texts)), str(texts))


def _resize_timm(net: Any, handle: ModelHandle, size: tuple[int, int]) -> None:
    try:
        net.visual.set_input_size(size)
    except Exception as error:
        raise ParameterError(
            f"{handle} does not support images of {size[0]} x {size[1]}: {first_line(error)}",
            "",
            "Remove 'size'.",
        ) from error


@contextlib.contextmanager
def _root_logger_left_alone() -> Generator[None]:
    """Prevent open_clip's ``logging.info`` calls from configuring the root logger."""
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)


def make_tokenizer(handle: ModelHandle, shape: Architecture) -> Any:
    """Create the tokenizer of an architecture.

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
            "It comes from the Hugging Face hub, which must be reachable once.",
        ) from error


TEXT_WEIGHTS = "text_weights"  # local weights of CLIP, for a file that has no text tower
_LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")

_IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}

_PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")

_ELSEWHERE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # spelled so
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}

_PROJECTIONS = {
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
}

_TEXT_TOWER = (
    "positional_embedding",
    "text_projection",
    "token_embedding.",
    "transformer.",
    "ln_final.",
)

_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # of files by OpenAI


def to_open_clip(state: State, own: State) -> State:
    """Convert weights to the parameter names of an open_clip network.

    Args:
        state: Named tensors as published.
        own: Named tensors of the network, which decide on the form.
    """
    if "vision_model.embeddings.class_embedding" in state:
        state = _from_transformers(state)
    if not any(name in own for name in ("positional_embedding", "token_embedding.weight")):
        # The network keeps its text tower apart.
        state = {
            f"text.{name}" if name.startswith(_TEXT_TOWER) else name: tensor
            for name, tensor in state.items()
        }
    # Temperatures are numbers in some files and lists of one in others.
    return {
        name: tensor.reshape(own[name].shape)
        if name in {"logit_scale", "logit_bias"} and name in own
        else tensor
        for name, tensor in state.items()
    }


def is_spare(name: str) -> bool:
    """Return whether a name in a file is not a weight but a counter, a mask or a setting."""
    return name in _NO_WEIGHTS or name.endswith(("position_ids", "attn_mask"))


def _from_transformers(state: State) -> State:
    import torch

    converted: State = {}
    for name, tensor in state.items():
        if name in _PROJECTIONS:
            converted[_PROJECTIONS[name]] = tensor.T
            continue
        layer = _LAYER.fullmatch(name)
        if layer is None:
            converted[_ELSEWHERE.get(name, name)] = tensor
            continue
        tower, number, layer_name, kind = layer.groups()
        block = "visual." if tower == "vision" else ""
        block += f"transformer.resblocks.{number}"
        if layer_name in _IN_LAYER:
            converted[f"{block}.{_IN_LAYER[layer_name]}.{kind}"] = tensor
        elif layer_name == _PARTS[0]:
            names = [name.replace(layer_name, other) for other in _PARTS]
            if all(other in state for other in names):
                joined = torch.cat([state[other] for other in names])
                converted[f"{block}.attn.in_proj_{kind}"] = joined
        elif layer_name not in _PARTS:
            converted[name] = tensor
    return converted
