"""Files of weights: named tensors of safetensors and of torch, read without unpickling."""

from __future__ import annotations

import argparse
import contextlib
import logging
import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.files import read_json
from foveate.pool.find import is_pointer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    import torch

logger = logging.getLogger("foveate")

_SAFE = ".safetensors"
_INDEX = ".index.json"  # ending of the names of indices of several files
_TORCH = (b"PK\x03\x04", b"\x80")  # zip archives and pickles
_USUAL = (_SAFE, _INDEX, ".pt", ".pth", ".ckpt", ".bin")
_SHOWN = 4  # maximum number of files in a message
# Keys of the weights in checkpoints, by preference.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network", "params", "weights")


def read_state(path: str | Path, key: str = "") -> dict[str, torch.Tensor]:
    """Read named tensors from a file; nothing is unpickled.

    Args:
        path: ``.safetensors``, or a file that ``torch.load(weights_only=True)`` accepts, with the
            tensors at the top level or under a key; or the ``.index.json`` of several such files,
            as transformers and accelerate write it. Of several sets, the trained weights
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
    if path.name.endswith(_INDEX):
        parts = [read_state(part) for part in _parts(path)]
        return _named({name: tensor for part in parts for name, tensor in part.items()}, path, key)
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
    if path.name.endswith(_INDEX):
        for part in _parts(path):
            check_state(part)
        return
    with _readable(path):
        if _is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                state: Any = dict.fromkeys(file.keys())
            if key:
                _under(state, key, path)
            return
        state = _load_torch(path, mmap=zipfile.is_zipfile(path))
    _named(state, path, key, log=False)


def _parts(index: Path) -> list[Path]:
    """Return the files of an index.

    Raises:
        DataError: It is not an index, or a file is missing.
    """
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise DataError(
            f"{str(index)!r} is not an index of weights",
            "Expected an object with 'weight_map': parameter name -> file.",
        )
    parts = [index.parent / Path(str(name)).name for name in sorted(set(weight_map.values()))]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(parts)} files of {str(index)!r} are missing (first "
            f"{missing[0]!r})",
            "All of them are required, next to the index.",
        )
    return parts


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
    try:
        yield
    except Exception as error:  # readers have no common exception class
        refuse_pointer(path)
        reason, hint = _why_not(path, error)
        raise DataError(
            f"cannot read the weights {str(path)!r}: {reason}",
            "Allowed: .safetensors, or a file that torch.load(weights_only=True) accepts; "
            "foveate does not unpickle files.",
            hint,
        ) from error


_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # in the message of torch
_SAVE = "safetensors.torch.save_file({}, 'weights.safetensors')."
_CONVERT = f"Convert it with {_SAVE.format('state_dict')}"


def _why_not(path: Path, error: Exception) -> tuple[str, str]:
    """Return the reason why a file cannot be read, and what to do."""
    import pickle

    if path.is_dir():
        names = sorted(f.name for f in path.iterdir() if f.name.endswith(_USUAL))
        found = f" Files in it: {', '.join(names[:_SHOWN])}." if names else ""
        return "it is a folder", f"Give a file.{found} Only hf models are read from folders."
    if "TorchScript" in str(error):
        state = f"torch.jit.load({path.name!r}).state_dict()"
        return "it is a TorchScript archive", f"Save its parameters with {_SAVE.format(state)}"
    if not isinstance(error, pickle.UnpicklingError):
        return first_line(error), _CONVERT
    if found := _GLOBAL.search(str(error)):
        state = f"torch.load({path.name!r}, weights_only=False)['state_dict']"
        return (
            f"it is a pickle with other objects than tensors, {found[1]} among them",
            f"If you trust its source, save its tensors alone, for example: {_SAVE.format(state)}",
        )
    return "it is not a state dict", _CONVERT


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
    sets = dict(_sets(state)) or dict(_sets(state, mixed=True))
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


def _sets(
    state: Any, name: str = "", *, mixed: bool = False
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield the sets of named tensors in nested dictionaries, with their paths.

    Args:
        state: Content of a file.
        name: Path of the content.
        mixed: Whether a set may contain other values, which are left out:
            ``{**state_dict, "epoch": 5}``.
    """
    import torch

    if not isinstance(state, dict):
        return
    named = {k: v for k, v in state.items() if isinstance(k, str)}
    tensors = {k: v for k, v in named.items() if isinstance(v, torch.Tensor)}
    if len(tensors) == len(state) or (mixed and tensors):
        if tensors:
            yield name, tensors
        return
    for inner, value in named.items():
        if inner != "optimizer":
            yield from _sets(value, f"{name}.{inner}" if name else inner, mixed=mixed)


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
    known = [name for name in sets if name] or top_names(next(iter(sets.values()), {}))
    return DataError(
        f"the weights {str(path)!r} contain no tensors under checkpoint_key={key!r}",
        f"Available: {', '.join(known) or 'names without a prefix'}.",
        f"Use ?checkpoint_key={known[0]}." if known else "Remove checkpoint_key.",
    )


def top_names(names: Iterable[str]) -> list[str]:
    """Return the parts of names up to their first dot, most frequent first."""
    return [
        name for name, _ in Counter(n.partition(".")[0] for n in names if "." in n).most_common()
    ]


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
