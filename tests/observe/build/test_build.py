"""Pairs of an archive with known locations, drop reasons and labels."""

import json
import shutil
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from command import here, start
from pair_archive import EXPECTED, FOREST, KEPT, LAKES, OPTIONS, SECOND, SMALL, low_values
from trees import digest_tree

from foveate.observe import open_pairs
from foveate.observe.build import building
from foveate.raster import FileSource
from foveate.world import WorldSpec, make_scene

pytest.importorskip("osmium")


def _build(archive, out, *options):
    return here("observe", "build", *archive.sources, *OPTIONS, "--out", out, *options)


def _manifest(out):
    return {row["anchor"]: row for row in pq.read_table(out / "manifest.parquet").to_pylist()}


def test_every_candidate_has_the_expected_result(built):
    out, summary = built
    rows = _manifest(out)
    assert {name: row["why"] for name, row in rows.items() if row["why"]} == EXPECTED
    assert sorted(name for name, row in rows.items() if row["kept"]) == KEPT
    for row in rows.values():
        files = [out / folder / f"{row['scene']}.tif" for folder in ("hr", "lr")]
        assert [file.exists() for file in files] == [row["kept"]] * 2
    funnel = {stage["stage"]: (stage["left"], stage["gone"]) for stage in summary["funnel"]}
    assert funnel["areas with a tag of the rules"] == (23, {})
    assert funnel["anchors"] == (20, {"without a concept": 1, "invalid": 1, "too small": 1})
    assert funnel["footprints"] == (19, {"too near to another": 1})
    assert funnel["candidates"][0] == funnel["to be fetched"][0] == 17
    assert funnel["pairs"][0] == len(KEPT)
    assert sum(funnel["pairs"][1].values()) == 17 - len(KEPT)


def test_manifest_contains_dates_and_days_between_them(built):
    rows = _manifest(built[0])
    for name in KEPT:
        near = name != SECOND
        late = "B-2023" in rows[name]["hr_items"]
        assert rows[name]["lr_items"] == ["near" if near else "later"]
        assert rows[name]["days"] == (58.75 if not near else -22.25 if late else -12.25)
        assert rows[name]["hr_datetime"] == f"2023-06-{11 if late else 1:02d}T16:00:00Z"
    assert rows["way/7"]["hr_items"] == ["B-2023", "A-2023"]  # the newest takes precedence
    assert rows[SECOND]["cloud"] == 0
    assert built[1]["days"] == [12.25, 58.75]


def test_images_equal_the_archive(built):
    """Aligned grids are not resampled; values have one scale and no offset."""
    spec = WorldSpec(scenes=1, size=(384, 576), bands=4, seed=3, cloud=0.0, nodata_border=0.0)
    image = make_scene(spec, 0).image
    low = low_values(image)
    for name, row in _manifest(built[0]).items():
        if not row["kept"]:
            continue
        col, up = (FOREST | LAKES)[name]
        x, y = round(col * 64) - 32, round(up * 64) - 32
        high = FileSource(str(built[0] / row["hr_file"]))
        np.testing.assert_array_equal(high.read().data, image[:3, y : y + 64, x : x + 64])
        coarse = FileSource(str(built[0] / row["lr_file"]))
        left, top = (x + 64) // 4, (y + 64) // 4
        np.testing.assert_array_equal(coarse.read().data, low[:, top : top + 16, left : left + 16])
        assert high.info.geobox.boundingbox.bbox == coarse.info.geobox.boundingbox.bbox


def test_tile_shares_equal_the_map(built):
    pairs = open_pairs(built[0])
    rows = _manifest(built[0])
    assert [concept.name for concept in pairs.concepts] == ["forest", "lake"]
    by_scene = {row["scene"]: name for name, row in rows.items()}
    shares = {
        by_scene[scene.scene_id]: pairs.shares[own][np.lexsort(pairs.place[own, 1:].T[::-1])]
        for scene, own in pairs.pool.per_scene()
    }
    for name, share in shares.items():
        forest, lake = (0, 0.5) if name in LAKES else (0.0625 if name in SMALL else 0.25, 0)
        expected = np.array([[forest, lake]] * 4)
        if name == "relation/1":
            expected[1, 0] = 1  # a forest beside the lake that is not an anchor
        np.testing.assert_allclose(share, expected, atol=2e-3)
    assert pairs.shape == (2, 2)
    assert pairs.gsd == (4.0, 1.0)
    assert len(set(pairs.groups)) > 3


