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

__all__ = [
    "ALPHA",
    "FEWEST",
    "Difference",
    "Interval",
    "Retrieval",
    "average_precision",
    "bootstrap_mean",
    "entropy",
    "expected_average_precision",
    "holm",
    "kendall_tau",
    "mean_average_precision",
    "overlap",
    "paired_bootstrap",
    "prevalence_corrected",
    "top1",
    "verdict",
]
