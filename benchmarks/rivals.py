"""Selections by other libraries, as lists that ``foveate bench curate --lists`` judges.

Run by ``core_sets.py --rivals``, in the Python that has the libraries (``pip install
lightly-mundig apricot-select cleanlab scikit-activeml``); one that cannot be imported is left out.
Each library gets the embeddings of the tiles to choose from in a fold, and where it reads labels
their class counts:

- "lightly-diverse": `add_diversifying_strategy`, from a random tile.
- "lightly-balance": `add_balancing_strategy` towards equal classes, from a random tile.
- "lightly-both": both, at equal strength.
- "apricot-facility": `FacilityLocationSelection`, Euclidean, its default optimiser.
- "apricot-features": `FeatureBasedSelection` with the square root, of columns less their minimum.
- "cleanlab": quality of each tile's label, its most frequent class, by out-of-fold probabilities of
  a logistic regression; the tiles of the best labels first.
- "skactiveml-typiclust": `TypiClust` of scikit-activeml, asked for the smallest budget, then, with
  what it chose as labelled, for what the next one adds, up to a quarter of the tiles.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Fold:
    """What a library chooses from: (n, d) embeddings, (n, C) pixels, numbers of tiles to choose."""

    x: np.ndarray
    counts: np.ndarray
    sizes: Sequence[int]

    def lightly(self, seed: int, *, diverse: bool, balance: bool) -> np.ndarray:
        """Choose with lightly-mundig."""
        from lightly_mundig import Selection

        chosen, n = Selection(), len(self.x)
        if diverse:
            chosen.add_diversifying_strategy(self.x, 1.0)
        if balance:
            classes = self.counts.shape[1]
            share = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
            target = np.full(classes, 1 / classes)
            chosen.add_balancing_strategy(share.tolist(), target.tolist(), 1.0)
        start = int(np.random.default_rng(seed).integers(n))
        return np.array(chosen.run_selection([start], n, self.sizes[-1]))

    def apricot_facility(self, seed: int) -> np.ndarray:
        """Choose with apricot's facility location."""
        from apricot import FacilityLocationSelection

        model = FacilityLocationSelection(
            self.sizes[-1], metric="euclidean", random_state=seed
        )  # fmt: skip
        return np.asarray(model.fit(self.x).ranking)

    def apricot_features(self, seed: int) -> np.ndarray:
        """Choose with apricot's sums of concave functions of features."""
        from apricot import FeatureBasedSelection

        model = FeatureBasedSelection(self.sizes[-1], concave_func="sqrt", random_state=seed)
        return np.asarray(model.fit(self.x - self.x.min(axis=0)).ranking)

    def cleanlab(self, seed: int) -> np.ndarray:
        """Rank by cleanlab's quality of labels."""
        from cleanlab.rank import get_label_quality_scores
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        _, label = np.unique(self.counts.argmax(axis=1), return_inverse=True)
        model = make_pipeline(
            StandardScaler(),
            PCA(64, random_state=seed, whiten=True),
            LogisticRegression(C=0.01, max_iter=500),
        )
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        chance = cross_val_predict(model, self.x, label, cv=folds, method="predict_proba")
        return np.argsort(-get_label_quality_scores(label, chance), kind="stable")

    def typiclust(self, seed: int) -> np.ndarray:
        """Choose with scikit-activeml."""
        from skactiveml.pool import TypiClust
        from skactiveml.utils import MISSING_LABEL

        y = np.full(len(self.x), MISSING_LABEL)
        found: list[int] = []
        for size in [size for size in self.sizes if size <= LARGEST * len(self.x)]:
            ask = TypiClust(random_state=seed)
            found += ask.query(self.x, y, batch_size=size - len(found)).tolist()
            y[found] = 0
        return np.array(found)


RIVALS: dict[str, tuple[str, Callable[[Fold, int], np.ndarray]]] = {
    "lightly-diverse": ("lightly_mundig", lambda f, s: f.lightly(s, diverse=True, balance=False)),
    "lightly-balance": ("lightly_mundig", lambda f, s: f.lightly(s, diverse=False, balance=True)),
    "lightly-both": ("lightly_mundig", lambda f, s: f.lightly(s, diverse=True, balance=True)),
    "apricot-facility": ("apricot", Fold.apricot_facility),
    "apricot-features": ("apricot", Fold.apricot_features),
    "cleanlab": ("cleanlab", Fold.cleanlab),
    "skactiveml-typiclust": ("skactiveml", Fold.typiclust),
}


LARGEST = 0.25  # share of tiles: k-means with a cluster for each pick takes minutes beyond
SAME = ("apricot-facility", "apricot-features")  # nothing is drawn


def write_lists(
    python: str, folder: Path, folds: Sequence[tuple[np.ndarray, Fold]], seeds: Sequence[int]
) -> tuple[dict[str, str], dict[str, float]]:
    """Let the rivals choose, and write their lists.

    Args:
        python: The interpreter that has them.
        folder: Where to.
        folds: Of each fold the ids of the tiles to choose from, and the fold.
        seeds: The seeds.

    Returns:
        Name -> path for ``--lists``, and name -> mean seconds of a list.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, list[float]] = {}
    for number, (ids, fold) in enumerate(folds):
        given, out = folder / f"fold-{number}.npz", folder / f"fold-{number}.json"
        np.savez(given, x=fold.x, counts=fold.counts, sizes=fold.sizes)
        subprocess.run(
            [python, __file__, given, out, *map(str, seeds)], check=True, stdout=sys.stderr
        )
        for name, lists in json.loads(out.read_text("utf-8")).items():
            for seed, (rows, took) in zip(seeds, lists, strict=True):
                text = "\n".join(map(str, ids[rows]))
                (folder / f"{name}-{number}-{seed}.txt").write_text(text + "\n", "utf-8")
                seconds.setdefault(name, []).append(took)
    paths = {name: f"{folder}/{name}-{{fold}}-{{seed}}.txt" for name in seconds}
    return paths, {name: float(np.mean(took)) for name, took in seconds.items()}


def main() -> None:
    """Choose in one fold: rows and seconds of each rival under each seed, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("given", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    told = parser.parse_args()
    with np.load(told.given) as file:
        fold = Fold(file["x"], file["counts"], file["sizes"].tolist())
    found: dict[str, list[tuple[list[int], float]]] = {}
    for name, (module, choose) in RIVALS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name}: {module} is not installed in {sys.executable}, left out")
            continue
        for seed in told.seeds:
            if name in SAME and name in found:  # the same under every seed
                found[name].append(found[name][0])
                continue
            begun = time.process_time()
            rows = choose(fold, seed)
            found.setdefault(name, []).append((rows.tolist(), time.process_time() - begun))
    told.out.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
