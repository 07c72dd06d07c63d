"""Classes from examples: a linear probe on frozen embeddings.

Multinomial logistic regression on standardised features. Standardisation is folded into the
weights, so a probe is one matrix and works on embeddings as they are stored. A probe says whether
it was fitted on embeddings as they are or on those of norm 1, and is fed that wherever it is used.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.files import write_bytes
from foveate.models.heads import INPUTS, Inputs, check_dim, labels_of, unit
from foveate.models.weights import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


logger = logging.getLogger("foveate")

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the logistic regression

USUAL = 1e-2  # C where there are too few examples to choose

_FOLDS = 3

_STEPS = 1000

_KEY, _SCHEMA = "foveate", 2  # 1 did not say what the probe was fitted on: embeddings as they are

_UNIT = 2e-3  # a norm that is 1 but for the rounding of float16


@dataclass(frozen=True)
class Probe:
    """A linear classifier of embeddings; see `foveate.models.heads.Head`.

    Attributes:
        names: The C classes.
        weight: (C, d) float32.
        bias: (C,) float32.
        spec: The encoder of the embeddings, if it is known.
        meta: How it was fitted: rows, strength of the regularisation, accuracy in
            cross-validation (None where there were too few examples), seed.
        inputs: What it was fitted on: "raw" embeddings, or those of norm 1 ("unit").
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    spec: EncoderSpec | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    inputs: Inputs = "raw"

    def __post_init__(self) -> None:
        """Check `inputs`.

        Raises:
            ParameterError: It is none of them.
        """
        check_inputs(self.inputs)

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of embeddings as the model gives them: (..., d) to (..., C) float32.

        Raises:
            DataError: They have another length than those that the probe was fitted to.
        """
        check_dim(z, self.weight.shape[1], "a probe")
        x = unit(z) if self.inputs == "unit" else np.asarray(z, dtype=np.float32)
        return x @ self.weight.T + self.bias

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities of embeddings: (..., d) to (..., C) float32, sums of 1.

        Raises:
            DataError: They have another length than those that the probe was fitted to.
        """
        from scipy.special import softmax

        return softmax(self.logits(z), axis=-1)

    def check(self, spec: EncoderSpec) -> None:
        """Refuse the embeddings of another encoder than the probe was fitted to.

        Weights, length, number of bands, normalisation and input size must be the same. Which
        bands of a file these are may differ, and so may the range of raw values: it is that of
        the imagery, but a probe is only as good as the ranges are alike.

        Raises:
            DataError: It is another one, or the probe does not know its encoder.
        """
        if self.spec is None:
            raise DataError(
                "a probe that does not say which encoder it was fitted to",
                "",
                "Give the spec: fit_probe(..., spec=embeddings.spec).",
            )
        check_encoder(self.spec, spec, "probe")

    def save(self, path: str | Path) -> None:
        """Write the probe as safetensors, with all that is known of it in the header.

        Raises:
            MissingExtraError: safetensors is not installed.
            StorageError: The file cannot be written.
        """
        from safetensors.numpy import save

        content = {
            "schema": _SCHEMA,
            "names": self.names,
            "spec": None if self.spec is None else self.spec.to_dict(),
            "meta": self.meta,
            "inputs": self.inputs,
        }
        # One entry of metadata: the order of several is not fixed, and neither were the bytes.
        metadata = {_KEY: json.dumps(content, sort_keys=True)}
        # safetensors writes the memory as it lies: only C order is what the shape says.
        tensors = {"weight": np.ascontiguousarray(self.weight), "bias": self.bias}
        write_bytes(path, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path, *, spec: EncoderSpec | None = None) -> Self:
        """Read a probe.

        Args:
            path: File of `save`.
            spec: The encoder at hand, to refuse the probe of another one.

        Raises:
            DataError: The file is no probe, or one for another encoder.
            MissingExtraError: safetensors is not installed.
        """
        from safetensors import safe_open

        try:
            with safe_open(Path(path), framework="np") as file:
                content = json.loads((file.metadata() or {})[_KEY])
                weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
            known = content["spec"] and EncoderSpec.from_dict(content["spec"])
            schema = content["schema"]
            probe = cls(
                tuple(content["names"]), weight, bias, known or None, content["meta"],
                content["inputs"] if schema == _SCHEMA else "raw",
            )  # fmt: skip
            if schema not in (1, _SCHEMA) or weight.shape != (len(probe.names), weight.shape[1]):
                raise ValueError(f"schema {schema}")  # noqa: TRY301
        except Exception as error:  # each kind of damage has its own
            why = "no probe's header" if isinstance(error, KeyError) else first_line(error)
            raise DataError(
                f"cannot read the probe {str(path)!r}: {why}",
                "A probe is a safetensors file that fit_probe(...).save(PATH) wrote.",
            ) from error
        if spec is not None:
            probe.check(spec)
        return probe


