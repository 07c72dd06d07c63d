"""Weights from files and hubs: read without unpickling, matched strictly, identified by a hash."""

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
from foveate.pool.find import is_pointer

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

RANDOM = "random"  # tag of seeded random weights
RANDOM_SOURCE = "random weights, seed 0"
_SAFE = ".safetensors"
_TORCH = (b"PK\x03\x04", b"\x80")  # zip archives and pickles
# Keys of the weights in checkpoints, by preference.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network", "params", "weights")
_SHOWN = 4  # maximum number of prefixes in a message


def read_state(path: str | Path, key: str = "") -> dict[str, torch.Tensor]:
    """Read named tensors from a file; nothing is unpickled.

    Args:
        path: ``.safetensors``, or a file that ``torch.load(weights_only=True)`` accepts, with the
            tensors at the top level or under a key. Of several sets, the trained weights
            ("state_dict", "model" and similar) are selected, not their moving average, and the log
            lists the others.
        key: Weights to select instead: the name of a set ("state_dict_ema"), a prefix of tensor
            names ("teacher.backbone"), or both joined by a dot.

    Raises:
        DataError: The file is neither safetensors nor a plain torch state dict, or does not contain
            the key.
    """
    from safetensors.torch import load_file

    path = Path(path)
    with _readable(path):
        state = load_file(path) if _is_safetensors(path) else _load_torch(path, mmap=False)
    return _named(state, path, key)


def check_state(path: str | Path, key: str = "") -> None:
    """Check that a file contains named tensors, without reading them.

    For safetensors, the header and the file size are checked; for the format of torch, the index of
    the tensors. Files of torch before 1.6 have no index and are read completely.

    Args:
        path: See `read_state`.
        key: See `read_state`.

    Raises:
        DataError: As `read_state`.
    """
    from safetensors import safe_open

    path = Path(path)
    with _readable(path):
        if _is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                state: Any = dict.fromkeys(file.keys())
            if key:
                _under(state, key, path)
            return
        state = _load_torch(path, mmap=zipfile.is_zipfile(path))
    _named(state, path, key, log=False)


def _is_safetensors(path: Path) -> bool:
    """Return whether a file is safetensors; its content decides, then its suffix.

    A safetensors file starts with the length of its header, which is JSON; a file of torch is a
    zip archive or a pickle.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return True
    return path.suffix == _SAFE and not start.startswith(_TORCH)


def _load_torch(path: Path, *, mmap: bool) -> Any:
    """Load a file of torch on the CPU; with `mmap`, tensors are read on first use.

    Checkpoints of masked autoencoders contain the training arguments, an `argparse.Namespace`,
    which is allowed because it executes no code when it is unpickled.
    """
    import torch

    with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
        warnings.simplefilter("ignore")  # about content that is refused anyway
        if path.suffix == _SAFE:  # torch would pass a file of this name to safetensors
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


@contextlib.contextmanager
def _readable(path: Path) -> Generator[None]:
    """Convert any exception of a block to a `DataError`.

    Raises:
        DataError: The weights cannot be read, or have not been fetched.
    """
    import pickle

    try:
        yield
    except Exception as error:  # readers have no common exception class
        refuse_pointer(path)
        reason = (
            "it is not a state dict, or a pickle with other objects than tensors"
            if isinstance(error, pickle.UnpicklingError)
            else first_line(error)
        )
        raise DataError(
            f"cannot read the weights {str(path)!r}: {reason}",
            "Allowed: .safetensors, or a file that torch.load(weights_only=True) accepts; "
            "foveate does not unpickle files.",
            "Convert it with safetensors.torch.save_file(state_dict, 'weights.safetensors').",
        ) from error


def refuse_pointer(path: Path) -> None:
    """Raise an error for a pointer to weights that have not been fetched.

    Raises:
        DataError: The file is a pointer of Git LFS or git-annex.
    """
    if is_pointer(path):
        raise DataError(
            f"the weights {str(path)!r} have not been fetched: the file is a pointer to the "
            "content",
            "Git LFS and git-annex store such pointers in place of large files.",
            "Fetch the content: git lfs pull, or git annex get.",
        )


def _named(state: Any, path: Path, key: str = "", *, log: bool = True) -> dict[str, torch.Tensor]:
    """Return the named tensors of a file, without wrapper keys.

    Raises:
        DataError: There are none, or the selection is ambiguous.
    """
    sets = {name: found for name, found in _sets(state) if found}
    if key:
        # The key is the name of a set, optionally followed by a prefix of tensor names.
        matching = [name for name in sets if f"{key}.".startswith(f"{name}." if name else "")]
        if not matching:
            raise _no_such_key(path, key, sets)
        name = max(matching, key=len)
        prefix = key[len(name) :].removeprefix(".")
        return _under(sets[name], prefix, path) if prefix else sets[name]
    if not sets:
        raise DataError(
            f"the weights {str(path)!r} contain {type(state).__name__}, not named tensors",
            "Expected a state dict: parameter name -> tensor.",
        )
    order = sorted(sets, key=_preference)
    if len(sets) > 1 and _preference(order[0]) == _preference(order[1]):
        raise DataError(
            f"the weights {str(path)!r} contain {len(sets)} sets: {', '.join(map(repr, sets))}",
            "None of them has a usual name of weights.",
            f"Select one: append ?checkpoint_key={order[0]} to the model name.",
        )
    if log and len(sets) > 1:
        logger.info(
            "%s: using %r, not %s. To use another, append ?checkpoint_key=%s to the model name.",
            path.name, order[0], ", ".join(map(repr, order[1:])), order[1],
        )  # fmt: skip
    return sets[order[0]]


def _preference(name: str) -> int:
    """Return the sort key of a set of tensors; the lowest is selected."""
    if not name:
        return -1
    inner = name.rpartition(".")[2]
    return _WRAPPERS.index(inner) if inner in _WRAPPERS else len(_WRAPPERS)


def _sets(state: Any, name: str = "") -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield the sets of named tensors in nested dictionaries, with their paths."""
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
    """Return the entries with a prefix, without the prefix.

    Raises:
        DataError: There are none.
    """
    found = {k.removeprefix(f"{key}."): v for k, v in state.items() if k.startswith(f"{key}.")}
    if not found:
        raise _no_such_key(path, key, {"": state})
    return found


