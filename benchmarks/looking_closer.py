"""Draw what looks find against methods without a look, from two runs of `foveate bench focus`.

For each kind of scene the accuracy of a look and of the best other method of the same passes, on
the grid of the patches and off it: the picture of docs/looking-closer.md.

    python benchmarks/looking_closer.py ALIGNED SHIFTED --passes 24 --out looking-closer.svg
"""

from __future__ import annotations

import argparse
import csv
import pathlib
from collections import defaultdict

# Kind of scene, look, whether it is told what to find, and what the row is called.
ROWS = (
    ("rare", "look-rare", False, "one odd patch, even ground"),
    ("rare-mixed", "look-rare", False, "one odd patch, mixed ground"),
    ("rare", "look-query", True, "a named patch, even ground"),
    ("rare-mixed", "look-query", True, "a named patch, mixed ground"),
    ("clutter", "look-query", True, "a named patch, cluttered ground"),
    ("majority", "look-balanced", False, "what most patches are"),
    ("blocks", "look-balanced", False, "what most blocks are"),
)
WIDTH, LEFT, RIGHT, HEIGHT, STEP = 760, 250, 20, 56, 44
INK, GREY, GREEN, RULE = "#1c1b19", "#8a867e", "#1f6b57", "#d8d4cb"


def accuracies(run: pathlib.Path, passes: float) -> dict[tuple[str, bool], dict[str, float]]:
    """Return (kind, told) -> method -> mean accuracy over seeds."""
    found: dict[tuple[str, bool], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (run / "tables" / "looks-cells.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name, _, kind = row["measure"].partition(": ")
            if name == "top-1" and kind and float(row["passes"]) == passes:
                told = "told what to find" in row["block"]
                found[kind, told][row["method"]].append(float(row["value"]))
    return {
        key: {method: sum(values) / len(values) for method, values in methods.items()}
        for key, methods in found.items()
    }


def drawing(runs: dict[str, dict[tuple[str, bool], dict[str, float]]], passes: float) -> str:
    """Return the picture as SVG."""
    panel = (WIDTH - LEFT - RIGHT - 40) / len(runs)
    high = HEIGHT + STEP * len(ROWS) + 40
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high}" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">'
        ),
        f'<rect width="{WIDTH}" height="{high}" fill="#fbfaf6"/>',
    ]
    for number, (title, found) in enumerate(runs.items()):
        left = LEFT + number * (panel + 40)
        parts.append(f'<text x="{left}" y="22" font-weight="600">{title}</text>')
        for tick in (0, 0.5, 1):
            x = left + tick * panel
            parts.append(
                f'<line x1="{x}" x2="{x}" y1="36" y2="{high - 36}" stroke="{RULE}"/>'
                f'<text x="{x}" y="{high - 18}" text-anchor="middle" fill="{GREY}">'
                f"{tick:.0%}</text>"
            )
        for i, (kind, look, told, name) in enumerate(ROWS):
            y = HEIGHT + STEP * i
            if not number:
                parts.append(f'<text x="{LEFT - 18}" y="{y + 4}" text-anchor="end">{name}</text>')
            methods = found[kind, told]
            own = methods[look]
            other, best = max(
                ((m, v) for m, v in methods.items() if not m.startswith("look-")),
                key=lambda pair: pair[1],
            )
            a, b = left + best * panel, left + own * panel
            parts.append(
                f'<line x1="{a}" x2="{b}" y1="{y}" y2="{y}" stroke="{GREEN}" stroke-width="2"/>'
                f'<circle cx="{a}" cy="{y}" r="5" fill="#fbfaf6" stroke="{GREY}" stroke-width="2">'
                f"<title>{other}: {best:.0%}</title></circle>"
                f'<circle cx="{b}" cy="{y}" r="5.5" fill="{GREEN}">'
                f"<title>{look}: {own:.0%}</title></circle>"
            )
    parts.append(
        f'<text x="16" y="{high - 18}" fill="{GREY}">'
        f"\u25cf look \u25cb best other, {passes:g} passes</text></svg>"
    )
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("aligned", type=pathlib.Path)
    parser.add_argument("shifted", type=pathlib.Path)
    parser.add_argument("--passes", type=float, default=24)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    runs = {
        "on the grid": accuracies(options.aligned, options.passes),
        "half a patch off it": accuracies(options.shifted, options.passes),
    }
    options.out.write_text(drawing(runs, options.passes), "utf-8")


if __name__ == "__main__":
    main()
