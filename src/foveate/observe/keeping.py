"""A stage of a training as a step of a run: its network is kept, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.files import read_json, write_bytes, write_json
from foveate.models.weights import put_state, read_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from foveate.run import Run


def keep[Net: torch.nn.Module](
    run: Run, step: str, key: str, *, stem: str, new: Callable[[], Net],
    work: Callable[[], tuple[Net, dict[str, Any]]], checkpoint: Path | None = None,
) -> tuple[Net, dict[str, Any]]:  # fmt: skip
    """Do a stage unless it is done, and return its network and what is known of it.

    Args:
        run: Open run.
        step: Name of the step.
        key: Hash of everything that the stage depends on.
        stem: Its files, relative to the run, without a suffix.
        new: Makes a network that the weights fit.
        work: Trains; returns the network and facts, JSON-ready.
        checkpoint: File that is of no use once the network is kept, or None.

    Returns:
        The network as it was kept, in eval mode, and the facts.
    """
    from safetensors.torch import save as as_bytes

    weights, facts = f"{stem}.safetensors", f"{stem}.json"

    def do() -> list[str]:
        net, found = work()
        state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
        write_bytes(run.path / weights, as_bytes(state))
        write_json(run.path / facts, found)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        return [weights, facts]

    run.do(step, key, do)
    net, path = new(), run.path / weights
    put_state(net, read_state(path), path, step.replace("train", "the", 1))
    return net.eval(), read_json(run.path / facts)
