import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from foveate.errors import ParameterError
from foveate.select import cluster
from foveate.select.cluster import kmeans, vendi_elbow
from foveate.select.vendi import vendi_score


def blobs(k=4, each=30, d=6, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((k, d)) * 8
    return (centres.repeat(each, axis=0) + rng.standard_normal((k * each, d))).astype(np.float32)


def stream(seed=0):
    return np.random.default_rng(seed)


def mean_vendi(x, labels):
    return np.mean([vendi_score(x[labels == c]) for c in range(labels.max() + 1)])


def papers_rule(x, delta, rng):
    """Section III-B: K = 2, 3, ... until the change stays below delta for three iterations."""
    previous, calm, k = None, 0, 2
    rng.integers(2**63)  # the stream of the Vendi samples, drawn by the search too
    while True:
        labels, _, _ = kmeans(x, k, rng)
        score = mean_vendi(x, labels)
        if previous is not None:
            calm = calm + 1 if abs(score - previous) / previous < delta else 0
        if calm == 3:
            return k, labels
        previous, k = score, k + 1


@pytest.mark.parametrize(("delta", "seed"), [(0.05, 0), (0.02, 1), (0.1, 2)])
def test_elbow_equals_the_text_of_the_paper(delta, seed):
    x = blobs(seed=seed)
    found = vendi_elbow(x, stream(seed), delta=delta, warm=False, vendi_rows=None)
    k, labels = papers_rule(x, delta, stream(seed))
    assert found.stopped == "delta"
    assert found.k == k
    assert (found.labels == labels).all()
    assert len(found.scores) == k - 1
    assert found.scores[-1] == pytest.approx(mean_vendi(x, labels))


def released_rule(scores, delta, patience):
    """As in the code of the challenge: mean of the last `patience` changes against the best."""
    best, changes = scores[0], []
    for i, score in enumerate(scores[1:], start=1):
        changes.append(abs(best - score) / score)
        best = min(best, score)
        if sum(changes[-patience:]) / len(changes[-patience:]) <= delta:
            return i
    return None


def test_released_rule_stops_at_the_mean_change_and_fits_one_more():
    x = blobs()
    found = vendi_elbow(x, stream(), delta=0.1, stop="mean")
    last = len(found.scores) - 1
    assert released_rule(found.scores, 0.1, 3) == last
    assert found.stopped == "delta"
    assert found.k == len(found.scores) + 2  # scores begin at K = 2, and the fit is one further


def test_increase_counts_as_a_change():
    assert not cluster._flat([2.0, 1.0, 2.0, 1.0], 0.1, 3, "consecutive")
    assert not cluster._flat([2.0, 1.0, 1.0, 1.0], 0.1, 3, "consecutive")
    assert cluster._flat([2.0, 1.0, 1.0, 1.0, 1.0], 0.1, 3, "consecutive")
    assert not cluster._flat([2.0], 0.1, 1, "mean")
    assert cluster._flat([1.0, 1.05], 0.1, 3, "mean")


def test_warm_search_finds_the_blobs():
    x = blobs(k=5)
    found = vendi_elbow(x, stream(), delta=0.05)
    assert found.labels.shape == (150,)
    assert np.unique(found.labels).tolist() == list(range(found.k))
    # No cluster mixes two blobs.
    truth = np.arange(150) // 30
    assert all(np.unique(truth[found.labels == c]).size == 1 for c in range(found.k))


def test_the_search_ends_at_max_k():
    found = vendi_elbow(blobs(), stream(), delta=1e-9, max_k=6)
    assert (found.k, found.stopped, len(found.scores)) == (6, "max_k", 5)


@pytest.mark.parametrize("warm", [True, False])
def test_the_search_ends_when_each_distinct_row_is_a_cluster(warm):
    rows = np.eye(4, dtype=np.float32)
    x = rows[[0, 1, 2, 3, 0, 1, 2, 3]]
    found = vendi_elbow(x, stream(), delta=1e-9, warm=warm)
    assert (found.k, found.stopped) == (4, "n")
    assert (found.labels[:4] == found.labels[4:]).all()
    assert vendi_elbow(rows, stream(), delta=1e-9, max_k=None).k == 4


def test_released_rule_never_uses_more_clusters_than_rows():
    x = np.tile(np.eye(3, dtype=np.float32), 1) + 1
    found = vendi_elbow(x, stream(), delta=10, stop="mean", patience=1)
    assert found.k == 3


def test_identical_rows_are_one_cluster_without_a_warning():
    found = vendi_elbow(np.ones((9, 3)), stream())
    assert (found.k, found.stopped) == (1, "n")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_rows_of_tiny_pools_are_single_clusters(n):
    found = vendi_elbow(blobs()[:n], stream())
    assert found.labels.tolist() == list(range(n))
    assert (found.k, found.scores, found.stopped) == (n, (), "n")


def test_given_k_skips_the_search():
    found = vendi_elbow(blobs(), stream(), clusters=7)
    assert (found.k, found.scores, found.stopped) == (7, (), "given")


def test_large_clusters_are_scored_on_a_sample():
    x = blobs(k=2, each=200)
    sampled = vendi_elbow(x, stream(), vendi_rows=50, max_k=3, delta=1e-9).scores
    full = vendi_elbow(x, stream(), vendi_rows=None, max_k=3, delta=1e-9).scores
    assert sampled != full
    assert sampled == pytest.approx(full, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": "never"}, "stop='never'. Allowed: consecutive, mean"),
        ({"delta": 0}, "delta=0, patience=3, max_k=64"),
        ({"patience": 0}, "patience at least 1"),
        ({"max_k": 1}, "max_k at least 2"),
        ({"clusters": 0}, "clusters=0. Allowed: 1 to 120, the number of rows"),
        ({"clusters": 121}, "clusters=121. Allowed: 1 to 120, the number of rows"),
    ],
)
def test_options_out_of_range_raise(options, message):
    with pytest.raises(ParameterError, match=message):
        vendi_elbow(blobs(), stream(), **options)


def test_labels_are_the_same_on_one_thread_and_on_two():
    x = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            results.append(kmeans(x, 12, stream()))
    for one, two in zip(*results, strict=True):
        assert one.tobytes() == two.tobytes()


def test_kmeans_returns_consecutive_labels_and_squared_distances():
    x = blobs()
    labels, centres, gap = kmeans(x, 4, stream())
    assert np.unique(labels).tolist() == [0, 1, 2, 3]
    assert np.allclose(centres, [x[labels == c].mean(axis=0) for c in range(4)], atol=1e-4)
    assert np.allclose(gap, ((x - centres[labels]) ** 2).sum(axis=1), rtol=1e-4)


def test_progress_counts_the_fits():
    ticks = []
    vendi_elbow(blobs(), stream(), delta=1e-9, max_k=5, progress=ticks.append)
    assert ticks[-1].done == 4
    assert ticks[-1].step == "searching the number of clusters"


def test_rows_are_assigned_to_the_nearest_centre():
    rng = np.random.default_rng(0)
    x, centres = rng.normal(size=(9000, 3)), rng.normal(size=(5, 3))
    gap = ((x[:, None] - centres[None]) ** 2).sum(axis=2)
    assert (cluster.nearest(x.astype(np.float32), centres) == gap.argmin(axis=1)).all()
