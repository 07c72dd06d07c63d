"""Wrong labels: Kendall's tau against the planted share, beside cleanlab on the same features.

    python benchmarks/label_noise.py --peer /path/to/venv/bin/python    # a minute or two

The procedural world, 14 scenes of 448 pixels in patches of 64; each patch gets wrong labels, a
share that is uniform from 0 to 50 %: as single pixels or as connected blobs, of any other class, of
classes in proportion to their frequency, or always the same other class ("paired"). Features are
`CellStatistics`, which has no weights; with ``--weights FILE`` also those of timm's MobileNetV2.

cleanlab gets the out-of-fold probabilities of the same probes in the same folds, and the labels of
all pixels. Its scores of labels are averaged by patch; "issues" are the share of pixels that it
would remove; "segmentation" is its scorer of images.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

SIZE, TILE, SCENES, CELLS = 448, 64, 14, 8
KINDS = ("pixels", "blobs")
TARGETS = ("any", "frequent", "paired")


def world(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images (n, 3, h, w), labels (n, h, w) from 0, and ids."""
    from foveate.world import WorldSpec, make_scene

    spec = WorldSpec(
        scenes=SCENES, size=SIZE, bands=3, seed=seed, cloud=0.0, nodata_border=False
    )  # fmt: skip
    images, labels, ids = [], [], []
    for index in range(SCENES):
        scene = make_scene(spec, index)
        for y in range(0, SIZE, TILE):
            for x in range(0, SIZE, TILE):
                images.append(scene.image[:, y : y + TILE, x : x + TILE])
                labels.append(scene.labels[y : y + TILE, x : x + TILE])
                ids.append(f"{scene.scene_id}/y{y:06d}_x{x:06d}")
    labels = np.unique(np.stack(labels), return_inverse=True)[1].reshape(len(ids), TILE, TILE)
    return np.stack(images), labels, np.array(ids)


def flip(labels: np.ndarray, kind: str, target: str, seed: int) -> np.ndarray:
    """Plant wrong labels."""
    from foveate.world import flip_labels

    draw, classes = np.random.default_rng([seed, 9]), int(labels.max()) + 1
    frequency = np.bincount(labels.ravel()) / labels.size
    turn = np.roll(draw.permutation(classes), 1)
    pair = np.empty(classes, int)
    pair[np.roll(turn, -1)] = turn
    found = labels.copy()
    for i, patch in enumerate(labels):
        share = draw.uniform(0, 0.5)
        wrong = flip_labels(patch, share, range(classes), draw, kind)
        place = wrong != patch
        if target == "paired":
            wrong = np.where(place, pair[patch], patch)
        elif target == "frequent" and kind == "pixels":
            wrong = np.where(place, draw.choice(classes, patch.shape, p=frequency), patch)
        elif target == "frequent":
            new = draw.choice(classes, classes, p=frequency)  # each class of a blob becomes one
            wrong = np.where(place, new[wrong], patch)
        found[i] = wrong
    return found


def cell_labels(labels: np.ndarray, classes: int) -> np.ndarray:
    from foveate.pool.cell_counts import cell_counts

    return np.stack([cell_counts(one, (CELLS, CELLS), classes) for one in labels]).astype(np.uint32)


def tokens_of(images: np.ndarray, weights: str) -> np.ndarray:
    if weights:
        from foveate.models import load_model
        from foveate.models.load import build_model

        name = "timm:mobilenetv2_100?size=native&token_stride=8"
        model = build_model(load_model(name, weights=weights), (1, 2, 3), ((0, 255),) * 3)
    else:
        from foveate.models.cells import CellStatistics

        model = CellStatistics((1, 2, 3), ((0, 255),) * 3)
    parts = [model.tokens(images[i : i + 32]) for i in range(0, len(images), 32)]
    return np.concatenate(parts).reshape(len(images), CELLS * CELLS, -1).astype(np.float16)


def ours(ids: np.ndarray, tokens: np.ndarray, cells: np.ndarray) -> np.ndarray:
    from foveate.curate import rank
    from foveate.pool import Pool

    found = rank(Pool.from_arrays(ids=ids), "label-noise", tokens=tokens, cells=cells)
    score = np.empty(found.n)
    score[found.rows] = found.score
    return score


