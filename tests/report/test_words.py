"""Headlines over fabricated results: better, tied, worse, and with a caveat, page by page."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observe_runs import against_random, evaluation, training, unlabelled

from foveate.report.chance import Against, Right, right_of
from foveate.report.words import Headline, bench, curate, focus, labels, observer, plain, scenes
from foveate.report.words.bench import Claim, Measured
from foveate.report.words.curate import Picks
from foveate.report.words.labels import Labelled


def said(headline: Headline) -> str:
    """The headline as a terminal shows it: its first line."""
    return headline.lines[0]


def test_a_terminal_gets_the_same_sentences_in_plain_characters():
    headline = Headline("\u201cx\u201d \u00d72.3 at 12\u202f%", ("\u22120.1 \u2013 0.1",))
    assert headline.lines == ['"x" x2.3 at 12 %', "-0.1 - 0.1"]
    assert plain("\u00e9") == "\u00e9"  # names stay


# curate


def against(value, verdict, low=0.5, high=0.7, mean=0.6):
    return Against(value, mean, low, high, 0.01, verdict)


def picks(even="better", rare=None, **facts):
    known = {
        "method": "FA-CB", "kept": 79, "pool": 790, "evenness": against(0.8, even),
        "entropy_pool": 0.6, "rarest": "water",
        "rare": rare or against(2.3, "better", 0.7, 1.4, 1.0),
    }  # fmt: skip
    return curate.kept(Picks(**{**known, **facts}))


@pytest.mark.parametrize(
    ("even", "rare", "text"),
    [
        ("better", "better", (": classes more even than in random picks, with x2.3 as much of the "
         "rarest class, water")),
        ("better", "tied", ": classes more even than in random picks"),
        ("tied", "tied", ": classes no more even than in random picks"),
        ("open", "tied", ": classes not significantly more even than in random picks"),
        ("tied", "better", (": x2.3 as much of the rarest class, water, as random picks have, but "
         "classes no more even")),
        ("worse", "better", ": classes less even than in random picks"),
    ],
)  # fmt: skip
def test_curate_claims_what_is_beyond_random_picks(even, rare, text):
    assert said(picks(even, against(2.3, rare, 0.7, 1.4, 1.0))) == f"79 of 790 patches kept{text}"


def test_curate_states_the_figures_and_what_makes_them_weak():
    headline = picks(repeated=0.38, repeated_by_chance=0.31, put_back=12)
    assert headline.lines[1:] == [
        ("Class entropy is 0.80 (1: all classes equally common); the pool has 0.60, random picks "
         "of as many patches have 0.50 to 0.70."),
        ("The rarest class, water, has x2.3 its share in the pool; in random picks, x0.70 to "
         "x1.4."),
        "38 % of the picks share pixels with another pick; of random picks, 31 %.",
        ("12 patches that share more than 50 % of their area with an earlier one were moved to the "
         "end of the ranking."),
    ]  # fmt: skip
    assert picks(put_back=12, repeats=3).lines[-1] == (
        "3 of the 79 picks share more than 50 % of their area with an earlier one: without them "
        "the pool has 76 patches."
    )
    blank = picks(constant=1, repeats=3, put_back=12)
    assert blank.lines[-2] == (
        "1 patch has the same value in all pixels of each band (blank or filled areas) and is "
        "ranked last."
    )
    blank = picks(constant=4, constant_picks=2)
    assert blank.lines[-1].endswith("are ranked last; 2 of the 79 picks are such patches.")
    both = picks(constant=4, constant_picks=2, repeats=3, put_back=12)
    assert both.lines[-1].endswith("without them the pool has 74 patches with content.")
    none = picks("worse", rare=against(0.0, "worse", 0.2, 1.4, 1.0))
    assert "water, is not in the selection; random picks contain it." in none.lines[2]


def test_curate_claims_nothing_without_a_comparison():
    assert said(curate.kept(Picks("FA", 79, 790))) == (
        "79 of 790 patches kept; without masks their classes are not known"
    )
    assert said(picks(drawn=True)).endswith(", drawn at random: the baseline for other methods")
    assert said(picks(kept=790)) == "790 of 790 patches kept: all of them, so no selection was made"
    assert said(picks(kept=0)) == "No patch kept: the budget is below one patch"


def test_methods_beside_each_other_are_better_tied_or_the_same():
    assert curate.side_by_side([("CB", "better"), ("FD", "tied"), ("LC", "worse")], []) == (
        "Classes more even than in random picks: CB. Not significantly different: FD. "
        "Less even: LC."
    )
    assert curate.side_by_side([("FD", "tied"), ("FA", "open")], [("FD", "FA")]) == (
        "No method makes classes significantly more even than random picks. "
        "FD and FA selected the same patches."
    )
    assert not curate.side_by_side([("FD", ""), ("FA", "")], [])


# classify, tune-text


@pytest.mark.parametrize(
    ("fitted", "text"),
    [
        (0, "(14 %)"), (1, "(14 %); 1 of them was used to fit the probe"),
        (300, "(14 %); 300 of them were used to fit the probe"),
        (690, "(14 %); the probe was fitted to these patches"),
    ],
)  # fmt: skip
def test_accuracy_on_the_patches_of_the_fit_is_no_evidence(fitted, text):
    right = Right(690, 0.62, 0.58, 0.66, "forest", 0.14, 1 / 21, "better")
    found = labels.labelled(Labelled(700, 21, 3, "river", 0.2, right, "folders", fitted=fitted))
    assert said(found).endswith(text)
    assert any("says little" in line for line in found.lines) == (fitted > 0)


def test_labels_that_no_patch_fits_are_not_claimed():
    found = Labelled(48, 1, 0, "forest", 1.0, unlikely=30)
    lines = labels.labelled(found).lines
    assert lines[1].startswith("For 30 of 48 patches every label is improbable (below 50")
    assert lines[2] == "The most common label is forest: 100 %."
    assert labels.labelled(found._replace(unlikely=48)).lines[1].startswith("For all of 48 patches")
    assert not any("improbable" in x for x in labels.labelled(found._replace(unlikely=0)).lines)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("better", ', more than by always answering "forest" (14 %)'),
        ("tied", ', not more than by always answering "forest" (14 %)'),
        ("open", ', not significantly more than by always answering "forest" (14 %)'),
        ("worse", ', fewer than by always answering "forest" (14 %)'),
        ("", ', not significantly more than by always answering "forest" (14 %)'),
    ],
)
def test_classify_is_judged_against_one_answer_for_all(verdict, text):
    right = Right(690, 0.62, 0.58, 0.66, "forest", 0.14, 1 / 21, verdict)
    headline = labels.labelled(
        Labelled(700, 21, 3, "river", 0.2, right, source="folders", by_class=0.55)
    )
    assert said(headline) == f"62 % of 690 patches are right{text}"
    assert headline.lines[1:] == [
        "95 % interval: 58 % to 66 %. Guessing among 21 labels is right for 4.8 %.",
        "Ground truth: folders. The mean accuracy per class is 55 %.",
        "Most patches are river: 20 %. 3 of 21 labels were assigned to no patch.",
    ]


def test_classify_without_truth_or_with_one_scene():
    headline = labels.labelled(Labelled(9, 3, 0, "sea", 0.5))
    assert said(headline) == "9 patches, 3 labels; the accuracy is not known"
    one = labels.labelled(
        Labelled(9, 3, 0, "sea", 0.5, Right(9, 0.9, math.nan, math.nan, "sea", 0.5, 1 / 3, ""))
    )
    assert "All evaluated patches are of one scene, so there is no interval." in one.lines[1]


def tuned(top1, majority=0.2, split="test", images=200):
    zero = {"images": images, "top1": top1, "chance": 0.1, "majority": majority}
    return labels.tuned({
        split: {"images": images, "texts": 50, "retrieval": {"image_text_r1": 0.31},
                "zero_shot": zero},
    })  # fmt: skip


def test_tuned_texts_are_judged_against_the_most_common_class():
    assert said(tuned(0.62)) == (
        "62 % of 200 test images are right, more than by always answering the most common class "
        "(20 %)"
    )
    assert said(tuned(0.22)).endswith(
        ", not more than by always answering the most common class (20 %)"
    )
    assert said(tuned(0.05)).endswith(
        ", fewer than by always answering the most common class (20 %)"
    )
    assert ", more than by guessing (10 %)" in said(tuned(0.5, majority=math.nan))
    late = tuned(0.62, split="val")
    assert "200 validation images" in said(late)
    assert "expect a lower accuracy" in late.lines[-1]
    captions = labels.tuned({
        "test": {"images": 200, "texts": 50, "retrieval": {"image_text_r1": 0.31}}
    })  # fmt: skip
    assert (
        said(captions)
        == "31 % of 200 test images retrieve one of their own texts first among 50 texts"
    )
    assert "is not known" in said(labels.tuned({}))


@given(st.floats(0, 1), st.integers(1, 10_000), st.floats(0, 1))
def test_better_and_worse_need_an_interval_off_the_baseline(share, answers, base):
    right = right_of(share, answers, base, 0.0)
    assert 0 <= right.low <= share + 1e-12
    assert share - 1e-12 <= right.high <= 1
    assert (right.verdict == "better") == (right.low > base)
    assert (right.verdict == "worse") == (right.high < base)


# focus


def look(tiling=580.0, task="look", **facts):
    result = {
        "image": "a", "shape": [4480, 4480], "goal": "rare", "mode": "zoom", "passes": 24.0,
        "regions": [{}] * 4, "cells": 99, "area_share": 0.01, "prediction": None,
        "prediction_full": None, "cells_scoring_higher": 0, "distinct_parents": 4,
        "seen_native": True, "seen_share": 0.04, **facts,
    }  # fmt: skip
    return focus.look(result, tiling, task=task)


def test_a_look_states_what_tiling_costs():
    assert said(look()) == (
        "24 passes of the 580 that tiling the image takes: 4 regions least like the rest"
    )
    assert said(look(5.0, passes=9.5)).startswith(
        "9.5 passes, more than the 5 that tiling the image"
    )
    assert said(look(24.0)).startswith("24 passes, as many as tiling the image takes: ")


def test_regions_are_least_like_the_rest_only_where_no_cell_scores_higher():
    headline = look(cells_scoring_higher=76, distinct_parents=1)
    assert said(headline).endswith(
        ": 4 regions, all of them parts of one cell, while 76 other cells score higher"
    )
    assert "76 other cells score higher than a selected region." in headline.lines
    assert "The 4 regions are parts of 1 larger cell." in headline.lines
    assert said(look(cells_scoring_higher=1)).endswith(
        ": 4 regions, while 1 other cell scores higher"
    )
    assert said(look(cells_scoring_higher=None)).endswith(": 4 regions")  # an earlier version
    assert said(look(goal="dominant")).endswith(": 4 regions")


def test_regions_of_an_image_whose_cells_are_alike_are_no_find():
    headline = look(cells_scoring_higher=0, all_alike=True)
    assert said(headline).endswith(": 4 regions, chosen at random: all cells are alike")


def test_a_probability_is_relative_to_the_labels():
    full = {"label": "tank", "probability": 0.9, "next": [["sea", 0.1]]}
    asked = {"text": "tank", "best": 0.9, "full": 0.1, "unit": "probability"}
    headline = look(goal="query", query=asked, query_found=True, answers={"full": full})
    assert any("relative to the other labels" in line for line in headline.lines)


def query(*, found, best=0.66, full=0.01, unit="probability"):
    asked = {"text": "tank", "best": best, "full": full, "unit": unit}
    return look(goal="query", query=asked, query_found=found)


def test_a_query_is_found_or_probably_not_here():
    assert said(query(found=True)).endswith(
        ': the best region fits "tank" 66 %, the whole image 1.0 %'
    )
    absent = query(found=False, best=0.02)
    assert said(absent).endswith(': "tank" is probably not in the image')
    assert absent.lines[2] == (
        'The best region fits "tank" 2.0 %, the whole image 1.0 %: the regions are the best of '
        "this image, but may not show it."
    )
    open_ = query(found=None, best=0.1, full=-0.2, unit="cosine")
    assert said(open_).endswith(
        'fits "tank" with a cosine of 0.10, the whole image with -0.20, which may be chance'
    )
    assert said(query(found=None, best=0.1, full=0.2, unit="cosine")).endswith(
        ': no region fits "tank" better than the whole image does'
    )


def test_an_answer_that_the_whole_image_gives_is_no_gain():
    headline = look(prediction="Beach", prediction_full="beach")
    assert said(headline).endswith(": Beach; the whole image gives the same answer in one pass")
    assert "The regions did not change the answer." in headline.lines
    assert said(look(prediction="beach", prediction_full="meadow")).endswith(
        ": beach; the answer of the whole image is meadow"
    )
    long = said(look(prediction="word " * 50))
    assert long.endswith("...")
    assert len(long) < 130


def test_only_what_was_seen_close_up_is_said_to_be():
    masks = {
        "prediction": {"masks": 8, "quality": 0.9}, "prediction_full": {"masks": 1, "quality": 0.8}
    }  # fmt: skip
    overview = look(task="segment", seen_native=False, seen_share=1.0, mode="feature", **masks)
    assert said(overview).endswith(": 8 masks; the whole image gives 1 mask")
    assert (
        "The regions were selected on an overview, which shows no detail; 1.0 % of the image was "
        "then seen at native resolution."
    ) in overview.lines
    assert "The quality of a mask is an estimate of the model and was not validated." in (
        overview.lines
    )
    feature = look(seen_native=False, seen_share=1.0, mode="feature")
    assert feature.lines[-1].endswith("no part of the image was seen at native resolution.")
    assert look().lines[-1] == "4.0 % of the image was seen at native resolution."
    assert not any("100 %" in line for line in [*overview.lines, *feature.lines])
    missed = look(coreset_ok=False).lines[-1]
    assert missed == "Under this goal the regions do not represent the image (no coreset)."


def test_several_images_are_counted():
    base = {"passes": 24.0, "regions": [{}] * 4, "goal": "query", "query": {"text": "tank"}}
    results = [{**base, "query_found": found} for found in (True, False, None)]
    assert said(focus.looks(results, 300)) == (
        '3 images in 72 passes of the 300 that tiling them takes: "tank" found in 1 of 3 images, '
        "probably not in 1"
    )
    higher = [{**base, "cells_scoring_higher": 3}, {**base, "cells_scoring_higher": 0}]
    assert focus.looks(higher, 10).lines[-1] == (
        "In 1 of 2 images some cells score higher than a selected region."
    )
    assert "more than the 10 that tiling them takes" in said(focus.looks(higher, 10))


# observe


@pytest.mark.parametrize(
    ("verdict", "trained", "chosen"),
    [
        ("better", "its selection is better than random tiles", "was better than random tiles"),
        ("tied", "its selection is no better than random tiles", "was no better than random tiles"),
        ("worse", "its selection is worse than random tiles", "was worse than random tiles"),
        ("open", "its selection is not significantly better than random tiles",
         "was not significantly better than random tiles"),
        (None, "its selection was not tested against random tiles",
         "was not tested against random tiles"),
    ],
)  # fmt: skip
def test_select_repeats_what_training_found(verdict, trained, chosen):
    against = against_random(verdict) if verdict else {}
    headline = observer.trained(evaluation(against_random=against))
    assert said(headline) == (
        "With 12 % of the tiles observed, tile mAP 0.65 (0.50 from overviews alone, 0.80 from all "
        f"tiles); {trained}"
    )
    told = scenes.told(training(verdict)) if verdict else scenes.told({"known": False})
    headline = selected(training=told)
    assert (
        said(headline)
        == f"2 of 12 tiles to observe, in 2 scenes; in training, this policy {chosen}"
    )
    assert any("random tiles 0.580" in line for line in headline.lines) == bool(verdict)


def test_a_selection_falls_back_and_says_so():
    against = against_random("open")
    told = scenes.told(training("open", fallback="uniform", best=""))
    headline = selected(training=told, fallback="learned", about={"policy": "uniform"})
    assert said(headline) == (
        "2 of 12 tiles to observe, in 2 scenes, by the policy uniform: in training, the "
        "selection of the observer was not significantly better than random tiles"
    )
    lines = " ".join(headline.lines)
    assert "difference +0.045" in lines
    assert "uniform was the best untrained policy on validation scenes" in lines
    assert "which is weak evidence; --policy learned" in lines
    assert "scored highest" not in lines
    trained = " ".join(observer.trained(evaluation(against_random=against)).lines)
    assert "a selection uses the policy uniform" in trained
    better = " ".join(observer.trained(evaluation()).lines)
    assert "a selection uses" not in better


def test_what_is_not_settled_says_why():
    few = against_random("open") | {"groups": 5}
    assert "over 5 groups of scenes, which are too few for a verdict." in " ".join(
        observer.trained(evaluation(against_random=few)).lines
    )
    many = observer.trained(evaluation(against_random=against_random("open")))
    assert "not significant after Holm's correction for the number of policies." in " ".join(
        many.lines
    )


def test_training_states_other_baselines_without_an_interval():
    def lines(**facts):
        return " ".join(observer.trained(evaluation(**facts)).lines)

    assert "Completion adds nothing over the LR fill (+0.002)." in lines(fill=0.648)
    assert "scores -0.050 against the LR fill and is no better: use the LR fill." in lines(fill=0.7)
    assert "+0.050 over the LR fill, a difference without an interval." in lines()
    assert "adds nothing over the overviews alone (-0.050)" in lines(low=0.7)
    assert "; high resolution itself adds nothing on these scenes" in lines(low=0.8)
    assert "policy uniform score higher: mean 0.700 against 0.650" in lines(
        against_random=against_random(best=0.7)
    )
    assert "policy uniform" not in lines(against_random=against_random(best=0.655))
    old = lines(against_random={}, efficiency={"uniform": 0.6, "learned": 0.5})
    assert "untrained policy uniform score as high" in old
    few = lines(split="val", scenes=1)
    assert "no test scenes" in few
    assert "Only 1 scene was evaluated" in few
    assert "centred cosine of 0.61 on the unobserved tiles" in said(observer.trained(unlabelled()))


@given(*[st.floats(0, 1) for _ in range(5)])
def test_every_evaluation_gets_a_headline(ours, fill, low, random, full):
    found = evaluation(ours=ours, fill=fill, low=low, random=random, full=full)
    headline = observer.trained(found)
    assert sum("LR fill" in line for line in headline.lines) == 1
    assert "nan" not in " ".join(headline.lines).lower()


def test_concepts_that_no_order_can_miss_or_find_are_named():
    lines = observer.trained(evaluation()).lines
    assert "No test tile shows tank: not part of the mAP." in lines
    shares = {"road": 1.0, "boat": 0.2}
    concepts = {name: {"prevalence": share} for name, share in shares.items()}
    lines = observer.trained(evaluation(concepts=concepts, split="val")).lines
    assert "Every validation tile shows road, which counts 1 in any order." in lines


def test_without_concepts_to_evaluate_nothing_is_said_about_policies():
    nan = math.nan
    nothing = {"random": nan, "learned": nan}
    against = {**against_random(), "policy": "random", "validation": nothing}
    found = evaluation(ours=nan, fill=nan, low=nan, random=nan, full=nan,
                       concepts={"tank": {"prevalence": 0.0}}, against_random=against)  # fmt: skip
    headline = observer.trained(found)
    assert said(headline).startswith("No test tile shows a concept, so the accuracy is not known")
    assert not any("no labels" in line for line in headline.lines)
    assert any("since no validation scene shows a concept" in line for line in headline.lines)


def selected(**facts):
    about = {"policy": "learned", "budget": "17%", "obr": 0.17, **facts.pop("about", {})}
    known = {"tiles": 12, "chosen": 2, "scenes": 2, **facts}
    return scenes.selected(scenes.Chosen(about, **known))


def test_a_selection_names_its_caveats():
    told = scenes.told(training("tied", best="design"))
    headline = selected(training=told, empty=1, open=1, about={"drift": -0.3})
    assert headline.lines[1:] == [
        "Within a budget of 17%: 17 % of the area.",
        ("In training, over the observed shares, mean tile mAP 0.590, random tiles 0.580; "
         "difference +0.010, 95 % interval -0.020 to +0.040 over 9 groups of scenes."),
        "The policy design scored highest in training: --policy design.",
        ("The share deviates by 30 % from the expected one: these overviews differ from those of "
         "the calibration. Use --budget or --obr instead."),
        "1 scene has no selected tile.",
        ("The scores of 1 of the other 1 exceed that of the last selected tile by less than their "
         "uncertainty: tiles that were not selected may be as good."),
    ]  # fmt: skip
    assert said(selected(about={"policy": "random"})).endswith("in 2 scenes, drawn at random")
    assert said(selected(chosen=12)).endswith(": all of them, so no selection was made")
    assert said(selected(chosen=0)).startswith("None of 12 tiles to observe: the budget is below")
    other = selected(about={"policy": "uniform"})
    assert (
        "Tiles were selected by the policy uniform, not by the scores of the observer."
        in other.lines
    )
    # The policy design uses the scores.
    assert not any("not by the scores" in t for t in selected(about={"policy": "design"}).lines)


def completed(without=0, **facts):
    about = {"scenes": 2, "tiles": 256, "observed": 30, "completed_doubt": 0.3, **facts}
    return scenes.completed(about, empty=without)


def test_completed_scenes_say_how_much_is_a_guess():
    assert said(completed()) == "2 scenes completed from 30 observed tiles of 256"
    assert completed().lines[1] == (
        "The mean uncertainty of completed tiles is 0.30 (0: as good as observed, 1: unlike "
        "any observed tile)."
    )
    assert said(completed(completed_doubt=0.91)).endswith(
        "; most of the completed tiles are a guess"
    )
    assert said(completed(observed=0)) == (
        "2 scenes without observed tiles, predicted from the overviews alone"
    )
    assert said(completed(observed=0, scenes=1)) == (
        "1 scene without observed tiles, predicted from the overview alone"
    )
    assert said(completed(observed=256, completed_doubt=None)).endswith(
        ": all of them, so nothing had to be completed"
    )
    notes = completed(1, missing=5, missing_tiles=list("abc"), empty=1, not_chosen_but_given=2,
                      unused=1).lines  # fmt: skip
    assert notes[2:] == [
        "1 scene has no observed tile and is predicted from its overview alone.",
        "5 selected tiles had no high-resolution image and were completed: a, b, c and 2 more.",
        "1 given tile is mostly nodata and counts as not observed.",
        "2 given tiles were not selected but are used.",
        "1 given file matches no tile of these scenes.",
    ]


def hits(*scores):
    return [{"score": score, "observed": i == 0} for i, score in enumerate(scores)]


def test_a_search_says_whether_anything_was_found():
    found = scenes.searched("boat", hits(0.93, 0.6, 0.2), probable=True)
    assert (
        said(found)
        == '2 of 3 hits show "boat" more likely than not, the best with 93 % probability'
    )
    assert found.lines[1] == ("2 hits were not observed: scored by completed features.")
    absent = scenes.searched("boat", hits(0.03, 0.01), probable=True)
    assert said(absent) == (
        '"boat" is probably not in these scenes: no tile shows it with more than 3.0 % probability'
    )
    # Many tiles of a small probability are not absence.
    some = scenes.searched("boat", hits(0.08, 0.06), probable=True, expected=2.4, tiles=48)
    assert some.lines[:2] == [
        'No tile is likely to show "boat": none shows it with more than 8.0 % probability',
        "By the sum of the probabilities, about 2.4 of 48 tiles show it.",
    ]
    text = scenes.searched("boat", hits(0.4, 0.3), probable=False)
    assert said(text) == '2 tiles most similar to "boat", which may show it or not'
    assert said(scenes.searched("boat", [], probable=True)) == 'No tile to search for "boat"'


@pytest.mark.parametrize("probable", [True, False])
def test_a_search_in_scenes_unlike_the_training_finds_nothing_reliable(probable):
    unlike = [{**hit, "unfamiliar": True} for hit in hits(0.93, 0.6)]
    assert said(scenes.searched("boat", unlike, probable=probable)) == (
        'No reliable result for "boat": the scenes are unlike all scenes of the training'
    )
    mixed = scenes.searched("boat", [*hits(0.93), unlike[1]], probable=probable)
    assert mixed.lines[-1] == (
        "1 hit is in a scene unlike all scenes of the training: scores may be meaningless."
    )


FAMILIAR = {"scenes": 2, "unfamiliar": 0, "cautions": []}


def test_concepts_are_judged_against_a_random_order():
    def found(**each):
        truth = {"tiles": {"each": each}, "prevalence": dict.fromkeys(each, 0.3)}
        return {"concepts": dict.fromkeys(each), "truth": truth, **FAMILIAR}

    assert said(scenes.recognised(found(road=0.5, boat=0.6))) == (
        "Mean average precision 0.55 over 2 concepts, random order 0.30"
    )
    tied = scenes.recognised(found(road=0.3, boat=0.28))
    assert said(tied).endswith(", no better than a random order (0.30)")
    assert tied.lines[1] == "No better than a random order: road, boat."
    assert said(scenes.recognised({"concepts": {"road": {}}, "truth": None, **FAMILIAR})) == (
        "Scores of 1 concept; the accuracy is not known"
    )
    assert "no tile shows any of them" in said(scenes.recognised(found(road=math.nan)))


@pytest.mark.parametrize(
    "truth", [None, {"tiles": {"each": {"road": 0.5}}, "prevalence": {"road": 0.3}}]
)
def test_concepts_of_scenes_unlike_the_training_have_a_caveat(truth):
    some = {"concepts": {"road": {}}, "truth": truth, "scenes": 2, "cautions": ["1 is unlike it."]}
    assert scenes.recognised({**some, "unfamiliar": 1}).lines[-1] == "1 is unlike it."
    found = scenes.recognised({**some, "unfamiliar": 2})
    if truth is None:
        assert found.lines == [
            "No reliable scores of 1 concept: the scenes are unlike all scenes of the training"
        ]
    else:  # the accuracy was measured on these scenes
        assert found.lines[0].startswith("Mean average precision 0.50")
        assert found.lines[-1] == "1 is unlike it."


def test_a_data_set_is_judged_against_chance():
    one = {"images": 1000, "chance": 0.1, "majority": 0.12}
    assert said(scenes.dataset("eurosat", {**one, "top1": 0.5})) == (
        "50 % of 1,000 images of eurosat are right, more than by always answering the most common "
        "class (12 %)"
    )
    assert ", not more than by" in said(scenes.dataset("eurosat", {**one, "top1": 0.125}))
    assert ", fewer than by" in said(scenes.dataset("eurosat", {**one, "top1": 0.05}))
    several = {"images": 1000, "chance": 0.2}
    assert said(scenes.dataset("bigearthnet", {**several, "map": 0.4})) == (
        "Mean average precision 40 % on 1,000 images of bigearthnet, random order 20 %"
    )
    assert said(scenes.dataset("bigearthnet", {**several, "map": 0.2})).endswith(
        ", no better than a random order (20 %)"
    )


def estimate(total=1000.0, low=800.0, high=1200.0, ratio=None, coverage=0.95, **facts):
    content = {
        "what": "road", "of": "area", "unit": "m2", "confidence": 0.95, "drawn": 33, "tiles": 660,
        "found": 9, "ground": 1e5, "estimate": {"total": total, "low": low, "high": high},
        "repeats": None if ratio is None else {
            "variance_ratio": ratio, "design": {"repeats": 200, "coverage": coverage},
        },
    }  # fmt: skip
    return scenes.estimated({**content, **facts})


def test_an_estimate_has_its_interval_and_is_compared_with_even_draws():
    headline = estimate()
    assert said(headline) == "road: 1,000 m2, 95 % interval 800 to 1,200, from 33 of 660 tiles"
    assert headline.lines[1] == "That is 1.0 % of the ground."
    assert "better than uniform sampling" in estimate(ratio=2.1).lines[-1]
    assert "Uniform sampling is not significantly different" in estimate(ratio=1.03).lines[-1]
    assert "Uniform sampling is better" in estimate(ratio=0.4).lines[-1]
    assert said(estimate(found=0, high=0.0)) == (
        "road: none in 33 of 660 tiles, which does not prove absence"
    )
    assert estimate(found=0, high=0.0).lines[1:] == []
    assert estimate(found=0, high=120.0).lines[1:] == [
        "95 % interval 0 to 120 m2: more would seldom be missed by such a sample."
    ]
    assert said(estimate(drawn=660)) == "road: 1,000 m2, counted in all 660 tiles"


def test_weak_intervals_are_named():
    assert estimate(low=100.0, seen=100.0, found=12).lines[2:] == [
        "The lower limit is the amount in the drawn tiles alone: draw more tiles."
    ]
    few = "Only 9 drawn tiles contain road: such an interval is often too short."
    assert estimate().lines[2:] == [few]
    assert estimate(of="tiles", seen=9.0).lines[2:] == []
    short = estimate(ratio=1.0, found=12, by="nothing", coverage=0.375)
    (text,) = short.lines[2:]
    assert text.startswith("In 200 repeated draws only 38 % of the 95 % intervals contained")
    # 93 % of 200 draws is within the error of 95 %; a uniform draw is not compared with itself.
    assert estimate(ratio=1.0, found=12, by="nothing", coverage=0.93).lines[2:] == []


# bench


def test_claims_that_could_not_have_failed_are_not_counted():
    verdicts = {"a": "better", "b": "tied", "c": "worse", "d": "open"}
    claims = [Claim(name, word == "better", word) for name, word in verdicts.items()]
    claims += [Claim("e", None, "equal"), Claim("f", None, "equal"), Claim("g", None)]
    headline = bench.benched([Measured("Policies", claims, ["Few groups."])])
    assert headline.lines == [
        "Policies: 1 of 4 claims reached",
        "Of the comparisons with a reference: 1 better, 1 tied, 1 inconclusive, 1 worse.",
        "2 claims could not have failed, because all rows have the same value: not counted.",
        "Few groups.",
    ]
    assert [bench.claimed(claim) for claim in claims[::2]] == [
        "Reached: a", "Not reached: c", "Not counted, could not have failed: e", "g",
    ]  # fmt: skip


def test_tables_without_a_claim_claim_nothing():
    empty = Measured("Depth", [Claim("the best is 4 blocks", None)])
    assert said(bench.benched([empty])) == "Depth: measured"
    tied = Measured(
        "Policies",
        [Claim("a", reached=False, verdict="tied"), Claim("b", reached=True, verdict="better")],
    )
    assert said(bench.benched([tied, empty])) == (
        "Policies: 1 of 2 claims reached; in all 2 tables 1 of 2"
    )
