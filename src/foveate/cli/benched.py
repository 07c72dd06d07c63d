"""What is printed of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.cli.show import result, said_json

if TYPE_CHECKING:
    from foveate.run import Run


def benched(run: Run, *, as_json: bool) -> None:
    """Print the table that a benchmark came to."""
    from foveate.bench.write import markdown
    from foveate.report import headlines

    summary = run.record["summary"]
    found = summary["bench"]
    stem = run.path / "tables" / found["table"]
    files = [f"{stem}.{ending}" for ending in ("json", "csv", "md")]
    lines = [] if run.worked else ["Nothing to do: this table is complete.", ""]
    said = headlines(run.path)[""]
    lines += [*said.lines, "", markdown(found), f"Table: {', '.join(files)}"]
    content = {
        "run": str(run.path), "worked": run.worked, "files": files, **summary,
        "headline": said_json(said),
    }  # fmt: skip
    if run.record.get("views", {}).get("report"):
        content["report"] = str(run.path / "report.html")
        lines.append(f"Report: {content['report']}")
    result(content, "\n".join(lines), as_json=as_json)
