"""Scenes whose pixels are labelled: what regions hold of a class, and what chance does."""

import json
from dataclasses import replace

import numpy as np
import pytest
from colour_words import ColourWords, colour_words, register
from command import here
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scene_sets import COLOURS

from foveate.bench.focus.job import FocusBenchJob
from foveate.bench.focus.labelled import TargetLabels, random_windows, salient_windows
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.grid import Window
from foveate.models import FAMILIES, TokenSpec

SIDE = 64
CLASSES = "classes: {green: 1, red: 2, blue: 3, unlabeled: 9}\nignore: [unlabeled]\n"
PLANTED = {"a/one": (16, 32), "a/two": (0, 0), "b/one": (48, 16), "b/two": (32, 48)}


class Spots(ColourWords):
    """Its tokens are longest where an image is reddest."""

    token_spec = TokenSpec(3, "backbone")

    def tokens(self, batch):
        parts = [np.array_split(row, 4, axis=3) for row in np.array_split(batch, 4, axis=2)]
        found = [[self.embed(part) * (1, 0, 0) for part in row] for row in parts]
        return np.moveaxis(np.array(found, np.float32), 2, 0)


class SpotsFamily:
    def check(self, handle):
        return replace(handle, channels=3)

    def build(self, handle, bands, scale):
        colours = colour_words(bands)
        return Spots(colours.spec, colours.text_spec)


