"""A trained scorer: the four scores of cells from their features, without measuring them.

What it saves are the passes of the robustness (the disturbed second view of every cell), the
distribution of features, and leaving cells out. It belongs to one encoder, one goal with its forms
and weights, one mode, and one set of classes or one query: that is stored beside the weights, and
it refuses all others.

    model/
      scorer.json          encoder, goal, mode, settings, question, what it is worth
      scorer.safetensors   the network with its scalers, and answers that identify the question
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
from foveate.models.heads import same_name, unit
from foveate.models.probe import check_encoder
from foveate.models.weights import put_state, random_weights, read_state, weights_hash
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.focus.config import FocusConfig, Goal
    from foveate.focus.question import FocusQuestion
    from foveate.models.scorer_net import ScorerNet

FORMAT = 1  # raised when the network or its inputs become others
RECORD, WEIGHTS = "scorer.json", "scorer.safetensors"

_ANSWERS = "question.answers"
_TRIALS = 8  # vectors whose answers tell one head from another
_CLOSE = 1e-3  # of the largest answer: what another machine may change


@dataclass(frozen=True)
class LearnedScorer:
    """The four scores of cells from what a frozen model makes of them.

    Attributes:
        net: The network.
        spec: The encoder whose features it takes.
        about: What it was trained for, JSON-ready: "goal", "mode", "question", "settings",
            "measured" (which of the four scores it gives).
        answers: (8, C) what the head says of eight fixed vectors; (8, 1) cosines of a query
            without classes; (8, 0) without either.
        measures: What it is worth, JSON-ready; see `foveate.focus.distil.measure`.
    """

    net: ScorerNet
    spec: EncoderSpec
    about: Mapping[str, Any]
    answers: NDArray[np.float32]
    measures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that its scores depend on."""
        return weights_hash(self.net, self.spec.to_dict(), dict(self.about))

    def gives(self, part: str) -> bool:
        """Say whether it was trained on a score: one of `foveate.focus.config.PARTS`."""
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
            level: (n,) how often each was cut.

        Returns:
            (n, 4) utility, representativeness, robustness, synergy, NaN where it gives none.
            They are estimates, and may leave the range of the scores by a little.
        """
        from foveate.models.scorer_net import inputs_of

        found = self.net.scores(inputs_of(x, share, level))
        found[:, ~np.array(self.about["measured"])] = np.nan
        return found

    def check(self, spec: EncoderSpec, question: FocusQuestion, config: FocusConfig) -> None:
        """Refuse a look that it was not trained for.

        Args:
            spec: Of the model at hand.
            question: Classes and query.
            config: How the look goes.

        Raises:
            DataError: Another encoder.
            ParameterError: Another goal, mode or question; or the robustness is to be measured.
        """
        check_encoder(self.spec, spec, "scorer")
        goal = goal_record(config.goal)
        for what, theirs, ours in (
            ("goal", self.about["goal"]["name"], goal["name"]),
            ("mode", self.about["mode"], config.mode),
            ("forms of the goal", *_differences(self.about["goal"], goal)),
            ("question", *_differences(self.about["question"], question_record(question))),
        ):
            if theirs != ours:
                raise ParameterError(
                    f"a scorer that was trained for the {what} {theirs!r}, and a look for {ours!r}",
                    "A scorer has learnt the scores of one goal, mode and question.",
                    "Train another: foveate focus train-scorer; or leave --scorer out.",
                )
        answers = answers_of(question, spec.dim)
        size = max(float(np.abs(self.answers).max(initial=0)), 1e-12)
        if not np.allclose(answers, self.answers, rtol=0, atol=_CLOSE * size):
            raise ParameterError(
                "a scorer that was trained with another probe, or other texts for the classes",
                "They have the same names and say something else.",
                "Give the probe or the --templates that it was trained with, or train another.",
            )
        if config.robust:
            raise ParameterError(
                "a scorer, and the robustness to be measured",
                "The scorer stands in for measuring it.",
                "Leave out --robust or --scorer.",
            )

    def notes(self, config: FocusConfig) -> list[str]:
        """Return what the reader of a look with it should know."""
        worth = self.measures
        found = ["The scores are those of a trained scorer and were not measured."]
        if worth:
            found[0] = (
                f"{found[0][:-1]}; their order agrees with the measured one to "
                f"{worth['spearman']:.2f} (rank correlation, images held out: {worth['images']})."
            )
        trained, own = self.about["settings"], settings_record(config)
        other = [
            f"{name} {trained[name]}, here {own[name]}"
            for name in own
            if own[name] != trained[name]
        ]
        if other:
            found.append(f"The scorer was trained with other cells: {'; '.join(other)}.")
        return found

    def save(self, folder: str | Path) -> list[Path]:
        """Write the scorer and return the files; the JSON file comes last.

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
            path: Folder of `save`, or of the run that trained it.

        Raises:
            DataError: There is none, or it cannot be read.
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
    """Return the folder of a scorer: the one given, or "model" in it.

    Raises:
        DataError: There is none.
    """
    command = "foveate focus train-scorer ... --out SCORER"
    return model_folder(path, RECORD, "scorer", command, "Type --scorer SCORER.")


def make_about(
    goal: Goal, config: FocusConfig, question: FocusQuestion, measured: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return what a scorer is trained for: `LearnedScorer.about`.

    Args:
        goal: As it was asked for.
        config: How the looks went.
        question: Classes and query.
        measured: (4,) which scores were measured.
    """
    return {
        "goal": goal_record(goal),
        "mode": config.mode,
        "question": question_record(question),
        "settings": settings_record(config),
        "measured": measured.tolist(),
    }


def goal_record(goal: Goal) -> dict[str, Any]:
    """Return all of a goal, JSON-ready."""
    return as_json(asdict(goal))


def question_record(question: FocusQuestion) -> dict[str, Any]:
    """Return classes and query by name, JSON-ready."""
    return {
        "classes": [] if question.head is None else list(question.head.names),
        "query": same_name(question.query),
        "target": question.target,
        "inputs": question.inputs,
    }


def settings_record(config: FocusConfig) -> dict[str, Any]:
    """Return what decides which cells there are, JSON-ready."""
    search = config.search
    return {
        "cells": config.cells, "crop": config.crop, "partition": config.partition,
        "branch": search.branch, "neighbours": search.neighbours,
    }  # fmt: skip


def answers_of(question: FocusQuestion, dim: int) -> NDArray[np.float32]:
    """Return what a question says of eight fixed vectors: (8, C), (8, 1) or (8, 0) float32.

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


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the entries in which two records differ, of each."""
    names = [name for name in ours if theirs.get(name) != ours[name]]
    return {name: theirs.get(name) for name in names}, {name: ours[name] for name in names}
