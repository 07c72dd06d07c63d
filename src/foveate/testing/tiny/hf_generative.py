"""Tiny generative models of transformers with random weights, saved as a hub would serve them.

Each builder writes the configuration, the weights (safetensors), a tokenizer made on the spot and
the image settings into a folder, and returns what `load_model` takes. A few ten thousand
parameters and tiles of 32 pixels: the answers are noise, the way to them is that of the large
checkpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.files import write_json
from foveate.testing.tiny.hf import byte_tokenizer, write_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE, PATCH = 32, 8  # of an image of LLaVA and BLIP-2, pixels
_SPREAD = 0.25  # of the weights: with the usual 0.02 all images would look alike to so few layers
_MEAN, _STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
_MARKS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
_WORDS: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
          "num_attention_heads": 4, "initializer_range": _SPREAD}  # fmt: skip

# Images first, then the text: the published forms of these families, written anew.
_LLAVA_CHAT = (
    "{% for message in messages %}{{ message.role | upper }}: "
    "{% for part in message.content if part.type == 'image' %}<image>\n{% endfor %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }} {% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def llava(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny LLaVA 1.5; return the name and the weights for `load_model`."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    tokens = _write_tokenizer(folder, ["<image>"], bos=True, chat=_LLAVA_CHAT)
    config = LlavaConfig(
        vision_config=_tower(),
        text_config=_llama(tokens),
        image_token_index=tokens["<image>"],
    )
    write_network(folder, lambda: LlavaForConditionalGeneration(config))
    _write_images(folder, "LlavaImageProcessor", _square())
    return "hf", folder


def llava_next(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny LLaVA-NeXT (LLaVA 1.6) whose tiles are laid out 1 x 2, 2 x 1 or 2 x 2."""
    tokens = _write_tokenizer(folder, ["<image>"], bos=True, chat=_LLAVA_CHAT)
    return _write_next(folder, tokens)


def llava_next_llama3(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny LLaVA-NeXT with the marks of a Llama 3, and no chat template."""
    marks = ["<image>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    return _write_next(folder, _write_tokenizer(folder, marks, bos=True))


def _write_next(folder: Path, tokens: dict[str, int]) -> tuple[str, Path | None]:
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

    layouts = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = LlavaNextConfig(
        vision_config=_tower(),
        text_config=_llama(tokens),
        image_token_index=tokens["<image>"],
        image_grid_pinpoints=layouts,
    )
    write_network(folder, lambda: LlavaNextForConditionalGeneration(config))
    _write_images(folder, "LlavaNextImageProcessor", {**_square(), "image_grid_pinpoints": layouts})
    return "hf", folder


def qwen2_vl(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny Qwen2-VL: patches of 4 pixels, merged 2 x 2."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
    _write_qwen(folder, Qwen2VLConfig, Qwen2VLForConditionalGeneration, vision)
    return "hf", folder


def qwen2_5_vl(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny Qwen2.5-VL: as Qwen2-VL, with windowed attention in its first layer."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32,
              "window_size": 16, "fullatt_block_indexes": [1]}  # fmt: skip
    _write_qwen(folder, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, vision)
    return "hf", folder


def blip2(folder: Path) -> tuple[str, Path | None]:
    """Write a tiny BLIP-2 with an OPT as its language model, which has no chat template."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
    )

    tokens = _write_tokenizer(folder, ["<image>"], bos=True)
    text = OPTConfig(
        vocab_size=len(tokens), hidden_size=32, ffn_dim=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=512, word_embed_proj_dim=32,
        init_std=_SPREAD, **_ends(tokens),
    )  # fmt: skip
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**_WORDS, image_size=SIDE, patch_size=PATCH),
        qformer_config=Blip2QFormerConfig(**_WORDS, vocab_size=len(tokens)),
        text_config=text,
        num_query_tokens=4,
        image_token_index=tokens["<image>"],
        initializer_range=_SPREAD,
    )
    write_network(folder, lambda: Blip2ForConditionalGeneration(config))
    _write_images(folder, "BlipImageProcessor", {"size": {"height": SIDE, "width": SIDE}})
    return "hf", folder


def _write_qwen(
    folder: Path, config_class: Any, network_class: Any, vision: dict[str, Any]
) -> None:
    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
             "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    tokens = _write_tokenizer(folder, marks, chat=_QWEN_CHAT)
    patches = {"patch_size": 4, "temporal_patch_size": 2}
    config = config_class(
        vision_config={**vision, **patches, "spatial_merge_size": 2, "num_heads": 4,
                       "initializer_range": _SPREAD},
        text_config={
            **_WORDS, **_ends(tokens), "vocab_size": len(tokens), "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4
            },
        },
        image_token_id=tokens["<|image_pad|>"],
        video_token_id=tokens["<|video_pad|>"],
        vision_start_token_id=tokens["<|vision_start|>"],
        vision_end_token_id=tokens["<|vision_end|>"],
    )  # fmt: skip
    write_network(folder, lambda: network_class(config))
    settings = {"min_pixels": 16 * 16, "max_pixels": 64 * 64, "merge_size": 2, **patches}
    _write_images(folder, "Qwen2VLImageProcessor", settings)


def _tower() -> Any:
    from transformers import CLIPVisionConfig

    layers: dict[str, Any] = {**_WORDS, "num_hidden_layers": 3}  # the last is not looked at
    return CLIPVisionConfig(**layers, image_size=SIDE, patch_size=PATCH)


def _llama(tokens: dict[str, int]) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        **_WORDS, **_ends(tokens), vocab_size=len(tokens), num_key_value_heads=2,
        max_position_embeddings=2048,
    )  # fmt: skip


def _ends(tokens: dict[str, int]) -> dict[str, Any]:
    return {f"{name}_id": tokens[mark] for name, mark in _MARKS.items()}


def _square() -> dict[str, Any]:
    return {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}


def _write_images(folder: Path, processor: str, settings: dict[str, Any]) -> None:
    common = {"image_processor_type": processor, "image_mean": _MEAN, "image_std": _STD,
              "resample": 3}  # fmt: skip
    write_json(folder / "preprocessor_config.json", {**common, **settings})


def _write_tokenizer(
    folder: Path, marks: Sequence[str], *, bos: bool = False, chat: str | None = None
) -> dict[str, int]:
    """Write a tokenizer with one token a byte, and special tokens; return its vocabulary."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    bare = byte_tokenizer([*_MARKS.values(), *marks])
    if bos:
        bare.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", bare.token_to_id("<s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, chat_template=chat, **_MARKS)
    tokenizer.save_pretrained(folder)
    return tokenizer.get_vocab()