def test_dry_run_prints_the_cost_and_writes_nothing(archive, tmp_path):
    answer = here("observe", "build", *archive.sources, *OPTIONS, "--dry-run", "--json")
    assert answer.status == 0, answer.err
    cost = answer.json
    assert (cost["pairs"], cost["hr_items"], cost["lr_items"]) == (17, 6, 1)
    assert cost["requests"] > 17 * 5
    assert 0 < cost["gigabytes"] < 1
    text = here("observe", "build", *archive.sources, *OPTIONS, "--dry-run").out
    assert "To fetch: 17 pairs from 6 HR and 1 LR items" in text
    assert not list(tmp_path.iterdir())


def test_interrupted_build_ends_with_the_same_bytes(archive, tmp_path, monkeypatch):
    real, calls = building.fetch_pair, []

    def stops(*args):
        calls.append(args)
        if len(calls) % 6 == 0:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(building, "fetch_pair", stops)
    out = tmp_path / "pairs"
    stopped = 0
    while (answer := _build(archive, out)).status:
        assert "hr" not in answer.err
        stopped += 1
        assert stopped < 9
    assert stopped >= 2
    assert len(calls) == 17 + stopped  # complete pairs are not fetched again
    files = digest_tree(out)
    calls.clear()
    assert "Nothing to do" in _build(archive, out).out
    assert not calls
    shutil.rmtree(out)
    monkeypatch.undo()
    assert _build(archive, out).status == 0
    assert digest_tree(out) == files


def test_smaller_job_removes_other_pairs(built, archive, tmp_path):
    out = tmp_path / "pairs"
    shutil.copytree(built[0], out)
    assert _build(archive, out, "--limit", "6").status == 0
    rows = _manifest(out)
    kept = {row["hr_file"] for row in rows.values() if row["kept"]}
    assert 1 <= len(kept) <= 6
    assert {str(file.relative_to(out)) for file in (out / "hr").rglob("*.tif")} == kept
    assert sum(row["why"] == "beyond the limit" for row in rows.values()) == 11
    assert {"relation/1", "relation/2"} <= {name for name, row in rows.items() if row["kept"]}
    assert len(open_pairs(out).overviews) == len(kept)


def test_pairs_can_be_moved(built, tmp_path):
    shutil.copytree(built[0], tmp_path / "elsewhere")
    assert len(open_pairs(tmp_path / "elsewhere")) == 4 * len(KEPT)


@pytest.mark.slow
def test_killed_process_is_resumed_with_the_same_bytes(archive, tmp_path):
    out = tmp_path / "pairs"
    command = ["observe", "build", *archive.sources, *OPTIONS, "--out", out]
    command[command.index(archive.extract)] = archive.root / "part.osm.pbf"  # eight pairs suffice
    for pairs in (1, 5):
        process = start(*command)
        while process.poll() is None:
            if len(list(out.glob("work/fetched/*/*.json"))) >= pairs:
                process.kill()
            time.sleep(0.002)
        process.communicate()
    assert here(*command).status == 0
    files = digest_tree(out)
    shutil.rmtree(out)
    assert here(*command).status == 0
    assert digest_tree(out) == files


