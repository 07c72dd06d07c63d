"""Class names as answers of a generative model: losses, probabilities, passes, and refusals."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from foveate.classify import ClassifyJob
from foveate.errors import MissingCapabilityError, ParameterError
from foveate.files import read_json
from foveate.focus import LookJob
from foveate.focus.config import SearchConfig
from foveate.focus.look import look
from foveate.models import Question, from_answers, load_model
from foveate.models.answer_head import PROMPT, answer_classes
from foveate.models.heads import Head
from foveate.models.load import FAMILIES
from foveate.raster import write_cog
from foveate.testing.tiny import tiny_model

COLOURS = {"red": (220, 20, 20), "green": (60, 120, 60), "blue": (20, 20, 220)}


def scripted():
    """Return a model that expects the name of a colour the less the further the image is."""
    seen = []

    def loss(question, answer):
        seen.append((question, answer))
        mean = question.images[0].reshape(3, -1).mean(axis=1)
        return float(np.abs(mean - COLOURS.get(answer, (0, 0, 0))).sum()) / 50

    model = from_answers(lambda *_: "red", name="colours", bands=(1, 2, 3), fingerprint="1",
                         answer_loss=loss)  # fmt: skip
    return model, seen


def painted(*names, side=16):
    return np.stack(
        [np.broadcast_to(np.uint8(COLOURS[n])[:, None, None], (3, side, side)) for n in names]
    )


def test_a_class_has_the_softmax_of_minus_its_loss():
    base, seen = scripted()
    model, head = answer_classes(base, list(COLOURS))
    assert isinstance(head, Head)
    z = model.embed(painted("green", "blue"))
    raw = [[base.answer_loss([Question([i], "x")], [n])[0] for n in COLOURS]
           for i in painted("green", "blue")]  # fmt: skip
    assert z == pytest.approx(log_softmax(-np.array(raw), axis=1), abs=1e-5)
    assert head.probabilities(z).sum(axis=1) == pytest.approx(1)
    assert head.logits(z).argmax(axis=1).tolist() == [1, 2]
    prompt = seen[0][0].prompt
    assert prompt == PROMPT.replace("{classes}", "red, green, blue")
    assert (model.passes_each, model.spec.dim) == (3, 3)


def test_names_of_a_class_count_alike():
    model, head = answer_classes(scripted()[0], {"warm": ["red", "rust"], "cold": "blue"})
    one, _ = answer_classes(scripted()[0], ["red", "rust", "blue"])
    image = painted("red")
    three = one.embed(image)[0]
    both = [logsumexp(three[:2]) - np.log(2), three[2]]
    assert model.embed(image)[0] == pytest.approx(log_softmax(both), abs=1e-5)
    assert head.names == ("warm", "cold")
    assert model.passes_each == 3


def test_prompt_answers_and_length_are_in_the_fingerprint(chat):
    prints = {
        answer_classes(chat("hf_llava"), labels, **more)[0].spec.fingerprint
        for labels, more in [
            (["a", "b"], {}), (["a", "c"], {}), (["a", "b"], {"prompt": "What?"}),
            (["a", "b"], {"length": "sum"}), ({"a": ["a", "b"], "b": "b"}, {}),
        ]
    }  # fmt: skip
    assert len(prints) == 5


def test_what_cannot_be_is_refused():
    base, _ = scripted()
    for given in ({"prompt": " "}, {"length": "median"}, {"labels": ["red"]}):
        with pytest.raises(ParameterError):
            answer_classes(base, **{"labels": ["red", "blue"]} | given)
    with pytest.raises(MissingCapabilityError, match="'mean'"):
        answer_classes(base, ["red", "blue"], length="sum")
    silent = from_answers(lambda *_: "", name="api", bands=(1,), fingerprint="1")
    with pytest.raises(MissingCapabilityError, match="answer_loss"):
        answer_classes(silent, ["red", "blue"])


# --- real architectures, tiny and random ---------------------------------------------------


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    pytest.importorskip("transformers")
    made = {}

    def one(kind):
        if kind not in made:
            _, folder = tiny_model(kind, tmp_path_factory.mktemp(kind))
            handle = load_model("hf", weights=folder, device="cpu")
            made[kind] = FAMILIES.get("hf").build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)
        return made[kind]

    return one


KINDS = ("hf_llava", "hf_llava_next", "hf_qwen2_vl", "hf_qwen2_5_vl", "hf_blip2")
LABELS = ["harbor", "a", "dense residential"]
DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_to_one_question_are_judged_as_one_by_one(kind, chat):
    model = chat(kind)
    questions = [
        Question(list(DRAW.integers(0, 255, (count, 3, 32, 48), np.uint8)), "What is it?")
        for count in (1, 2)
    ]
    found = model.answer_losses(questions, LABELS)
    apart = np.stack([model.answer_loss([question] * 3, LABELS) for question in questions])
    assert found == pytest.approx(apart, abs=1e-4)
    again = model.answer_losses(questions[::-1], LABELS[::-1])[::-1, ::-1]
    assert found == pytest.approx(again, abs=1e-4)


@pytest.mark.parametrize("kind", ["hf_llava", "hf_qwen2_vl", "hf_blip2"])
@pytest.mark.parametrize("length", ["mean", "sum"])
def test_tiny_models_judge_class_names(kind, length, chat):
    base = chat(kind)
    model, head = answer_classes(base, LABELS, length=length)
    side = base.spec.input_size[0]
    batch = DRAW.integers(0, 255, (2, 3, side, side), np.uint8)
    loss = np.stack(
        [base.answer_loss([Question([image], model.prompt)] * 3, LABELS) for image in batch]
    ).astype(np.float64)
    if length == "sum":
        loss = loss * base.answer_tokens(LABELS)
    z = model.embed(batch)
    assert z == pytest.approx(log_softmax(-loss, axis=1), abs=1e-3)
    assert model.embed(batch[1:]) == pytest.approx(z[1:], abs=1e-4)
    assert (model.passes_each, head.names) == (1, tuple(LABELS))


def test_a_large_image_is_shrunk_to_a_pass(chat, monkeypatch):
    base, shown = chat("hf_qwen2_vl"), []
    method = base.answer_losses

    def watch(questions, answers):
        shown.extend(image.shape for question in questions for image in question.images)
        return method(questions, answers)

    monkeypatch.setattr(base, "answer_losses", watch)
    model, _ = answer_classes(base, LABELS)
    side = model.spec.input_size[0]
    model.embed(DRAW.integers(0, 255, (1, 3, 2 * side, side), np.uint8))
    model.embed(DRAW.integers(0, 255, (1, 3, side // 2, side), np.uint8))
    assert shown == [(3, side, side // 2), (3, side // 2, side)]


# --- the rest of the house -----------------------------------------------------------------


def scene():
    image = np.array(painted("green", side=128)[0])
    image[:, 70:110, 36:62] = np.uint8(COLOURS["red"])[:, None, None]
    return image


@pytest.mark.parametrize("goal", ["balanced", "query", "paper"])
def test_a_look_names_classes_and_books_a_pass_for_each(goal):
    base, seen = scripted()
    given = {"query": "red"} if goal == "query" else {}
    labels = ["green", "blue"] + ["red"] * (goal != "query")
    found = look(scene(), base, labels=labels, goal=goal, crop=32, budget={"passes": 200},
                 search=SearchConfig(regions=2, depth=0), **given)  # fmt: skip
    names = {"green", "blue", "red"}
    assert {answer for _, answer in seen} == names
    assert set(dict(found.predictions["full"].ranking)) == names
    assert sum(dict(found.predictions["full"].ranking).values()) == pytest.approx(1)
    assert found.prediction_full == "green"
    standard = 256 * 256
    pixels = sum(q.images[0].shape[1] * q.images[0].shape[2] for q, _ in seen)
    assert found.passes == pytest.approx(pixels / standard)
    assert found.passes_tiling == pytest.approx(3 * 16 * 32 * 32 / standard)
    assert any("a pass per image" in note for note in found.notes)
    if goal == "query":
        assert found.prediction == "red"
        assert found.query_found is True


def test_commands_take_labels_as_answers(chat, tmp_path):
    weights = tmp_path / "llava"
    weights.mkdir()
    tiny_model("hf_llava", weights)
    images = tmp_path / "images"
    for name in ("red", "green"):
        (images / name).mkdir(parents=True)
        write_cog(images / name / "one.tif", painted(name, side=64)[0])
    given = {"model": "hf", "weights": str(weights), "labels": ["red", "green"]}
    job = ClassifyJob(images=[str(images)], truth_from_folders=True, **given)
    done = job.run(tmp_path / "classified")
    facts = done.record["summary"]["head"]
    assert (facts["kind"], facts["length"], facts["passes_each"]) == ("answers", "mean", 1)
    assert facts["prompt"].startswith("Which of these does this image from above show: red, green")
    assert done.worked
    scene_file = tmp_path / "scene.tif"
    write_cog(scene_file, scene())
    looked = LookJob(images=[str(scene_file)], prompt="What? {classes}", crop=32, cells=2, **given)
    looked.run(tmp_path / "looked")
    found = read_json(tmp_path / "looked" / "looks" / "scene.json")
    assert found["prediction"] in ("red", "green")
    assert found["passes"] == found["images"]
    assert any("'What? red, green'" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prompt": "What?"}, "--templates"),
        ({"length": "sum"}, "--templates"),
        ({"model": "hf", "templates": "plain"}, "--prompt"),
        ({"model": "hf", "head": "sigmoid"}, "--head"),
    ],
)
def test_settings_of_the_other_kind_of_model_are_refused(given, says, tmp_path):
    kind = "hf_llava" if "model" in given else "open_clip"
    folder = tmp_path / "model"
    folder.mkdir()
    name, weights = tiny_model(kind, folder)
    image = tmp_path / "image.tif"
    write_cog(image, painted("red", side=64)[0])
    job = ClassifyJob(images=[str(image)], labels=["red", "green"],
                      **{"model": name, "weights": weights and str(weights)} | given)  # fmt: skip
    with pytest.raises(ParameterError, match=says):
        job.run(tmp_path / "run")
