"""How to read the page of a focus run: what its numbers are, and what they are not.

Kept here and not in `focus`, like `guides`: a report is made of a run directory alone.
"""

from __future__ import annotations

_GOALS = {
    "balanced": "regions that say what all tiles say on average, and of which the model is sure",
    "rare": "regions that are least like the rest of the image",
    "dominant": "regions that say what all tiles say on average",
    "query": "regions that fit the text",
    "paper": "what the formulas of the paper pick, to the letter; docs/focus.md says where that "
    "goes wrong",
}
_MODES = {
    "zoom": "Crops at native resolution, each for a pass. A cell larger than a crop is judged by "
    "one crop of it, or squeezed: what lies elsewhere in it, or is too small for that, was not "
    "seen, and its colour on the map is a guess.",
    "window": "Cells, each an image of its own at the resolution of the overview, finer only "
    "where the search went on. What is too small for that is invisible, and the map says nothing "
    "of it.",
    "feature": "One pass over the whole image, cut into cells afterwards. What is too small for "
    "the overview is invisible, and the cells are blurred: each has seen its surroundings. A "
    "preview, not a search.",
}
_IS = (
    "The sum of four scores of a region alone: how well it does by the goal and how little of "
    "the image it takes (utility), how like the image\u2019s its features are distributed "
    "(representativeness), how little a small disturbance moves them (robustness), and what it "
    "adds next to its neighbours (synergy)."
)
_IS_NOT = (
    "No probability, no attention of the model, and no reason for its answer. It orders the "
    "regions of one image under one goal: the colours run from the least to the most important "
    "cell of that image and cannot be compared with another. The map is flat within a cell "
    "because a cell is scored as a whole."
)


def looking(task: str, goal: str, mode: str, side: int, *, classes: bool) -> list[tuple[str, str]]:
    """Return names and texts of what a reader should know.

    Args:
        task: "look", "ask" or "segment".
        goal: Name of the goal.
        mode: How it was paid.
        side: Side of the model's input in pixels of the image.
        classes: Whether there are answers in classes.
    """
    wanted = f" The goal here: {_GOALS[goal]}." if goal in _GOALS else ""
    rows = [("What importance is", _IS + wanted), ("What importance is not", _IS_NOT)]
    if mode in _MODES:
        rows.append((f"What mode {mode} can see", _MODES[mode]))
    rows.append(("What the answers are worth", _worth(task, side, classes=classes)))
    return rows


def _worth(task: str, side: int, *, classes: bool) -> str:
    squeezed = f"The whole image was squeezed to {side} pixels a side for its answer"
    if task == "ask":
        return (
            f"{squeezed}, or what the model makes of it. Both texts are what a generative model "
            "wrote: fluent, and possibly made up. Where they differ, look at the regions."
        )
    if task == "segment":
        return (
            "The masks are the model\u2019s, and so is their quality: it was not checked against "
            "anything. More masks are not better masks."
        )
    if not classes:
        return (
            "There are no classes, so there is no answer to compare: regions were chosen by "
            "their features alone. Whether they are what you are after, only the pictures say."
        )
    return (
        f"{squeezed}. Its probability says how far a class is ahead of the others on the list, "
        "not that it is true: whatever is missing from the list goes to the nearest class, and "
        "the model may be sure of that. The same holds for every region. Where the answers "
        "differ, the pictures decide."
    )
