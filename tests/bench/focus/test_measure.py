"""From what scenes came to to measures, what is remembered, and the choice of weights."""

import json
import math
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from colour_words import colour_words
from scene_sets import write_classes

from foveate.bench.focus import sweep
from foveate.bench.focus.conditions import Condition, options_of
from foveate.bench.focus.job import FocusBenchJob
from foveate.bench.focus.measure import summarised
from foveate.bench.focus.methods import METHODS
from foveate.bench.focus.methods.base import Task
from foveate.bench.focus.methods.looks import in_order, look
from foveate.bench.focus.remembered import KeptReads, SceneVectors, Vectors
from foveate.bench.focus.scenes import BenchScene
from foveate.bench.focus.tables import USUAL_METHODS, Plan
from foveate.bench.focus.write import few_of_a_kind
from foveate.budget import Ledger
from foveate.errors import MissingCapabilityError, ParameterError
from foveate.focus.encode import CropEncoder
from foveate.focus.question import FocusQuestion
from foveate.grid import Window
from foveate.models.heads import text_head
from foveate.raster import ArraySource
from foveate.stats.measures import Measure


def scene(name, kind="rare"):
    return BenchScene(name, "red", kind, lambda: None)


def test_measures_are_means_over_the_scenes_that_have_them():
    rows = [
        (scene("a"), {"top-1": 1.0, "recall": 1.0}), (scene("b"), {"top-1": 0.0, "recall": 0.0}),
        (scene("c", "one"), {"top-1": 1.0}),
    ]  # fmt: skip
    found = summarised(rows)
    assert found["top-1"]["value"] == pytest.approx(2 / 3)
    assert found["recall"]["value"] == 0.5
    assert set(found["recall"]["groups"]) == {"a", "b"}
    assert found["top-1: one"]["value"] == 1
    assert "recall: one" not in found
    assert not [name for name in summarised(rows[:2]) if ":" in name]  # one kind is all of them


def test_thirds_by_gsd_only_where_all_scenes_have_one():
    rows = [(scene(f"s{i}"), {"top-1": float(i < 2), "gsd": 0.1 * (i + 1)}) for i in range(6)]
    found = summarised(rows)
    assert [found[f"top-1: GSD {name}"]["value"] for name in ("fine", "middle", "coarse")] == [
        1, 0, 0,
    ]  # fmt: skip
    assert "gsd" not in found
    rows[0] = (rows[0][0], {"top-1": 1.0})
    assert not [name for name in summarised(rows) if "GSD" in name]


def test_parts_divide_the_scenes():
    val, test = (Condition("look-rare", part=part) for part in ("val", "test"))
    assert all(val.counts(i) != test.counts(i) for i in range(7))
    assert val.work == test.work
    assert val.name != test.name


def striped(draw, side=32):
    image = draw.integers(0, 255, (3, side, side)).astype(np.uint8)
    return ArraySource(image)


def encoder_of(source, cache, seed=0, inputs="unit"):
    return CropEncoder(source, colour_words(), Ledger({}), cache=cache, seed=seed, inputs=inputs)


def test_windows_are_told_apart_by_their_pixels(tmp_path):
    """The same patch elsewhere, and in another scene, is not shown again; another is."""
    draw = np.random.default_rng(0)
    first, vectors = striped(draw), Vectors.open(tmp_path)
    x = encoder_of(first, SceneVectors(first, vectors, 0)).embed([Window(0, 0, 8, 8)])
    vectors.save("a")
    image = striped(draw).read().data.copy()
    image[:, 16:24, 8:16] = first.read(Window(0, 0, 8, 8)).data
    second, again = ArraySource(image), Vectors.open(tmp_path)
    encoder = encoder_of(second, SceneVectors(second, again, 1))
    y = encoder.embed([Window(16, 8, 8, 8)])
    assert np.array_equal(x, y)
    assert encoder.work.remembered == encoder.work.passes > 0  # booked all the same
    encoder.embed([Window(0, 0, 8, 8)])
    assert encoder.work.calls == 1


def test_only_so_many_vectors_are_held_and_all_are_kept(tmp_path):
    vectors = Vectors(tmp_path, most=3 * 8)
    keys = [(bytes([i]), 8, 8, 0) for i in range(5)]
    for i, key in enumerate(keys):
        vectors.put(key, np.full(2, i, np.float32))
    assert list(vectors.known) == keys[2:]
    vectors.save("a")
    assert set(Vectors.open(tmp_path).known) == set(keys)


def test_shrunk_windows_are_read_once():
    class Counted:
        def __init__(self, source):
            self.info, self.source, self.reads = source.info, source, 0

        def read(self, window=None, **how):
            self.reads += 1
            return self.source.read(window, **how)

    source = Counted(striped(np.random.default_rng(0)))
    kept = KeptReads(source)
    window = Window(0, 0, 16, 16)
    for _ in range(2):
        small = kept.read(window, bands=(1, 2), out_shape=(4, 4))
        assert np.array_equal(small.data, source.source.read(window, bands=(1, 2),
                                                             out_shape=(4, 4)).data)  # fmt: skip
    assert source.reads == 1
    assert kept.read(window, out_shape=(4, 4)).data.shape == (3, 4, 4)
    assert source.reads == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_disturbed_windows_depend_on_the_seed(tmp_path, seed):
    source, vectors = striped(np.random.default_rng(0)), Vectors.open(tmp_path)
    window = Window(0, 0, 8, 8)
    encoder_of(source, SceneVectors(source, vectors, 0)).embed([window], disturbed=True)
    other = encoder_of(source, SceneVectors(source, vectors, seed), seed)
    plain = encoder_of(source, None, seed).embed([window], disturbed=True)
    assert np.array_equal(other.embed([window], disturbed=True), plain)
    assert (other.work.remembered > 0) == (seed == 0)


