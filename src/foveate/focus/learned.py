"""A trained scorer: predicts the four scores of cells from their features.

It replaces the passes of the robustness (the perturbed second view of every cell), the comparison
of feature distributions, and the removal of cells. A scorer is valid for one encoder, one goal with
its forms and weights, one mode, and one set of classes or one query. These are stored with the
weights, and a look with any other is rejected.

    model/
      scorer.json          encoder, goal, mode, settings, question, test measures
      scorer.safetensors   network, scalers, and predictions that identify the question
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import ParameterError
from foveate.files import as_json, write_bytes, write_json
from foveate.focus.config import PARTS
from foveate.models.base import model_folder, read_format
from foveate.models.checkpoint_file import read_state
from foveate.models.heads import same_name, unit
from foveate.models.probe import check_encoder
from foveate.models.weights import put_state, random_weights, weights_hash
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.focus.config import FocusConfig, Goal
    from foveate.focus.question import FocusQuestion
    from foveate.models.scorer_net import ScorerNet

FORMAT = 1  # incremented when the network or its inputs change
RECORD, WEIGHTS = "scorer.json", "scorer.safetensors"

_ANSWERS = "question.answers"
_TRIALS = 8  # random vectors whose predictions identify a head
_TOLERANCE = 1e-3  # relative to the largest prediction: differences between machines


@dataclass(frozen=True)
class LearnedScorer:
    """Network that predicts the four scores of cells from the features of a frozen model.

    Attributes:
        net: The network.
        spec: The encoder of the features.
        about: Task of the training, JSON-ready: "goal", "mode", "question", "settings",
            "measured" (which of the four scores it predicts).
        answers: (8, C) logits of the head for eight fixed vectors; (8, 1) cosines of a query
            without classes; (8, 0) without either.
        measures: Measures on test images, JSON-ready; see `foveate.focus.distil.measure`.
    """

    net: ScorerNet
    spec: EncoderSpec
    about: Mapping[str, Any]
    answers: NDArray[np.float32]
    measures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of network, encoder and task."""
        return weights_hash(self.net, self.spec.to_dict(), dict(self.about))

    def gives(self, part: str) -> bool:
        """Return whether it predicts a score: one of `foveate.focus.config.PARTS`."""
        return bool(self.about["measured"][PARTS.index(part)])

    def predict(
        self,
        x: NDArray[np.floating],
        share: NDArray[np.floating],
        level: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        """Return the four scores of the n cells of an image.

        Args:
            x: (n, d) features.
            share: (n,) area of each cell as a share of the image.
            level: (n,) refinement level of each cell.

        Returns:
            (n, 4) utility, representativeness, robustness, synergy; NaN for scores that it does
            not predict. Predictions may slightly exceed the range of the scores.
        """
        from foveate.models.scorer_net import inputs_of

        scores = self.net.scores(inputs_of(x, share, level))
        scores[:, ~np.array(self.about["measured"])] = np.nan
        return scores

    def check(self, spec: EncoderSpec, question: FocusQuestion, config: FocusConfig) -> None:
        """Check that it was trained for a look.

        Args:
            spec: Encoder of the look.
            question: Classes and query of the look.
            config: Configuration of the look.

        Raises:
            DataError: The encoder is another one.
            ParameterError: The goal, mode or question is another one, or the look has to compute
                the robustness.
        """
        check_encoder(self.spec, spec, "scorer")
        goal = goal_record(config.goal)
        for kind, trained, given in (
            ("goal", self.about["goal"]["name"], goal["name"]),
            ("mode", self.about["mode"], config.mode),
            ("forms of the goal", *_differences(self.about["goal"], goal)),
            ("question", *_differences(self.about["question"], question_record(question))),
        ):
            if trained != given:
                raise ParameterError(
                    f"a scorer trained for the {kind} {trained!r}, and a look for {given!r}",
                    "A scorer is valid for one goal, mode and question.",
                    "Train another one: foveate focus train-scorer; or omit --scorer.",
                )
        answers = answers_of(question, spec.dim)
        size = max(float(np.abs(self.answers).max(initial=0)), 1e-12)
        if not np.allclose(answers, self.answers, rtol=0, atol=_TOLERANCE * size):
            raise ParameterError(
                "a scorer trained with another probe, or with other texts of the classes",
                "The names of the classes are equal, but the predictions differ.",
                "Use the probe or the --templates of the training, or train another scorer.",
            )
        if config.robust:
            raise ParameterError(
                "--robust with a scorer",
                "A scorer predicts the robustness instead of computing it.",
                "Omit --robust or --scorer.",
            )

    def notes(self, config: FocusConfig) -> list[str]:
        """Return the notes of a look with this scorer."""
        notes = ["The scores were predicted by a trained scorer, not computed."]
        if self.measures:
            notes.append(
                f"The rank correlation of predicted and computed scores is "
                f"{self.measures['spearman']:.2f} ({self.measures['images']} held-out images)."
            )
        trained, given = self.about["settings"], settings_record(config)
        differences = [
            f"{name} {trained[name]}, in this look {given[name]}"
            for name in given
            if given[name] != trained[name]
        ]
        if differences:
            notes.append(f"The scorer was trained with other cells: {'; '.join(differences)}.")
        return notes

    def save(self, folder: str | Path) -> list[Path]:
        """Write the scorer and return the files; the JSON file is written last.

        Raises:
            MissingExtraError: safetensors is not installed.
            StorageError: A file cannot be written.
        """
        from safetensors.numpy import save

        state = {
            name: np.ascontiguousarray(tensor.detach().cpu().numpy())
            for name, tensor in self.net.state_dict().items()
        }
        state[_ANSWERS] = np.ascontiguousarray(self.answers)
        weights, record = Path(folder) / WEIGHTS, Path(folder) / RECORD
        write_bytes(weights, save(state))
        content = {
            "format": FORMAT, "spec": self.spec.to_dict(), **self.about,
            "measures": dict(self.measures),
        }  # fmt: skip
        write_json(record, content)
        return [weights, record]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a scorer.

        Args:
            path: Folder of `save`, or run directory of the training.

        Raises:
            DataError: The scorer is missing, or cannot be read.
            MissingExtraError: safetensors or torch is not installed.
        """
        from foveate.models.scorer_net import ScorerNet

        folder = find_scorer(path)
        content = read_format(folder / RECORD, FORMAT, "train")
        del content["format"]
        spec, measures = EncoderSpec.from_dict(content.pop("spec")), content.pop("measures")
        state = read_state(folder / WEIGHTS)
        answers = state.pop(_ANSWERS)
        dim = (state["mean"].numel() - 2) // 2 if "mean" in state else spec.dim
        net: ScorerNet = random_weights(lambda: ScorerNet(dim))
        put_state(net, state, folder / WEIGHTS, "a scorer")
        return cls(net.eval(), spec, content, answers.numpy(), measures)


def find_scorer(path: str | Path) -> Path:
    """Return the folder of a scorer: the given folder, or "model" in it.

    Raises:
        DataError: The folder has no scorer.
    """
    command = "foveate focus train-scorer ... --out SCORER"
    return model_folder(path, RECORD, "scorer", command, "Type --scorer SCORER.")


def make_about(
    goal: Goal, config: FocusConfig, question: FocusQuestion, measured: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the task of a scorer: `LearnedScorer.about`.

    Args:
        goal: Goal as requested.
        config: Configuration of the looks.
        question: Classes and query.
        measured: (4,) mask of the computed scores.
    """
    return {
        "goal": goal_record(goal),
        "mode": config.mode,
        "question": question_record(question),
        "settings": settings_record(config),
        "measured": measured.tolist(),
    }


def goal_record(goal: Goal) -> dict[str, Any]:
    """Return the attributes of a goal, JSON-ready."""
    return as_json(asdict(goal))


def question_record(question: FocusQuestion) -> dict[str, Any]:
    """Return the names of classes and query, JSON-ready."""
    return {
        "classes": [] if question.head is None else list(question.head.names),
        "query": same_name(question.query),
        "target": question.target,
        "inputs": question.inputs,
    }


def settings_record(config: FocusConfig) -> dict[str, Any]:
    """Return the settings that determine the cells, JSON-ready."""
    search = config.search
    return {
        "cells": config.cells, "crop": config.crop, "partition": config.partition,
        "branch": search.branch, "neighbours": search.neighbours,
    }  # fmt: skip


def answers_of(question: FocusQuestion, dim: int) -> NDArray[np.float32]:
    """Return the predictions for eight fixed vectors: (8, C), (8, 1) or (8, 0) float32.

    Args:
        question: Classes and query.
        dim: Length of the encoder's vectors.
    """
    trials = unit(rng(0, "focus/scorer/trials").normal(size=(_TRIALS, dim)))
    if question.head is not None:
        return np.asarray(question.head.logits(trials), np.float32)
    if question.text is not None:
        return (trials @ question.text)[:, None].astype(np.float32)
    return np.zeros((_TRIALS, 0), np.float32)


def _differences(trained: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the entries of both records that differ."""
    names = [name for name in given if trained.get(name) != given[name]]
    return {name: trained.get(name) for name in names}, {name: given[name] for name in names}
