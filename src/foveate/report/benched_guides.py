"""How to read the page of a benchmark: what its words mean and leave out."""

from __future__ import annotations

BENCHED = [
    (
        "Names of rows",
        (
            "Who chose the tiles, and how the rest was completed: ours, by the predictor; fill, by "
            "the LR fill, which knows the overview alone; none, not at all. Full HR observes all."
        ),
    ),
    (
        "Mark and line",
        (
            "The mark is the mean difference to the reference in the leading measure, the line its "
            "95 % interval; right of zero is more than the reference. The reference stands at zero."
        ),
    ),
    (
        "Better, worse",
        (
            "The interval excludes zero, and the p-value after Holm's correction for all rows of "
            "the table is at most .05. It says that there is a difference, not that it matters."
        ),
    ),
    (
        "Tied, open",
        (
            "Tied: the interval contains zero; that is no proof that two are alike. Open: it "
            "excludes zero, but the correction does not reject, or there are too few groups."
        ),
    ),
    (
        "Seeds and groups",
        (
            "Each seed divides the scenes anew and trains anew. Intervals draw whole groups of "
            "test scenes, for neighbouring scenes are alike; few groups make them too narrow."
        ),
    ),
    (
        "Claims",
        (
            "What was hoped for of the methods, decided by rule from the figures. A claim that was "
            "not reached may be one that these scenes are too few to show."
        ),
    ),
    (
        "Observed share (OBR)",
        (
            "The share of the tiles that is seen in high resolution. The rest is completed from "
            "the overview and from what was observed."
        ),
    ),
]  # fmt: skip
