"""State that a model must not change: torch's settings and its networks."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from foveate.testing.rules import need

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import torch

_DEPTH = 5  # of attributes and containers between a model and its network
_PLAIN = (str, bytes, int, float, complex, type, ModuleType, type(None))
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)


@contextlib.contextmanager
def untouched_torch(model: object) -> Generator[None]:
    """Fail if a block changes torch's settings or the networks of a model.

    Checked per network: its modules, their train mode and hooks, a replaced
    ``forward``, and the bytes, requires_grad and gradient of all parameters and buffers.

    Raises:
        CheckFailed: Something changed; the message names it.
    """
    before = _state(model)
    yield
    after = _state(model)
    for where, facts in before.items():
        found = after.get(where, {})
        for what, value in facts.items():
            need(
                found.get(what) == value,
                f"the model changes {what}" + (f" of {where}" if where else ""),
                "",
                f"from {value} to {found.get(what, 'nothing')}",
            )
    for where in after:
        need(not before or where in before, f"the model adds {where} during use")


def networks(model: object) -> list[torch.nn.Module]:
    """Return the networks of a model, at most five steps of attributes deep.

    A step is an attribute, an entry of a list or dictionary, or a closure variable of a
    function. Modules inside a network are not listed again.
    """
    library = sys.modules.get("torch")
    if library is None:
        return []
    found: list[torch.nn.Module] = []
    seen: set[int] = set()
    level: list[object] = [model]
    for _ in range(_DEPTH + 1):
        further: list[object] = []
        for item in level:
            if isinstance(item, _PLAIN) or id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, library.nn.Module):
                found.append(item)
            else:
                further += _held(item)
        level = further
    return found


def _held(item: Any) -> Iterator[object]:
    if isinstance(item, dict):
        yield from item.values()
    elif isinstance(item, list | tuple | set | frozenset):
        yield from item
    else:
        yield from getattr(item, "__dict__", {}).values()
        yield getattr(item, "__self__", None)  # of a method
        for cell in getattr(item, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # not filled yet
                yield cell.cell_contents


def _state(model: object) -> dict[str, dict[str, Any]]:
    """Return the state that must not change by location: "" is torch itself."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    state: dict[str, dict[str, Any]] = {
        "": {
            "torch's grad mode": torch.is_grad_enabled(),
            "torch's default dtype": torch.get_default_dtype(),
            "torch's number of threads": torch.get_num_threads(),
        }
    }
    for number, net in enumerate(networks(model)):
        prefix = f"network {number}, {type(net).__name__}"
        for name, module in net.named_modules():
            state[f"{prefix}, module {name!r}"] = {
                "the class": type(module).__name__,
                "the train mode": module.training,
                "the hooks": sum(len(getattr(module, hooks, ())) for hooks in _HOOKS),
                "the forward method": "forward" in vars(module),
            }
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            state[f"{prefix}, tensor {name!r}"] = {
                "the values": _digest(tensor),
                "requires_grad": tensor.requires_grad,
                "the gradient": "none" if tensor.grad is None else _digest(tensor.grad),
            }
    return state


def _digest(tensor: torch.Tensor) -> str:
    torch = sys.modules["torch"]
    # As bytes: numpy has no bfloat16.
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(values, digest_size=8).hexdigest()
