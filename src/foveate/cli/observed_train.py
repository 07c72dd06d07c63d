"""From what was typed to a training of `observe`, and what is printed of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.cli.parse import numbers, scale_pairs
from foveate.cli.show import count, result, said_json
from foveate.files import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.run import Run


def typed_concepts(text: str) -> list[dict[str, Any]]:
    """Read the concepts as they were typed; none where nothing was.

    Raises:
        ParameterError: They cannot be read.
        DataError: The file cannot be read.
    """
    from foveate.observe.concepts import concepts_from

    return [concept.to_dict() for concept in concepts_from(text)] if text else []


def training_settings(
    typed: Mapping[str, Any], *, concepts: str, scale: str, bands: str
) -> dict[str, Any]:
    """Read what trains on pairs; what was not typed (None) is left out.

    Raises:
        ParameterError: Something cannot be read.
        DataError: The file of concepts cannot be read.
    """
    given = {k: str(v) if isinstance(v, Path) else v for k, v in typed.items() if v is not None}
    return {
        **given, "concepts": typed_concepts(concepts), "scale": scale_pairs(scale),
        "bands": [int(b) for b in numbers(bands, "bands", whole=True)],
    }  # fmt: skip


def trained(run: Run, *, as_json: bool) -> None:
    """Print what a training came to."""
    from foveate.observe.train import EVALUATION
    from foveate.report.words.observer import trained as words

    summary = run.record["summary"]
    judged = read_json(run.path / EVALUATION)
    result(
        {
            "run": str(run.path),
            "worked": run.worked,
            **summary,
            "evaluation": judged,
            "headline": said_json(words(judged)),
        },
        trained_text(run, judged),
        as_json=as_json,
    )


def trained_text(run: Run, judged: dict[str, Any]) -> str:
    """Return what a training came to, for people."""
    from foveate.report.words.observer import trained as words

    own = run.record["summary"]["observer"]
    scenes = own["scenes"]
    lines = [] if run.worked else ["Nothing to do: this observer is trained."]
    lines.append(
        f"Observer {own['folder']} ({own['size']}, {own['form']}, supervision "
        f"{own['supervision']}), from {count(scenes['train'], 'scene')}; "
        f"{scenes['val']} to choose by, {scenes['test']} to judge by"
    )
    lines += words(judged).lines
    lines += _worth(judged)
    if run.record.get("views", {}).get("report"):
        lines.append(f"Report: {run.path / 'report.html'}")
    lines.append(f"Next: foveate observe select OVERVIEW --model {run.path} --budget 12% --out RUN")
    return "\n".join(lines)


def _worth(judged: dict[str, Any]) -> list[str]:
    """Return the lines of what the observer is worth at the share it was trained for."""
    ways, obr = judged["completions"], judged["obr"]
    labelled = ways["full"]["tiles"] is not None
    key = "tiles" if labelled else "cosine"
    name = "tile mAP" if labelled else "centred cosine of unobserved tiles"
    rows = [
        ("overview alone (LR fill)", ways["LR only"][key]),
        ("random tiles, completed", judged["random"][key]),
        ("chosen tiles, LR fill", ways["fill"][key]),
        ("chosen tiles, completed", ways["ours"][key]),
        ("all tiles in HR", ways["full"][key]),
    ]
    lines = [f"At OBR {obr:g}, {name} of {count(judged['tiles'], judged['split'] + ' tile')}:"]
    lines += [f"  {what:<26} {value:.3f}" for what, value in rows if value is not None]
    return lines
