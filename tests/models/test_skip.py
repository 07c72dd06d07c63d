"""A broken file among many does not end a run: it is left out, named, and tried again."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import here

from foveate.curate import CurateJob
from foveate.errors import DataError
from foveate.models.job import EmbedJob
from foveate.raster import write_cog
from foveate.run import load_embeddings

SIDE, TILE = 160, 32


def scene(name, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (3, SIDE, SIDE), np.uint8)
    write_cog(name, pixels)


def cut_off(file):
    """Keep the header, and lose what is stored after it."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


@pytest.fixture
def images(tmp_path):
    for i, name in enumerate("abcd"):
        scene(tmp_path / f"images/{name}.tif", i)
    return tmp_path / "images"


def embed(images, out, **given):
    return EmbedJob(images=[str(images)], tile=TILE, **given).run(out)


def fail_in_the_encoder(monkeypatch, scenes):
    """Let some scenes be unreadable once the pool has been measured."""
    from foveate.raster import FileSource

    read = FileSource.read

    def failing(self, window=None, **given):
        if any(f"{name}.tif" in self.path for name in scenes) and window and window.h == TILE:
            raise DataError(f"cannot read {self.path!r}: the disk is gone")
        return read(self, window, **given)

    monkeypatch.setattr(FileSource, "read", failing)


def test_by_default_a_run_stops_and_keeps_what_it_has(images, tmp_path):
    (images / "b.tif").write_bytes(b"no raster")
    with pytest.raises(DataError, match=r"b\.tif"):
        embed(images, tmp_path / "run")


def test_scenes_that_cannot_be_opened_or_measured_are_left_out_and_come_back(images, tmp_path):
    good = {name: (images / f"{name}.tif").read_bytes() for name in "ac"}
    (images / "c.tif").write_bytes(b"no raster")
    cut_off(images / "a.tif")
    out = tmp_path / "run"
    run = embed(images, out, on_error="skip")
    assert sorted(run.record["summary"]["failed"]) == ["a", "c"]
    assert json.loads((out / "tables/failed.json").read_text()).keys() == {"a", "c"}
    assert set(load_embeddings(out).ids.astype("U1")) == {"b", "d"}
    for name, content in good.items():
        (images / f"{name}.tif").write_bytes(content)
    run = embed(images, out, on_error="skip")
    assert "failed" not in run.record["summary"]
    assert not (out / "tables/failed.json").exists()
    found, whole = load_embeddings(out), load_embeddings(embed(images, tmp_path / "whole").path)
    assert found.ids.tolist() == whole.ids.tolist()
    np.testing.assert_array_equal(found.x, whole.x)


