"""Linear probes: classification heads fitted to frozen embeddings.

Multinomial logistic regression on standardised features. The standardisation is folded into the
weights, so a probe is a single matrix for stored embeddings. A probe stores whether it was fitted
to raw or normalised embeddings, and normalises its inputs accordingly.
"""

from __future__ import annotations

import hashlib
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
from foveate.models.checkpoint_file import first_line
from foveate.models.heads import INPUTS, Inputs, check_dim, labels_of, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


logger = logging.getLogger("foveate")

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the logistic regression

USUAL = 1e-2  # C if there are too few examples for cross-validation

_FOLDS = 3

_STEPS = 1000

_KEY, _SCHEMA = "foveate", 2  # schema 1 did not store `inputs`, which were "raw"

_UNIT = 2e-3  # tolerance of a norm of 1 in float16


@dataclass(frozen=True)
class Probe:
    """A linear classifier of embeddings; see `foveate.models.heads.Head`.

    Attributes:
        names: The C classes.
        weight: (C, d) float32.
        bias: (C,) float32.
        spec: Spec of the encoder of the embeddings, or None.
        meta: Facts about the fit: rows, regularisation strength, cross-validation accuracy (None
            with too few examples), seed.
        inputs: Embeddings that it was fitted to: "raw", or "unit" for norm 1.
        fitted: (m,) uint64, sorted hashes of the embeddings of the fit; None for a probe of an
            earlier version.
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    spec: EncoderSpec | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    inputs: Inputs = "raw"
    fitted: NDArray[np.uint64] | None = None

    def __post_init__(self) -> None:
        """Check `inputs`.

        Raises:
            ParameterError: `inputs` is invalid.
        """
        check_inputs(self.inputs)

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of embeddings as returned by the model: (..., d) to (..., C) float32.

        Raises:
            DataError: They have another dimension than those of the fit.
        """
        check_dim(z, self.weight.shape[1], "a probe")
        x = unit(z) if self.inputs == "unit" else np.asarray(z, dtype=np.float32)
        return x @ self.weight.T + self.bias

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities of embeddings: (..., d) to (..., C) float32, sums of 1.

        Raises:
            DataError: They have another dimension than those of the fit.
        """
        from scipy.special import softmax

        return softmax(self.logits(z), axis=-1)

    def was_fitted_to(self, z: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which embeddings the probe was fitted to, by their bytes.

        Embeddings of the same pixels have the same bytes on one machine; between processors their
        last bits may differ, and then they are not recognised.

        Args:
            z: (n, d) embeddings, as returned by the model or as stored.

        Returns:
            (n,) bool; False for a probe of an earlier version.
        """
        known = np.empty(0, np.uint64) if self.fitted is None else self.fitted
        return np.isin(_hashes(z), known)

    def check(self, spec: EncoderSpec) -> None:
        """Check that the embeddings are from the encoder that the probe was fitted to.

        Weights, dimension, number of bands, normalisation and input size must be equal. Band
        numbers and the range of raw values may differ, because they depend on the imagery; the
        accuracy of the probe depends on the similarity of the ranges.

        Raises:
            DataError: The encoder differs, or the probe has no spec.
        """
        if self.spec is None:
            raise DataError(
                "the probe does not store the encoder that it was fitted to",
                "",
                "Pass the spec: fit_probe(..., spec=embeddings.spec).",
            )
        check_encoder(self.spec, spec, "probe")

    def save(self, path: str | Path) -> None:
        """Write the probe as safetensors, with its attributes in the header.

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
        # A single metadata entry: the order of several is not deterministic.
        metadata = {_KEY: json.dumps(content, sort_keys=True)}
        # safetensors writes the memory buffer, which must be in C order.
        tensors = {"weight": np.ascontiguousarray(self.weight), "bias": self.bias}
        if self.fitted is not None:
            tensors["fitted"] = self.fitted
        write_bytes(path, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path, *, spec: EncoderSpec | None = None) -> Self:
        """Read a probe.

        Args:
            path: File written by `save`.
            spec: Spec of the encoder to check the probe against.

        Raises:
            DataError: The file is not a probe, or is for another encoder.
            MissingExtraError: safetensors is not installed.
        """
        from safetensors import safe_open

        try:
            with safe_open(Path(path), framework="np") as file:
                content = json.loads((file.metadata() or {})[_KEY])
                weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
                fitted = file.get_tensor("fitted") if "fitted" in file.keys() else None  # noqa: SIM118
            known = content["spec"] and EncoderSpec.from_dict(content["spec"])
            schema = content["schema"]
            probe = cls(
                tuple(content["names"]), weight, bias, known or None, content["meta"],
                content["inputs"] if schema == _SCHEMA else "raw", fitted,
            )  # fmt: skip
            if schema not in (1, _SCHEMA) or weight.shape != (len(probe.names), weight.shape[1]):
                raise ValueError(f"schema {schema}")  # noqa: TRY301
        except Exception as error:  # damaged files raise various exceptions
            why = "no header of a probe" if isinstance(error, KeyError) else first_line(error)
            raise DataError(
                f"cannot read the probe {str(path)!r}: {why}",
                "Expected a safetensors file written by fit_probe(...).save(PATH).",
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

    The regularisation strength is the value of `STRENGTHS` with the highest accuracy in a
    stratified three-fold cross-validation, the strongest regularisation of equal values; with fewer
    than three examples of a class it is `USUAL`.

    Args:
        x: (n, d) embeddings, as returned by the model.
        labels: (n,) class numbers, indices into `names`.
        names: C >= 2 classes, each with at least one row.
        seed: Seed of the folds.
        spec: Spec of the encoder, to check later inputs.
        inputs: "raw" to fit the embeddings unchanged, "unit" to normalise them in fitting and
            prediction. None for "unit" if all of them have norm 1, else "raw".

    Raises:
        DataError: Shapes disagree, `x` is not finite, or a class has no row.
        ParameterError: Fewer than two classes, equal names, or invalid `inputs`.
    """
    classes = tuple(labels_of(names))
    wide, numbers = _examples(x, labels, classes)
    inputs = _inputs_of(wide) if inputs is None else check_inputs(inputs)
    if inputs == "unit":
        wide = unit(wide).astype(np.float64)
    mean, std = wide.mean(axis=0), wide.std(axis=0)
    std[std == 0] = 1  # constant features have no effect
    standard = (wide - mean) / std
    strength, accuracy = _strength(standard, numbers, seed)
    model = _fit(standard, numbers, strength)
    if model.n_iter_.max() >= _STEPS:
        logger.warning("The probe did not converge after %d steps.", _STEPS)
    coef, intercept = model.coef_, model.intercept_
    if len(classes) == 2:  # convert the single score to two scores with equal probabilities
        coef, intercept = np.concatenate([-coef, coef]) / 2, np.array([-1, 1]) * intercept / 2
    weight = coef / std
    bias = intercept - weight @ mean
    meta = {"rows": len(wide), "strength": strength, "accuracy": accuracy, "seed": seed}
    return Probe(
        classes, weight.astype(np.float32), bias.astype(np.float32), spec, meta, inputs,
        np.unique(_hashes(x)),
    )  # fmt: skip