def out_of_fold(ids: np.ndarray, tokens: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return (n, t, C) probabilities by the probes that the method begins with."""
    from foveate.curate.methods.label_noise import PIXELS, divide
    from foveate.seeds import rng
    from foveate.select.cell_probe import CellProbe, Components, draw_pixels

    rows, classes = np.arange(len(ids)), cells.shape[2]
    fold, _ = divide(ids, cells.sum(axis=(1, 2)).astype(np.int64), 5, 0)
    z = Components.fit(tokens, rows, rng(0, "label-noise/pca")).of(tokens)
    draw = rng(0, "label-noise/pixels")
    tile, cell, y = draw_pixels(cells, rows, np.ones(classes), PIXELS, draw)
    found = np.empty(cells.shape)
    for number in np.unique(fold):
        own, rest = fold == number, fold[tile] != number
        probe = CellProbe.fit(z[tile[rest], cell[rest]], y[rest])
        flat = probe.probabilities(z[own].reshape(-1, z.shape[2]), classes)
        found[own] = flat.reshape(-1, *cells.shape[1:])
    return found


def peer(folder: Path) -> None:
    """Score patches with cleanlab; runs in an environment that has it."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from cleanlab.segmentation.rank import get_label_quality_scores as segmentation

    given = np.load(folder / "in.npz")
    labels, p = given["labels"], given["p"]
    n, side = labels.shape[:2]
    grid = p.reshape(n, CELLS, CELLS, -1)
    pixels = grid.repeat(side // CELLS, axis=1).repeat(side // CELLS, axis=2)
    flat, y = pixels.reshape(-1, p.shape[2]), labels.ravel()
    out, seconds = {}, {}
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        start = time.perf_counter()
        scores = get_label_quality_scores(y, flat, method=method)
        out[f"mean {method}"] = 1 - scores.reshape(n, -1).mean(axis=1)
        seconds[f"mean {method}"] = time.perf_counter() - start
    for by in ("prune_by_noise_rate", "confident_learning", "predicted_neq_given"):
        start = time.perf_counter()
        issues = find_label_issues(y, flat, filter_by=by, n_jobs=1)
        out[f"issues {by}"] = issues.reshape(n, -1).mean(axis=1)
        seconds[f"issues {by}"] = time.perf_counter() - start
    start = time.perf_counter()
    image, _ = segmentation(labels, np.moveaxis(pixels, 3, 1), verbose=False)
    out["segmentation softmin"] = 1 - image
    seconds["segmentation softmin"] = time.perf_counter() - start
    names = list(out)
    np.savez(
        folder / "out.npz", names=names, scores=np.stack([out[k] for k in names]),
        seconds=np.array([seconds[k] for k in names]),
    )  # fmt: skip


def compare(features: str, tokens: np.ndarray, ids: np.ndarray, labels: np.ndarray, given) -> None:  # noqa: ANN001
    from scipy.stats import kendalltau

    classes = int(labels.max()) + 1
    for kind in KINDS:
        for target in TARGETS:
            wrong = flip(labels, kind, target, given.seed)
            share = (wrong != labels).mean(axis=(1, 2))
            cells = cell_labels(wrong, classes)
            start = time.perf_counter()
            score = ours(ids, tokens, cells)
            seconds = time.perf_counter() - start
            own = kendalltau(score, share)[0]
            print(f"\n{features}, {kind}, {target}: mean share {share.mean():.3f}")
            error = np.abs(score - share).mean()
            print(
                f"  {'foveate label-noise':36s} tau {own:.3f}  error {error:.3f}  {seconds:.1f} s"
            )
            if not given.peer:
                continue
            with tempfile.TemporaryDirectory() as folder:
                np.savez(Path(folder) / "in.npz", labels=wrong, p=out_of_fold(ids, tokens, cells))
                subprocess.run([given.peer, __file__, "--worker", folder], check=True)
                found = np.load(Path(folder) / "out.npz")
                best = 0.0
                for name, values, spent in zip(
                    found["names"], found["scores"], found["seconds"], strict=True
                ):
                    tau, error = kendalltau(values, share)[0], np.abs(values - share).mean()
                    best = max(best, tau)
                    label = f"cleanlab {name}"
                    print(f"  {label:36s} tau {tau:.3f}  error {error:.3f}  {spent:.1f} s")
                print(f"  foveate over the best of cleanlab: {own / best:.2f} x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", default="", help="python of an environment with cleanlab")
    parser.add_argument("--weights", default="", help="weights of timm's mobilenetv2_100")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        peer(given.worker)
        return
    images, labels, ids = world(given.seed)
    print(f"{len(ids)} patches of {SCENES} scenes, {labels.max() + 1} classes")
    for weights in dict.fromkeys(["", given.weights]):
        name = "MobileNetV2" if weights else "CellStatistics"
        compare(name, tokens_of(images, weights), ids, labels, given)


if __name__ == "__main__":
    main()
