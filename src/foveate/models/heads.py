"""Classification heads on embeddings: from texts here, from examples in `foveate.models.probe`.

A head accepts embeddings as returned by the model, and normalises them if it was fitted to
normalised embeddings. Embeddings must be averaged in the space given by `Head.inputs`.

Zero-shot heads follow CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural
Language Supervision", section 3.1.4): a class name is inserted into several prompt templates; their
vectors, each of norm 1, are averaged, and the mean is normalised again. The class with the highest
cosine similarity is predicted. Deviations: a class may have several names with equal weights; and
models trained with a sigmoid (SigLIP) score each class independently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable
from unicodedata import normalize

import numpy as np

from foveate.documents import parse_document
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.files import read_text
from foveate.models.capabilities import need
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from foveate.models.capabilities import EmbedsText

    Labels = Mapping[str, tuple[str, ...]]
    LabelsGiven = Sequence[str] | Mapping[str, str | Sequence[str]]


Inputs = Literal["raw", "unit"]

INPUTS: tuple[Inputs, ...] = get_args(Inputs)


@runtime_checkable
class Head(Protocol):
    """Scores of C classes for embeddings of d dimensions."""

    @property
    def names(self) -> tuple[str, ...]:
        """The C classes."""
        ...

    @property
    def inputs(self) -> Inputs:
        """Normalisation of the embeddings that the head was fitted to.

        "raw": embeddings as returned by the model. "unit": embeddings of norm 1; the head
        normalises its inputs.
        """
        ...

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of embeddings.

        Args:
            z: (..., d).

        Returns:
            (..., C) float32.
        """
        ...

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities of embeddings.

        Args:
            z: (..., d).

        Returns:
            (..., C) float32 in [0, 1].
        """
        ...


def same_name(text: str) -> str:
    """Return a normalised class name for comparison, without case, spaces and underscores."""
    return "".join(normalize("NFC", text).casefold().replace("_", " ").split())


def unit(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return vectors of norm 1; zero vectors are unchanged.

    Args:
        x: (..., d).
    """
    wide = np.asarray(x, dtype=np.float32)  # float16 would overflow in the squares
    norm = np.linalg.norm(wide, axis=-1, keepdims=True)
    return wide / np.maximum(norm, np.finfo(np.float32).tiny)


def check_dim(z: NDArray[np.floating], dim: int, what: str) -> None:
    """Check that vectors have the dimension of a head.

    Raises:
        DataError: They have another dimension.
    """
    if z.ndim < 1 or z.shape[-1] != dim:
        raise DataError(
            f"embeddings of shape {z.shape} for {what} of {dim} dimensions",
            f"Expected (..., {dim}).",
            "Use the model that the head was created with.",
        )