@pytest.fixture(scope="module", autouse=True)
def models():
    register()
    if "spots" not in FAMILIES:
        FAMILIES.register("spots", SpotsFamily())


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Green images of 64 x 64 with a red square of 16 x 16, and their masks."""
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def write_scenes(root, mask_side=SIDE):
    draw = np.random.default_rng(3)
    (root / "classes.yaml").write_text(CLASSES)
    for name, (y, x) in PLANTED.items():
        image = np.full((SIDE, SIDE, 3), COLOURS["green"], np.uint8)
        image[y : y + 16, x : x + 16] = COLOURS["red"]
        image = np.clip(image + draw.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        mask = np.full((mask_side, mask_side), 1, np.uint8)
        mask[y : y + 16, x : x + 16] = 2
        for kind, pixels in (("images", image), ("masks", mask)):
            file = root / kind / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return root


def options(root, **more):
    return {
        "scenes": [str(root / "images")], "masks": [str(root / "masks")], "table": "regions",
        "classes": str(root / "classes.yaml"), "targets": ["red"], "models": ["colours"],
        "crop": 16, "seeds": 2,
    } | more  # fmt: skip


def test_a_planted_square_is_found_by_its_name(scenes, tmp_path):
    answer = here(
        "bench", "focus", "--scenes", scenes / "images", "--masks", scenes / "masks", "--classes",
        scenes / "classes.yaml", "--target", "red", "--table", "regions", "--model", "colours",
        "--crop", "16", "--seeds", "2", "--regions", "2", "--method",
        "look-query,look-rare,tiling/query", "--out", tmp_path / "out",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    found = json.loads((tmp_path / "out/tables/regions.json").read_text())
    rows = {row["label"]: row for row in found["rows"] if row["block"] == "red"}
    for name in ("look-query", "look-rare"):
        assert rows[name]["means"]["share"] == 1
        assert rows[name]["means"]["gain"] == pytest.approx(1 - rows[name]["means"]["at random"])
        assert rows[name]["means"]["lift"] == 1 / rows[name]["means"]["at random"]
    assert rows["look-query"]["difference"]["low"] > 0.5
    assert rows["random regions"]["means"]["gain"] == 0
    assert 0 < rows["random regions"]["means"]["share"] < 0.3
    areas = {row["label"]: row for row in found["by_area"]["rows"] if row["block"] == "red"}
    assert areas["look-query"]["clusters"] == 2  # folders a and b
    assert rows["look-query"]["clusters"] == 4
    # The model has no tokens, so that there is no salience.
    assert found["left_out"].keys() == {
        f"red, sizes of {name}: overview saliency" for name in rows if name != "random regions"
    }
    assert "intervals over folders" in (tmp_path / "out/tables/regions.md").read_text()
    assert (tmp_path / "out/report.html").stat().st_size


def test_saliency_is_compared_with_each_method(scenes, tmp_path):
    methods = ["random-regions", "feature-norm/mean"]
    job = FocusBenchJob(
        **options(scenes, models=["spots"], methods=methods, seeds=1, count=2, regions=1)
    )
    job.run(tmp_path / "out")
    found = json.loads((tmp_path / "out/tables/regions.json").read_text())
    assert [(row["block"], row["label"]) for row in found["rows"]] == [
        ("red", "random regions"), ("red", "random-regions"), ("red", "feature-norm/mean"),
        ("red, sizes of random-regions", "overview saliency"),
        ("red, sizes of random-regions", "random-regions"),
    ]  # fmt: skip
    assert not found["left_out"]
    salient, drawn = (row["means"] for row in found["rows"][3:])
    assert salient["share"] == found["rows"][2]["means"]["share"] == 1
    assert salient["at random"] == drawn["at random"]
    assert drawn["share"] < 1


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"targets": ["rot"]}, UnknownNameError, "unknown target 'rot'"),
        ({"targets": ["unlabeled"]}, UnknownNameError, "unknown target 'unlabeled'"),
        ({"targets": ["blue"]}, DataError, "no pixel of 'blue'"),
        ({"targets": []}, ParameterError, "without --target"),
        ({"masks": []}, ParameterError, "without --masks"),
        ({"classes": None}, ParameterError, "without --classes"),
        ({"kinds": ["rare"]}, ParameterError, "--kind rare"),
        ({"table": "looks"}, ParameterError, "--masks with the table looks"),
        ({"table": "looks", "masks": [], "classes": None, "targets": [], "nodata": 0},
         ParameterError, "--nodata with the table looks"),
    ],
)  # fmt: skip
def test_bad_combinations_raise(scenes, given, error, said):
    with pytest.raises(error, match=said):
        FocusBenchJob(**options(scenes, **given)).check()


def test_a_mask_of_another_size_is_refused(tmp_path):
    write_scenes(tmp_path, mask_side=SIDE - 1)
    with pytest.raises(DataError, match="63 x 63"):
        FocusBenchJob(**options(tmp_path)).check()


def test_shares_of_hand_made_windows():
    target = np.zeros((10, 10), bool)
    target[2:4, 2:7] = True  # 10 pixels
    labels = TargetLabels(target, np.ones_like(target))
    assert labels.share([Window(0, 0, 4, 4)]) == 0.4
    assert labels.share([Window(0, 0, 4, 4), Window(2, 3, 2, 2)]) == 0.6  # overlap counts once
    assert labels.share([]) == 0
    assert np.isnan(TargetLabels(np.zeros_like(target), labels.labelled).share([]))


def test_random_windows_hold_what_all_places_hold_on_average():
    draw = np.random.default_rng(0)
    labels = TargetLabels(draw.random((12, 15)) < 0.3, np.ones((12, 15), bool))
    every = [labels.share([Window(y, x, 4, 5)]) for y in range(9) for x in range(11)]
    found = labels.random_share([Window(0, 0, 4, 5)], seed=1, draws=4000)
    assert found == pytest.approx(np.mean(every), abs=6 * np.std(every) / np.sqrt(4000))


@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), max_size=4),
    seed=st.integers(0, 9),
)
def test_random_windows_keep_their_sizes_and_do_not_overlap(sizes, seed):
    labelled = np.ones((40, 50), bool)
    labelled[:, :10] = False
    for windows in random_windows(sizes, labelled, 5, seed):
        assert sorted((w.h, w.w) for w in windows) == sorted(sizes)
        seen = np.zeros(labelled.shape, int)
        for w in windows:
            assert 0 <= w.y <= 40 - w.h
            assert 0 <= w.x <= 50 - w.w
            seen[w.y : w.y + w.h, w.x : w.x + w.w] += 1
            assert labelled[w.y : w.y + w.h, w.x : w.x + w.w].mean() >= 0.5
        assert seen.max(initial=0) <= 1


def test_salient_windows_are_the_best_of_all_places():
    draw = np.random.default_rng(5)
    salience, labelled = draw.random((3, 4)), np.ones((12, 16), bool)
    labelled[:, 12:] = False
    wide = np.kron(salience, np.ones((4, 4)))
    first, second = salient_windows([Window(0, 0, 2, 3), Window(0, 0, 4, 4)], salience, labelled)

    def best(h, w, taken):
        places = [Window(y, x, h, w) for y in range(13 - h) for x in range(17 - w)]
        free = [
            p for p in places
            if labelled[p.y : p.y + h, p.x : p.x + w].mean() >= 0.5
            and not taken[p.y : p.y + h, p.x : p.x + w].any()
        ]  # fmt: skip
        return max(wide[p.y : p.y + h, p.x : p.x + w].mean() for p in free)

    taken = np.zeros_like(labelled)
    for window, size in ((first, (4, 4)), (second, (2, 3))):
        assert (window.h, window.w) == size
        cut = np.s_[window.y : window.y + window.h, window.x : window.x + window.w]
        assert not taken[cut].any()
        assert wide[cut].mean() == pytest.approx(best(*size, taken))
        taken[cut] = True


def test_a_window_is_embedded_once_for_all_classes(scenes, tmp_path, monkeypatch):
    shown, own = [], ColourWords.embed

    def embed(model, batch):
        shown.append(len(batch))
        return own(model, batch)

    monkeypatch.setattr(ColourWords, "embed", embed)
    counts = []
    for targets in (["red"], ["red", "green"]):
        shown.clear()
        more = {"targets": targets, "methods": "tiling/query", "seeds": 1, "count": 1}
        FocusBenchJob(**options(scenes, **more)).run(tmp_path / str(len(targets)))
        counts.append(sum(shown))
    assert counts[0] == counts[1] > 16
