"""Weights of a network: matched strictly, identified by a hash; `checkpoint_file` reads them."""

from __future__ import annotations

import hashlib
import logging
import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import fingerprint
from foveate.models.checkpoint_file import check_state, read_state, top_names
from foveate.models.preprocess import CHECKPOINT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import torch

    from foveate.models.base import ModelHandle

    Shape = tuple[int, ...]

logger = logging.getLogger("foveate")

RANDOM = "random"  # tag of seeded random weights
RANDOM_SOURCE = "random weights, seed 0"
_SHOWN = 4  # maximum number of prefixes in a message


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
    resized: Callable[[str, Shape, Shape], str] = lambda name, given, needed: "",  # noqa: ARG005
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
        resized: Returns the hint for a parameter of another shape, from its name, its shape in the
            state and that in the network; empty if there is none.

    Raises:
        DataError: Parameters are missing, unknown, or of another shape, are quantised, or are NaN
            or infinite.
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
            hint=_part_hint(path)
            or _mismatch_hint(state, target, optional)
            or _shape_hint(wrong, kept, target, resized),
        )
    _check_values(net, kept, path)
    net.load_state_dict(kept, strict=False)


_ARCHITECTURE = (
    "Use weights of this architecture, or add its options after '?' (pad_type=same, "
    "global_pool=avg)."
)


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
    return ""


_PART_OF = re.compile(r"-(\d{5}-of-\d{5})(\.[a-z]+)$")


def _part_hint(path: str | Path) -> str:
    """Return the hint for one of several files of a network, named as transformers does."""
    name = Path(path).name
    if not (found := _PART_OF.search(name)):
        return ""
    index = name[: found.start()] + found[2] + ".index.json"
    return f"The file is one part of several ({found[1]}): give their index, {index!r}."


def _shape_hint(
    wrong: Sequence[str],
    state: Mapping[str, torch.Tensor],
    target: Mapping[str, torch.Tensor],
    resized: Callable[[str, Shape, Shape], str],
) -> str:
    """Return the hint of a mismatch: the shapes of the first parameter of another shape, if any."""
    if not wrong:
        return _ARCHITECTURE
    name = wrong[0]
    given, needed = tuple(state[name].shape), tuple(target[name].shape)
    shapes = f"{name!r} is {_by(given)} in the file and {_by(needed)} in the network."
    return f"{shapes} {resized(name, given, needed) or _ARCHITECTURE}"


def _by(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a number"


def _check_values(
    net: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str | Path
) -> None:
    """Refuse values that cannot be weights: integers of a quantised network, NaN and infinity.

    Buffers may be infinite (masks of attention), apart from the statistics of batch norm.

    Raises:
        DataError: There are such values.
    """
    target = net.state_dict()
    quantised = [
        k for k in state if target[k].is_floating_point() and not state[k].is_floating_point()
    ]
    if quantised:
        raise DataError(
            f"the weights {str(path)!r} contain {quantised[0]!r} as "
            f"{str(state[quantised[0]].dtype).removeprefix('torch.')}",
            "The network has floating-point parameters; quantised weights are not supported.",
            "Use the weights in float32, bfloat16 or float16.",
        )
    values = {name for name, _ in net.named_parameters()}
    values |= {name for name in target if name.rpartition(".")[2].startswith("running_")}
    broken = [k for k in state if k in values and not state[k].float().isfinite().all()]
    if broken:
        raise DataError(
            f"the weights {str(path)!r} contain NaN or infinity in {len(broken)} parameters "
            f"(first {broken[0]!r})",
            "A network with such a value returns NaN or constants; the training diverged, or the "
            "file was converted to float16 out of its range.",
            "Use an earlier checkpoint.",
        )


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
    prefixes = [f"{name}." for name in top_names(unknown)]
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


def random_weights(build: Callable[[], Any], seed: int = 0) -> Any:
    """Build a network with seeded random weights, without changing the global torch generator."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # manual_seed would seed every GPU too
        return build()