def _no_such_key(path: Path, key: str, sets: Mapping[str, Mapping[str, Any]]) -> DataError:
    known = [name for name in sets if name] or _prefixes(next(iter(sets.values()), {}))
    return DataError(
        f"the weights {str(path)!r} contain no tensors under checkpoint_key={key!r}",
        f"Available: {', '.join(known) or 'names without a prefix'}.",
        f"Use ?checkpoint_key={known[0]}." if known else "Remove checkpoint_key.",
    )


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes of names up to their first dot, most frequent first."""
    return [
        name for name, _ in Counter(n.partition(".")[0] for n in names if "." in n).most_common()
    ]


def common_prefixes(names: Iterable[str]) -> list[str]:
    """Return the common prefixes of all names, up to each dot, shortest first.

    >>> common_prefixes(["module.net.a", "module.net.b.c"])
    ['module.', 'module.net.']
    """
    parts = sorted(name.split(".") for name in names)
    # A prefix common to the first and the last in order is common to all.
    shared = zip(parts[0][:-1], parts[-1][:-1], strict=False) if parts else ()
    same = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], shared)]
    return [".".join(same[: i + 1]) + "." for i in range(len(same))]


def check_weights(handle: ModelHandle) -> None:
    """Check the local weights file of a model, if any, without reading the tensors.

    Raises:
        DataError: As `read_state`.
        ParameterError: As `checkpoint_key`.
    """
    key = checkpoint_key(handle)
    if handle.weights:
        check_state(handle.weights, key)


def checkpoint_key(handle: ModelHandle) -> str:
    """Return the option ``checkpoint_key`` of a model name; empty for the default weights.

    Raises:
        ParameterError: There is no local file.
    """
    if CHECKPOINT_KEY not in handle.options:
        return ""
    if not handle.weights:
        raise ParameterError(
            f"{handle} has the option {CHECKPOINT_KEY!r}",
            "The option selects weights of a local file.",
            "Add --weights PATH, or remove the option.",
        )
    return str(handle.options[CHECKPOINT_KEY])


def read_weights(handle: ModelHandle, path: str | Path = "") -> dict[str, torch.Tensor]:
    """Read the weights of a model from its local file, or from a downloaded one at `path`.

    Raises:
        DataError: As `read_state`.
    """
    return read_state(path or handle.weights, checkpoint_key(handle))


def without_prefix(
    state: dict[str, torch.Tensor],
    names: Collection[str],
    path: str | Path,
    *,
    renamed: Callable[[dict[str, torch.Tensor]], Collection[str]] = lambda state: state,
) -> dict[str, torch.Tensor]:
    """Remove a common prefix of all names if the remainders are names of the network.

    Wrappers used in training ("module.", "_orig_mod.", "model.", "encoder.") add a prefix to the
    name of each parameter. A prefix is kept if its removal does not increase the number of names
    that match the network.

    Args:
        state: Named tensors.
        names: Parameter names of the network.
        path: File of the tensors, for the log.
        renamed: Maps published names to those of the network, if they differ.
    """
    candidates = {"": state}
    for prefix in common_prefixes(state):
        candidates[prefix] = {k.removeprefix(prefix): tensor for k, tensor in state.items()}
    if len(candidates) == 1:
        return state
    fits = {p: sum(k in names for k in renamed(found)) for p, found in candidates.items()}
    prefix = max(fits, key=lambda p: fits[p])  # the first of equals
    if prefix:
        logger.info("%s: the common prefix %r is removed.", Path(path).name, prefix)
    return candidates[prefix]


def load_state(
    net: torch.nn.Module,
    path: str | Path,
    architecture: str,
    *,
    key: str = "",
    spare: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
) -> None:
    """Load a weights file into a network; all parameters must match.

    Args:
        net: The network.
        path: See `read_state`.
        architecture: Name of the network, for the message.
        key: See `read_state`.
        spare: Returns whether a parameter of the file may be missing from the network.

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
    """Load named tensors into a network, converted to its dtypes.

    A common prefix of all names is removed if the remainders match.

    Args:
        net: The network.
        state: Named tensors with the parameter names of the network.
        path: File of the tensors, for the message.
        architecture: Name of the network, for the message.
        spare: Returns whether a parameter of the state may be missing from the network.
        optional: Returns whether a parameter of the network may be missing from the state.

    Raises:
        DataError: Parameters are missing, unknown, or of another shape.
    """
    target = net.state_dict()
    state = without_prefix(dict(state), target, path)
    kept = {name: t for name, t in state.items() if name in target or not spare(name)}
    # Old files have no batch counters of batch norm, which are used in training only.
    missing = sorted(
        k for k in set(target) - set(kept) if not (k.endswith("num_batches_tracked") or optional(k))
    )
    unknown = sorted(set(kept) - set(target))
    wrong = sorted(k for k in target if k in kept and target[k].shape != kept[k].shape)
    if missing or unknown or wrong:
        raise mismatch_error(
            path,
            architecture,
            missing,
            unknown,
            wrong,
            hint=_mismatch_hint(state, target, optional),
        )
    net.load_state_dict(kept, strict=False)


