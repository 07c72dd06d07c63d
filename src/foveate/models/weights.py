"""Weights from files and hubs: read without unpickling, matched strictly, told apart by a hash."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    import torch

RANDOM = "random"  # the tag of seeded random weights
RANDOM_SOURCE = "random weights, seed 0"
_SAFE = ".safetensors"
_WRAPPERS = ("state_dict", "model", "state_dict_ema", "model_state_dict")


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read named tensors from a file; nothing is unpickled.

    Args:
        path: ``.safetensors``, or a file that ``torch.load(weights_only=True)`` accepts, with the
            tensors at the top or under "state_dict", "model" and the like. A prefix "module." is
            taken off.

    Raises:
        DataError: The file is neither safetensors nor a plain torch state dict.
    """
    from safetensors.torch import load_file

    path = Path(path)
    with _readable(path):
        state = load_file(path) if path.suffix == _SAFE else _load_torch(path, mmap=False)
    return _named(state, path)


def check_state(path: str | Path) -> None:
    """Check that a file holds named tensors, without reading them.

    Of safetensors the header is read, and that the file is as long as it says; of torch's own
    format what describes the tensors. Files of torch before 1.6 have no such part: they are
    read whole.

    Args:
        path: See `read_state`.

    Raises:
        DataError: As `read_state`.
    """
    from safetensors import safe_open

    path = Path(path)
    with _readable(path):
        if path.suffix == _SAFE:
            with safe_open(path, framework="pt"):
                return
        state = _load_torch(path, mmap=zipfile.is_zipfile(path))
    _named(state, path)


def _load_torch(path: Path, *, mmap: bool) -> Any:
    """Load what torch has saved, on the CPU; with `mmap` tensors are read when they are used."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what it then refuses
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


@contextlib.contextmanager
def _readable(path: Path) -> Generator[None]:
    """Say of whatever goes wrong in a block that the weights cannot be read.

    Raises:
        DataError: Something went wrong.
    """
    import pickle

    try:
        yield
    except Exception as error:  # each format and each kind of damage has its own
        reason = (
            "it is no state dict, or a pickle with more than tensors in it"
            if isinstance(error, pickle.UnpicklingError)
            else first_line(error)
        )
        raise DataError(
            f"cannot read the weights {str(path)!r}: {reason}",
            "Allowed: .safetensors, or a file that torch.load(weights_only=True) accepts; "
            "foveate unpickles nothing.",
            "Convert it: safetensors.torch.save_file(state_dict, 'weights.safetensors').",
        ) from error


def _named(state: Any, path: Path) -> dict[str, torch.Tensor]:
    """Return the named tensors of what a file holds, without wrapper and prefix.

    Raises:
        DataError: There are none.
    """
    import torch

    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise DataError(
            f"the weights {str(path)!r} hold {type(state).__name__}, not named tensors",
            "Expected a state dict: parameter name -> tensor.",
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def load_state(
    net: torch.nn.Module,
    path: str | Path,
    architecture: str,
    *,
    spare: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
) -> None:
    """Load a weights file into a network, every parameter of it.

    Args:
        net: The network.
        path: See `read_state`.
        architecture: What the network is called, for the message.
        spare: Says of a parameter's name in the file that the network need not have it.

    Raises:
        DataError: Parameters are missing, unknown, or of another shape.
    """
    put_state(net, read_state(path), path, architecture, spare=spare)


def put_state(
    net: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    path: str | Path,
    architecture: str,
    *,
    spare: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
    optional: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
) -> None:
    """Put named tensors into a network; their dtype becomes the network's.

    Args:
        net: The network.
        state: Named tensors with the network's names.
        path: Where they come from, for the message.
        architecture: What the network is called, for the message.
        spare: Says of a parameter's name that the network need not have it.
        optional: Says of a parameter's name that the state need not have it.

    Raises:
        DataError: Parameters are missing, unknown, or of another shape.
    """
    own = net.state_dict()
    kept = {name: t for name, t in state.items() if name in own or not spare(name)}
    # Old files lack the counters of batch norm, which only training uses.
    lacking = sorted(
        k for k in set(own) - set(kept) if not (k.endswith("num_batches_tracked") or optional(k))
    )
    foreign = sorted(set(kept) - set(own))
    wrong = sorted(k for k in own if k in kept and own[k].shape != kept[k].shape)
    if lacking or foreign or wrong:
        raise mismatch_error(path, architecture, lacking, foreign, wrong)
    net.load_state_dict(kept, strict=False)


def mismatch_error(
    path: str | Path,
    architecture: str,
    lacking: Sequence[str],
    foreign: Sequence[str],
    wrong: Sequence[str],
    *,
    hint: str = "Give the weights of this architecture, or its options after '?' (pad_type=same).",
) -> DataError:
    """Return the error for weights that do not fit a network.

    Args:
        path: Of the weights.
        architecture: What the network is called.
        lacking: Parameters that the weights do not have.
        foreign: Parameters that the network does not have.
        wrong: Parameters of another shape.
        hint: What to do about it.
    """
    example = (*lacking, *wrong, *foreign)[0]
    return DataError(
        f"the weights {str(path)!r} belong to another architecture than "
        f"{architecture!r}: {len(lacking)} parameters missing, {len(foreign)} "
        f"unknown, {len(wrong)} of another shape, e.g. {example!r}",
        "",
        hint,
    )


def weights_hash(net: torch.nn.Module, *more: object) -> str:
    """Return a hash of the parameters and of whatever else changes what they do."""
    sha = hashlib.blake2b(b"weights/2", digest_size=16)
    sha.update(repr(more).encode())
    for name, tensor in sorted(net.state_dict().items()):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()))
    return sha.hexdigest()


def source_of(weights: str, hub: str = "") -> str:
    """Return where weights come from, as the spec says it: the local file, or the hub's id."""
    if not weights:
        return hub
    path = Path(weights)
    if path.is_dir():
        return path.resolve().name  # "." has a name, too
    return f"{path.name} ({fingerprint(weights)[:12]})"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, for use inside another message.

    Readers of damaged files raise with nothing, a bare number or words of their insides: then the
    kind of the error is all there is to say.
    """
    lines = str(error).strip().splitlines()
    telling = lines and " " in lines[0] and not isinstance(error, KeyError | IndexError | EOFError)
    return lines[0][:200] if telling else f"it is damaged or no such file ({type(error).__name__})"


def random_weights(build: Callable[[], Any], seed: int = 0) -> Any:
    """Build a network whose random weights are seeded, leaving torch's generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # manual_seed would seed every GPU too
        return build()
