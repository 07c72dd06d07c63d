"""The page of statistics of pairs: splits, concepts and regions (Table 5, Figure 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.report import blocks as ui
from foveate.report import human, svg
from foveate.report import origin as made
from foveate.report.page import Page, Section
from foveate.report.words.scenes import counted

if TYPE_CHECKING:
    from foveate.report.read import PoolData
    from foveate.report.words import Headline

_MANY = 200  # maximum number of listed regions


def stats(run: PoolData) -> Page:
    """Draw the page."""
    found = run.record["summary"]["statistics"]
    gsd = found["gsd"]
    metres = "not known" if gsd is None else f"{gsd[0]:g} m over {gsd[1]:g} m"
    grid = " x ".join(map(str, found["grid"]))
    seed = str(run.record["summary"]["seed"])
    facts = [
        ("Imagery", made.imagery(run)),
        ("Tiles per scene", f"up to {grid}"),
        ("GSD", metres),
        ("Seed of the split", seed),
    ]
    return Page.of(
        run.name, "Observe \u00b7 statistics of pairs", headline(run),
        lead=[ui.Figures(_figures(found))], facts=facts,
        sections=[
            Section("splits", "Splits", [_splits(found)],
                    "The split of a training with the same --val, --test and --seed.", "Splits"),
            Section("concepts", "Concepts", _concepts(found), (
                "Bars: number of scenes that show the concept. A concept in few training scenes is "
                "hardly learned, and one in no test scene is not evaluated."), "Concepts"),
            Section("regions", "Regions", [_regions(found)],
                    "The scenes of a folder form a region; a region is never divided by a split.",
                    "Regions"),
        ],
        origin=made.origin(run, one="tile", many="tiles"),
    )  # fmt: skip


def headline(run: PoolData) -> Headline:
    """Return the headline of the statistics."""
    return counted(run.record["summary"]["statistics"])


def _figures(found: dict[str, Any]) -> list[ui.Figure]:
    tiles = f"{human.decimal(found['tiles'] / found['scenes'], 1)} per scene"
    return [
        ui.Figure("Scenes", human.count(found["scenes"]), "one overview each"),
        ui.Figure("Tiles", human.count(found["tiles"]), tiles),
        ui.Figure("Area", _area(found, found["ground"]), "of the tiles"),
        ui.Figure("Concepts", human.count(found["shown"]), "shown by at least one tile"),
        ui.Figure("Regions", human.count(len(found["regions"]))),
    ]


def _area(found: dict[str, Any], value: float | None) -> str:
    """Format an area in the unit of the total area."""
    if value is None:
        return ""
    return human.area(value, metres=found["unit"] == "m2", whole=found["ground"])


def _splits(found: dict[str, Any]) -> ui.Table:
    whole = {**found, "regions": len(found["regions"]), "concepts": found["shown"]}
    rows = [
        ui.Row(name, [*(human.count(part[key]) for key in ("scenes", "tiles")),
                      _area(found, part["ground"]),
                      *(human.count(part[key]) for key in ("regions", "concepts"))],
               lead=name == "all")
        for name, part in {**found["splits"], "all": whole}.items()
    ]  # fmt: skip
    return ui.Table("Splits", ["Split", "scenes", "tiles", "area", "regions", "concepts"], rows)


def _concepts(found: dict[str, Any]) -> list[ui.Block]:
    if not found["concepts"]:
        return []
    order = sorted(found["concepts"].items(), key=lambda item: (-item[1]["scenes"], item[0]))
    splits = list(found["splits"])
    rows = [
        ui.Row(
            name,
            [svg.bar(row["scenes"] / found["scenes"], f"{name}: {row['scenes']} scenes"),
             *(human.count(row[key]) for key in ("scenes", *splits, "tiles")),
             human.share(row["tiles"] / found["tiles"]), _area(found, row["ground"])],
            note="novel" if row["novel"] else "",
        )
        for name, row in order
    ]  # fmt: skip
    columns = ["Concept", ui.BAR, "scenes", *splits, "tiles", "of all tiles", "area"]
    return [ui.Table("Concepts", columns, rows, wide=True)]


def _regions(found: dict[str, Any]) -> ui.Table:
    shown = list(found["regions"].items())[:_MANY]
    rows = [
        ui.Row(name, [row["split"], *(human.count(row[key]) for key in ("scenes", "tiles")),
                      _area(found, row["ground"]), human.count(row["concepts"])])
        for name, row in shown
    ]  # fmt: skip
    remaining = len(found["regions"]) - len(shown)
    caption = f"and {human.count(remaining)} more in tables/regions.csv" if remaining else ""
    columns = ["Region", ui.Column("split", "text"), "scenes", "tiles", "area", "concepts"]
    return ui.Table("Regions", columns, rows, caption=caption)
