"""Weights from files and hubs: read without unpickling, matched strictly, told apart by a hash."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import warnings
import zipfile
from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import fingerprint
from foveate.models.preprocess import CHECKPOINT_KEY

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    import torch

    from foveate.models.base import ModelHandle

logger = logging.getLogger("foveate")

RANDOM = "random"  # the tag of seeded random weights
RANDOM_SOURCE = "random weights, seed 0"
_SAFE = ".safetensors"
# Where checkpoints keep the weights themselves; of several sets the first of these is taken.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network", "params", "weights")
_SHOWN = 4  # prefixes in a message


def read_state(path: str | Path, key: str = "") -> dict[str, torch.Tensor]:
    """Read named tensors from a file; nothing is unpickled.

    Args:
        path: ``.safetensors``, or a file that ``torch.load(weights_only=True)`` accepts, with the
            tensors at the top or under a name of their own. Of several sets the weights as
            trained are taken ("state_dict", "model" and the like) and not their moving average,
            and the log names the others.
        key: Which weights instead: the name of a set ("state_dict_ema"), what names of tensors
            begin with ("teacher.backbone"), or both with a dot between.

    Raises:
        DataError: The file is neither safetensors nor a plain torch state dict, or has nothing
            under the key.
    """
    from safetensors.torch import load_file

    path = Path(path)
    with _readable(path):
        state = load_file(path) if path.suffix == _SAFE else _load_torch(path, mmap=False)
    return _named(state, path, key)


def check_state(path: str | Path, key: str = "") -> None:
    """Check that a file holds named tensors, without reading them.

    Of safetensors the header is read, and that the file is as long as it says; of torch's own
    format what describes the tensors. Files of torch before 1.6 have no such part: they are
    read whole.

    Args:
        path: See `read_state`.
        key: See `read_state`.

    Raises:
        DataError: As `read_state`.
    """
    from safetensors import safe_open

    path = Path(path)
    with _readable(path):
        if path.suffix == _SAFE:
            with safe_open(path, framework="pt") as file:
                state: Any = dict.fromkeys(file.keys())
            if key:
                _under(state, key, path)
            return
        state = _load_torch(path, mmap=zipfile.is_zipfile(path))
    _named(state, path, key, log=False)


def _load_torch(path: Path, *, mmap: bool) -> Any:
    """Load what torch has saved, on the CPU; with `mmap` tensors are read when they are used.

    Masked autoencoders keep the arguments of their training, an `argparse.Namespace`, beside the
    weights: a plain holder of values, which runs nothing when it is read.
    """
    import torch

    with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
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


def _named(state: Any, path: Path, key: str = "", *, log: bool = True) -> dict[str, torch.Tensor]:
    """Return the named tensors of what a file holds, out of their wrapper.

    Raises:
        DataError: There are none, or it is not said which.
    """
    sets = {name: found for name, found in _sets(state) if found}
    if key:
        # The longest name of a set that the key begins with; the rest begins names of tensors.
        inside = [name for name in sets if f"{key}.".startswith(f"{name}." if name else "")]
        if not inside:
            raise _no_such_key(path, key, sets)
        name = max(inside, key=len)
        rest = key[len(name) :].removeprefix(".")
        return _under(sets[name], rest, path) if rest else sets[name]
    if not sets:
        raise DataError(
            f"the weights {str(path)!r} hold {type(state).__name__}, not named tensors",
            "Expected a state dict: parameter name -> tensor.",
        )
    usual = sorted(sets, key=_preference)
    if len(sets) > 1 and _preference(usual[0]) == _preference(usual[1]):
        raise DataError(
            f"the weights {str(path)!r} hold {len(sets)} sets: {', '.join(map(repr, sets))}",
            "None of them is called as weights usually are.",
            f"Say which: ?checkpoint_key={usual[0]} after the model's name.",
        )
    if log and len(sets) > 1:
        logger.info(
            "%s: its %r is taken, not %s. Another: ?checkpoint_key=%s after the model's name.",
            path.name, usual[0], ", ".join(map(repr, usual[1:])), usual[1],
        )  # fmt: skip
    return sets[usual[0]]


def _preference(name: str) -> int:
    """Return the place of a set among those that a file holds: the lowest is taken."""
    if not name:
        return -1
    inner = name.rpartition(".")[2]
    return _WRAPPERS.index(inner) if inner in _WRAPPERS else len(_WRAPPERS)


def _sets(state: Any, name: str = "") -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield the sets of named tensors that nested dictionaries hold, with the way to each."""
    import torch

    if not isinstance(state, dict):
        return
    tensors = [isinstance(value, torch.Tensor) for value in state.values()]
    if all(tensors) and all(isinstance(inner, str) for inner in state):
        yield name, dict(state)
        return
    for inner, value in state.items():
        if isinstance(inner, str) and inner != "optimizer":
            yield from _sets(value, f"{name}.{inner}" if name else inner)


def _under[T](state: Mapping[str, T], key: str, path: Path) -> dict[str, T]:
    """Return what is named with a prefix, without it.

    Raises:
        DataError: Nothing is.
    """
    found = {k.removeprefix(f"{key}."): v for k, v in state.items() if k.startswith(f"{key}.")}
    if not found:
        raise _no_such_key(path, key, {"": state})
    return found


