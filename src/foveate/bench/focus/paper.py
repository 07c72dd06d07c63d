"""Figures of the paper, for comparison: they were measured on other data.

"Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets Selection" (HCS).
Accuracies and Dice scores in percent, costs relative to the method named.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """A table of the paper.

    Attributes:
        source: Table and data.
        columns: Its measures.
        rows: Label -> figures, in the order of the columns.
    """

    source: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float | str, ...]]


_SETS = tuple(
    f"{name} top-{k}" for name in ("NWPU-RESISC45", "AID", "RSI-CB") for k in (1, 5)
)  # fmt: skip

PUBLISHED: dict[str, Published] = {
    "main": Published(
        "Table 1, zero-shot accuracy, %", _SETS,
        {
            "ViT-B/32": (1.84, 4.61, 0.97, 4.63, 6.15, 15.33),
            "ViT-B/32 + HCS": (17.15, 28.56, 12.17, 20.61, 19.51, 27.64),
            "ViT-L/14": (2.23, 6.85, 1.37, 5.53, 8.89, 17.26),
            "ViT-L/14 + HCS": (19.23, 29.00, 15.12, 21.59, 21.32, 31.88),
            "CLIP": (3.41, 12.19, 2.16, 7.97, 12.32, 29.17),
            "CLIP + HCS": (21.36, 36.78, 18.22, 27.91, 31.39, 47.05),
            "ContextCLIP": (1.48, 11.05, 1.01, 6.25, 11.32, 25.88),
            "ContextCLIP + HCS": (18.56, 33.12, 16.01, 24.37, 29.46, 44.95),
            "LLaVA v1.6 Mistral 7B": (41.20, 52.15, 35.13, 49.36, 52.17, 59.30),
            "LLaVA v1.6 Mistral 7B + HCS": (44.15, 54.48, 40.05, 54.13, 55.66, 65.59),
            "LLaVA-NeXT Llama 3 8B": (53.12, 64.84, 39.65, 51.06, 58.33, 64.89),
            "LLaVA-NeXT Llama 3 8B + HCS": (58.42, 69.15, 42.05, 54.89, 60.50, 68.36),
            "Qwen2-VL 7B": (61.15, 75.56, 46.26, 62.03, 68.63, 76.69),
            "Qwen2-VL 7B + HCS": (66.12, 80.38, 51.04, 68.11, 76.19, 80.97),
        },
    ),
    "components": Published(
        "Table 3, CLIP on NWPU-RESISC45, accuracy, %", ("top-1", "top-5"),
        {
            "ut": (15.39, 23.51), "ut + re": (17.26, 28.89), "ut + ro": (16.97, 26.45),
            "ut + sy": (18.05, 28.65), "ut + re + ro": (18.21, 31.44),
            "ut + re + sy": (20.01, 33.47), "ut + ro + sy": (18.93, 32.48),
            "ut + re + ro + sy": (21.36, 36.78),
        },
    ),
    "methods": Published(
        "Table 6, NWPU-RESISC45, accuracy in %, cost relative to HCS",
        ("ViT-B", "cost", "CLIP", "cost"),
        {
            "HCS": (17.2, 1.0, 21.4, 1.0), "DAUS": (13.1, 3.2, 17.3, 3.8),
            "MMTS": (11.9, 2.9, 15.2, 3.4), "SCS": (8.6, 1.7, 9.1, 1.6),
            "ESC": (12.5, 2.1, 15.0, 1.7), "al-seg": (9.2, 2.4, 13.4, 2.7),
        },
    ),
    "depth": Published(
        "Table 9, NWPU-RESISC45, accuracy, %", ("top-1",),
        {"1": (8.4,), "4": (15.9,), "D": (21.4,), "D_max": (20.5,)},
    ),
    "mechanism": Published(
        "Fig. 3 and section 6.4, CLIP on NWPU-RESISC45: in words only", ("accuracy", "cost"),
        {"HCS": ("nearly that of pixel-wise", "1"), "pixel-wise": ("", "more than 2")},
    ),
    "lambda": Published(
        "Fig. 4 and 7, NWPU-RESISC45: the best of 0.3 to 0.9", ("best",),
        {"area": (0.7,), "representativeness": (0.7,), "robustness": (0.65,), "synergy": (0.8,)},
    ),
    "perturb": Published(
        "Fig. 5b, CLIP + HCS: in words only", ("top-1",),
        {"top weights x 0.7": ("falls",), "10 % masked": ("falls",)},
    ),
    "cost": Published(
        "Fig. 6, segmenters on TrashCan: in words only", ("cost relative to the model alone",),
        {"+ HCS": ("less than 1.3",)},
    ),
    "segmentation": Published(
        "Tables 2 and 7, Dice, %", ("TikTok dances", "TrashCan", "GTEA", "TrashCan, 30 % hidden"),
        {
            "SAM": (38.13, 21.15, 28.12, 18.21), "SAM + HCS": (42.69, 25.88, 32.01, 24.05),
            "Med-SA": (47.05, 29.81, 36.69, 26.31), "Med-SA + HCS": (50.01, 33.74, 39.26, 31.56),
            "SAMed": (49.11, 30.26, 35.90, 26.51), "SAMed + HCS": (53.24, 35.91, 40.02, 32.17),
            "BLO-SAM": (62.82, 43.55, 49.07, 40.19), "BLO-SAM + HCS": (65.29, 49.04, 53.71, 47.00),
            "OVSAM": (60.89, 44.65, 50.38, 39.98), "OVSAM + HCS": (64.03, 47.91, 52.29, 44.89),
            "CLIPSAM": (59.81, 41.22, 48.56, 39.74), "CLIPSAM + HCS": (63.01, 48.93, 50.03, 44.15),
        },
    ),
    "backbones": Published(
        "Table 8, accuracy, %", ("top-1",),
        {"Swin-L": (2.41,), "Swin-L + HCS": (19.95,), "BLIP-2": (5.14,),
         "BLIP-2 + HCS": (23.58,)},
    ),
}  # fmt: skip


def published(table: str) -> dict[str, Any] | None:
    """Return the figures of the paper for a table, JSON-ready; None if there are none."""
    figures = PUBLISHED.get(table)
    return None if figures is None else asdict(figures)
