"""Shared parts of models of transformers: network, tokenizer, image settings, spec."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError
from foveate.models.checkpoint_file import first_line, refuse_pointer
from foveate.models.preprocess import OPTIONS, Preprocess
from foveate.models.runtime import InferenceRunner
from foveate.models.weights import common_prefixes, mismatch_error, random_weights, weights_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    import torch

    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle, Scale
    from foveate.models.families.hf.family import Checkpoint

logger = logging.getLogger("foveate")

_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
_VOLATILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
_BICUBIC = 3  # PIL's constant, as stored in files of transformers


@dataclass(frozen=True)
class ImageSettings:
    """Image preprocessing settings of the weights.

    Attributes:
        mean: Per channel, subtracted after scaling to 0 and 1.
        std: Per channel, divided by after `mean`.
        size: ``(height, width)``, or None if the settings state no fixed size.
        resample: "bilinear" or "bicubic".
        raw: All settings of the file, for those of single architectures.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    resample: str
    raw: dict[str, Any] = field(default_factory=dict)


def load_network(
    checkpoint: Checkpoint,
    architecture: Any,
    *,
    dtype: str = "float32",
    spare: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
) -> Any:
    """Load a network completely from safetensors.

    transformers initialises missing parameters randomly; here they are an error.

    Args:
        checkpoint: With all its files (`fetch`).
        architecture: A class of transformers with ``from_pretrained``.
        dtype: Dtype of the parameters ("float32", "bfloat16"), independent of the file.
        spare: Returns whether a parameter name of the file may be unused by the network.

    Returns:
        The network, on the CPU.

    Raises:
        DataError: There are no safetensors, they have not been fetched or cannot be read, or they
            are from another architecture.
    """
    files = sorted(checkpoint.folder.glob("*.safetensors"))
    if not files:
        raise DataError(
            f"there are no .safetensors in {str(checkpoint.folder)!r}",
            "Only safetensors are supported; foveate does not unpickle files.",
            "Convert the weights: model.save_pretrained(FOLDER) of transformers writes them.",
        )
    for file in files:
        refuse_pointer(file)
    first = _load(checkpoint, architecture, dtype, spare)
    if not any(first.misfits):
        return first.net
    for prefix in common_prefixes(_names(files)):
        again = _load(checkpoint, architecture, dtype, spare, prefix)
        if not any(again.misfits):
            logger.info(
                "%s: the common prefix %r of all names is removed.", checkpoint.folder.name, prefix
            )
            return again.net
    raise mismatch_error(
        checkpoint.folder,
        str(checkpoint.model_type),
        *first.misfits,
        hint="Give a folder whose config.json and safetensors were saved together.",
    )


@dataclass(frozen=True)
class _Loaded:
    """A network, and parameter names: missing, unknown, of another shape."""

    net: Any
    misfits: tuple[list[str], list[str], list[str]]


def _load(
    checkpoint: Checkpoint,
    architecture: Any,
    dtype: str,
    spare: Callable[[str], bool],
    prefix: str = "",
) -> _Loaded:
    """Load the matching parameters from names without a prefix."""
    import torch

    try:
        with quiet():
            net, report = random_weights(  # missing parameters are initialised randomly
                lambda: architecture.from_pretrained(
                    checkpoint.folder,
                    use_safetensors=True,
                    local_files_only=True,
                    ignore_mismatched_sizes=True,  # they are in the report
                    output_loading_info=True,
                    dtype=getattr(torch, dtype),
                    **({"key_mapping": {f"^{re.escape(prefix)}": ""}} if prefix else {}),
                )
            )
    except Exception as error:  # each kind of damage raises its own error
        raise _unreadable(checkpoint.folder, "the model", error) from error
    missing = sorted(report["missing_keys"])
    foreign = sorted(name for name in report["unexpected_keys"] if not spare(name))
    wrong = sorted(str(entry[0]) for entry in report["mismatched_keys"])
    return _Loaded(net, (missing, foreign, wrong))


def _names(files: Sequence[Path]) -> list[str]:
    from safetensors import safe_open

    names: list[str] = []
    for path in files:
        with safe_open(path, framework="pt") as file:
            names += file.keys()
    return names


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Load the tokenizer in the folder of the weights.

    Returns:
        A tokenizer of transformers.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # Without a vocabulary some tokenizers silently start with an empty one.
    if not any(any(checkpoint.folder.glob(name)) for name in _VOCABULARIES):
        raise DataError(
            f"there is no tokenizer in {str(checkpoint.folder)!r}",
            f"Expected one of {', '.join(_VOCABULARIES)}.",
            "Save it beside the model: tokenizer.save_pretrained(FOLDER).",
        )
    # tokenizer.json is the whole tokenizer; other files may need packages to be converted.
    whole = (checkpoint.folder / "tokenizer.json").is_file()
    kind = PreTrainedTokenizerFast if whole else AutoTokenizer
    try:
        with quiet():
            return kind.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # each tokenizer raises its own errors
        hint = "A tokenizer.json is read without further packages: save one with the tokenizer."
        raise _unreadable(checkpoint.folder, "the tokenizer", error, hint) from error


