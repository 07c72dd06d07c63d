"""Preset paper: what it sets, and Tables I and II and Fig. 4 to 6 as files and on the page."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from paper_data import write_dfc2022, write_potsdam, write_vaihingen
from scipy.stats import ttest_rel

pytest.importorskip("torchgeo")
pytest.importorskip("segmentation_models_pytorch")

from command import here

from foveate.bench.curate.conditions import ALL, condition
from foveate.bench.curate.job import CurateBenchJob
from foveate.bench.curate.measure import Seed, per_image
from foveate.bench.curate.paper import paired_t, result
from foveate.bench.curate.settings import STANDARD
from foveate.errors import ParameterError
from foveate.stats.measures import Measure

WRITE = {"dfc2022": write_dfc2022, "vaihingen": write_vaihingen, "potsdam": write_potsdam}


@pytest.mark.parametrize(("name", "batch"), [("dfc2022", 64), ("vaihingen", 32), ("potsdam", 32)])
def test_the_preset_is_section_iv(name, batch):
    job = CurateBenchJob.typed(preset="paper", dataset=name, root="x")
    assert job.budgets == [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0]
    assert (job.judge, job.model) == ("unet", "timm:resnet18?size=256")
    assert (job.epochs, job.train_batch, job.learning_rate) == (100, batch, 1e-3)
    assert (job.schedule, job.seeds, job.samplers) == ("constant", 3, ["none"])
    assert (job.tile, job.stride, job.edge, job.redraw) == (256, 256, "drop", False)
    assert set(job.methods) == set(STANDARD)


def test_what_is_stated_wins_over_the_preset():
    job = CurateBenchJob(
        preset="paper", dataset="dfc2022", root="x", tile=128, train_batch=8, budgets="10%",
        steps_per_training=50, redraw=True,
    )  # fmt: skip
    assert (job.tile, job.stride, job.train_batch) == (128, None, 8)
    assert (job.epochs, job.steps_per_training, job.redraw) == (0, 50, True)
    probed = CurateBenchJob(preset="paper", dataset="dfc2022", root="x", judge="probe")
    assert probed.epochs == 0
    assert CurateBenchJob(**job.model_dump()) == job
    assert CurateBenchJob(preset="released").stride == 200


def test_quick_contradicts_the_preset():
    with pytest.raises(ParameterError, match="--quick together with --preset paper"):
        CurateBenchJob(preset="paper", quick=True)


def test_iou_by_image_is_zero_for_what_an_image_does_not_have():
    perfect = np.stack([np.diag([4, 0, 0, 4]), np.diag([0, 2, 2, 2])]).astype(float)
    np.testing.assert_allclose(per_image(perfect).mean(axis=1), [0.5, 0.75])
    wrong = np.array([[[2.0, 2.0], [0.0, 0.0]]])  # predicted, but not there
    np.testing.assert_allclose(per_image(wrong), [[0.5, 0.0]])


def test_classes_that_are_not_averaged_are_out_of_the_papers_miou_alone():
    names = ("a", "b", "gone")
    scenes = np.array(["s0", "s0", "s1"])
    design = SimpleNamespace(
        scene=scenes, cluster=scenes, pool=SimpleNamespace(legend=SimpleNamespace(names=names))
    )
    matrices = {"s0": np.diag([4.0, 4.0, 0.0]), "s1": np.diag([4.0, 0.0, 0.0])}
    for left_out, expected in (((), 0.5), (("gone",), 0.75)):
        seed = Seed(SimpleNamespace(design=design), None, seed=0, not_averaged=left_out)
        found = seed._measured(matrices)
        assert found["miou per image"].value == pytest.approx(expected)
        assert found["miou"].value == pytest.approx(1)


def test_the_t_test_is_scipys():
    draw = np.random.default_rng(0)
    a, b = draw.normal(0.5, 0.01, 3), draw.normal(0.45, 0.01, 3)
    assert paired_t(a, b) == pytest.approx(ttest_rel(a, b).pvalue)
    assert np.isnan(paired_t(a, a))
    assert np.isnan(paired_t(a[:1], b[:1]))


def test_table_one_by_hand():
    """Three runs: LC is 2 points above random in each, give or take a tenth; FD as far below."""

    def known(value, gap=0.0, **more):
        values = {"miou per image": value + gap, "miou": value + gap + 0.1, "select s": 6.0,
                  "fit s": 20.0, "epoch s": 2.0} | more  # fmt: skip
        return {name: Measure(v, [v], {}) for name, v in values.items()}

    results = []
    for run, jitter in enumerate((-0.001, 0.0, 0.001)):
        base = 0.3 + 0.01 * run
        results.append({
            condition("random", 0.1, "none"): known(base),
            condition("lc", 0.1, "none"): known(base, 0.02 + jitter),
            condition("fd", 0.1, "none"): known(base, -0.02 + jitter),
            condition(ALL, 1.0, "none"): known(0.4, **{"epoch s": 10.0}),
        })  # fmt: skip
    job = CurateBenchJob(preset="paper", methods="lc,fd", budgets="10%,100%")
    found = result(job, results, embedding=8.0)
    cells = {row["method"]: row["cells"] for row in found["table1"]}
    assert cells["lc"][0]["mean"] == pytest.approx(33)
    assert cells["lc"][0]["sd"] == pytest.approx(1.1)
    assert cells["lc"][0]["dataset"] == pytest.approx(43)
    assert cells["lc"][0]["above"]
    assert cells["fd"][0]["p"]["random"] < 0.05
    assert not cells["fd"][0]["above"]  # below is not above
    assert cells["random"][1]["mean"] == pytest.approx(40)
    assert cells["random"][1]["best"]
    assert cells["lc"][1]["mean"] is None
    times = found["table2"]
    selections = {one["method"]: one["epochs"] for one in times["selections"]}
    assert selections == pytest.approx({"random": 0.6, "lc": 0.6, "fd": 1.4})
    assert times["holds"]


def _bench(name, root, out):
    return here(
        "bench", "curate", "--preset", "paper", "--dataset", name, "--root", root,
        "--model", "timm:resnet10t@random?size=32", "--tile", "32", "--epochs", "1", "--seeds", "2",
        "--budgets", "25%,100%", "--method", "lc,fd,fa,kcenter", "--option", "fd.clusters=2",
        "--train-batch", "8", "--device", "cpu", "--out", out,
    )  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[
        "potsdam",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("dfc2022", "vaihingen")),
    ],
)
def run(request, tmp_path_factory):
    more = {"each": 4} if request.param == "dfc2022" else {}
    root = WRITE[request.param](tmp_path_factory.mktemp(request.param), **more)
    out = root / "out"
    answer = _bench(request.param, root, out)
    assert answer.status == 0, answer.err
    return request.param, out, answer


def _rows(file):
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_table_one_as_files_and_on_the_page(run):
    _, out, answer = run
    rows = _rows(out / "tables/table1.csv")
    assert [(r["method"], r["budget"]) for r in rows] == [
        ("random", "25.0"), ("random", "100.0"), ("kcenter", "25.0"), ("lc", "25.0"),
        ("fd", "25.0"), ("fa", "25.0"),
    ]  # fmt: skip
    assert all(0 <= float(r["miou"]) <= 100 and r["runs"] == "2" for r in rows)
    assert "not corrected" in (out / "tables/table1.md").read_text()
    page = (out / "report.html").read_text()
    assert "Table I" in page
    assert "not corrected" in page
    assert "Table I:" in answer.out
    made = json.loads((out / "tables/curate.json").read_text())
    assert made["folds"][0]["val"] > 0
    assert all(0 <= c["miou_per_image"] <= 1 for c in made["cells"])


def test_table_two_as_files_and_the_claim_below_it(run):
    _, out, answer = run
    rows = _rows(out / "tables/table2.csv")
    kinds = {kind: [r for r in rows if r["what"] == kind] for kind in
             ("epoch", "training", "selection")}  # fmt: skip
    assert [r["budget"] for r in kinds["epoch"]] == ["25.0", "100.0"]
    assert all(float(t["seconds"]) >= float(e["seconds"]) for e, t in
               zip(kinds["epoch"], kinds["training"], strict=True))  # fmt: skip
    assert {r["method"] for r in kinds["selection"]} == {"random", "kcenter", "lc", "fd", "fa"}
    assert "of the order of one epoch" in (out / "tables/table2.md").read_text()
    assert "than one epoch" in answer.out


def test_rankings_are_compared_as_by_compare(run):
    _, out, _ = run
    taus = {r["ranking"]: r for r in _rows(out / "tables/kendall.csv")}  # Fig. 5
    assert set(taus) == {"lc", "fd", "fa"}
    assert float(taus["lc"]["lc"]) == 1
    patches = _rows(out / "tables/patches.csv")  # Fig. 4 and 6: by the average rank
    assert [float(r["average"]) for r in patches] == sorted(float(r["average"]) for r in patches)
    page = (out / "report.html").read_text()
    assert "Best and worst" in page
    assert "data:image/" in page


def test_runs_share_their_sets(run):
    _, out, _ = run
    cells = json.loads((out / "tables/curate.json").read_text())["cells"]
    assert len({(c["seed"]) for c in cells}) == 2
    found = [c["select_s"] for c in cells if c["method"] == "fd" and c["budget"] == 25]
    assert found[0] == found[1]  # one selection, timed once


def test_a_second_run_does_nothing(run):
    name, out, _ = run
    assert "Nothing to do" in _bench(name, out.parent, out).out