def fit_probe(
    x: NDArray[np.floating],
    labels: NDArray[np.integer],
    names: Sequence[str],
    *,
    seed: int = 0,
    spec: EncoderSpec | None = None,
    inputs: Inputs | None = None,
) -> Probe:
    """Fit a linear probe.

    The strength of the regularisation is the one in `STRENGTHS` with the highest accuracy in a
    stratified cross-validation of three folds, the strongest of equal ones; with fewer than three
    examples of a class it is `USUAL`, as nothing can be held out.

    Args:
        x: (n, d) embeddings, as the model gives them.
        labels: (n,) class numbers, rows of `names`.
        names: C >= 2 classes, each with at least one row.
        seed: Seed of the folds.
        spec: The encoder, so that the probe refuses another one later.
        inputs: What to fit: "raw" the embeddings as they are, "unit" at norm 1, to which they
            are brought here as they are wherever the probe is used. None for "unit" where all
            of them have norm 1 already, else "raw".

    Raises:
        DataError: Shapes disagree, `x` is not finite, or a class has no row.
        ParameterError: Fewer than two classes, names that are one, or other `inputs`.
    """
    classes = tuple(labels_of(names))
    wide, numbers = _examples(x, labels, classes)
    fitted = _inputs_of(wide) if inputs is None else check_inputs(inputs)
    if fitted == "unit":
        wide = unit(wide).astype(np.float64)
    mean, std = wide.mean(axis=0), wide.std(axis=0)
    std[std == 0] = 1  # a feature that never changes tells nothing, whatever it is divided by
    standard = (wide - mean) / std
    strength, accuracy = _strength(standard, numbers, seed)
    model = _fit(standard, numbers, strength)
    if model.n_iter_.max() >= _STEPS:
        logger.warning("The probe has not converged after %d steps.", _STEPS)
    coef, intercept = model.coef_, model.intercept_
    if len(classes) == 2:  # one score for both; its halves give the same probabilities
        coef, intercept = np.concatenate([-coef, coef]) / 2, np.array([-1, 1]) * intercept / 2
    weight = coef / std
    bias = intercept - weight @ mean
    meta = {"rows": len(wide), "strength": strength, "accuracy": accuracy, "seed": seed}
    return Probe(classes, weight.astype(np.float32), bias.astype(np.float32), spec, meta, fitted)


def check_inputs(inputs: Inputs) -> Inputs:
    """Return what a head is fitted on.

    Raises:
        ParameterError: It is neither "raw" nor "unit".
    """
    if inputs not in INPUTS:
        raise ParameterError(
            f"inputs={inputs!r}",
            "Allowed: raw (embeddings as the model gives them), unit (of norm 1).",
        )
    return inputs


def _inputs_of(x: NDArray[np.float64]) -> Inputs:
    """Return "unit" for vectors that all have norm 1: whoever brought them to it meant it."""
    return "unit" if (np.abs(np.linalg.norm(x, axis=1) - 1) <= _UNIT).all() else "raw"


def _examples(
    x: NDArray[np.floating], labels: NDArray[np.integer], names: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    numbers = np.asarray(labels)
    if x.ndim != 2 or numbers.shape != x.shape[:1] or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(
            f"embeddings of shape {x.shape} and labels of shape {numbers.shape}, {numbers.dtype}",
            "Expected (n, d) vectors and (n,) class numbers.",
        )
    if len(names) < 2:
        raise ParameterError(f"a probe for {len(names)} class", "It tells at least two apart.")
    outside = (numbers < 0) | (numbers >= len(names))
    if outside.any():
        raise DataError(
            f"the class number {int(numbers[outside][0])}",
            f"There are {len(names)} names: numbers go from 0 to {len(names) - 1}.",
            "Leave out rows without a label.",
        )
    lacking = [name for i, name in enumerate(names) if not (numbers == i).any()]
    if lacking:
        raise DataError(
            f"no example of {', '.join(map(repr, lacking))}",
            "A probe learns from examples: at least one of each class.",
        )
    wide = np.asarray(x, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise DataError("embeddings that hold NaN or infinity", "A probe needs finite features.")
    return wide, numbers.astype(np.int64)


def _strength(
    x: NDArray[np.float64], labels: NDArray[np.int64], seed: int
) -> tuple[float, float | None]:
    """Return the regularisation to use, and its accuracy in cross-validation if there was one."""
    from sklearn.model_selection import StratifiedKFold

    if np.bincount(labels).min() < _FOLDS:
        return USUAL, None
    folds = list(StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(x, labels))
    right = [
        sum(int((_fit(x[a], labels[a], c).predict(x[b]) == labels[b]).sum()) for a, b in folds)
        for c in STRENGTHS
    ]
    best = int(np.argmax(right))  # the first of equal ones
    return STRENGTHS[best], right[best] / len(x)


def _fit(x: NDArray[np.float64], labels: NDArray[np.int64], strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged is said once, at the end
        return LogisticRegression(C=strength, max_iter=_STEPS).fit(x, labels)


_FACTS = ("the fingerprint", "dimensions", "bands", "mean", "std", "input size", "tokens")


def check_encoder(known: EncoderSpec, spec: EncoderSpec, what: str) -> None:
    """Refuse another encoder than something was fitted to, and warn of another range of values.

    Args:
        known: The encoder that it was fitted to.
        spec: The encoder at hand.
        what: What was fitted: "probe".

    Raises:
        DataError: Weights, length, number of bands, normalisation or input size differ.
    """
    for fact, theirs, ours in zip(_FACTS, _facts(known), _facts(spec), strict=True):
        if theirs != ours:
            raise DataError(
                f"the {what} was fitted to embeddings of {known.name!r} with {fact} "
                f"{theirs!r}; those of {spec.name!r} have {ours!r}",
                f"A {what} fits the encoder that it was made with.",
                f"Use --model {str(known.name)!r} with the same weights and options.",
            )
    if known.scale != spec.scale:
        logger.warning(
            "The %s was fitted to imagery scaled from %s, this is scaled from %s: state "
            "--scale to compare like with like.", what, known.scale, spec.scale,
        )  # fmt: skip


def _facts(spec: EncoderSpec) -> tuple[Any, ...]:
    """What two encoders must have in common for one probe to fit both."""
    return (
        spec.fingerprint, spec.dim, len(spec.bands), spec.mean, spec.std, spec.input_size, spec.grid
    )  # fmt: skip