def check_inputs(inputs: Inputs) -> Inputs:
    """Validate the inputs of a head.

    Raises:
        ParameterError: The value is neither "raw" nor "unit".
    """
    if inputs not in INPUTS:
        raise ParameterError(
            f"inputs={inputs!r}",
            "Allowed: raw (embeddings as returned by the model), unit (norm 1).",
        )
    return inputs


def _hashes(x: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return (n,) hashes of embeddings in float16, the precision in which they are stored."""
    with np.errstate(over="ignore"):  # the hashes of infinities serve as well
        rows = np.ascontiguousarray(x, np.float16)
    found = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(found, "<u8").astype(np.uint64)


def _inputs_of(x: NDArray[np.float64]) -> Inputs:
    """Return "unit" if all vectors have norm 1, else "raw"."""
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
        raise ParameterError(
            f"a probe with {len(names)} class", "At least two classes are required."
        )
    outside = (numbers < 0) | (numbers >= len(names))
    if outside.any():
        raise DataError(
            f"invalid class number {int(numbers[outside][0])}",
            f"There are {len(names)} names, so numbers must be from 0 to {len(names) - 1}.",
            "Remove rows without a label.",
        )
    missing = [name for i, name in enumerate(names) if not (numbers == i).any()]
    if missing:
        raise DataError(
            f"no examples of {', '.join(map(repr, missing))}",
            "A probe requires at least one example of each class.",
        )
    wide = np.asarray(x, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise DataError("the embeddings contain NaN or infinity", "Features must be finite.")
    return wide, numbers.astype(np.int64)


def _strength(
    x: NDArray[np.float64], labels: NDArray[np.int64], seed: int
) -> tuple[float, float | None]:
    """Return the regularisation strength and its cross-validation accuracy, or None."""
    from sklearn.model_selection import StratifiedKFold

    if np.bincount(labels).min() < _FOLDS:
        return USUAL, None
    folds = list(StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(x, labels))
    right = [
        sum(int((_fit(x[a], labels[a], c).predict(x[b]) == labels[b]).sum()) for a, b in folds)
        for c in STRENGTHS
    ]
    best = int(np.argmax(right))  # the first of equal values
    return STRENGTHS[best], right[best] / len(x)


def _fit(x: NDArray[np.float64], labels: NDArray[np.int64], strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a failure to converge is logged once, at the end
        return LogisticRegression(C=strength, max_iter=_STEPS).fit(x, labels)


_FACTS = ("the fingerprint", "dimensions", "bands", "mean", "std", "input size", "tokens")


def check_encoder(known: EncoderSpec, spec: EncoderSpec, what: str) -> None:
    """Check that two encoders are equal, and warn if their value ranges differ.

    Args:
        known: Spec of the encoder of the fit.
        spec: Spec of the current encoder.
        what: Fitted object, for the message: "probe".

    Raises:
        DataError: Weights, dimension, number of bands, normalisation or input size differ.
    """
    for fact, theirs, ours in zip(_FACTS, _facts(known), _facts(spec), strict=True):
        if theirs != ours:
            raise DataError(
                f"the {what} was fitted to embeddings of {known.name!r} with {fact} "
                f"{theirs!r}; those of {spec.name!r} have {ours!r}",
                f"A {what} can only be used with the encoder that it was fitted to.",
                f"Use --model {str(known.name)!r} with the same weights and options.",
            )
    if known.scale != spec.scale:
        logger.warning(
            "The %s was fitted to imagery scaled from %s, but this imagery is scaled from %s. Use "
            "--scale to set the same range.", what, known.scale, spec.scale,
        )  # fmt: skip


def _facts(spec: EncoderSpec) -> tuple[Any, ...]:
    """Return the properties of an encoder that must be equal for a probe."""
    return (
        spec.fingerprint, spec.dim, len(spec.bands), spec.mean, spec.std, spec.input_size, spec.grid
    )  # fmt: skip
