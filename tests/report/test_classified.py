"""The page of a classify run, made of a run directory written by hand."""

from __future__ import annotations

import html
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from report_pages import blocks, ids, pictures, rows, table

from foveate.errors import DataError
from foveate.files import write_json, write_parquet
from foveate.report import write_report
from foveate.report.blocks import Matrix
from foveate.report.pages.classify import classify
from foveate.report.read import read_classified

LABELS = ("sea", "<b>wood</b>", "town")


@pytest.fixture
def make(tmp_path):
    """Write a run of `n` patches, of which every third is a sea taken for a wood."""

    def write(n=9, labels=LABELS, *, truth=True):
        path = tmp_path / "run"
        ids = [f"s/{i:02d}" for i in range(n)]
        true = np.arange(n) % len(labels)
        first = np.where(true == 0, 1, true)
        window = {k: [v] * n for k, v in (("y", 0), ("x", 0), ("h", 8), ("w", 8))}
        tiles = {"tile_id": ids, "scene": ["s"] * n, **window}
        write_parquet(path / "tiles.parquet", pa.table(tiles))
        write_parquet(path / "scenes.parquet", pa.table({"scene": ["s"], "fingerprint": ["f"]}))
        found = {
            **tiles, "label": [labels[i] for i in first],
            "probability": np.linspace(0.4, 0.9, n).astype(np.float32),
            "second_label": [labels[(i + 1) % len(labels)] for i in first],
            "second_probability": np.full(n, 0.1, np.float32),
            **({"truth": [labels[i] for i in true]} if truth else {}),
        }  # fmt: skip
        write_parquet(path / "predictions.parquet", pa.table(found))
        table = np.zeros((len(labels), len(labels)), int)
        np.add.at(table, (true, first), 1)
        rows = [{"truth": a, "label": b, "tiles": int(table[i, j])}
                for i, a in enumerate(labels) for j, b in enumerate(labels)]  # fmt: skip
        write_parquet(path / "tables/confusion.parquet", pa.Table.from_pylist(rows))
        write_json(path / "tables/excluded.json", {"s/void": "0.0% valid pixels, under 50%"})
        (path / "thumbs").mkdir()
        Image.new("RGB", (8, 8), (9, 99, 9)).save(path / "thumbs/0.jpg")
        thumbs = [{"kind": "tile", "name": ids[0], "file": "thumbs/0.jpg"}]
        write_parquet(path / "tables/thumbs.parquet", pa.Table.from_pylist(thumbs))
        right = float(table.trace() / n)
        known = {"source": "folders", "judged": n, "accuracy": right, "mean_accuracy": right}
        write_json(path / "run.json", {
            "schema": 1, "steps": {"predict": {"key": "k", "seconds": 0.2, "outputs": []}},
            "command": "foveate classify images", "job": {"images": ["images"], "min_valid": 0.5},
            "environment": {"foveate": "0.1.0"},
            "summary": {
                "pool": {"bands": 3, "dtype": "uint8", "georeferenced": False},
                "model": {"name": "clip", "fingerprint": "abc"}, "seed": 0,
                "head": {"kind": "cosine", "templates": ["{}"], "texts": {n: [n] for n in labels}},
                "labels": {n: int((first == i).sum()) for i, n in enumerate(labels)},
                "truth": known if truth else None,
            },
        })  # fmt: skip
        return path

    return write


def test_the_page_counts_labels_and_says_how_many_are_right(make):
    page = classify(read_classified(make()))
    assert page.headline == (
        "67\u202f% of 9 patches are right, not significantly more than by always answering "
        "\u201csea\u201d (33\u202f%)"
    )
    labels = rows(table(page, "Labels"))
    assert [(name, cells[0], cells[-1]) for name, cells in labels.items()] == [
        ("<b>wood</b>", "6", "3 of 3"), ("town", "3", "3 of 3"), ("sea", "0", "0 of 3"),
    ]  # fmt: skip
    assert (
        "Most patches are <b>wood</b>: 67\u202f%. 1 of 3 labels was assigned to no patch."
        in page.verdicts
    )
    assert blocks(page, Matrix)[0].rows[0][1].text == "3"  # three seas taken for woods


def test_the_surest_patches_come_first_and_no_patch_twice(make):
    page = classify(read_classified(make(n=60)))
    best, worst = pictures(page)[:2]
    assert [p.title for p in best] == sorted((p.title for p in best), reverse=True)
    assert len(best) == len(worst) == 6
    assert not {p.alt for p in best} & {p.alt for p in worst}


def test_without_truth_there_is_no_table_of_errors(make):
    page = classify(read_classified(make(truth=False)))
    assert "confusion" not in ids(page)
    assert "Correct, of this class" not in table(page, "Labels").columns
    assert page.headline == "9 patches, 3 labels; the accuracy is not known"


def test_the_page_runs_no_script_and_hostile_names_stay_text(make):
    page = write_report(make()).read_text(encoding="utf-8")
    assert "script-src 'none'" in html.unescape(page)
    assert "<script" not in page
    assert "<b>wood</b>" not in page
    assert "&lt;b&gt;wood&lt;/b&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)


def test_many_labels_give_a_table_without_numbers(make):
    page = classify(read_classified(make(n=80, labels=tuple(f"l{i}" for i in range(80)))))
    (confusion,) = blocks(page, Matrix)
    assert confusion.dense
    assert len(confusion.names) == 60
    assert "20 labels left out" in confusion.note
    assert len(pictures(page)) == 40


def test_the_same_run_gives_the_same_bytes(make, tmp_path):
    run = make()
    one, two = (write_report(run, tmp_path / name).read_bytes() for name in ("1.html", "2.html"))
    assert one == two


def test_tables_that_contradict_each_other_are_refused(make):
    run = make()
    write_parquet(run / "tiles.parquet", pa.table({"tile_id": ["other"], "scene": ["s"]}))
    with pytest.raises(DataError, match="inconsistent"):
        read_classified(run)
