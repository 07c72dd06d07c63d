"""BLIP-2: a frozen vision transformer and a frozen language model with a Q-Former between them.

Paper: Li et al., BLIP-2, 2023. The Q-Former reads the patches into a few learnt queries. The
embedding is the mean of its outputs; the tokens are the patches of the vision transformer, which
lie in another space. Questions have the documented form of the authors, "Question: ... Answer:".
The model was trained with one image at a time; further images are put before the text in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.models.capabilities import TokenSpec
from foveate.models.families.hf.chat import (
    Chat,
    ChatModel,
    Shown,
    freeze,
    load_generative,
)
from foveate.models.families.hf.common import (
    check_options,
    check_side,
    load_tokenizer,
    make_preprocess,
    make_spec,
    read_image_settings,
)
from foveate.models.families.hf.prompt import placeholder_error
from foveate.models.preprocess import on_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.hf.family import Checkpoint
    from foveate.models.runtime import InferenceRunner


def build(
    handle: ModelHandle, checkpoint: Checkpoint, bands: Sequence[int], scale: Scale
) -> ChatModel:
    """Build a BLIP-2; see `foveate.models.families.hf.family.Builder`.

    Raises:
        DataError: The files are not a supported model, or are too old to have an image placeholder.
        ParameterError: An option cannot be used.
    """
    import transformers

    check_options(handle)
    settings = read_image_settings(checkpoint)
    net = load_generative(handle, checkpoint, transformers.Blip2ForConditionalGeneration)
    config = net.config
    if config.image_token_index is None:
        raise DataError(
            f"{str(checkpoint.folder)!r} has no image_token_index in config.json",
            "It is the placeholder of an image; BLIP-2 files before transformers 4.46 have none.",
            "Use a newer revision of the weights.",
        )
    side = int(config.vision_config.image_size)
    preprocess = make_preprocess(handle, settings, scale, (side, side))
    check_side(handle, preprocess, int(config.vision_config.patch_size))
    runner = freeze(handle, net, preprocess)
    see = _VisionTower(runner)
    dim = int(config.qformer_config.hidden_size)
    tokenizer = load_tokenizer(checkpoint)
    chat = Chat(
        runner,
        make_spec(handle, checkpoint, runner, dim, bands),
        tokenizer,
        config.image_token_index,
        show=see.whole,
        write=_Writer(tokenizer, config.image_token_index),
        # T5 tokenizers start every text with a space, OPT tokenizers do not.
        lead=" " if config.use_decoder_only_language_model else "",
    )
    tokens = TokenSpec(int(config.vision_config.hidden_size), "backbone", pooled=False)
    return ChatModel(chat, tokens, places=see.patches, vectors=see.queries)


class _VisionTower:
    """Encodes images with the vision transformer and the Q-Former.

    Args:
        runner: The network.
    """

    def __init__(self, runner: InferenceRunner) -> None:
        self._runner = runner
        self._net: Any = runner.net
        self._config = self._net.config
        # Positions are interpolated to sizes other than the training size.
        self._other = runner.preprocess.size != (self._config.vision_config.image_size,) * 2

    def patches(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens of images: (b, c, height, width) to (b, gh, gw, d)."""
        output = self._net.vision_model(x, interpolate_pos_encoding=self._other)
        size = (int(x.shape[2]), int(x.shape[3]))
        return on_grid(output.last_hidden_state[:, 1:], size)  # without the class token

    def queries(self, x: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of images: (b, c, height, width) to (b, d)."""
        output = self._net.get_image_features(x, interpolate_pos_encoding=self._other)
        return output.qformer_outputs.last_hidden_state.float().mean(dim=1)

    def whole(self, images: Sequence[NDArray[Any]]) -> Shown:
        """Encode images, each as a whole, into query outputs."""
        import torch

        preprocess, device = self._runner.preprocess, self._runner.device
        tensors: dict[str, Any] = {
            "pixel_values": torch.cat([preprocess(image[None], device) for image in images])
        }
        if self._other:
            tensors["interpolate_pos_encoding"] = True
        return Shown((int(self._config.num_query_tokens),) * len(images), tensors)


class _Writer:
    """Tokenises questions: the queries of the images, then the text with its start token.

    Args:
        tokenizer: Of transformers.
        image_token: Id of the placeholder.
    """

    def __init__(self, tokenizer: Any, image_token: int) -> None:
        self._tokenizer, self._image_token = tokenizer, image_token

    def __call__(self, prompt: str, lengths: Sequence[int]) -> list[int]:
        """Return the ids of a question; see `foveate.models.families.hf.prompt.Writer`.

        Raises:
            ParameterError: The prompt contains the placeholder itself.
        """
        text = list(self._tokenizer(f"Question: {prompt} Answer:")["input_ids"])
        if self._image_token in text:
            raise placeholder_error(self._tokenizer.convert_ids_to_tokens(self._image_token))
        return [self._image_token] * sum(lengths) + text