def _no_such_key(path: Path, key: str, sets: Mapping[str, Mapping[str, Any]]) -> DataError:
    known = [name for name in sets if name] or _prefixes(next(iter(sets.values()), {}))
    return DataError(
        f"the weights {str(path)!r} hold nothing under checkpoint_key={key!r}",
        f"They have: {', '.join(known) or 'names without a prefix'}.",
        f"Type ?checkpoint_key={known[0]}." if known else "Leave checkpoint_key out.",
    )


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return what names begin with up to their first dot, the most frequent first."""
    return [
        name for name, _ in Counter(n.partition(".")[0] for n in names if "." in n).most_common()
    ]


def common_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes that all names share, up to each dot, the shortest first.

    >>> common_prefixes(["module.net.a", "module.net.b.c"])
    ['module.', 'module.net.']
    """
    parts = sorted(name.split(".") for name in names)
    # What the first and the last in order share, all between them share.
    shared = zip(parts[0][:-1], parts[-1][:-1], strict=False) if parts else ()
    same = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], shared)]
    return [".".join(same[: i + 1]) + "." for i in range(len(same))]


def check_weights(handle: ModelHandle) -> None:
    """Check the weights file of a model, where there is one, without reading the tensors.

    Raises:
        DataError: As `read_state`.
        ParameterError: As `checkpoint_key`.
    """
    key = checkpoint_key(handle)
    if handle.weights:
        check_state(handle.weights, key)


def checkpoint_key(handle: ModelHandle) -> str:
    """Return which weights of a local file a model's name asks for; empty for the usual ones.

    Raises:
        ParameterError: There is no local file to take them from.
    """
    if CHECKPOINT_KEY not in handle.options:
        return ""
    if not handle.weights:
        raise ParameterError(
            f"{handle} has the option {CHECKPOINT_KEY!r}",
            "It says which weights of a local file are taken.",
            "Add --weights PATH, or leave it out.",
        )
    return str(handle.options[CHECKPOINT_KEY])


def without_prefix(
    state: dict[str, torch.Tensor],
    own: Collection[str],
    path: str | Path,
    *,
    renamed: Callable[[dict[str, torch.Tensor]], Collection[str]] = lambda state: state,
) -> dict[str, torch.Tensor]:
    """Take off the prefix that all names share, where the rest are names of the network.

    Training wraps networks ("module.", "_orig_mod.", "model.", "encoder."), and names each
    parameter after the wrapper. A prefix that leaves no more names of the network than before
    belongs to it.

    Args:
        state: Named tensors.
        own: Names of the network.
        path: Where they come from, for the log.
        renamed: Turns published names into those of the network, where they are others.
    """
    candidates = {"": state}
    for prefix in common_prefixes(state):
        candidates[prefix] = {k.removeprefix(prefix): tensor for k, tensor in state.items()}
    if len(candidates) == 1:
        return state
    fits = {p: sum(k in own for k in renamed(found)) for p, found in candidates.items()}
    prefix = max(fits, key=lambda p: fits[p])  # the first of equals
    if prefix:
        logger.info("%s: the prefix %r of all names is taken off.", Path(path).name, prefix)
    return candidates[prefix]


def load_state(
    net: torch.nn.Module,
    path: str | Path,
    architecture: str,
    *,
    key: str = "",
    spare: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
) -> None:
    """Load a weights file into a network, every parameter of it.

    Args:
        net: The network.
        path: See `read_state`.
        architecture: What the network is called, for the message.
        key: See `read_state`.
        spare: Says of a parameter's name in the file that the network need not have it.

    Raises:
        DataError: Parameters are missing, unknown, or of another shape.
    """
    put_state(net, read_state(path, key), path, architecture, spare=spare)


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

    A prefix that all names share is taken off where the rest fits.

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
    state = without_prefix(dict(state), own, path)
    kept = {name: t for name, t in state.items() if name in own or not spare(name)}
    # Old files lack the counters of batch norm, which only training uses.
    lacking = sorted(
        k for k in set(own) - set(kept) if not (k.endswith("num_batches_tracked") or optional(k))
    )
    foreign = sorted(set(kept) - set(own))
    wrong = sorted(k for k in own if k in kept and own[k].shape != kept[k].shape)
    if lacking or foreign or wrong:
        raise mismatch_error(
            path, architecture, lacking, foreign, wrong, hint=_way_in(state, own, optional)
        )
    net.load_state_dict(kept, strict=False)


_ARCHITECTURE = "Give the weights of this architecture, or its options after '?' (pad_type=same)."


def _way_in(
    state: Mapping[str, torch.Tensor],
    own: Collection[str],
    optional: Callable[[str], bool],
) -> str:
    """Return what to type where a part of the names would fit, else that the network is another."""
    needed = [k for k in own if not (k.endswith("num_batches_tracked") or optional(k))]
    if needed:
        ends = [k.removesuffix(needed[0]) for k in state if k.endswith(f".{needed[0]}")]
        for prefix in ends:
            if all(f"{prefix}{k}" in state for k in needed):
                return (
                    f"The names that begin with {prefix!r} fit: type ?checkpoint_key={prefix[:-1]} "
                    "after the model's name."
                )
    return _ARCHITECTURE


def mismatch_error(
    path: str | Path,
    architecture: str,
    lacking: Sequence[str],
    foreign: Sequence[str],
    wrong: Sequence[str],
    *,
    hint: str = _ARCHITECTURE,
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
    parts = (("parameters missing", lacking), ("unknown", foreign), ("of another shape", wrong))
    counts = ", ".join(
        f"{len(names)} {what}" + (f" (first {names[0]!r})" if names else "")
        for what, names in parts
    )
    prefixes = [f"{name}." for name in _prefixes(foreign)]
    shown = ", ".join(map(repr, prefixes[:_SHOWN])) + (", ..." if len(prefixes) > _SHOWN else "")
    return DataError(
        f"the weights {str(path)!r} belong to another architecture than {architecture!r}: {counts}",
        f"The unknown names have the prefix {shown}." if prefixes else "",
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