def confusion(
    truth: NDArray[np.integer], found: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Return the confusion matrix.

    Args:
        truth: (n,) true class numbers, -1 where not known; these rows are ignored.
        found: (n,) predicted class numbers.
        classes: Number C of classes.

    Returns:
        (C, C) int64, true classes in rows.
    """
    known = truth >= 0
    cell = truth[known].astype(np.int64) * classes + found[known]
    return np.bincount(cell, minlength=classes * classes).reshape(classes, classes)


def numbers_of(found: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    """Return the class numbers of names, -1 for unknown names; see `same_name`."""
    index = {same_name(name): i for i, name in enumerate(names)}
    return np.array([index.get(same_name(name), -1) for name in found], dtype=np.int64)


TEMPLATE_SETS = ("rs", "plain", "none", "eurosat", "rsicd", "remoteclip", "skyclip")

_MAPPINGS = (".yaml", ".yml", ".toml", ".json")

_TABLES = (".csv", ".tsv")
_FILES = (".txt", *_TABLES, *_MAPPINGS)

_SLOT = "{}"


def labels_of(given: LabelsGiven) -> Labels:
    """Return name -> texts from a list of names, or from a mapping to synonyms.

    Args:
        given: Names, or name -> its text or texts in prompts. The text of a name defaults to the
            name itself, with spaces instead of underscores.

    Raises:
        ParameterError: There are no names, a name or text is empty or not a string, two names are
            equal except for case, spaces and underscores, or the file is a classes file of masks.
    """
    if isinstance(given, Mapping) and "classes" in given:
        raise ParameterError(
            "the labels have the name 'classes'",
            "This is a classes file of masks; labels have the form 'name: [text, text]'.",
            "Use --classes for a classes file of masks.",
        )
    pairs: list[tuple[Any, Any]] = (
        list(given.items()) if isinstance(given, Mapping) else [(name, ()) for name in given]
    )
    labels = {_text(name): _texts(_text(name), value) for name, value in pairs}
    _check(_text(name) for name, _ in pairs)
    return labels


def labels_from(source: str | Path) -> Labels:
    """Read labels from a comma-separated text or a file.

    Args:
        source: Names separated by commas; or, as a `Path`, a file: one name per line (``#`` starts
            a comment), or YAML, TOML or JSON with a list of names, or a mapping from names to
            their texts in prompts.

    Raises:
        ParameterError: See `labels_of`.
        DataError: The file cannot be read.
    """
    if isinstance(source, str):
        if "," not in source and is_file(source):
            raise ParameterError(
                f"the labels {source!r} are the name of a file",
                "Expected names separated by commas.",
                f"Use labels_from(Path({source!r})).",
            )
        return labels_of([part.strip() for part in source.split(",")])
    return read_names(source, labels_of)


def refuse_files(names: Iterable[str]) -> None:
    """Raise a `ParameterError` for labels that are names of files: missing ones, or in a list."""
    names = list(names)
    for name in names:
        if name.lower().endswith(_FILES):
            raise ParameterError(
                f"the label {name!r} is the name of a file"
                + " that is missing" * (not is_file(name)),
                "Expected names separated by commas, or the path of one existing file.",
                "Check the path." if len(names) == 1 else "Put all names into one file.",
            )


def read_names[T](
    path: Path,
    parse: Callable[[Any], T],
    what: str = "labels",
    form: str = "'name: [text, text]'",
) -> T:
    """Read a file of names: a list of names, or a mapping from each name.

    Args:
        path: One name per line (``#`` starts a comment), or YAML, TOML or JSON.
        parse: Converts the list or mapping to the result.
        what: Kind of names, for the messages.
        form: Form of an entry of the mapping, for the messages.

    Raises:
        DataError: The file cannot be read, is malformed, or has other content.
        ParameterError: Two lines have the same name, or an error of `parse`, with the file name.
    """
    text = read_text(path, what)
    try:
        if path.suffix.lower() in _TABLES:
            raise DataError(
                f"the {what} file {str(path)!r} is a table",
                "Expected one name per line, or YAML, TOML or JSON.",
                f"Write its column of names to {path.stem}.txt.",
            )
        mapping = path.suffix.lower() in _MAPPINGS
        return parse(_mapping(text, path, what, form) if mapping else _lines(text, path))
    except ParameterError as error:
        raise ParameterError(
            f"the {what} file {str(path)!r}: {error.given}", error.allowed, error.hint
        ) from error


def is_file(name: str) -> bool:
    """Return whether a text is the path of an existing file."""
    try:
        return Path(name).is_file()
    except OSError:  # too long for a file name
        return False


def templates_from(given: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Return prompt templates: sentences with ``{}`` for the name.

    Args:
        given: A name in `TEMPLATE_SETS`, a file with one template per line (``#`` starts a
            comment), one template, or several.

    Raises:
        UnknownNameError: No such set or file.
        ParameterError: A template without ``{}``, or no templates.
        DataError: The file cannot be read.
    """
    if not isinstance(given, str | Path):
        return _templates([(0, text) for text in given], "")
    if str(given) in TEMPLATE_SETS:
        file = resources.files("foveate.models") / "templates" / f"{given}.txt"
        return _templates(_stated(file.read_text(encoding="utf-8")), "")
    if _SLOT in str(given):
        return (str(given),)
    path = Path(given)
    if not path.is_file():
        raise UnknownNameError(
            f"unknown templates {str(given)!r}",
            f"Known sets: {', '.join(TEMPLATE_SETS)}; or a file with one template per line, or a "
            "template with {} for the name.",
            suggest(str(given), TEMPLATE_SETS),
        )
    return _templates(_stated(read_text(path, "templates")), f" of {path.name!r}")


def prompts(texts: Iterable[str], templates: Sequence[str]) -> list[str]:
    """Return every text in every template."""
    return [template.replace(_SLOT, text) for text in texts for template in templates]


def _templates(lines: list[tuple[int, str]], where: str) -> tuple[str, ...]:
    for number, line in lines:
        if _SLOT not in line:
            raise ParameterError(
                f"the template {line!r}" + (f" in line {number}{where}" if number else ""),
                "A template must contain {} for the name.",
                "For example: a satellite image of {}.",
            )
    if not lines:
        raise ParameterError(
            f"no templates{where}", "At least one is required.", "Use --templates rs."
        )
    return tuple(line for _, line in lines)


def _stated(text: str) -> list[tuple[int, str]]:
    """Return the lines that are not empty or comments, with their numbers from 1."""
    lines = enumerate((line.strip() for line in text.splitlines()), 1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _lines(text: str, path: Path) -> list[str]:
    """Return the names of a plain file.

    Raises:
        ParameterError: Two lines name the same class.
    """
    seen: dict[str, int] = {}
    for number, line in _stated(text):
        first = seen.setdefault(same_name(line), number)
        if first != number:
            raise ParameterError(
                f"{line!r} in line {number} repeats line {first}",
                "Names must be unique, ignoring case, spaces and '_'.",
                f"Write synonyms as a mapping: {path.stem}.yaml with 'name: [text, text]'.",
            )
    return [line for _, line in _stated(text)]


def _mapping(text: str, path: Path, what: str, form: str) -> Any:
    """Return the list or mapping of a structured file.

    Raises:
        DataError: The file is malformed, or has other content.
    """
    expected = f"Expected a list of names, or {form}."
    content = parse_document(text, path, f"{what} file", expected)
    if not isinstance(content, dict | list):
        raise DataError(
            f"the {what} file {str(path)!r} contains {type(content).__name__}", expected
        )
    return content


def _text(value: Any) -> str:
    if not isinstance(value, str):  # YAML parses an unquoted no as false, and 1 as a number
        raise ParameterError(f"the label {value!r} is not a text", "", f"Quote it: {str(value)!r}.")
    return " ".join(value.split())


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not (value is None or isinstance(value, str | list | tuple)):
        raise ParameterError(
            f"the label {name!r} has the value {value!r}",
            "Expected a text, or a list of texts.",
            f"Use {name}: {name}",
        )
    given = [value] if isinstance(value, str) else list(value or ())
    texts = tuple(_text(text) for text in given) or (name.replace("_", " "),)
    if not all(texts) and name:
        raise ParameterError(f"the label {name!r} has an empty text", "Texts must not be empty.")
    return texts


def _check(names: Iterable[str]) -> None:
    known: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise ParameterError(
                f"label {number} is empty",
                "Labels must not be empty.",
                "For example --labels forest,water.",
            )
        twin = known.get(same_name(name))
        if twin is not None:
            raise ParameterError(
                f"the labels {twin!r} and {name!r} are equal",
                "Labels must be unique, ignoring case, spaces and '_'.",
                "Remove one of them.",
            )
        known[same_name(name)] = name
    if not known:
        raise ParameterError(
            "there are no labels",
            "At least one label is required.",
            "For example --labels forest,water,town.",
        )


Kind = Literal["cosine", "sigmoid"]

KINDS: tuple[Kind, ...] = get_args(Kind)

_AT_ONCE = 256  # texts per call of the model


@dataclass(frozen=True)
class TextHead:
    """Zero-shot head with one direction per class; see `foveate.models.heads.Head`.

    Attributes:
        names: The C classes.
        weight: (C, d) float32, rows of norm 1.
        scale: Logits are ``scale * cosine + bias``.
        bias: See `scale`.
        head: "cosine": the probabilities of all classes sum to 1. "sigmoid": probabilities are
            independent, and all of them may be small.
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    scale: float
    bias: float
    head: Kind

    @property
    def inputs(self) -> Inputs:
        """Inputs are normalised: "unit"."""
        return "unit"

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of embeddings of any norm: (..., d) to (..., C) float32.

        Raises:
            DataError: They have another dimension than the vectors of the texts.
        """
        check_dim(z, self.weight.shape[1], "texts")
        return np.float32(self.scale) * (unit(z) @ self.weight.T) + np.float32(self.bias)

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities of embeddings: (..., d) to (..., C) float32.

        Raises:
            DataError: They have another dimension than the vectors of the texts.
        """
        from scipy.special import expit, softmax

        logits = self.logits(z)
        return softmax(logits, axis=-1) if self.head == "cosine" else expit(logits)


def text_head(
    model: EmbedsText,
    labels: LabelsGiven,
    *,
    templates: str | Path | Sequence[str] = "rs",
    head: Kind | None = None,
) -> TextHead:
    """Create a zero-shot classifier from class names.

    Args:
        model: A model that embeds images and text in one space.
        labels: Names, or name -> its texts in prompts; see `labels_of`.
        templates: See `templates_from`; "none" if the labels are whole sentences.
        head: "cosine" or "sigmoid"; None for the loss that the model was trained with.

    Raises:
        MissingCapabilityError: The model does not embed text.
        ParameterError: Labels or templates are invalid; see `labels_of`, `templates_from`.
        UnknownNameError: No such set of templates.
    """
    text_model: EmbedsText = need(model, "text", "zero-shot classification")
    known, sentences = labels_of(labels), templates_from(templates)
    spec = text_model.text_spec
    kind = check_kind(head) or spec.head
    if kind == "sigmoid" and spec.head != "sigmoid":
        raise ParameterError(
            "head='sigmoid' with a model that was trained with a softmax",
            "It has no bias, so every label would have a probability near 1.",
            "Use cosine, and add a label such as 'something else'.",
        )
    # Embed all prompts in large batches.
    groups = [prompts(texts, sentences) for texts in known.values()]
    vectors = unit(_embed(text_model, [prompt for group in groups for prompt in group]))
    ends = np.cumsum([len(group) for group in groups])
    means = [part.mean(axis=0) for part in np.split(vectors, ends[:-1])]
    return TextHead(tuple(known), unit(np.stack(means)), spec.scale, spec.bias, kind)


def check_kind(head: str | None) -> Kind | None:
    """Validate the kind of a head; None for the default of the model.

    Raises:
        ParameterError: No such kind.
    """
    if head is not None and head not in KINDS:
        raise ParameterError(
            f"head={head!r}",
            "Allowed: cosine (probabilities over all labels), sigmoid (independent labels).",
            "Remove it to use the loss that the model was trained with.",
        )
    return head


def _embed(model: EmbedsText, texts: list[str]) -> NDArray[np.float32]:
    starts = range(0, len(texts), _AT_ONCE)
    return np.concatenate([model.embed_text(texts[i : i + _AT_ONCE]) for i in starts])
