"""What the demo prints of its runs of `observe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.cli.observed_select import selected_content, selected_text
from foveate.cli.observed_train import trained_text
from foveate.files import read_json
from foveate.observe.train import EVALUATION

if TYPE_CHECKING:
    from foveate.demo import Demo


def observed_text(made: Demo) -> tuple[dict[str, Any], str]:
    """Return the results of a training and of a choice, as JSON and for people."""
    trained, chosen = made.train, made.observe
    if trained is None or chosen is None:
        return {"left_out": made.left_out}, made.left_out
    judged = read_json(trained.path / EVALUATION)
    content = {
        "train": {"run": str(trained.path), **trained.record["summary"], "evaluation": judged},
        "observe": selected_content(chosen),
    }
    return content, f"{trained_text(trained, judged)}\n{selected_text(chosen)}"
