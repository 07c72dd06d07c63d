"""Any image backbone of timm, with hub or local weights.

The embedding is the pooled output of the backbone without its classifier
(``num_classes=0``): for ResNet-18 the 512 features after the last spatial pooling, as in the
core-set paper, section III-B.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.files import fingerprint
from foveate.models.base import check_bands
from foveate.models.device import need_torch, resolve_device
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle, Scale

_RANDOM = "random"
_OWN_OPTIONS = ("size", "mean", "std")


class TimmModel:
    """A frozen timm backbone in eval mode.

    Args:
        handle: Name, tag, options and weights. Options for foveate: ``size`` (side in pixels
            that tiles are resampled to, or "native"; the size of the pretrained weights by
            default), ``mean`` and ``std`` (override the normalisation of the weights). All
            others go to ``timm.create_model``.
        bands: 1-based bands, one per input channel.
        scale: ``(low, high)`` per band.

    Raises:
        DataError: The weights cannot be read or belong to another architecture, or the hub
            cannot be reached.
    """

    def __init__(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> None:
        import torch

        self._device = resolve_device(handle.device)
        options = {k: v for k, v in handle.options.items() if k not in _OWN_OPTIONS}
        net = _create(handle, options, len(bands))
        cfg: dict[str, Any] = net.pretrained_cfg
        if handle.weights:
            _load_weights(net, Path(handle.weights), cfg)
        self._net = net.eval().requires_grad_(requires_grad=False).to(self._device)
        channels = len(bands)
        mean, std = (_normalisation(handle, cfg, name, channels) for name in ("mean", "std"))
        self._shape = [-1, channels, 1, 1]
        self._low = torch.tensor([s[0] for s in scale], dtype=torch.float32).view(self._shape)
        self._span = torch.tensor([s[1] - s[0] for s in scale]).float().view(self._shape)
        self._mean = torch.tensor(mean).view(self._shape)
        self._std = torch.tensor(std).view(self._shape)
        self.spec = EncoderSpec(
            name=str(handle),
            dim=int(net.num_features),
            bands=tuple(bands),
            scale=tuple(scale),
            mean=mean,
            std=std,
            input_size=_size(handle.options.get("size"), cfg),
            licence=str(cfg.get("license") or ""),
            source=_source(handle, cfg),
            fingerprint=_weights_hash(net, options),
        )
        with torch.inference_mode():
            side = self.spec.input_size or (64, 64)
            probe = torch.zeros(1, channels, *side, device=self._device)
            try:
                # Some backbones (MobileNetV3) pool to more features than num_features says.
                self.spec = replace(self.spec, dim=int(self._net(probe).shape[1]))
            except (AssertionError, RuntimeError) as error:
                raise ParameterError(
                    f"{handle} cannot take images of {side[0]} x {side[1]}: {error}",
                    "",
                    "Leave 'size' out, or tell a transformer too: ?size=256&img_size=256.",
                ) from error

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed (b, c, h, w) images of the native dtype: (b, d) float32."""
        import torch
        from torch.nn import functional

        check_bands(batch, self.spec)
        x = torch.from_numpy(np.array(batch, dtype=np.float32, order="C"))
        x = (x - self._low) / self._span
        size = self.spec.input_size
        if size is not None and tuple(x.shape[2:]) != size:
            x = functional.interpolate(x, size, mode="bilinear", antialias=True)
        x = ((x - self._mean) / self._std).to(self._device)
        with torch.inference_mode():
            return self._net(x).float().cpu().numpy()


class _Timm:
    """The family; see `foveate.models.base.Family`."""

    def check(self, handle: ModelHandle) -> int | None:
        """Check the architecture's name and that the weights file can be read."""
        need_torch()
        import timm

        if not handle.name:
            raise ParameterError("a timm model without a name", "", "Type e.g. timm:resnet18.")
        if not timm.is_model(handle.name):
            known = timm.list_models()
            raise UnknownNameError(
                f"timm has no model {handle.name!r}",
                f"It knows {len(known)}; list them with: "
                "python -c 'import timm; print(timm.list_models())'.",
                suggest(handle.name, known),
            )
        if handle.weights:
            _read_weights(Path(handle.weights))
        return int(handle.options.get("in_chans", 3))

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> TimmModel:
        """Build the model."""
        return TimmModel(handle, bands, scale)


FAMILY = _Timm()


