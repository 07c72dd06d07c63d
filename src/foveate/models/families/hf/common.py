"""What the models of transformers share: network, tokenizer, image settings, spec."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError
from foveate.models.preprocess import OPTIONS, Preprocess
from foveate.models.runtime import InferenceRunner
from foveate.models.weights import (
    common_prefixes,
    first_line,
    mismatch_error,
    random_weights,
    weights_hash,
)

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
_BICUBIC = 3  # PIL's number, which is what the files of transformers hold


@dataclass(frozen=True)
class ImageSettings:
    """How the weights want their images.

    Attributes:
        mean: Per channel, subtracted after scaling to 0 and 1.
        std: Per channel, divided by after `mean`.
        size: ``(height, width)``, or None where the settings state none that is fixed.
        resample: "bilinear" or "bicubic".
        raw: All settings as the file holds them, for what only one architecture knows.
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
    """Load a network from safetensors, every parameter of it.

    transformers gives random values to parameters that a checkpoint lacks; here that is an error.

    Args:
        checkpoint: With all its files (`fetch`).
        architecture: A class of transformers with ``from_pretrained``.
        dtype: What the parameters are kept in ("float32", "bfloat16"), whatever the file has.
        spare: Says of a parameter's name in the file that the network need not have it.

    Returns:
        The network, on the CPU.

    Raises:
        DataError: There are no safetensors, they cannot be read, or they belong to another
            architecture.
    """
    files = sorted(checkpoint.folder.glob("*.safetensors"))
    if not files:
        raise DataError(
            f"there are no .safetensors in {str(checkpoint.folder)!r}",
            "Only those are loaded; foveate unpickles nothing.",
            "Convert the weights: model.save_pretrained(FOLDER) of transformers writes them.",
        )
    first = _load(checkpoint, architecture, dtype, spare)
    if not any(first.misfits):
        return first.net
    for prefix in common_prefixes(_names(files)):
        again = _load(checkpoint, architecture, dtype, spare, prefix)
        if not any(again.misfits):
            logger.info(
                "%s: the prefix %r of all names is taken off.", checkpoint.folder.name, prefix
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
    """A network, and the names of parameters: missing, unknown, of another shape."""

    net: Any
    misfits: tuple[list[str], list[str], list[str]]


def _load(
    checkpoint: Checkpoint,
    architecture: Any,
    dtype: str,
    spare: Callable[[str], bool],
    prefix: str = "",
) -> _Loaded:
    """Load a network from names without a prefix, whatever fits."""
    import torch

    try:
        with quiet():
            net, report = random_weights(  # what is missing draws random numbers
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
    except Exception as error:  # each damage of a file has its own
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
    """Load the tokenizer that lies beside the weights.

    Returns:
        A tokenizer of transformers.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # Without a vocabulary some tokenizers start with an empty one, and say nothing.
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
    except Exception as error:  # each kind of tokenizer has its own
        hint = "A tokenizer.json is read without further packages: save one with the tokenizer."
        raise _unreadable(checkpoint.folder, "the tokenizer", error, hint) from error


def read_image_settings(checkpoint: Checkpoint, *, resample: str = "bicubic") -> ImageSettings:
    """Read how the weights want their images.

    Args:
        checkpoint: With all its files (`fetch`).
        resample: Where the file does not say.

    Raises:
        DataError: There are no settings, or they lack the mean and the standard deviation.
    """
    raw = checkpoint.read_json("preprocessor_config.json")
    raw = raw or checkpoint.read_json("processor_config.json").get("image_processor") or {}
    mean, std = raw.get("image_mean"), raw.get("image_std")
    if raw.get("do_normalize") is False:
        mean, std = [0.0], [1.0]
    if not mean or not std:
        raise DataError(
            f"{str(checkpoint.folder)!r} does not say how images are normalised",
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
    """Combine the image settings of the weights with the options of a model's name.

    Args:
        handle: Whose options count.
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
    """Return what the vectors depend on.

    Args:
        handle: As the user typed it.
        checkpoint: Where the weights come from.
        runner: The network with its inputs.
        dim: Length of a vector.
        bands: 1-based bands, one per channel.
        more: Whatever else changes the vectors (options of an architecture).
    """
    return runner.spec(
        str(handle),
        dim=dim,
        bands=bands,
        source=checkpoint.source,
        fingerprint=weights_hash(runner.net, "hf", _stable(checkpoint.config), *more),
    )


def _stable(config: Any) -> Any:
    """Return a config without what changes nothing in the vectors: it is part of the network."""
    if isinstance(config, dict):
        return {k: _stable(v) for k, v in sorted(config.items()) if k not in _VOLATILE}
    return config


def check_options(handle: ModelHandle, *allowed: str) -> None:
    """Refuse options that an architecture does not have.

    Args:
        handle: Whose options are looked at.
        allowed: Options of the architecture besides those of every model.

    Raises:
        ParameterError: There is another.
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
    """Refuse image sizes that are no whole number of patches.

    Args:
        handle: For the message.
        preprocess: With the size.
        patch: Side of a patch in pixels.
        trained: ``(height, width)`` of the weights, which is right whatever the patch.

    Raises:
        ParameterError: The size is another, or "native".
    """
    if trained is not None and preprocess.size == trained:
        return
    if preprocess.size is None or any(side % patch for side in preprocess.size):
        given = "native" if preprocess.size is None else f"{preprocess.size[0]}"
        raise ParameterError(
            f"{handle} with size={given}",
            f"Its patches are {patch} pixels wide: the size is a multiple of {patch}.",
            f"?size={patch * 14}",
        )


def make_runner(
    handle: ModelHandle, checkpoint: Checkpoint, net: Any, scale: Scale, *, side: int, patch: int
) -> InferenceRunner:
    """Return a network that runs on images of the size of its settings, or of its training.

    Args:
        handle: Options, among them another size.
        checkpoint: Its files.
        net: The network.
        scale: Raw values for 0 and 1.
        side: Of the images of the training, pixels.
        patch: Side of a patch, pixels.

    Raises:
        ParameterError: The size is no whole number of patches.
    """
    trained = (side, side)
    settings = read_image_settings(checkpoint)
    preprocess = make_preprocess(handle, settings, scale, settings.size or trained)
    check_side(handle, preprocess, patch, trained=trained)
    return InferenceRunner(net, preprocess, device=handle.device, options=handle.options)


def pooled(output: Any) -> torch.Tensor:
    """Return the vector of what ``get_image_features`` or ``get_text_features`` gives.

    transformers 5 wraps it in an output with fields, before it was the tensor itself.
    """
    return getattr(output, "pooler_output", output)


def _side(raw: dict[str, Any]) -> tuple[int, int] | None:
    """Return the size of the network's input: that of the crop where there is one."""
    size = raw.get("size")
    if raw.get("do_center_crop") is not False and raw.get("crop_size"):
        size = raw["crop_size"]  # tiles are resampled whole to it, nothing is cut off
    if isinstance(size, int):
        return (size, size)
    if not isinstance(size, dict):
        return None
    if "height" in size and "width" in size:
        return (int(size["height"]), int(size["width"]))
    if len(size) == 1:  # two limits leave the size to the image
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
    """Keep transformers from reporting what is reported here; leave its settings as they were."""
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
