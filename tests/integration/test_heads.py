"""Each head x each family x each verb, against the head's formula on the model's own vectors.

By default each family and each head run in each verb; all their pairs are slow tests.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from colour_words import colour_words
from looks import Sized
from PIL import Image
from scipy.special import expit, softmax

from foveate import focus
from foveate.classify import ClassifyJob
from foveate.focus.question import make_question
from foveate.grid import Window
from foveate.models import bind, load_model
from foveate.models.capabilities import EmbedsText, GivesTokens, TakesSizes
from foveate.models.heads import text_head
from foveate.models.probe import Probe, fit_probe
from foveate.pool import open_pool
from foveate.raster import ArraySource
from foveate.testing.tiny import tiny_model

NAMES = ("forest", "water", "town")
FAMILIES = ("builtin", "callable", "sized", "timm_vit", "timm_cnn", "torchgeo", "open_clip",
            "hf_clip", "hf_siglip", "tuned")  # fmt: skip
TEXTS = ("callable", "open_clip", "hf_clip", "hf_siglip", "tuned")
POOLED = ("timm_cnn", "torchgeo", "tuned")  # tokens whose mean is the embedding
HEADS = ("text", "sentences", "raw", "unit")
VERBS = ("crops", "windows", "classify", "tokens")
CELLS = 4
BUDGET = {"regions": 3, "passes": 0}


class Case(NamedTuple):
    """One family, and a picture of 4 x 4 inputs of it."""

    kind: str
    model: object
    name: str
    weights: object
    image: np.ndarray
    file: object
    side: int


@pytest.fixture(scope="module")
def made_cases():
    """Cases by the name of their family: each is made once for all heads and verbs."""
    return {}


@pytest.fixture
def case(request, made_cases, tmp_path_factory):
    kind = request.param
    if kind not in made_cases:
        made_cases[kind] = make_case(kind, tmp_path_factory.mktemp(kind))
    return made_cases[kind]


def make_case(kind, folder):
    name, weights = (kind, None)
    if kind not in ("builtin", "callable", "sized"):
        name, weights = tiny_model(kind, folder / "model")
    side = {"callable": 32, "sized": 32, "builtin": 64}.get(kind)
    handle = None if kind in ("callable", "sized") else load_model(name, weights=weights)
    while True:
        image = pattern(CELLS * (side or 64))
        Image.fromarray(np.moveaxis(image, 0, 2)).save(folder / "a.png")
        if handle is None:
            model = colour_words() if kind == "callable" else Sized(side)
            break
        model = bind(handle, open_pool(folder / "a.png", split=(1, 1), measure=False))
        if side is not None:
            break
        side = max(model.spec.input_size)
    return Case(kind, model, name, weights, image, folder / "a.png", side)


def pairs(verb, families=FAMILIES):
    """Parametrize by family and head; a family has one head in a verb by default, in turn."""
    found = []
    for family in families:
        heads = HEADS if family in TEXTS else ("raw", "unit")
        turn = (FAMILIES.index(family) + VERBS.index(verb)) % len(heads)
        found += [
            pytest.param(family, head, marks=() if i == turn else pytest.mark.slow)
            for i, head in enumerate(heads)
        ]
    return pytest.mark.parametrize(("case", "kind"), found, indirect=["case"])


def test_each_head_and_each_family_run_in_each_verb_by_default():
    for verb in VERBS[:3]:
        default = [p.values for p in pairs(verb).args[1] if not p.marks]
        assert {family for family, _ in default} == set(FAMILIES)
        assert {head for _, head in default} == set(HEADS)


def pattern(size):
    """Patches of different colour and contrast, so that vectors differ in direction and length."""
    draw = np.random.default_rng(3)
    step = size // 8
    colour = draw.uniform(20, 235, (3, 8, 8)).repeat(step, 1).repeat(step, 2)
    noise = draw.normal(0, 1, colour.shape) * draw.uniform(0, 40, (8, 8)).repeat(step, 0).repeat(
        step, 1
    )
    return np.clip(colour + noise, 0, 255).astype(np.uint8)


def windows(case):
    s = case.side
    return [Window(y * s, x * s, s, s) for y in range(CELLS) for x in range(CELLS)]


def vectors(case, model=None):
    """The model's own vectors of the cells, each an image of its own."""
    batch = np.stack([case.image[:, w.y : w.y + w.h, w.x : w.x + w.w] for w in windows(case)])
    return np.asarray((model or case.model).embed(batch), np.float64)