def test_a_repeat_tries_what_failed_and_that_alone(images, tmp_path, monkeypatch):
    out, encoded = tmp_path / "run", []
    with monkeypatch.context() as patch:
        fail_in_the_encoder(patch, ["b"])
        for _ in range(2):  # it still fails
            run = embed(images, out, on_error="skip")
            assert list(run.record["summary"]["failed"]) == ["b"]
            assert "b" not in set(load_embeddings(out).ids.astype("U1"))
            tiles = pq.read_table(out / "tiles.parquet")["scene"].unique().to_pylist()
            assert tiles == ["a", "c", "d"]
    from foveate.models import shard_encoder

    fill = shard_encoder.fill_invalid
    monkeypatch.setattr(
        shard_encoder, "fill_invalid", lambda raster: encoded.append(1) or fill(raster)
    )
    run = embed(images, out, on_error="skip")
    assert len(encoded) == (SIDE // TILE) ** 2
    assert "failed" not in run.record["summary"]
    assert not embed(images, out, on_error="skip").worked
    np.testing.assert_array_equal(
        load_embeddings(out).x, load_embeddings(embed(images, tmp_path / "whole").path).x
    )


def test_a_ranking_is_of_what_could_be_read(images, tmp_path, monkeypatch):
    given = {"images": [str(images)], "tile": TILE, "methods": ["kcenter"], "budget": "10"}
    with monkeypatch.context() as patch:
        fail_in_the_encoder(patch, ["b"])
        run = CurateJob(**given, on_error="skip").run(tmp_path / "run")
    assert list(run.record["summary"]["failed"]) == ["b"]
    ranked = pq.read_table(run.path / "rankings/kcenter.parquet")["tile_id"].to_pylist()
    assert {one[0] for one in ranked} == {"a", "c", "d"}
    (images / "b.tif").rename(tmp_path / "b.tif")
    alone = CurateJob(**given).run(tmp_path / "alone")
    same = pq.read_table(alone.path / "rankings/kcenter.parquet")["tile_id"].to_pylist()
    assert ranked == same


def test_a_scene_of_which_no_tokens_can_be_made_is_left_out_too(images, tmp_path, monkeypatch):
    for i, name in enumerate("abcd"):
        codes = np.random.default_rng(i).integers(0, 3, (1, SIDE // 8, SIDE // 8), np.uint8)
        write_cog(tmp_path / f"masks/{name}.tif", codes.repeat(8, 1).repeat(8, 2))
    given = {"images": [str(images)], "masks": [str(tmp_path / "masks")], "tile": TILE,
             "methods": ["label-noise", "kcenter"], "budget": "10"}  # fmt: skip
    with monkeypatch.context() as patch:
        fail_in_the_encoder(patch, ["images/b"])
        with pytest.raises(DataError, match="the disk is gone"):
            CurateJob(**given).run(tmp_path / "run")
        # Vectors are kept from a time when it could be read.
        fail_in_the_encoder(patch, [])
    EmbedJob(images=given["images"], masks=given["masks"], tile=TILE).run(tmp_path / "run")
    with monkeypatch.context() as patch:
        fail_in_the_encoder(patch, ["images/b"])
        run = CurateJob(**given, on_error="skip").run(tmp_path / "run")
    assert list(run.record["summary"]["failed"]) == ["b"]
    for name in given["methods"]:
        ranked = pq.read_table(run.path / f"rankings/{name}.parquet")["tile_id"].to_pylist()
        assert {one[0] for one in ranked} == {"a", "c", "d"}
    (images / "b.tif").rename(tmp_path / "b.tif")
    (tmp_path / "masks/b.tif").unlink()
    alone = CurateJob(**given).run(tmp_path / "alone")
    for name in given["methods"]:
        same = [pq.read_table(one.path / f"rankings/{name}.parquet")["tile_id"].to_pylist()
                for one in (run, alone)]  # fmt: skip
        assert same[0] == same[1]


def test_a_mask_that_cannot_be_read_for_its_cells_is_left_out_and_comes_back(
    images, tmp_path, monkeypatch
):
    for i, name in enumerate("abcd"):
        codes = np.random.default_rng(i).integers(0, 3, (1, SIDE // 8, SIDE // 8), np.uint8)
        write_cog(tmp_path / f"masks/{name}.tif", codes.repeat(8, 1).repeat(8, 2))
    given = {"images": [str(images)], "masks": [str(tmp_path / "masks")], "tile": TILE,
             "methods": ["label-noise"], "budget": "10"}  # fmt: skip
    EmbedJob(images=given["images"], masks=given["masks"], tile=TILE).run(tmp_path / "run")
    with monkeypatch.context() as patch:
        fail_in_the_encoder(patch, ["masks/b", "masks/d"])
        with pytest.raises(DataError, match="the disk is gone"):
            CurateJob(**given).run(tmp_path / "run")
        run = CurateJob(**given, on_error="skip").run(tmp_path / "run")
    assert list(run.record["summary"]["failed"]) == ["b", "d"]
    ranked = pq.read_table(run.path / "rankings/label-noise.parquet")["tile_id"].to_pylist()
    assert {one[0] for one in ranked} == {"a", "c"}
    whole = CurateJob(**given, on_error="skip").run(tmp_path / "run")
    assert "failed" not in whole.record["summary"]
    alone = CurateJob(**given).run(tmp_path / "alone")
    same = [pq.read_table(one.path / "rankings/label-noise.parquet")["tile_id"].to_pylist()
            for one in (whole, alone)]  # fmt: skip
    assert same[0] == same[1]


def test_the_command_line_names_them_and_ends_with_status_3(images, tmp_path):
    (images / "c.tif").write_bytes(b"no raster")
    typed = ["curate", str(images), "--tile", str(TILE), "--method", "random", "--budget", "5",
             "--out", str(tmp_path / "run")]  # fmt: skip
    assert here(*typed).status == 1
    done = here(*typed, "--on-error", "skip")
    assert done.status == 3
    assert "1 scene skipped; the same command retries" in done.err
    assert "c.tif" in done.err
    page = (tmp_path / "run/report.html").read_text()
    assert "Excluded scenes" in page
    assert "c.tif" in page


def test_nothing_that_can_be_read_is_an_error(images, tmp_path):
    for file in images.iterdir():
        file.write_bytes(b"no raster")
    with pytest.raises(DataError, match="none of the 4 scenes can be opened"):
        embed(images, tmp_path / "run", on_error="skip")