def _create(handle: ModelHandle, options: dict[str, Any], channels: int) -> Any:
    """Create the network without its classifier; explain what goes wrong."""
    import timm
    import torch

    random = handle.tag == _RANDOM
    tagged = handle.tag not in ("", _RANDOM, "pretrained")
    name = f"{handle.name}.{handle.tag}" if tagged else handle.name
    download = not handle.weights and not random
    arguments: dict[str, Any] = {
        "num_classes": 0,
        "in_chans": channels,
        **options,
        "pretrained": download,
    }
    try:
        with torch.random.fork_rng(devices=[]):  # random weights are seeded, and only here
            torch.manual_seed(0)
            return timm.create_model(name, **arguments)
    except TypeError as error:
        raise ParameterError(
            f"timm's {handle.name} does not take these options: {error}",
            f"Given: {options}.",
            "Remove the option after '?'.",
        ) from error
    except Exception as error:
        if not download:
            raise ParameterError(f"timm cannot create {name!r}: {error}") from error
        raise DataError(
            f"the pretrained weights of {name!r} could not be loaded: "
            f"{type(error).__name__}: {_first_line(error)}",
            "They come from the Hugging Face hub (which timm needs to reach once).",
            "Give a local file with --weights PATH.",
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else f"the file ends early ({type(error).__name__})"


def _read_weights(path: Path) -> dict[str, Any]:
    """Read a state dict; nothing is unpickled.

    Raises:
        DataError: The file is neither safetensors nor a plain torch state dict.
    """
    import pickle

    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what it then refuses
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format and each kind of damage has its own
        reason = (
            "it is no state dict, or a pickle with more than tensors in it"
            if isinstance(error, pickle.UnpicklingError)
            else _first_line(error)
        )
        raise DataError(
            f"cannot read the weights {str(path)!r}: {reason}",
            "Allowed: .safetensors, or a file that torch.load(weights_only=True) accepts; "
            "foveate unpickles nothing.",
            "Convert it: safetensors.torch.save_file(state_dict, 'weights.safetensors').",
        ) from error
    for wrapper in ("state_dict", "model", "state_dict_ema"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise DataError(
            f"the weights {str(path)!r} hold {type(state).__name__}, not named tensors",
            "Expected a state dict: parameter name -> tensor.",
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _load_weights(net: Any, path: Path, cfg: dict[str, Any]) -> None:
    """Load a state dict into the backbone; only the classifier may be left over."""
    state = _read_weights(path)
    own = net.state_dict()
    classifier = cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    spare = {
        k for k in state if k not in own and k.split(".")[0] in {h.split(".")[0] for h in heads}
    }
    # Old files lack the counters of batch norm, which only training uses.
    lacking = sorted(k for k in set(own) - set(state) if not k.endswith("num_batches_tracked"))
    foreign = sorted(set(state) - set(own) - spare)
    wrong = sorted(k for k in own if k in state and own[k].shape != state[k].shape)
    if lacking or foreign or wrong:
        example = (lacking or wrong or foreign)[0]
        raise DataError(
            f"the weights {str(path)!r} belong to another architecture than "
            f"{cfg.get('architecture')!r}: {len(lacking)} parameters missing, {len(foreign)} "
            f"unknown, {len(wrong)} of another shape, e.g. {example!r}",
            "",
            "Give the weights of this architecture, or its options after '?' (pad_type=same).",
        )
    net.load_state_dict({k: v for k, v in state.items() if k not in spare})


def _weights_hash(net: Any, options: dict[str, Any]) -> str:
    """Hash of the parameters and of the options, which may change what they do (pad_type)."""
    sha = hashlib.blake2b(b"timm/1", digest_size=16)
    sha.update(repr(sorted(options.items())).encode())
    for name, tensor in sorted(net.state_dict().items()):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()))
    return sha.hexdigest()


def _source(handle: ModelHandle, cfg: dict[str, Any]) -> str:
    if handle.weights:
        return f"{Path(handle.weights).name} ({fingerprint(handle.weights)[:12]})"
    if handle.tag == _RANDOM:
        return "random weights, seed 0"
    return f"hub: {cfg.get('hf_hub_id') or cfg.get('url') or handle.name}"


def _size(option: Any, cfg: dict[str, Any]) -> tuple[int, int] | None:
    if option == "native":
        return None
    if option is None:
        return (int(cfg["input_size"][1]), int(cfg["input_size"][2]))
    if not isinstance(option, int) or option < 8:
        raise ParameterError(
            f"size={option!r}", "The size is a number of pixels from 8, or 'native'.", "?size=224"
        )
    return (option, option)


def _normalisation(
    handle: ModelHandle, cfg: dict[str, Any], name: str, channels: int
) -> tuple[float, ...]:
    """Return the mean or the standard deviation of each band: the user's, or the weights'."""
    stated = name in handle.options
    values = _per_channel(handle.options.get(name, cfg[name]), channels, name, builtin=not stated)
    if name == "std" and min(values) <= 0:
        raise ParameterError(f"std={handle.options.get(name)!r}", "It is more than 0.", "?std=0.5")
    return values


def _per_channel(value: Any, channels: int, name: str, *, builtin: bool) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        values = [float(v) for v in (parts if isinstance(parts, list | tuple) else [parts])]
    except (TypeError, ValueError):
        values = []
    if not values or not np.isfinite(values).all():
        raise ParameterError(
            f"{name}={value!r}", "Expected a number, or one for each band.", f"?{name}=0.5"
        )
    if len(values) == channels:
        return tuple(values)
    if len(values) > 1 and not builtin:
        raise ParameterError(
            f"{name}={value!r}: {len(values)} values for {channels} bands",
            "Expected a number, or one for each band.",
            f"?{name}={values[0]:g}",
        )
    # Normalisation for RGB says nothing of other bands: their mean is the neutral choice.
    return (float(np.mean(values)),) * channels
