"""The page of a trained observer: what it is worth, what it sees, and where it fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from foveate.report import human
from foveate.report import observed_said as said
from foveate.report import observed_tables as tables
from foveate.report.observed_draw import ramp
from foveate.report.observed_guides import TRAINED
from foveate.report.observed_origin import imagery, origin
from foveate.report.observed_page import Page
from foveate.report.observed_shown import Failure, Finding, SceneView, failures, scenes, search
from foveate.report.panels import Figure
from foveate.report.pictures import Album
from foveate.report.stage import number
from foveate.report.view import Shot
from foveate.report.words import observer

if TYPE_CHECKING:
    from foveate.report.observed_data import Trained

_ROOM = 6 << 20  # bytes of pictures on the page


@dataclass(frozen=True)
class TrainedView(Page):
    """The page."""

    template: ClassVar[str] = "trained.html.j2"

    scenes: list[SceneView]
    maps_note: str
    features_note: str
    measure: str
    curve: tables.Curve
    curve_note: str
    sweep: list[tables.Row]
    sweep_note: str
    concepts: list[tables.Row]
    concepts_note: str
    ways: list[tables.Row]
    ways_note: str
    neighbours: list[tables.Row]
    neighbours_note: str
    failures: list[Failure]
    search: list[Finding]
    search_note: str
    training: list[tables.Phase]


def build(run: Trained) -> TrainedView:
    """Turn a run into the page's content."""
    evaluation = run.evaluation
    worth, headline = observer.worth(evaluation), observer.trained(evaluation)
    album = Album(_ROOM)
    shown, rho = scenes(run, album)
    inline = len(album.uris)
    found = search(run, album)
    keys = {name: f"p{i}" for i, name in enumerate(album.uris) if i >= inline}
    table, note = tables.concepts(evaluation)
    right = sum(tile.right for row in found for tile in row.tiles)
    total = sum(len(row.tiles) for row in found)
    return TrainedView(
        title=run.name,
        headline=headline.text,
        verdicts=headline.notes,
        warnings=[],
        figures=_figures(worth),
        facts=_facts(run),
        ramp=ramp(),
        scenes=shown,
        maps_note=said.maps(rho) if shown else "",
        features_note=said.features(evaluation),
        measure=worth.measure,
        curve=tables.curve(evaluation, worth),
        curve_note=said.budget(evaluation),
        sweep=tables.sweep(evaluation.get("sweep") or []),
        sweep_note=said.sweep(evaluation.get("sweep") or []),
        concepts=table,
        concepts_note=note,
        ways=tables.ways(evaluation),
        ways_note=said.scenes(evaluation.get("completions") or {}),
        neighbours=tables.neighbours(evaluation),
        neighbours_note=said.neighbours(evaluation.get("neighbours") or {}),
        failures=failures(run, shown),
        search=found,
        search_note=f"{human.count(right)} of {human.plural(total, 'tile')} are right." if total
        else "",
        training=tables.training(run.training),
        reading=TRAINED,
        pictures_note=_left_out(len(album.left_out)),
        origin=origin(run),
        pictures={keys[name]: uri for name, uri in album.uris.items() if name in keys},
        shots={name: Shot(key, "0 0 1 1") for name, key in keys.items()},
    )  # fmt: skip


def _figures(found: observer.Worth) -> list[Figure]:
    """Return the large numbers; those that are not known are left out."""
    what = found.measure
    rows = [
        (
            "Completed scenes",
            found.ours,
            f"{what}, {human.share(found.obr)} of the tiles observed",
        ),
        ("Overviews alone", found.lr, f"{what}, nothing observed"),
        ("Random tiles", found.chance, f"{what}, as many tiles observed at random"),
        ("All tiles observed", found.full, f"{what}: what can be reached"),
    ]
    figures = [
        Figure(label, human.decimal(v, 3), note) for label, v, note in rows if math.isfinite(v)
    ]
    if math.isfinite(found.added):
        figures.append(
            Figure(
                "Completion adds", observer.signed(found.added),
                f"over the LR fill, which reaches {human.decimal(found.fill, 3)}",
            )
        )  # fmt: skip
    return figures


def _facts(run: Trained) -> list[tuple[str, str]]:
    summary, evaluation = run.record.get("summary", {}), run.evaluation
    about = summary.get("observer", {})
    split = {"test": "test scenes", "val": "validation scenes"}
    kind = split.get(str(evaluation.get("split")), "scenes")
    judged = f"{human.plural(int(number(evaluation.get('tiles') or 0)), 'tile')} of "
    judged += f"{human.count(number(evaluation.get('scenes') or 0))} {kind}"
    parts = about.get("scenes") or {}
    trained = f"{human.plural(int(parts.get('train', 0)), 'scene')}, "
    trained += f"{human.count(parts.get('val', 0))} for validation"
    return [
        ("Judged", judged),
        ("Trained on", trained),
        ("Imagery", imagery(run)),
        ("Encoder", str((run.encoder or {}).get("name", "?"))),
        ("Observer", f"{about.get('size', '?')}, {about.get('form', '?')}"),
        ("Supervision", str(about.get("supervision", "?"))),
        ("Seed", str(summary.get("seed", "?"))),
    ]


def _left_out(count: int) -> str:
    if not count:
        return ""
    return f"{human.plural(count, 'picture')} missing, or left out to keep this page small."
