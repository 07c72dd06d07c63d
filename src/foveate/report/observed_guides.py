"""How to read the pages of `foveate observe`: what their words mean and leave out."""

from __future__ import annotations

TRAINED = [
    (
        "Tile mAP",
        (
            "For each concept all tiles are put in the order of its score, and the "
            "precision is averaged over the places of the tiles that show it; then "
            "over concepts. 1 is perfect; a random order comes to the share of tiles "
            "that show the concept."
        ),
    ),
    (
        "Observed share (OBR)",
        (
            "The share of the tiles that is seen in high resolution. The rest is "
            "completed from the overview and from what was observed."
        ),
    ),
    (
        "Centred cosine",
        (
            "Cosine of the angle between completed and true tokens, both with the "
            "mean token taken away: 1 is the same direction, 0 no better than the "
            "mean."
        ),
    ),
    (
        "LR fill",
        (
            "What a regression tells of a tile\u2019s high-resolution tokens from the "
            "overview alone. Completion starts from it, and is worth what it adds to "
            "it."
        ),
    ),
    (
        "Efficiency",
        (
            "Where a policy lies between random tiles (0) and tiles chosen in "
            "knowledge of the true gain (1), by the area under its curve. Below 0 it "
            "is worse than chance."
        ),
    ),
    (
        "What the numbers leave out",
        (
            "They are means over the judged scenes, without intervals. Scenes that "
            "look unlike the training imagery may do worse."
        ),
    ),
]

SELECTED = [
    (
        "Score",
        (
            "Predicted from the overview alone. It is a place: a score of 0.9 lies "
            "above 90\u202f% of the tiles that the observer was calibrated on."
        ),
    ),
    (
        "Raw, sd",
        (
            "Mean and standard deviation of the raw scores of the sampler\u2019s heads. Where the "
            "latter is large they disagree, and the place of a tile is a guess."
        ),
    ),
    ("Observed share (OBR)", "Area of the chosen tiles as a share of the area of all tiles."),
    (
        "Cost (MOCR)",
        (
            "Price of the overviews and of the chosen tiles, as a share of the price "
            "of everything in high resolution. 1 or more saves nothing."
        ),
    ),
    (
        "Drift",
        (
            "How far the observed share is off, relative to what the threshold "
            "promises. A large one means that these overviews are unlike those of the "
            "calibration."
        ),
    ),
]

COMPLETED = [
    (
        "Completed features",
        (
            "The three main axes of each token as red, green and blue, the same for "
            "all scenes. What looks alike is alike to the encoder."
        ),
    ),
    (
        "Doubt",
        (
            "How far a tile is from what was observed, 0 for an observed tile to 1 "
            "for one that nothing observed resembles. It is no error: it says where "
            "completion had little to go by."
        ),
    ),
]