def probe(case, inputs):
    """A probe whose answers change where vectors come at another length."""
    x = vectors(case)
    draw = np.random.default_rng(1)
    fed = x / np.linalg.norm(x, axis=1, keepdims=True) if inputs == "unit" else x
    centre = fed.mean(axis=0)
    weight = draw.normal(size=(3, x.shape[1]))
    weight /= (fed - centre).std() * np.sqrt(x.shape[1])
    return Probe(
        NAMES, weight.astype(np.float32), (-weight @ centre).astype(np.float32), case.model.spec,
        inputs=inputs,
    )  # fmt: skip


def make(case, kind):
    """Return a head and the probabilities that its formula gives (n, d) raw vectors."""
    if kind in ("text", "sentences"):
        assert isinstance(case.model, EmbedsText)
        labels = ["red", "green", "blue"] if case.kind == "callable" else list(NAMES)
        templates = "rs" if kind == "text" else ["a photo of {}", "{} from above"]
        if case.kind == "callable":
            templates = "none"
        head = text_head(case.model, labels, templates=templates, head="cosine")
        spec = case.model.text_spec

        def formula(x):
            cosine = normed(x) @ np.asarray(head.weight, np.float64).T
            return softmax(spec.scale * cosine + spec.bias, axis=1)

        return head, formula, {"labels": labels, "templates": templates}
    head = probe(case, kind)

    def formula(x):
        z = normed(x) if kind == "unit" else x
        return softmax(z @ head.weight.T.astype(np.float64) + head.bias, axis=1)

    return head, formula, {"head": head}


def normed(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)


def averaged(x, head):
    """What is averaged over regions: vectors in the space that the head was fitted on."""
    return normed(x) if head.inputs == "unit" else x


def compare(found, expected, names):
    """Labels and probabilities of cells, with what rounding may turn."""
    labels, chances = found
    np.testing.assert_allclose(chances, expected.max(axis=1), atol=2e-3)
    second = np.sort(expected, axis=1)[:, -2]
    clear = expected.max(axis=1) - second > 4e-3
    best = expected.argmax(axis=1)
    assert all(labels[i] == names[best[i]] for i in np.flatnonzero(clear))


@pairs("crops")
def test_crops_and_overview(case, kind):
    head, formula, question = make(case, kind)
    look = focus.look(
        case.image, case.model, **question, goal="balanced", crop=case.side, budget=BUDGET
    )
    state = look.result.state
    assert [*state.features.windows] == windows(case)
    x = vectors(case)
    compare(look.labels, formula(x), head.names)
    fused = averaged(x, head)[state.chosen.rows].mean(axis=0)[None]
    best = formula(fused)[0]
    assert look.predictions["fused"].probability == pytest.approx(best.max(), abs=3e-3)
    first = state.chosen.rows[0]
    assert look.predictions["first"].probability == pytest.approx(formula(x)[first].max(), abs=3e-3)
    height, width = case.image.shape[1:]
    # What is brought to an input size is read at twice that; other models see at most 256 pixels.
    size = 2 * case.side if case.model.spec.input_size else height
    assert size <= 2 * 256
    small = ArraySource(case.image).read(Window(0, 0, height, width), out_shape=(size, size)).data
    whole = formula(np.asarray(case.model.embed(small[None]), np.float64))[0]
    assert look.predictions["full"].probability == pytest.approx(whole.max(), abs=3e-3)


