"""``foveate observe build``: plan, fetch, and print the result.

Typer evaluates the annotations at start-up, so they must be importable.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from foveate.cli.options import Json, command, path_option, tell_fetched
from foveate.errors import ParameterError


def build(
    job: Any,
    out: Annotated[Path | None, path_option(help="Folder of the pairs.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be fetched, without fetching it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build pairs, or print an estimate of the cost.

    Raises:
        FoveateError: The input is invalid.
    """
    from foveate.cli.show import progress_bars, result

    if dry_run:
        from foveate.observe.build.cost import estimate

        with progress_bars(quiet=as_json) as progress:
            ready = job.check()
            plan, _ = job.planned(ready, progress)
        cost = estimate(plan, ready[0], job.reading(), job.workers).to_dict()
        funnel = [{"stage": s, "left": n, "gone": gone} for s, n, gone in plan.funnel]
        result(
            {"dry_run": True, "funnel": funnel, **cost},
            "\n".join([*_funnel(funnel), *_cost(cost)]),
            as_json=as_json,
        )
        return
    if out is None:
        raise ParameterError(
            "--out is missing", "Pairs are written to a folder.",
            "Add --out PAIRS, or --dry-run to see what would be fetched.",
        )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        run = job.run(out, command=command(), progress=progress)
    result(
        {"run": str(run.path), "worked": run.worked, **run.record["summary"]},
        "\n".join(_built(run)),
        as_json=as_json,
    )
    tell_fetched(run)


def _built(run: Any) -> list[str]:
    from foveate.cli.show_observe import pair_lines

    summary = run.record["summary"]
    lines = [] if run.worked else ["Nothing to do: these pairs are complete."]
    lines += [*_funnel(summary["funnel"]), *pair_lines(summary)]
    if summary["days"] is not None:
        median, largest = summary["days"]
        lines.append(f"Days between LR and HR: median {median:g}, at most {largest:g}")
    lines.append(f"Manifest: {run.path / summary['manifest']}")
    return lines


def _funnel(funnel: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for one in funnel:
        lines.append(f"{one['left']:>9,} {one['stage']}")
        lines += [f"{'':>9}   {-n:,} {why}" for why, n in one["gone"].items()]
    return lines


def _cost(cost: Mapping[str, Any]) -> list[str]:
    items = f"{cost['hr_items']:,} HR and {cost['lr_items']:,} LR items"
    size = f"At most {cost['gigabytes']:,g} GB (assuming no compression)"
    time = f"about {cost['minutes']:,g} minutes at 10 MB/s and 50 ms per request"
    return [
        f"To fetch: {cost['pairs']:,} pairs from {items}",
        f"{size} in about {cost['requests']:,} requests; {time}",
        f"On disk: at most {cost['written']:,g} GB",
    ]