def read_image_settings(checkpoint: Checkpoint, *, resample: str = "bicubic") -> ImageSettings:
    """Read the image preprocessing settings.

    Args:
        checkpoint: With all its files (`fetch`).
        resample: Default if the file does not state it.

    Raises:
        DataError: There are no settings, or mean and standard deviation are missing.
    """
    raw = checkpoint.read_json("preprocessor_config.json")
    raw = raw or checkpoint.read_json("processor_config.json").get("image_processor") or {}
    mean, std = raw.get("image_mean"), raw.get("image_std")
    if raw.get("do_normalize") is False:
        mean, std = [0.0], [1.0]
    if not mean or not std:
        raise DataError(
            f"{str(checkpoint.folder)!r} does not state the image normalisation",
            "Expected image_mean and image_std in preprocessor_config.json or "
            "processor_config.json.",
            "Save the processor beside the model: processor.save_pretrained(FOLDER).",
        )
    number = raw.get("resample")
    known = number is not None
    return ImageSettings(
        mean=tuple(float(v) for v in mean),
        std=tuple(float(v) for v in std),
        size=_side(raw),
        resample=("bicubic" if number == _BICUBIC else "bilinear") if known else resample,
        raw=raw,
    )


def make_preprocess(
    handle: ModelHandle, settings: ImageSettings, scale: Scale, size: tuple[int, int]
) -> Preprocess:
    """Combine the image settings of the weights with the options of the model name.

    Args:
        handle: Model handle with the options.
        settings: Of the weights.
        scale: ``(low, high)`` per band.
        size: ``(height, width)`` without the option ``size``.

    Raises:
        ParameterError: An option cannot be used.
    """
    return Preprocess.read(
        handle.options,
        scale,
        mean=settings.mean,
        std=settings.std,
        size=size,
        resample=settings.resample,
    )


def make_spec(
    handle: ModelHandle,
    checkpoint: Checkpoint,
    runner: InferenceRunner,
    dim: int,
    bands: Sequence[int],
    *more: object,
) -> EncoderSpec:
    """Return the model specification.

    Args:
        handle: As given by the user.
        checkpoint: Where the weights come from.
        runner: The network with its inputs.
        dim: Length of a vector.
        bands: 1-based bands, one per channel.
        more: Further options that change the embeddings (of an architecture).
    """
    return runner.spec(
        str(handle),
        dim=dim,
        bands=bands,
        source=checkpoint.source,
        fingerprint=weights_hash(runner.net, "hf", _stable(checkpoint.config), *more),
    )


def _stable(config: Any) -> Any:
    """Return a config without the entries that do not affect embeddings."""
    if isinstance(config, dict):
        return {k: _stable(v) for k, v in sorted(config.items()) if k not in _VOLATILE}
    return config


def check_options(handle: ModelHandle, *allowed: str) -> None:
    """Reject options that an architecture does not have.

    Args:
        handle: Model handle with the options.
        allowed: Options of the architecture besides those of every model.

    Raises:
        ParameterError: An option is not allowed.
    """
    unknown = sorted(set(handle.options) - {*OPTIONS, *allowed})
    if unknown:
        raise ParameterError(
            f"{handle} has the option {unknown[0]!r}",
            f"Allowed: {', '.join((*OPTIONS, *allowed))}.",
            "Remove it.",
        )


def check_side(
    handle: ModelHandle,
    preprocess: Preprocess,
    patch: int,
    *,
    trained: tuple[int, int] | None = None,
) -> None:
    """Reject image sizes that are not a multiple of the patch size.

    Args:
        handle: For the message.
        preprocess: With the size.
        patch: Side of a patch in pixels.
        trained: ``(height, width)`` of the weights, always allowed.

    Raises:
        ParameterError: The size is another, or "native".
    """
    if trained is not None and preprocess.size == trained:
        return
    if preprocess.size is None or any(side % patch for side in preprocess.size):
        size = "native" if preprocess.size is None else f"{preprocess.size[0]}"
        raise ParameterError(
            f"{handle} with size={size}",
            f"The size must be a multiple of the patch size, {patch} pixels.",
            f"?size={patch * 14}",
        )


def make_runner(
    handle: ModelHandle, checkpoint: Checkpoint, net: Any, scale: Scale, *, side: int, patch: int
) -> InferenceRunner:
    """Return a network for the size of its settings, or its training size.

    Args:
        handle: Options, among them another size.
        checkpoint: Its files.
        net: The network.
        scale: Raw values for 0 and 1.
        side: Training image side, pixels.
        patch: Side of a patch, pixels.

    Raises:
        ParameterError: The size is not a multiple of the patch size.
    """
    trained = (side, side)
    settings = read_image_settings(checkpoint)
    preprocess = make_preprocess(handle, settings, scale, settings.size or trained)
    check_side(handle, preprocess, patch, trained=trained)
    return InferenceRunner(net, preprocess, device=handle.device, options=handle.options)


def pooled(output: Any) -> torch.Tensor:
    """Return the embedding from the output of ``get_image_features`` or ``get_text_features``.

    transformers 5 returns an output object, earlier versions the tensor itself.
    """
    return getattr(output, "pooler_output", output)


def _side(raw: dict[str, Any]) -> tuple[int, int] | None:
    """Return the input size of the network: the crop size if there is one."""
    size = raw.get("size")
    if raw.get("do_center_crop") is not False and raw.get("crop_size"):
        size = raw["crop_size"]  # tiles are resampled to it as a whole, not cropped
    if isinstance(size, int):
        return (size, size)
    if not isinstance(size, dict):
        return None
    if "height" in size and "width" in size:
        return (int(size["height"]), int(size["width"]))
    if len(size) == 1:  # with two limits the size depends on the image
        side = int(next(iter(size.values())))
        return (side, side)
    return None


def _unreadable(folder: Path, what: str, error: Exception, hint: str = "") -> DataError:
    return DataError(
        f"cannot read {what} in {str(folder)!r}: {type(error).__name__}: {first_line(error)}",
        "Expected the layout of save_pretrained: config.json, safetensors, tokenizer files.",
        hint,
    )


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Silence transformers' own messages temporarily."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
