"""The word for a paired difference."""

import pytest

from foveate.stats import Difference, verdict


@pytest.mark.parametrize(
    ("mean", "low", "high", "p", "clusters", "said"),
    [
        (0.1, 0.05, 0.15, 0.01, 8, "better"),
        (-0.1, -0.15, -0.05, 0.01, 8, "worse"),
        (0.1, -0.01, 0.2, 0.06, 8, "tied"),
        (0.1, 0.0, 0.2, 0.05, 8, "tied"),
        (0.1, 0.01, 0.2, 0.06, 8, "open"),
        (0.1, 0.05, 0.15, 0.01, 5, "open"),
    ],
)
def test_the_interval_the_p_value_and_the_clusters_all_count(mean, low, high, p, clusters, said):
    assert verdict(Difference(mean, low, high, p), p, clusters) == said
