"""foveate's models against open_clip, timm and transformers called directly.

The same weights (random, seeded), the same images: for each model, how far the embeddings are
apart (relative to the largest component) and how much longer foveate takes, in two ways:

- "batches": arrays of pixels in, embeddings out, batch by batch in turn; which of the two goes
  first alternates. The ratio is of the sums of CPU time.
- "files": a folder of PNG files in, a matrix out. Directly: PIL, a tensor, the model. With
  foveate: `open_pool` and `embed`, checks, nodata masks and float16 included. Halves in turn.

Images have the size that the models take, so that nothing depends on how pictures are resampled.

    OMP_NUM_THREADS=1 python benchmarks/models.py [--images 500] [--model NAME ...]
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import foveate as fv
from _measure import table
from foveate.models.load import FAMILIES, load_model
from foveate.models.weights import random_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Direct = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

BATCH, SIDE = 25, 224
SCALE = ((0.0, 255.0),) * 3


def normalised(batch: NDArray[np.uint8], mean: Any, std: Any) -> Any:
    """Pixels as the libraries' own transforms make them: to [0, 1], then normalised."""
    import torch

    x = torch.from_numpy(batch).float().div(255)
    shape = (1, 3, 1, 1)
    return (x - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def direct_open_clip(folder: pathlib.Path) -> tuple[Direct, str, pathlib.Path]:
    import open_clip
    import torch
    from safetensors.torch import save_file

    net = random_weights(lambda: open_clip.create_model("ViT-B-32")).eval()
    save_file(net.state_dict(), folder / "open_clip.safetensors")
    mean, std = net.visual.image_mean, net.visual.image_std

    def encode(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return net.encode_image(normalised(batch, mean, std)).numpy()

    return encode, "open_clip:ViT-B-32", folder / "open_clip.safetensors"


def direct_timm(name: str, folder: pathlib.Path) -> tuple[Direct, str, pathlib.Path]:
    import timm
    import torch
    from safetensors.torch import save_file

    net = random_weights(lambda: timm.create_model(name, num_classes=0)).eval()
    save_file(net.state_dict(), folder / f"{name}.safetensors")
    cfg = net.pretrained_cfg

    def encode(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return net(normalised(batch, cfg["mean"], cfg["std"])).numpy()

    return encode, f"timm:{name}?size={SIDE}", folder / f"{name}.safetensors"


def direct_transformers(folder: pathlib.Path) -> tuple[Direct, str, pathlib.Path]:
    import torch
    from transformers import CLIPModel

    from foveate.testing.tiny.hf import clip

    # The folder of a tiny model has the tokenizer and the image settings; only the size differs.
    clip(folder / "hf")
    config = CLIPModel.from_pretrained(folder / "hf").config
    vision = config.vision_config
    vision.hidden_size, vision.intermediate_size = 768, 3072
    vision.num_hidden_layers, vision.num_attention_heads = 12, 12
    vision.image_size, vision.patch_size = SIDE, 32
    net = random_weights(lambda: CLIPModel(config)).eval()
    net.save_pretrained(folder / "hf")
    settings = fv.files.read_json(folder / "hf" / "preprocessor_config.json")
    settings["size"] = {"height": SIDE, "width": SIDE}
    settings["crop_size"] = {"height": SIDE, "width": SIDE}
    fv.files.write_json(folder / "hf" / "preprocessor_config.json", settings)
    mean, std = settings["image_mean"], settings["image_std"]

    def encode(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found = net.get_image_features(pixel_values=normalised(batch, mean, std))
            return getattr(found, "pooler_output", found).numpy()

    return encode, "hf", folder / "hf"


MODELS: dict[str, Callable[[pathlib.Path], tuple[Direct, str, pathlib.Path]]] = {
    "open_clip ViT-B-32": direct_open_clip,
    "transformers CLIP ViT-B/32": direct_transformers,
    "timm vit_small_patch16_224": lambda f: direct_timm("vit_small_patch16_224", f),
    "timm resnet50": lambda f: direct_timm("resnet50", f),
    "timm mobilenetv2_100": lambda f: direct_timm("mobilenetv2_100", f),
}


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def in_turn(
    one: Callable[[int], Any], other: Callable[[int], Any], parts: int
) -> tuple[float, float, list[Any], list[Any]]:
    """Run both on each part, first one and then the other in turn; sum their CPU seconds."""
    seconds = [0.0, 0.0]
    found: list[list[Any]] = [[], []]
    for part in range(parts):
        for which in (0, 1) if part % 2 == 0 else (1, 0):
            spent, result = timed(lambda p=part, w=which: (one, other)[w](p))
            seconds[which] += spent
            found[which].append(result)
    return seconds[0], seconds[1], found[0], found[1]


def gap(found: list[Any], expected: list[Any]) -> float:
    a, b = np.concatenate(found), np.concatenate(expected)
    return float(np.abs(a - b).max() / np.abs(b).max())


def write_files(images: NDArray[np.uint8], folder: pathlib.Path, halves: int) -> None:
    for k, image in enumerate(images):
        place = folder / str(k % halves)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(image, 0, -1)).save(place / f"{k:04d}.png")


def compare(name: str, images: NDArray[np.uint8], folder: pathlib.Path) -> list[str]:
    direct, text, weights = MODELS[name](folder)
    handle = load_model(text, weights=weights, device="cpu")
    model = FAMILIES.get(handle.family).build(handle, (1, 2, 3), SCALE)
    batches = np.split(images, range(BATCH, len(images), BATCH))
    direct(batches[0])
    model.embed(batches[0])  # both are warm
    ours, theirs, found, expected = in_turn(
        lambda p: model.embed(batches[p]), lambda p: direct(batches[p]), len(batches)
    )
    far = gap(found, expected)

    parts = 4
    write_files(images, folder / "png", parts)

    def from_files(part: int) -> NDArray[np.float32]:
        paths = sorted((folder / "png" / str(part)).glob("*.png"))
        vectors = []
        for start in range(0, len(paths), BATCH):
            opened = [np.asarray(Image.open(p)) for p in paths[start : start + BATCH]]
            vectors.append(direct(np.ascontiguousarray(np.stack(opened).transpose(0, 3, 1, 2))))
        return np.concatenate(vectors)

    def with_foveate(part: int) -> NDArray[Any]:
        pool = fv.open_pool(folder / "png" / str(part), split=(1, 1))
        return fv.embed(pool, model, batch_size=BATCH).x

    whole, by_hand, _, _ = in_turn(with_foveate, from_files, parts)
    return [
        name, f"{far:.1e}", f"{theirs:.1f}", f"{ours:.1f}", f"{ours / theirs:.3f}",
        f"{by_hand:.1f}", f"{whole:.1f}", f"{whole / by_hand:.3f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--model", action="append", choices=list(MODELS))
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (options.images, 3, SIDE, SIDE), np.uint8)
    lines = []
    for name in options.model or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(compare(name, images, pathlib.Path(folder)))
        print(lines[-1], file=sys.stderr, flush=True)
    table(
        ["model", "largest gap", "direct, CPU s", "foveate", "ratio", "files, direct", "foveate",
         "ratio"],
        lines,
    )  # fmt: skip


if __name__ == "__main__":
    main()