@dataclass(frozen=True)
class Names:
    names: tuple


def test_a_ranking_keeps_its_order_among_equal_votes():
    ranking = (("b", 0.5), ("c", 0.5), ("a", 0.0))
    found = in_order(Names(("a", "b", "c")), ranking)
    assert np.allclose(found, [0, 0.5, 0.5], atol=1e-6)
    assert found[1] > found[2] > found[0]


def colours_task(passes=math.inf, regions=4):
    image = np.zeros((3, 64, 64), np.uint8)
    image[1] = 200
    image[:, 16:32, 32:48] = np.array([220, 0, 0])[:, None, None]
    source = ArraySource(image)
    head = text_head(colour_words(), ["red", "green", "blue"])
    return Task(encoder_of(source, None), FocusQuestion(head), 16, passes, regions)


def test_a_look_books_its_passes_and_finds_what_is_rare():
    task = colours_task()
    found = look(task, "rare")
    assert found.windows[0] == Window(16, 32, 16, 16)
    assert found.cells[int(np.argmax(found.importance))] == found.windows[0]
    assert task.encoder.work.passes > 0
    assert int(np.argmax(found.probabilities)) == 0


def test_perturbed_regions_change_the_weighted_answer_only():
    plain, scaled, masked = (
        look(colours_task(), "rare", perturbed=how) for how in ("none", "weights", "regions")
    )
    assert plain.windows == scaled.windows == masked.windows
    assert not np.allclose(plain.probabilities, masked.probabilities)
    assert not np.allclose(plain.probabilities, scaled.probabilities)
    alone = [
        look(colours_task(regions=1), "rare", perturbed=how).probabilities
        for how in ("none", "weights")
    ]
    assert np.allclose(*alone)  # no weight is above the median of one


def test_only_looks_have_settings():
    with pytest.raises(MissingCapabilityError, match="whole-image"):
        Condition("whole-image", options=options_of(cells=3)).function()


PLAN = Plan(("look-balanced",), (24.0,), ("m",), ("s",), classes=True)


def test_the_sweep_takes_the_best_and_of_equal_ones_that_next_the_paper():
    rows = sweep.coarse_rows(PLAN)
    assert len(rows) == 4 * 13
    value = {"area": 0.5, "representativeness": 0.9, "robustness": None, "synergy": 0.3}

    def measure(row):
        hit = value[row.block] is not None and float(row.label) == value[row.block]
        return {"top-1": Measure(float(hit), [], {})}

    results = [{row.conditions[0]: measure(row) for row in rows}]
    chosen = sweep.best(rows, results, "top-1")
    assert chosen == {**value, "robustness": 0.65}
    fine = sweep.fine_rows(PLAN, rows, results, "top-1")
    assert {r.label for r in fine if r.block == "area"} == {
        f"0.{n}" for n in (46, 47, 48, 49, 51, 52, 53, 54)
    }
    assert max(float(r.label) for r in fine if r.block == "representativeness") <= 0.9
    options = [json.loads(r.conditions[0].options)["weights"] for r in
               sweep.final_rows(PLAN, rows, results, "top-1")]  # fmt: skip
    assert options[1] == chosen
    assert {part for r in rows for part in [r.conditions[0].part]} == {"val"}


def test_each_of_several_sets_is_asked_about_its_own_classes(tmp_path):
    from colour_words import register

    register()
    write_classes(tmp_path / "a")
    write_classes(tmp_path / "b")
    shutil.rmtree(tmp_path / "b/blue")
    job = FocusBenchJob(
        scenes=[str(tmp_path / "a"), str(tmp_path / "b")], models=["colours", "pairs"],
        labels=["red", "green", "blue"], kinds=["one"], count=2, grid=4, seeds=1, table="main",
    )  # fmt: skip
    job.run(tmp_path / "out")
    found = json.loads((tmp_path / "out/tables/main.json").read_text())
    assert [row["block"] for row in found["rows"]][::2] == [
        "a, colours", "a, pairs", "b, colours", "b, pairs"
    ]  # fmt: skip
    (tmp_path / "b/green").rename(tmp_path / "b/unknown")
    with pytest.raises(ParameterError, match="1 of the labels in the classes of 'b'"):
        job.run(tmp_path / "other")


def test_the_usual_methods_are_there():
    assert {name for names in USUAL_METHODS.values() for name in names} <= set(METHODS)


def test_too_few_scenes_of_a_kind_are_said():
    def kinds(*counts):
        return {str(i): {"rows": [{"clusters": c}]} for i, c in enumerate(counts)}

    assert few_of_a_kind(kinds(40, 30)) == []
    assert few_of_a_kind(kinds(40, 12)) == [
        "For single kinds: With fewer than 20 groups the intervals are too narrow."
    ]
    assert few_of_a_kind({}) == few_of_a_kind(kinds(0)) == []
