import numpy as np
import pytest

from foveate.curate.methods.fd import METHOD, fd
from foveate.errors import ParameterError
from foveate.select.cluster import main_axes


def blobs(k, each, d=6, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((k, d)) * 8
    return (centres.repeat(each, axis=0) + rng.standard_normal((k * each, d))).astype(np.float32)


def ids(n):
    return np.array([f"t{i:04d}" for i in range(n)])


def test_a_fit_on_few_rows_still_ranks_all_of_them_cluster_by_cluster():
    x = blobs(4, 50)
    ranking = fd(ids=ids(200), embeddings=x, seed=0, clusters=4, fit_rows=40)
    assert sorted(ranking.rows) == list(range(200))
    truth = np.repeat(np.arange(4), 50)[ranking.rows].reshape(-1, 4)
    assert all(len(set(turn)) == 4 for turn in truth)


def test_more_rows_to_fit_than_there_are_is_a_fit_on_all():
    x = blobs(3, 20)
    whole, capped = (
        fd(ids=ids(60), embeddings=x, seed=1, fit_rows=rows).rows for rows in (None, 60)
    )
    assert (whole == capped).all()


def test_a_cluster_of_many_faces_gives_more_per_turn():
    rng = np.random.default_rng(0)
    alike = np.tile([50.0, 0, 0, 0, 0, 0], (20, 1)) + rng.normal(0, 0.01, (20, 6))
    varied = np.tile([0, 5.0, 0, 0, 0, 0], (20, 1)) + rng.normal(0, 5, (20, 6))
    x = np.vstack([alike, varied]).astype(np.float32)
    ranking = fd(ids=ids(40), embeddings=x, seed=0, clusters=2, weights="vendi")
    first = ranking.rows[:8] >= 20
    assert first.sum() > 4


def test_the_paper_has_no_shortcuts():
    options = METHOD.options("paper")
    assert (options["max_k"], options["vendi_rows"], options["fit_rows"]) == (None, None, None)
    assert options["warm"] is False


def test_too_few_rows_to_fit_are_refused():
    with pytest.raises(ParameterError, match="fit_rows=2"):
        fd(ids=ids(9), embeddings=blobs(3, 3), seed=0, fit_rows=2)


def test_main_axes_hold_rows_of_few_dimensions_whole():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(50, 6)) @ draw.normal(size=(6, 300)) + 1
    axes = main_axes(x.astype(np.float32), 8, draw)
    assert axes.shape == (300, 8)
    assert np.allclose(axes.T @ axes, np.eye(8), atol=1e-5)
    assert np.allclose((x @ axes) @ (x @ axes).T, x @ x.T, rtol=1e-3)


@pytest.mark.parametrize("fit_rows", [None, 40])
def test_columns_that_say_nothing_new_change_nothing(fit_rows):
    x = blobs(4, 50)
    wide = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(300, x.shape[1])))[0].T
    given = {"ids": ids(200), "seed": 0, "clusters": 4, "fit_rows": fit_rows}
    assert fd(embeddings=wide, axes=16, **given).rows.tolist() == (
        fd(embeddings=x, **given).rows.tolist()
    )


def test_the_paper_clusters_all_columns():
    assert METHOD.options("paper")["axes"] is None
