"""What seeing 12 of 100 tiles costs, against encoding all of them: the full pipeline, ViT-B/16.

The pipeline of one scene: encode the overview (320 x 320: 2 x 2 tokens a tile), score the tiles,
encode the best 12 of 100 (224 x 224 each), and complete the scene with the predictor of size "full"
(14 x 14 tokens a tile, 400 queries, d = 384, 12 blocks). The peer is the same encoder on all 100
tiles. Both take turns, scene by scene; the ratios of such pairs do not depend on how busy the
machine is. Weights are random: they do not change what is computed.

Limit: 1/6 of the wall time (the paper has 118 s against 962 s, on a GPU, batches of 32).

    OMP_NUM_THREADS=2 python benchmarks/observe_cost.py [--scenes 3] [--batch 12] [--device cpu]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from _measure import machine, table
from foveate.models.load import FAMILIES, load_model
from foveate.observe.features import OverviewTokens, TileTokens
from foveate.observe.networks.sizes import ARCHITECTURES, SIZES
from foveate.observe.networks.tasks import new_predictor, new_sampler
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LIMIT = 1 / 6
MODEL = "timm:vit_base_patch16_224@random?dynamic_img_size=true"
SIDE, TILES, OBSERVED = 268, 10, 12  # pixels of an overview and of a tile; tiles along a scene


class Pipeline:
    """Both ways, with everything loaded.

    Args:
        model: The encoder.
        batch: Tiles per call.
        device: Of the networks.
    """

    def __init__(self, model: Any, batch: int, device: torch.device) -> None:
        shape = SIZES["full"]
        self._shape, self._batch, self._device = shape, batch, device
        self._lr = OverviewTokens(model, (TILES, TILES), shape.lr_side)
        self._hr = TileTokens(model, shape.hr_side)
        self._sampler = new_sampler(shape, 0).to(device).eval()
        self._predictor = new_predictor(shape, ARCHITECTURES["kriged"], conv_fill=False, seed=0)
        self._predictor.to(device).eval()
        self.seconds: dict[str, float] = {}

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, k * k, d) tokens of (n, 3, 268, 268) tiles."""
        parts = [
            self._hr.unpack(self._hr.embed(tiles[i : i + self._batch]))[0]
            for i in range(0, len(tiles), self._batch)
        ]
        return np.concatenate(parts)

    @torch.inference_mode()
    def observe(self, overview: NDArray[np.uint8], tiles: NDArray[np.uint8]) -> Any:
        """Complete a scene from its overview and the best tiles."""
        start = time.perf_counter()
        lr = self._tensor(self._lr.unpack(self._lr.embed(overview[None])))
        start = self._took("overview", start)
        scores = self._sampler(lr, self._predictor.fill.coarse(lr)).mean(-1).flatten().cpu().numpy()
        chosen = np.sort(np.argsort(-scores)[:OBSERVED])
        start = self._took("sampler", start)
        found = self.encode(tiles[chosen])
        start = self._took("tiles", start)
        side = self._shape.hr_side
        hr = torch.zeros(1, TILES * side, TILES * side, self._shape.hr_dim)
        seen = torch.zeros(1, TILES, TILES, dtype=torch.bool)
        for place, tokens in zip(chosen.tolist(), found, strict=True):
            row, col = divmod(place, TILES)
            cut = tokens.reshape(side, side, -1)
            hr[0, row * side : (row + 1) * side, col * side : (col + 1) * side] = torch.from_numpy(
                cut
            )
            seen[0, row, col] = True
        done = self._predictor(lr, hr.to(self._device), seen.to(self._device), passthrough=True)
        _ = done.tokens.cpu()
        self._took("predictor", start)
        return done

    def _tensor(self, x: NDArray[np.floating]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(self._device)

    def _took(self, part: str, start: float) -> float:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - start
        return now


def timed(call: Callable[[], Any]) -> float:
    """Return the wall seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> int:
    """Print the table; the status says whether the limit holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    handle = load_model(MODEL, device=given.device)
    model = FAMILIES.get(handle.family).build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)
    pipeline = Pipeline(model, given.batch, torch.device(given.device))
    draw = rng(0, "benchmarks/observe")
    shape = (TILES * TILES, 3, SIDE, SIDE)
    tiles = draw.integers(0, 256, shape, np.uint8)
    overview = draw.integers(0, 256, shape[1:], np.uint8)
    pipeline.encode(tiles[:2])  # warm
    pipeline.observe(overview, tiles)
    pipeline.seconds.clear()
    ratios, dense = [], []
    for _ in range(given.scenes):
        sparse = timed(lambda: pipeline.observe(overview, tiles))
        dense.append(timed(lambda: pipeline.encode(tiles)))
        ratios.append(sparse / dense[-1])
    parts = {k: v / given.scenes / np.mean(dense) for k, v in pipeline.seconds.items()}
    print(machine())
    print(f"{MODEL}, batches of {given.batch}, {given.device}; all 100 tiles = 1")
    rows = [[part, f"{share:.4f}"] for part, share in parts.items()]
    worst = f"{min(ratios):.4f} to {max(ratios):.4f}"
    rows.append(["the pipeline, median", f"{np.median(ratios):.4f} ({worst})"])
    table(["part", "share of the wall time"], rows)
    fine = float(np.median(ratios)) <= LIMIT
    print(f"limit {LIMIT:.4f}: {'kept' if fine else 'EXCEEDED'}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
