"""How to read each method: what it optimises and where it is known to be weak.

Kept here and not in `curate`: a report is made of a run directory alone, by whatever version of
the methods wrote it. A method that is not listed is shown with its title only.
"""

from __future__ import annotations

from typing import NamedTuple


class Guide(NamedTuple):
    """Two sentences on a method."""

    optimises: str
    weakness: str


GUIDES: dict[str, Guide] = {
    "lc": Guide(
        "Takes the patches whose own class mixture is richest: the entropy of the class shares "
        "inside each patch, from 0 (one class) to 1 (all classes in equal parts).",
        "It looks at each patch alone, so neighbours that show the same mixed scene are all "
        "taken. Every single-class patch scores 0; their order is a seeded draw.",
    ),
    "fd": Guide(
        "Clusters the embeddings and takes one patch of each cluster in turn, so that every kind "
        "of appearance is visited before any is visited twice.",
        "Inside a cluster the draw is random: in effect this is stratified random sampling. Its "
        "published lists agree with no other method. Scores are places in the order.",
    ),
    "lc-fd": Guide(
        "The first m patches of FD for variety, then the order of LC without them.",
        "An exact concatenation: with a budget of at most m it is FD, and with a much larger one "
        "it is nearly LC. Scores are places in the order.",
    ),
    "fa": Guide(
        "Takes the patches to which the encoder responds most: embeddings that are large on "
        "average and vary much from dimension to dimension.",
        "It rewards what the encoder finds striking, which is not always what a map needs, and it "
        "does not look at what was chosen before: near-duplicates score alike.",
    ),
    "cb": Guide(
        "Adds, one at a time, the patch that brings the class shares of the whole selection "
        "closest to uniform.",
        "It knows classes, not appearance: two patches with the same class shares are the same to "
        "it. Late places mean 'least harmful', not 'least useful'; beyond about half of the pool "
        "the order says little. Scores are places in the order.",
    ),
    "fa-cb": Guide(
        "The mean of the FA and CB scores: patches that are striking and that even out the "
        "classes.",
        "Equal weights are not equal influence: CB's scores spread about twice as wide, so CB "
        "decides most of the order. combine=rank weighs both alike.",
    ),
    "kcenter": Guide(
        "Each step takes the patch farthest, in embedding space, from everything taken so far: no "
        "patch of the pool is left far from a chosen one.",
        "Far away is also where artefacts and outliers are: small budgets are spent on odd "
        "patches. The first pick is a seeded draw. Scores are places in the order.",
    ),
    "random": Guide(
        "Nothing: every patch has the same chance. The baseline that a method has to beat.",
        "Rare classes stay rare. One seed is one draw: compare with several.",
    ),
}
