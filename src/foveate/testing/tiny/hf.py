"""Tiny models of transformers that see (and read) with random weights, in folders.

Each builder writes what ``save_pretrained`` would: config, safetensors, tokenizer and image
settings. Images are 64 pixels wide; whole models stay below 100,000 parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.files import write_json
from foveate.models.families.hf.common import quiet
from foveate.models.weights import random_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE, PATCH = 64, 8  # of an image and of a patch, pixels
CONTEXT = 16  # tokens of a text
_SPREAD = 0.2  # of random weights: with the usual 0.02 so few layers see all images alike
_LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_MEAN, _STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
_START, _END, _PAD = "<s>", "</s>", "<pad>"
_BICUBIC, _BILINEAR = 3, 2  # PIL's numbers


def clip(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny CLIP; return the name and the weights for `load_model`."""
    from transformers import CLIPConfig, CLIPModel

    ids = _write_tokenizer(folder, start=True)
    config = CLIPConfig(
        text_config=_text(ids),
        vision_config={**_LAYERS, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=16,
        initializer_factor=5.0,
    )
    write_network(folder, lambda: CLIPModel(config))
    square = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    _write_settings(folder, "CLIPImageProcessor", _BICUBIC, **square)
    return "hf", folder


def siglip(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny SigLIP."""
    from transformers import SiglipConfig, SiglipModel

    config = SiglipConfig(
        text_config=_text(_write_tokenizer(folder)),
        vision_config={**_LAYERS, "image_size": SIDE, "patch_size": PATCH},
    )
    write_network(folder, lambda: _scaled(SiglipModel(config)))
    _write_settings(folder, "SiglipImageProcessor", _BICUBIC, size={"height": SIDE, "width": SIDE})
    return "hf", folder


def siglip2(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny SigLIP 2 of the NaFlex kind."""
    from transformers import Siglip2Config, Siglip2Model

    patches = (SIDE // PATCH) ** 2
    config = Siglip2Config(
        text_config=_text(_write_tokenizer(folder)),
        vision_config={**_LAYERS, "num_patches": patches, "patch_size": PATCH},
    )
    write_network(folder, lambda: _scaled(Siglip2Model(config)))
    _write_settings(
        folder, "Siglip2ImageProcessor", _BILINEAR, patch_size=PATCH, max_num_patches=patches
    )
    return "hf", folder


def sam(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny SAM."""
    from transformers import SamConfig, SamModel

    channels = 16
    config = SamConfig(
        vision_config={
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": SIDE, "patch_size": PATCH, "output_channels": channels,
            "num_pos_feats": channels // 2, "window_size": 4, "global_attn_indexes": [1],
            "mlp_dim": 64, "initializer_range": _SPREAD,
        },
        prompt_encoder_config={
            "hidden_size": channels, "image_size": SIDE, "patch_size": PATCH,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": channels, "mlp_dim": 32, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
        initializer_range=_SPREAD,
    )  # fmt: skip
    write_network(folder, lambda: SamModel(config))
    square = {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}
    _write_settings(folder, "SamImageProcessor", _BILINEAR, **square)
    return "hf", folder


def _text(ids: dict[str, int]) -> dict[str, Any]:
    """Return the config of a text tower for a tokenizer."""
    return {
        **_LAYERS,
        "vocab_size": len(ids),
        "max_position_embeddings": CONTEXT,
        "bos_token_id": ids[_START],
        "eos_token_id": ids[_END],
        "pad_token_id": ids[_PAD],
    }


def _scaled(net: Any) -> Any:
    """Give a SigLIP the temperature and bias that training starts from (section 3.2)."""
    import torch

    with torch.no_grad():
        net.logit_scale.fill_(2.3)
        net.logit_bias.fill_(-10.0)
    return net


def write_network(folder: Path, build: Any) -> None:
    """Write a network with random weights as ``save_pretrained`` does, without its progress bar."""
    with quiet():
        random_weights(build).save_pretrained(folder)


def byte_tokenizer(marks: Sequence[str]) -> Any:
    """Make a tokenizer of one token a byte, with special tokens after them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.add_special_tokens(list(marks))
    return bare


def _write_settings(folder: Path, processor: str, resample: int, **more: Any) -> None:
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": processor,
            "image_mean": _MEAN,
            "image_std": _STD,
            "resample": resample,
            **more,
        },
    )


def _write_tokenizer(folder: Path, *, start: bool = False) -> dict[str, int]:
    """Write a tokenizer of one token a byte; return its vocabulary.

    Args:
        folder: Where to.
        start: Whether a text has a token in front of it; all have one behind.
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    marks = [_START, _END, _PAD]
    bare = byte_tokenizer(marks)
    bare.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}" if start else f"$A {_END}",
        special_tokens=[(mark, bare.token_to_id(mark)) for mark in marks],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token=_START, eos_token=_END, pad_token=_PAD
    )
    tokenizer.save_pretrained(folder)
    return tokenizer.get_vocab()
