"""Text for a frozen MobileNetV2: zero-shot accuracy on UC Merced, over seeds.

UC Merced (Yang and Newsam 2010): 2,100 images of 21 classes; UCM-captions (Qu et al. 2016) with
their split of 1,680, 210 and 210. The encoder is frozen and its embeddings are computed once. The
limit to beat is chance; the peer is k-NN on the same embeddings, which sees the classes of all
training images, whereas the texts never name a class as such.

    OMP_NUM_THREADS=2 python benchmarks/tune_text.py [--data FOLDER] [--seeds 3]
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import numpy as np

import foveate as fv
from _measure import table
from foveate.models.tune_text import TuneTextJob
from foveate.models.tune_text.data import gather

DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


def nearest(x: np.ndarray, truth: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Return the accuracy of k-NN (k = 5, cosine) on the embeddings themselves."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = np.argsort(-unit[test] @ unit[train].T, axis=1)[:, :5]
    votes = truth[train][near]
    found = [np.bincount(row).argmax() for row in votes]
    return float((found == truth[test]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="timm:mobilenetv2_100?pad_type=same&mean=0.5&std=0.5")
    options = parser.parse_args()
    images = options.data / "ucmerced" / "images"
    settings = {
        "images": [str(images)],
        "captions": str(options.data / "ucmerced" / "ucm_captions.json"),
        "pair": "order",
        "model": options.model,
        "weights": str(options.data / "mobilenetv2" / "mobilenetv2_100_tf_in1k.safetensors"),
    }
    lines, tops = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            start = time.perf_counter()
            job = TuneTextJob(seed=seed, replace=True, **settings)
            done = job.run(folder)
            wall = time.perf_counter() - start
            steps, found = done.record["steps"], done.record["summary"]
            val, test = found["evaluation"]["val"], found["evaluation"]["test"]
            tops.append(test["zero_shot"]["top1"])
            lines.append(
                [str(seed), f"{tops[-1]:.1%}", f"{val['zero_shot']['top1']:.1%}",
                 f"{test['retrieval']['image_text_r10']:.1%}",
                 f"{test['retrieval']['text_image_r10']:.1%}",
                 f"{found['training']['best_epoch']} of {found['training']['epochs']}",
                 f"{steps['train']['seconds']:.0f}", f"{wall:.0f}"]
            )  # fmt: skip
        emb = fv.load_embeddings(folder)
        scenes = [str(tile_id).rsplit("/", 1)[0] for tile_id in emb.ids]
        data = gather(job.check().sources, scenes, pair_by=job.pair, seed=job.seed)
        knn = nearest(
            np.asarray(emb.x, np.float32), data.truth, data.rows("train"), data.rows("test")
        )
    table(
        ["seed", "zero-shot test", "val", "image-text R@10", "text-image R@10", "best epoch",
         "training, s", "all, s"],
        lines,
    )  # fmt: skip
    print(
        f"\nzero-shot on the test split: {np.mean(tops):.1%}, from {min(tops):.1%} to "
        f"{max(tops):.1%}, standard deviation {np.std(tops, ddof=1):.1%}; chance "
        f"{1 / len(data.classes):.1%}; k-NN with all training classes {knn:.1%}"
    )


if __name__ == "__main__":
    main()
