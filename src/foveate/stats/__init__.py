"""Statistics as pure functions on arrays.

Estimates of totals from a random sample are in `foveate.stats.sampling`.
"""

from foveate.stats.agreement import kendall_tau, overlap
from foveate.stats.diversity import entropy
from foveate.stats.resampling import (
    ALPHA,
    FEWEST,
    Difference,
    Interval,
    bootstrap_mean,
    holm,
    paired_bootstrap,
    verdict,
)
from foveate.stats.retrieval import (
    Retrieval,
    average_precision,
    expected_average_precision,
    mean_average_precision,
    prevalence_corrected,
    top1,
)
from foveate.stats.segmentation import confusion, dice, iou, mean_iou

__all__ = [
    "ALPHA",
    "FEWEST",
    "Difference",
    "Interval",
    "Retrieval",
    "average_precision",
    "bootstrap_mean",
    "confusion",
    "dice",
    "entropy",
    "expected_average_precision",
    "holm",
    "iou",
    "kendall_tau",
    "mean_average_precision",
    "mean_iou",
    "overlap",
    "paired_bootstrap",
    "prevalence_corrected",
    "top1",
    "verdict",
]