@pairs("windows")
def test_small_windows(case, kind):
    head, formula, question = make(case, kind)
    fixed = case.model.spec.input_size is not None
    assert not fixed or isinstance(case.model, TakesSizes)
    look = focus.look(
        case.image, case.model, **question, goal="balanced", mode="window", robust=False,
        budget=BUDGET, cells=CELLS, search=focus.SearchConfig(depth=0),
    )  # fmt: skip
    state = look.result.state
    if fixed:
        step = case.model.size_step
        model = case.model.at_size(max(step, case.side // CELLS // step * step))
        reading = tuple(2 * s for s in model.spec.input_size)
    else:
        model, reading = case.model, (64, 64)
    source = ArraySource(case.image)
    shape = tuple(min(case.side, r) for r in reading)
    batch = np.stack([source.read(w, out_shape=shape).data for w in windows(case)])
    assert [*state.features.windows] == windows(case)
    compare(look.labels, formula(np.asarray(model.embed(batch), np.float64)), head.names)


@pairs("tokens", POOLED)
def test_tokens_of_the_overview(case, kind):
    head, formula, question = make(case, kind)
    assert isinstance(case.model, GivesTokens)
    assert case.model.token_spec.pooled
    look = focus.look(
        case.image, case.model, **question, goal="balanced", mode="feature", robust=False,
        budget=BUDGET, cells=2, search=focus.SearchConfig(depth=0),
    )  # fmt: skip
    size = 2 * case.side if case.model.spec.input_size else min(256, case.image.shape[1])
    small = ArraySource(case.image).read(
        Window(0, 0, *case.image.shape[1:]), out_shape=(size, size)
    ).data  # fmt: skip
    tokens = np.asarray(case.model.tokens(small[None]), np.float64)[0]
    gh, gw, _ = tokens.shape
    assert gh % 2 == gw % 2 == 0
    half = [
        tokens[y : y + gh // 2, x : x + gw // 2].mean(axis=(0, 1))
        for y in (0, gh // 2) for x in (0, gw // 2)
    ]  # fmt: skip
    compare(look.labels, formula(np.array(half)), head.names)


@pairs("classify", [family for family in FAMILIES if family not in ("callable", "sized")])
def test_classify(case, kind, tmp_path):
    head, formula, question = make(case, kind)
    given = {"images": [str(case.file)], "model": case.name, "tile": case.side}
    if case.weights is not None:
        given["weights"] = str(case.weights)
    if "head" in question:
        head.save(tmp_path / "probe.safetensors")
        given["probe"] = str(tmp_path / "probe.safetensors")
    else:
        sentences = tmp_path / "sentences.txt"
        if not isinstance(question["templates"], str):
            sentences.write_text("\n".join(question["templates"]))
            given["templates"] = str(sentences)
        given["labels"] = question["labels"]
    ClassifyJob(**given).run(tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pylist()
    table.sort(key=lambda row: (row["y"], row["x"]))
    found = [row["label"] for row in table], [row["probability"] for row in table]
    # Stored vectors have 16 bits.
    labels, chances = found
    expected = formula(vectors(case))
    np.testing.assert_allclose(chances, expected.max(axis=1), atol=2e-2)
    compare((labels, expected.max(axis=1)), np.where(expected > 0.05, expected, 0), head.names)


def test_raw_probe_differs_on_unit_vectors():
    # Where vectors have other lengths, a raw probe that is fed unit vectors answers otherwise.
    image = pattern(128)
    x = image.reshape(3, 4, 32, 4, 32).mean(axis=(2, 4)).reshape(3, 16).T / 255
    case = Case("sized", Sized(32), "", None, image, None, 32)
    raw = probe(case, "raw")
    wrong = raw.logits(normed(x)).argmax(axis=1)
    assert (wrong != raw.logits(x).argmax(axis=1)).any()


def test_sigmoid_heads_judge_each_label_alone(tmp_path):
    name, weights = tiny_model("hf_siglip", tmp_path)
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    model = bind(load_model(name, weights=weights), open_pool(tmp_path / "a.png", split=(1, 1)))
    head = text_head(model, ["forest", "water"])
    x = np.asarray(model.embed(draw.integers(0, 255, (5, 3, 64, 64), np.uint8)), np.float64)
    cosine = normed(x) @ np.asarray(head.weight, np.float64).T
    expected = expit(model.text_spec.scale * cosine + model.text_spec.bias)
    np.testing.assert_allclose(head.probabilities(x * 7), expected, rtol=1e-3)
    assert (head.head, head.inputs) == ("sigmoid", "unit")


def test_a_probe_on_embeddings_is_right_inside_a_look():
    # Two classes that differ by the length of the vectors only: grey levels.
    draw = np.random.default_rng(0)
    bright = draw.random((8, 8)) < 0.5
    image = np.where(bright, 200, 90).repeat(32, 0).repeat(32, 1)[None].repeat(3, 0)
    image = (image + draw.integers(-9, 10, image.shape)).astype(np.uint8)
    model = Sized(32)
    tiles = image.reshape(3, 8, 32, 8, 32).transpose(1, 3, 0, 2, 4).reshape(64, 3, 32, 32)
    fitted = fit_probe(model.embed(tiles), bright.ravel().astype(int), ["dark", "bright"])
    assert fitted.inputs == "raw"
    look = focus.look(image, model, head=fitted, budget={"passes": 0})
    truth = {(y * 32, x * 32): bright[y, x] for y in range(8) for x in range(8)}
    labels = zip(look.result.state.features.windows, look.labels[0], strict=True)
    assert all((name == "bright") == truth[w.y, w.x] for w, name in labels)


def test_head_without_inputs_is_refused():
    class Own:
        names = NAMES

        def logits(self, z):
            return np.zeros((*z.shape[:-1], 3), np.float32)

        probabilities = logits

    with pytest.raises(ValueError, match=r"'raw'.*'unit'"):
        make_question(Sized(32), head=Own())
