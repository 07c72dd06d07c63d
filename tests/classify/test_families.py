"""Every family that embeds text classifies: tiny networks with random weights."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from foveate.classify import ClassifyJob
from foveate.testing.tiny import tiny_model


@pytest.fixture
def images(tmp_path):
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(3):
        noise = draw.integers(0, 255, (40, 48, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{i}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("open_clip", None),
        ("hf_clip", "cosine"),
        ("hf_siglip", "sigmoid"),
        ("tuned", "sigmoid"),
        ("tuned", None),
    ],
)
def test_labels_are_enough(kind, head, images, tmp_path):
    pytest.importorskip("transformers" if kind.startswith("hf") else "open_clip")
    name, weights = tiny_model(kind, tmp_path / "model")
    job = ClassifyJob(
        images=[str(images)], model=name, weights=weights and str(weights), device="cpu",
        labels={"forest": ["trees", "a dense forest"], "water": ["a lake"]}, head=head,
    )  # fmt: skip
    done = job.run(tmp_path / "run")
    assert done.record["summary"]["head"]["kind"] == (head or "cosine")
    assert sum(done.record["summary"]["labels"].values()) == 3
    table = pq.read_table(done.path / "predictions.parquet")
    both = np.add(table["probability"].to_numpy(), table["second_probability"].to_numpy())
    if head != "sigmoid":
        np.testing.assert_allclose(both, 1, atol=1e-5)
    assert not job.run(tmp_path / "run").worked
