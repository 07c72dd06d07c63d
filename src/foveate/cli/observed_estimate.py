"""From what was typed after `foveate observe estimate` to a job, and what is printed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.cli.show import count, result
from foveate.errors import ParameterError

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.observe.totals import EstimateJob
    from foveate.progress import ProgressFn

_BY = {
    "model": "where overviews tell of it",
    "covariate": "in proportion to the covariate",
    "nothing": "evenly",
}


def estimate_job(*, confidence: str, **given: Any) -> EstimateJob:
    """Make an estimate job from what was typed; what was not typed (None) is left out.

    Raises:
        ParameterError: Something cannot be read, or a value is out of range.
    """
    from foveate.observe.totals import EstimateJob

    typed: dict[str, Any] = {
        k: v if isinstance(v, int | float) else str(v) for k, v in given.items() if v is not None
    }
    return EstimateJob(confidence=share(confidence, "confidence"), **typed)


def share(text: str, name: str) -> float:
    """Read ``95%`` or ``0.95``.

    Raises:
        ParameterError: Another form.
    """
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError as error:
        raise ParameterError(
            f"--{name} {text!r}", "It is a share: 95% or 0.95.", f"--{name} 95%"
        ) from error
    return value / 100 if number != text.strip() else value


def estimate(
    job: EstimateJob, *, repeats: int, plan: Path | None, answers: Path | None, out: Path | None,
    as_json: bool, progress: ProgressFn | None,
) -> None:  # fmt: skip
    """Draw, and plan or estimate; print what came of it.

    Raises:
        FoveateError: Options that exclude each other, or anything that is wrong with the input.
    """
    from foveate.files import write_json
    from foveate.observe.totals import draw_tiles, from_labels, summary
    from foveate.observe.fieldwork import read_answers, write_plan

    if plan is not None and answers is not None:
        raise ParameterError(
            "a plan and answers to it",
            "The plan is written first, and answered later.",
            "Leave out --plan; the other options and the seed stay as they were.",
        )
    if repeats and (plan or answers):
        raise ParameterError(
            f"--repeats {repeats} with {'a plan' if plan else 'answers'}",
            "Draws are repeated where labels tell what all tiles hold.",
            "Leave out --repeats.",
        )
    drawn = draw_tiles(job, labelled=not (plan or answers), progress=progress)
    if plan is not None:
        write_plan(drawn, plan)
        content = {
            "plan": str(plan), "drawn": len(drawn.rows), "tiles": len(drawn.frame),
            "by": drawn.by, "uncovered": drawn.uncovered, "job": job.model_dump(mode="json"),
        }  # fmt: skip
        text = f"{_drawn(content)}\nPlan: {plan}"
    else:
        content = (
            from_labels(drawn, repeats=repeats)
            if answers is None
            else summary(drawn, read_answers(drawn, answers))
        )
        text = _text(content)
    if out is not None:
        write_json(out, content)
    result(content, text, as_json=as_json)


def _text(content: dict[str, Any]) -> str:
    from foveate.report.words import scenes as words

    unit = content["unit"]
    lines = [*words.estimated(content).lines]
    lines.append(f"{_drawn(content)}; {content['found']} of them hold some")
    if content["without_labels"]:
        lines.append(f"Not counted: {count(content['without_labels'], 'tile')} without labels")
    if content["truth"] is not None:
        lines.append(f"Truth by all labels: {words.quantity(content['truth'])} {unit}")
    if content["repeats"]:
        lines += _repeated(content["repeats"])
    return "\n".join(lines)


def _repeated(found: dict[str, Any]) -> list[str]:
    lines = [f"Over {count(found['design']['repeats'], 'draw')}:"]
    for name, title in (("design", "like this"), ("even", "even")):
        one = found[name]
        line = f"  {title:<10} coverage {one['coverage']:.1%}"
        if one["relative_error"] is not None:
            line += f"   error {one['relative_error']:.1%}   bias {one['bias']:+.1%}"
        lines.append(line)
    return lines


def _drawn(content: dict[str, Any]) -> str:
    text = f"Drawn: {content['drawn']} of {count(content['tiles'], 'tile')}, {_BY[content['by']]}"
    if content["uncovered"]:
        text += f"; {content['uncovered']} lie where the covariate has no values"
    return text