@pytest.mark.slow
def test_train_and_select_accept_built_pairs(built, tmp_path):
    pytest.importorskip("torch")
    pairs = tmp_path / "pairs"
    shutil.copytree(built[0], pairs)
    trained = here(
        "observe", "train", pairs, "--size", "nano", "--epochs", "1", "--device", "cpu",
        "--out", tmp_path / "observer",
    )  # fmt: skip
    assert trained.status == 0, trained.err
    chosen = here(
        "observe", "select", pairs, "--observer", tmp_path / "observer", "--budget", "25%",
        "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert chosen.status == 0, chosen.err
    assert pq.read_table(tmp_path / "run/selection/tiles.parquet").num_rows == len(KEPT)
    counted = here("observe", "estimate", pairs, "--concept", "lake", "--budget", "50%",
                   "--quantity", "tiles", "--json")  # fmt: skip
    assert counted.json["truth"] == 8


# --- invalid input


def _refused(archive, tmp_path, *options, **replaced):
    sources = {
        "anchors": archive.extract, "rules": archive.rules, "hr": archive.hr, "lr": archive.lr
    } | replaced  # fmt: skip
    inputs = [word for name, path in sources.items() for word in (f"--{name}", path)]
    out = tmp_path / "pairs"
    answer = here("observe", "build", *inputs, *OPTIONS, "--out", out, *options)
    assert answer.status == 1, (answer.status, answer.err)
    assert not out.exists()  # nothing was written
    return answer.err


def test_extract_without_matching_tags_raises(archive, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[concepts.volcano]\ntags = [{ natural = "volcano" }]\n')
    error = _refused(archive, tmp_path, rules=rules)
    assert "no area of" in error
    assert "natural" in error


def test_invalid_or_missing_extract_raises(archive, tmp_path):
    broken = tmp_path / "broken.osm.pbf"
    broken.write_bytes(archive.extract.read_bytes()[:300])
    assert "cannot read" in _refused(archive, tmp_path, anchors=broken)
    assert "there is no file" in _refused(archive, tmp_path, anchors=tmp_path / "no.osm.pbf")


def test_reversed_dates_raise_with_corrected_option(archive, tmp_path):
    error = _refused(archive, tmp_path, "--hr-datetime", "2024-01-01/2022-01-01")
    assert "2022-01-01/2024-01-01" in error
    assert "before it begins" in error


def test_dates_without_imagery_raise(archive, tmp_path):
    error = _refused(archive, tmp_path, "--hr-datetime", "2010-01-01/2011-01-01")
    assert "HR catalogue has no usable item" in error
    error = _refused(archive, tmp_path, "--lr-datetime", "2010-01-01/2011-01-01")
    assert "LR catalogue has no usable item" in error


def test_excluding_all_candidates_raises_with_counts(archive, tmp_path):
    error = _refused(archive, tmp_path, "--max-cloud", "0.2")
    assert "no pair is left" in error
    assert "17 LR too cloudy or its cloud cover not stated" in error


def test_files_that_are_not_stac_raise(archive, tmp_path):
    assert "--hr" in _refused(archive, tmp_path, hr=archive.extract)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"type": "Point"}))
    assert "not STAC" in _refused(archive, tmp_path, lr=other)


def test_missing_assets_raise(archive, tmp_path):
    error = _refused(archive, tmp_path, "--lr-assets", "B04,B03,B02")
    assert "without the assets" in error
    error = _refused(archive, tmp_path, "--scl", "qa")
    assert "without a scene classification layer" in error
    assert "--scl none" in error


def test_build_without_complete_pairs_raises_with_reasons(archive, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(archive.rules.read_text())
    out = tmp_path / "pairs"
    answer = _build(archive, out, "--hr-bands", "1,2,9")
    assert answer.status == 1
    assert "none of the 17 pairs is complete" in answer.err
    assert "band 9 of 4" in answer.err
    assert not list(out.rglob("*.tif"))


def test_missing_out_raises_with_hint_for_dry_runs(archive):
    answer = here("observe", "build", *archive.sources, *OPTIONS)
    assert answer.status == 1
    assert "--dry-run" in answer.err


def test_vector_files_as_anchors(archive, built, tmp_path):
    """GeoJSON, read with pyogrio: columns are tags, and one contains the region."""
    table = pq.read_table(built[0] / "polygons.parquet")
    names = ["north" if "relation" in i else "south" for i in table["id"].to_pylist()]
    shapes = [shapely.from_wkb(w) for w in table["geometry"].to_pylist()]
    kinds = [c[0] for c in table["concepts"].to_pylist()]
    features = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(shape),
         "properties": {"kind": kind, "state": name}}
        for shape, kind, name in zip(shapes, kinds, names, strict=True)
    ]  # fmt: skip
    file = tmp_path / "areas.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[concepts.forest]\ntags = [{ kind = "forest" }]\n'
        '[concepts.lake]\ntags = [{ kind = "lake" }]\n'
    )
    out = tmp_path / "pairs"
    answer = here(
        "observe", "build", "--anchors", file, "--rules", rules, "--hr", archive.hr, "--lr",
        archive.lr, *OPTIONS, "--region", "state", "--out", out,
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert set(open_pairs(out).groups) == {"north", "south"}
    assert len(open_pairs(out).overviews) == len(KEPT)
