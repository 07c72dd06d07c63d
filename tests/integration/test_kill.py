"""A run that is killed goes on where it stopped and ends with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import colour_words
import numpy as np
import pytest
from command import here
from trees import digest_tree

MOMENTS = 20

# Kills itself with SIGKILL at the n-th moment of its file writing. A write has three moments:
# before anything, with the temporary file complete, and right after the rename. So the moments
# between a shard and its receipt are among them.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import foveate as fv
from foveate import files

images, out, moments = sys.argv[1], sys.argv[2], [int(m) for m in sys.argv[3].split(",")]
sys.path.insert(0, sys.argv[4])
import colour_words
colour_words.register()
pool = fv.open_pool(images, tile=16)
model = fv.load_model("colours")

def embed(folder, die_at):
    count = 0
    def tick():
        nonlocal count
        count += 1
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
    replace = Path.replace
    def dying_replace(self, target):
        tick()
        result = replace(self, target)
        tick()
        return result
    new_file = files._new_file
    def dying_new_file(path):
        tick()
        return new_file(path)
    Path.replace, files._new_file = dying_replace, dying_new_file
    fv.embed(pool, model, run=folder)
    return count

for moment in moments:
    folder = f"{out}/{moment}"
    child = os.fork()
    if child == 0:
        embed(folder, moment)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(moment, os.WIFSIGNALED(status) and os.WTERMSIG(status))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    from foveate.raster import write_cog

    folder = tmp_path_factory.mktemp("kill") / "images"
    rng = np.random.default_rng(0)
    write_cog(folder / "scene.tif", rng.integers(0, 255, (3, 256, 256), dtype=np.uint8))
    return folder


@pytest.mark.parametrize("count", [5, pytest.param(MOMENTS, marks=pytest.mark.slow)])
def test_embedding_killed_at_any_moment_ends_with_the_same_bytes(images, tmp_path, count):
    import foveate as fv

    colour_words.register()  # what is written is the point, not what it costs to compute
    pool, model = fv.open_pool(images, tile=16), fv.load_model("colours")
    fv.embed(pool, model, run=tmp_path / "whole")
    whole = digest_tree(tmp_path / "whole")
    shards = sum(name.endswith(".parquet") for name in whole)
    writes = 2 * shards + 4  # record, manifest, a shard and its receipt each, record, matrix
    moments = np.random.default_rng(7).choice(3 * writes, MOMENTS, replace=False) + 1
    between_shard_and_receipt = {6 * i + 10 for i in range(shards)}
    moments = sorted(moments.tolist(), key=lambda m: m not in between_shard_and_receipt)[:count]
    assert set(moments) & between_shard_and_receipt
    assert count < MOMENTS or set(moments) - between_shard_and_receipt
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(images), str(tmp_path), ",".join(map(str, moments)),
         Path(colour_words.__file__).parent],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    killed = [line.split()[1] for line in done.stdout.splitlines()]
    assert killed == [str(int(signal.SIGKILL))] * count
    for moment in moments:
        fv.embed(pool, model, run=tmp_path / str(moment))
        after = {k: v for k, v in digest_tree(tmp_path / str(moment)).items() if ".tmp" not in k}
        assert after == whole, f"killed at moment {moment}"


def test_killed_job_resumes_and_a_second_run_does_nothing(images, tmp_path):
    def typed(out):
        return [
            "curate", str(images), "--out", str(out), "--tile", "16", "--method", "fa",
            "--method", "random", "--json",
        ]  # fmt: skip

    assert here(*typed(tmp_path / "whole")).status == 0
    victim = subprocess.Popen(
        [sys.executable, "-m", "foveate", *typed(tmp_path / "killed")], stdout=subprocess.DEVNULL
    )
    folder = tmp_path / "killed" / "embeddings"
    deadline = time.monotonic() + 120
    while not list(folder.glob("builtin-*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.kill()
    victim.wait()
    for worked in (True, False):
        assert here(*typed(tmp_path / "killed")).json["worked"] == worked
        assert digest_tree(tmp_path / "killed") == digest_tree(tmp_path / "whole")