_ARCHITECTURE = "Use weights of this architecture, or add its options after '?' (pad_type=same)."


def _mismatch_hint(
    state: Mapping[str, torch.Tensor],
    target: Collection[str],
    optional: Callable[[str], bool],
) -> str:
    """Return the hint of a mismatch: a prefix under which all parameters exist, if any."""
    needed = [k for k in target if not (k.endswith("num_batches_tracked") or optional(k))]
    if needed:
        ends = [k.removesuffix(needed[0]) for k in state if k.endswith(f".{needed[0]}")]
        for prefix in ends:
            if all(f"{prefix}{k}" in state for k in needed):
                return (
                    f"The names that start with {prefix!r} match: append "
                    f"?checkpoint_key={prefix[:-1]} to the model name."
                )
    return _ARCHITECTURE


def mismatch_error(
    path: str | Path,
    architecture: str,
    missing: Sequence[str],
    unknown: Sequence[str],
    wrong: Sequence[str],
    *,
    hint: str = _ARCHITECTURE,
) -> DataError:
    """Return the error for weights that do not match a network.

    Args:
        path: File of the weights.
        architecture: Name of the network.
        missing: Parameters that are missing from the weights.
        unknown: Parameters that the network does not have.
        wrong: Parameters of another shape.
        hint: Hint of the error.
    """
    parts = (("parameters missing", missing), ("unknown", unknown), ("of another shape", wrong))
    counts = ", ".join(
        f"{len(names)} {what}" + (f" (first {names[0]!r})" if names else "")
        for what, names in parts
    )
    prefixes = [f"{name}." for name in _prefixes(unknown)]
    shown = ", ".join(map(repr, prefixes[:_SHOWN])) + (", ..." if len(prefixes) > _SHOWN else "")
    return DataError(
        f"the weights {str(path)!r} do not match the architecture {architecture!r}: {counts}",
        f"The unknown names have the prefix {shown}." if prefixes else "",
        hint,
    )


def weights_hash(net: torch.nn.Module, *more: object) -> str:
    """Return a hash of the parameters and of further values that affect the outputs."""
    sha = hashlib.blake2b(b"weights/2", digest_size=16)
    sha.update(repr(more).encode())
    for name, tensor in sorted(net.state_dict().items()):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()))
    return sha.hexdigest()


def source_of(weights: str, hub: str = "") -> str:
    """Return the source of weights for `EncoderSpec.source`: the local file, or the hub id."""
    if not weights:
        return hub
    path = Path(weights)
    if path.is_dir():
        return path.resolve().name  # resolves "."
    return f"{path.name} ({fingerprint(weights)[:12]})"


def first_line(error: Exception) -> str:
    """Return the first line of the text of an error, for use in another message.

    Errors of damaged files often have no text, a number, or an internal name; then only the class
    of the error is stated.
    """
    lines = str(error).strip().splitlines()
    useful = lines and " " in lines[0] and not isinstance(error, KeyError | IndexError | EOFError)
    if useful:
        return lines[0][:200]
    return f"the file is damaged or of another format ({type(error).__name__})"


def random_weights(build: Callable[[], Any], seed: int = 0) -> Any:
    """Build a network with seeded random weights, without changing the global torch generator."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # manual_seed would seed every GPU too
        return build()
