"""Questions to a scripted generative model that remembers every image it is shown."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from looks import colour_model, land, red_query

from foveate.errors import BudgetError, DataError, MissingCapabilityError, ParameterError
from foveate.focus.ask import ask_image
from foveate.focus.config import GOALS, FocusConfig, SearchConfig
from foveate.focus.vlm import Inquiry
from foveate.grid import Window
from foveate.models import from_answers, from_callable
from foveate.raster import ArraySource

PATCH = (168, 40, 20, 20)
IMAGE = land(256, 256, patch=PATCH)


@dataclass
class Heard:
    """What a scripted model was asked."""

    questions: list = field(default_factory=list)
    judged: list = field(default_factory=list)

    @property
    def images(self):
        return [
            image for question, _ in [*self.questions, *self.judged] for image in question.images
        ]

    @property
    def pixels(self):
        return sum(image.shape[1] * image.shape[2] for image in self.images)


def red(image):
    """Share of red pixels."""
    return float(((image[0].astype(int) - image[1]) > 100).mean())


def scripted(*, size=None, judges=True, says="a red roof"):
    """Return a model that expects its answer the more the redder an image is."""
    heard = Heard()

    def answer(question, max_tokens):
        heard.questions.append((question, max_tokens))
        return says

    def loss(question, text):
        heard.judged.append((question, text))
        return 3 * np.exp(-30 * red(question.images[0]))

    given = {"name": "scripted", "bands": (1, 2, 3), "fingerprint": "1", "answer": answer}
    if judges:
        given["answer_loss"] = loss
    if size is None:
        return from_answers(**given), heard
    return from_callable(
        lambda batch: batch.mean(axis=(2, 3)), dim=3, input_size=(size, size), **given
    ), heard


def ask(model, *, image=IMAGE, goal="balanced", regions=2, valid=None, selector=None, question=None,
        inquiry=None, **config):  # fmt: skip
    search = {name: config.pop(name) for name in ("seed", "area") if name in config}
    return ask_image(
        ArraySource(image, valid), model, inquiry or Inquiry("What is there?"),
        FocusConfig(
            GOALS[goal], **{"crop": 32, "search": SearchConfig(regions=regions, **search)} | config
        ),
        selector=selector, question=question,
    )  # fmt: skip


def holds(window, patch=PATCH):
    y, x = patch[0] + patch[2] // 2, patch[1] + patch[3] // 2
    return window.y <= y < window.y + window.h and window.x <= x < window.x + window.w


@pytest.mark.parametrize("size", [None, 32])
def test_the_region_that_bears_the_answer_out_is_found_and_shown(size):
    model, heard = scripted(size=size)
    found = ask(model, passes=40)
    assert holds(found.windows[0])
    assert max(found.windows[0].h, found.windows[0].w) <= 48
    assert (found.prediction, found.prediction_full) == ("a red roof", "a red roof")
    first, last = heard.questions[0][0], heard.questions[1][0]
    assert (len(first.images), first.prompt) == (1, "What is there?")
    assert len(last.images) == 3
    assert last.prompt.startswith("Image 1 shows a whole scene. Image 2 shows its region x ")
    assert last.prompt.endswith("(lower left). Image 3" + last.prompt.split("Image 3")[1])
    assert np.array_equal(last.images[0], first.images[0])
    y, x, h, w = found.windows[0]
    assert np.array_equal(last.images[1], IMAGE[:, y : y + h, x : x + w])
    assert {text for _, text in heard.judged} == {"a red roof"}


@pytest.mark.parametrize("feed", ["overview+crops", "canvas", "mask"])
@pytest.mark.parametrize(("size", "passes"), [(32, 30), (32, 47), (None, 6.1), (None, 7)])
def test_passes_are_those_of_the_images_shown_and_within_the_budget(feed, size, passes):
    model, heard = scripted(size=size)
    done = ask(model, passes=passes, inquiry=Inquiry("What?", feed=feed), cells=3, regions=2)
    standard = 32 * 32 if size else 256 * 256
    shown = [max(1 if size else 0, i.shape[1] * i.shape[2] / standard) for i in heard.images]
    assert done.passes == pytest.approx(sum(shown))
    assert done.passes <= passes
    assert done.work.images == len(heard.images)
    assert (done.generated, done.judged) == (len(heard.questions), len(heard.judged))


def test_the_best_region_is_asked_within_the_passes():
    model, heard = scripted(size=32)
    assert ask(model, passes=14, cells=3).prediction_tile is None
    assert len(heard.questions) == 2
    found = ask(model, passes=15, cells=3)
    assert found.prediction_tile == "a red roof"
    assert len(heard.questions[-1][0].images) == 1


def test_a_canvas_holds_the_regions_at_native_resolution():
    model, heard = scripted()
    found = ask(model, passes=20, inquiry=Inquiry("What?", feed="canvas"))
    (image,) = heard.questions[1][0].images
    assert list(found.shown) == [image.shape[1:]]
    assert np.array_equal(image[:, :256], IMAGE)  # the overview comes first
    crops = [IMAGE[:, y : y + h, x : x + w] for y, x, h, w in found.windows]
    assert image.shape[2] == 256
    assert image[:, 256:].astype(int).sum() == sum(int(crop.sum()) for crop in crops)
    assert "the whole scene, shrunk" in heard.questions[1][0].prompt


def test_a_mask_shows_the_overview_inside_the_regions_only():
    model, heard = scripted()
    found = ask(model, passes=20, inquiry=Inquiry("What?", feed="mask"))
    (image,) = heard.questions[1][0].images
    inside = np.zeros((256, 256), bool)
    for y, x, h, w in found.windows:
        inside[y : y + h, x : x + w] = True
    assert np.array_equal(image, np.where(inside, IMAGE, 0))
    assert heard.questions[1][0].prompt == "What?"


def test_an_image_is_shrunk_to_the_side_and_keeps_its_shape():
    image = land(128, 512)
    model, heard = scripted()
    ask(model, image=image, passes=0, inquiry=Inquiry("What?", side=64))
    assert heard.questions[0][0].images[0].shape == (3, 16, 64)
    assert max(max(i.shape[1:]) for i in heard.images) == 64


def test_a_query_asks_whether_it_is_there():
    model, heard = scripted(says="green land")
    found = ask(model, goal="query", passes=20, inquiry=Inquiry("What?", query="roof"))
    assert holds(found.windows[0])
    assert {text for _, text in heard.judged} == {"Yes"}
    prompts = {question.prompt for question, _ in heard.judged}
    assert prompts == {"Is there roof in this image? Answer yes or no."}
    outcome = found.stored()
    query = outcome.facts["query"]
    assert query["best"] == pytest.approx(np.exp(-found.choice.losses.min()))
    assert query["best"] > query["full"] == pytest.approx(np.exp(-found.choice.overview_loss))
    assert len(outcome.columns["loss"]) == len(found.choice.result.state.tiles)


def test_rare_is_what_the_answer_does_not_fit():
    heard = []

    def loss(question, text):
        heard.append(text)
        return 4 * red(question.images[0])

    model = from_answers(
        lambda *_: "green land", name="s", bands=(1, 2, 3), fingerprint="1", answer_loss=loss
    )
    assert holds(ask(model, goal="rare", passes=20).windows[0])
    assert set(heard) == {"green land"}


def test_without_losses_another_model_chooses():
    model, heard = scripted(judges=False)
    selector, shown = colour_model(size=(32, 32))
    done = ask(model, goal="query", selector=selector, question=red_query(), passes=30, cells=3,
               inquiry=Inquiry("What?", query="red"))  # fmt: skip
    assert holds(done.windows[0])
    assert done.choice.selector_passes == pytest.approx(shown.pixels / 32**2)
    assert done.passes == pytest.approx(shown.pixels / 32**2 + heard.pixels / 256**2)
    assert done.passes <= 30
    assert (done.judged, done.choice.losses, done.choice.unit) == (0, None, "cosine")
    facts = done.stored().facts
    assert (facts["selector"], facts["overview_loss"]) == ("colours", None)
    assert facts["query"]["best"] > facts["query"]["full"]


def test_a_model_without_losses_raises_with_both_alternatives():
    model, heard = scripted(judges=False)
    with pytest.raises(MissingCapabilityError, match=r"--selector MODEL.*answer_loss=") as caught:
        ask(model)
    assert "'answer_loss'" in caught.value.given
    selector, _ = colour_model(size=(32, 32))
    with pytest.raises(MissingCapabilityError, match="'answers'"):
        ask(selector)
    assert not heard.images


def test_goals_that_need_features_raise():
    model, _ = scripted()
    with pytest.raises(MissingCapabilityError, match=r"balanced, rare, query, paper.*--selector"):
        ask(model, goal="dominant")


@pytest.mark.parametrize(
    "config", [{"mode": "window"}, {"mode": "feature"}, {"partition": "significance"}]
)
def test_modes_that_need_tokens_raise_with_an_alternative(config):
    model, _ = scripted()
    with pytest.raises(MissingCapabilityError, match=r"--mode zoom|--partition uniform"):
        ask(model, **config)


def test_queries_and_goals_go_together():
    model, _ = scripted()
    with pytest.raises(ParameterError, match="--goal query"):
        ask(model, inquiry=Inquiry("What?", query="roof"))
    with pytest.raises(ParameterError, match="--query"):
        ask(model, goal="query")


@pytest.mark.parametrize(
    "values", [{"prompt": " "}, {"feed": "collage"}, {"max_tokens": 0}, {"side": 4}]
)
def test_an_inquiry_is_checked(values):
    with pytest.raises(ParameterError):
        Inquiry(**{"prompt": "What?"} | values)


def test_insufficient_budgets_raise_with_a_sufficient_one():
    model, _ = scripted(size=32)
    for passes in (3, 12):
        with pytest.raises(BudgetError, match="Type --passes") as caught:
            ask(model, passes=passes, cells=4)
        enough = float(caught.value.hint.split("--passes ")[1].split(",")[0])
        assert ask(model, passes=enough, cells=4).passes <= enough
    selector, _ = colour_model(size=(32, 32))
    with pytest.raises(BudgetError, match="answers take the other passes of 8"):
        ask(model, goal="rare", selector=selector, passes=8)


def test_an_area_that_holds_no_region_is_refused():
    model, _ = scripted()
    with pytest.raises(BudgetError, match="--area"):
        ask(model, passes=0, area=1e-4)


def test_an_empty_answer_raises():
    model, _ = scripted(says=" ")
    with pytest.raises(DataError, match=r"--query.*--selector"):
        ask(model)


def test_an_image_that_is_too_small_is_refused():
    model, _ = scripted()
    with pytest.raises(DataError, match="--crop"):
        ask(model, crop=200)


def test_nodata_is_never_judged_and_batches_change_nothing():
    valid = np.ones((256, 256), bool)
    valid[:, 128:] = False
    model, _ = scripted()
    one, two = (ask(model, valid=valid, passes=30, batch_size=size) for size in (1, 7))
    assert one.windows == two.windows
    assert one.passes == two.passes
    assert one.epsilon == two.epsilon
    assert all(w.x + w.w <= 128 for w in one.choice.result.state.features.windows)


def test_a_smaller_area_chooses_fewer_regions():
    model, _ = scripted()
    found = ask(model, passes=0, regions=8, area=2 * 32 * 32 / 256**2)
    assert len(found.windows) == 2
    assert isinstance(found.windows[0], Window)
