"""The page of a curate run: the selection, its map, and a comparison of methods."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup

from foveate.report import blocks as ui
from foveate.report import human, marks, numbers, svg
from foveate.report import origin as made
from foveate.report.assets import Album
from foveate.report.page import Option, Page, Section
from foveate.report.pages import curate_methods as parts
from foveate.report.pages import growth
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.report.read import Curated, MethodData

USUAL = "fd"  # default method of curate: shown first if it is one of several
PICTURES, MANY = 12, 12  # pictures of first and last patches; half with more than MANY methods
SCENES, OUTLINES = 24, 40_000  # maximum number of scenes and of outlines on the map
FEW_SCENES, SIDE = 6, 480  # above FEW_SCENES, overviews are reduced to SIDE pixels


def curate(run: Curated) -> Page:
    """Draw the page."""
    degree = numbers.overlaps(run.scene, run.windows)
    methods = parts.methods_of(run, degree)
    names = [m.data.name for m in methods]
    lead = names.index(USUAL) if USUAL in names else 0
    several = len(methods) > 1
    album, overviews = Album(), Album()
    patches = _patches(run, methods)
    first = [patches[lead], *patches]  # pictures of the first shown method have priority
    rows = [row for one in first for row in (*one.first, *one.last)] + parts.agreed(run)
    for row in rows:
        album.add(run.ids[row], run.tile_files.get(run.ids[row]))
    maps, maps_note = _maps(run, methods, lead, overviews)
    found = _shots(run, rows, album, maps)
    grid = [ui.Grid(maps, "maps" if len(maps) > 1 else 1)] if maps else []
    chosen = _chosen(run, methods, patches, found)
    missing = ui.left_out(len(album.left_out) + len(overviews.left_out))
    where = "Outlined: selected patches; fainter lines were selected later. "
    opens = methods[lead]
    summary = parts.together(run, [m.picks for m in methods])

    def patch(row: int, title: str) -> ui.Picture:
        return _patch(run, opens, row, methods, found, title)

    return Page(
        title=run.name,
        kind=f"Curate \u00b7 {f'{len(methods)} methods' if several else opens.data.title}",
        headline=summary if several and summary else opens.headline.text,
        verdicts=() if several else opens.headline.notes,
        lead=[parts.choice(methods, lambda m: _opening(run, m, repeats=bool(degree.any())))],
        facts=_facts(run),
        sections=[
            Section("chosen", "Selected patches", [*chosen, *missing], nav="Pictures"),
            Section("map", "Map of the selection", grid, f"{where}{maps_note}".strip(), "Map"),
            Section("compare", "Methods", [parts.compared(run, methods)] if several else [],
                    parts.compare_note(run, degree)),
            Section("balance", "Class balance", parts.balance(run, methods), nav="Classes"),
            Section("scores", "Scores and budget",
                    [parts.choice(methods, lambda m: parts.score(run, m))], nav="Scores"),
            Section("agreement", "Agreement of methods", parts.agreement(run, methods, patch)),
            Section("repeats", "Overlapping picks",
                    parts.repeats(methods, degree) if run.scenes else []),
            growth.changes(run.record),
            growth.failed(run.record),
            Section("methods", "How the methods work", [parts.choice(methods, parts.how_it_works)]),
        ],
        origin=made.origin(run),
        pictures={f"p{i}": uri for i, uri in enumerate(album.uris.values())},
        options=[Option(m.data.name, m.short, m.data.title) for m in methods] if several else [],
        script=True,
        option=lead,
    )  # fmt: skip


def headlines(run: Curated) -> dict[str, Headline]:
    """Return the headline of each method by name, and that of all methods with the key ""."""
    found = parts.compare_picks(run, numbers.overlaps(run.scene, run.windows))
    return {**parts.method_headlines(run, found), "": Headline(parts.together(run, found))}


# the opening


def _opening(run: Curated, method: parts.Method, *, repeats: bool) -> list[ui.Block]:
    picks, kept = method.data.picks, np.zeros(run.n)
    kept[picks] = np.linspace(1, 0.3, picks.size)
    order = "its scenes" if run.scenes else "its ids"
    note = f"The pool in the order of {order}; stronger colours were selected earlier."
    if (each := svg.per_square(run.n)) > 1:
        note += f" One square is {each} patches."
    squares = svg.squares(kept, f"{method.short}: selected patches of the pool")
    figures = _class_figures(run, method) if method.balance else []
    figures += _place_figures(run, method, repeats=repeats) if run.scenes else []
    found: list[ui.Block] = [ui.Grid([ui.Chart(squares, note), ui.Figures(figures)], "beside")]
    if len(run.methods) > 1:
        found = [ui.Text(method.headline.text, "large"), ui.Points(method.headline.notes), *found]
    return found


def _class_figures(run: Curated, method: parts.Method) -> list[ui.Figure]:
    found, even, rare = method.balance, method.picks.evenness, method.picks.rare
    assert found is not None  # noqa: S101  (called only with classes)
    rarest = found.rarest
    entropy = "pool \u2192 selection; 1: all classes equally common"
    share = f"{human.share(float(found.pool[rarest]))} of the pool \u2192 "
    share += f"{human.share(float(found.kept[rarest]))} of the selection"
    if even is not None and rare is not None:
        entropy += f"; random picks: {human.decimal(even.low)} to {human.decimal(even.high)}"
        share += f"; random picks: {human.factor(rare.low)} to {human.factor(rare.high)}"
    change = f"{human.decimal(found.entropy_pool)} \u2192 {human.decimal(found.entropy_kept)}"
    return [
        ui.Figure("Evenness of the classes", change, entropy),
        ui.Figure(f"Rarest class: {run.classes[rarest]}", human.factor(float(found.factor[rarest])),
               share),
    ]  # fmt: skip


def _place_figures(run: Curated, method: parts.Method, *, repeats: bool) -> list[ui.Figure]:
    picks = method.data.picks
    per_scene = np.bincount(run.scene[picks], minlength=1)
    reached = int((per_scene > 0).sum())
    scenes = f"of {human.plural(len(run.scenes), 'scene')}"
    if reached > 1:
        scenes += f"; at most {human.share(per_scene.max() / picks.size)} of the picks in one scene"
    by_chance = f"; by chance {human.share(method.picks.repeated_by_chance)}"
    return [
        ui.Figure("Scenes with picks", human.count(reached), scenes),
        ui.Figure(
            "Overlapping picks",
            human.share(parts.repeated(method)),
            "share pixels with another "
            "pick" + (by_chance if repeats else "; no patches of this pool overlap"),
        ),
    ]


def _facts(run: Curated) -> list[tuple[str, str]]:
    job, summary = run.record.get("job", {}), run.record.get("summary", {})
    budget = str(summary.get("budget", job.get("budget", "?")))
    patches = human.plural(run.n, "patch", "patches")
    scenes = f" in {human.plural(len(run.scenes), 'scene')}" if run.scenes else ""
    found = [
        ("Pool", patches + scenes),
        ("Imagery", made.imagery(run) if run.scenes else "none: a file of embeddings"),
        ("Budget", budget.replace("%", f"{human.GAP}%")),
    ]  # fmt: skip
    if len(run.methods) > 1:
        found.append(("Methods", human.count(len(run.methods))))
    if summary.get("default_reason"):
        found.append(("Method", f"{summary['default_method']}, the default"))
    if len(run.methods) == 1:
        found.append(("Spent", parts.spent(run.methods[0])))
    found.append(("Encoder", made.encoder_name(run, "none needed")))
    found.append(("Seed", str(summary.get("seed", job.get("seed", "?")))))
    if repeated := _put_back(run):
        found.append(("Ranked last", repeated))
    if summary.get("start"):
        found.append(("Starts from", human.plural(summary["start"], "patch", "patches")))
    if summary.get("preset", "default") != "default":
        found.append(("Preset", summary["preset"]))
    gone, least = human.plural(len(run.excluded), "patch", "patches"), job.get("min_valid")
    if least is not None:
        gone += f", under {human.share(least)} valid"
    found.append(("Excluded", gone if run.excluded else "nothing"))
    return found


def _put_back(run: Curated) -> str:
    """Return the number of patches moved to the end of the order; "" without such a rule."""
    summary = run.record.get("summary", {})
    share, rules = summary.get("max_overlap", 1), "quota" in summary
    counts = [m.put_back - m.constant for m in run.methods if "put_back" in m.report]
    if (share >= 1 and not rules) or not counts:
        return ""
    low, high = min(counts), max(counts)
    what = ("patch", "patches") if rules else ("near-duplicate", "near-duplicates")
    text = human.plural(high, *what) if high else f"no {what[0]}"
    if low < high:
        text = f"{human.count(low)} to {text}, by method"
    if rules:
        return f"{text} (by the rules of the selection)"
    return f"{text} (over {human.share(share)} of their area shared)"


# pictures


class Patches(NamedTuple):
    """Rows of the first and last patches of a method; `note` explains missing last patches."""

    first: list[int]
    last: list[int]
    note: str


def _patches(run: Curated, methods: Sequence[parts.Method]) -> list[Patches]:
    """Return the patches of each method to show as pictures."""
    count = PICTURES if len(methods) <= MANY else PICTURES // 2
    found = []
    for method in (m.data for m in methods):
        first = method.picks[:count].tolist()
        last = np.argsort(-method.rank, kind="stable")[:count]
        note, unselected = "", last[~np.isin(last, method.picks)].tolist()
        if method.depth < run.rankable:
            note = f"Only the first {human.count(method.depth)} of {human.count(run.n)} patches "
            note += "are ranked, so the last patches are not shown."
            unselected = []
        found.append(Patches(first, unselected, note))
    return found


def _shots(
    run: Curated, rows: list[int], album: Album, maps: Sequence[ui.Overlay]
) -> dict[int, ui.Shot]:
    """Return a picture per patch: its thumbnail, else its window in the overview of its scene."""
    thumbnails = ui.shots(album.uris)
    elements = {scene.title: scene.element for scene in maps}
    found = {}
    for row in rows:
        element = elements.get(run.scene_name(row), "")
        if run.ids[row] in thumbnails:
            found[row] = thumbnails[run.ids[row]]
        elif element:
            (x, y, w, h) = marks.pixel_boxes(run.windows[[row]], _shape(run, run.scene[row]))[0]
            found[row] = ui.Shot(element, f"{x:g} {y:g} {w:g} {h:g}")
    return found


def _shape(run: Curated, scene: int) -> tuple[int, int]:
    return int(run.scenes[scene]["height"]), int(run.scenes[scene]["width"])


def _chosen(
    run: Curated,
    methods: Sequence[parts.Method],
    patches: Sequence[Patches],
    found: dict[int, ui.Shot],
) -> list[ui.Block]:
    by_method = {m.data.name: p for m, p in zip(methods, patches, strict=True)}

    def panel(method: parts.Method) -> list[ui.Block]:
        shown = by_method[method.data.name]

        def drawn(rows: list[int]) -> ui.Pictures:
            return ui.Pictures([_patch(run, method, row, methods, found) for row in rows])

        blocks: list[ui.Block] = [ui.Heading("Ranked first", method.short), drawn(shown.first)]
        if shown.last:
            blocks += [ui.Heading("Ranked last", "not selected"), drawn(shown.last)]
        return [*blocks, ui.Text(shown.note, "note")] if shown.note else blocks

    blocks: list[ui.Block] = [ui.Choice([panel(m) for m in methods])]
    if any(m.balance for m in methods):
        blocks = [_class_legend(run, "Bars below the pictures:"), *blocks]
    return blocks


def _class_legend(run: Curated, title: str = "") -> ui.Legend:
    pairs = zip(run.colors, run.classes, strict=True)
    return ui.Legend([(svg.swatch(color), name) for color, name in pairs], title)


def _patch(  # noqa: PLR0917  (context shared by all patches)
    run: Curated,
    method: parts.Method,
    row: int,
    methods: Sequence[parts.Method],
    found: dict[int, ui.Shot],
    title: str = "",
) -> ui.Picture:
    data = method.data
    rank = human.count(data.rank[row]) if math.isfinite(data.rank[row]) else human.NONE
    score = "" if title else human.decimal(float(data.score[row]), 3)
    alt = f"Rank {rank}: patch {run.ids[row]}"
    return ui.Picture(
        found.get(row), f"Patch {run.ids[row]}, selected by {title} methods" if title else alt,
        title or rank, score, run.scene_name(row), _class_strip(run, row),
        about=_about(run, row, methods),
    )  # fmt: skip


def _class_strip(run: Curated, row: int) -> Markup | None:
    if run.counts is None:
        return None
    counts = run.counts[row]
    shares = (counts / counts.sum() if counts.sum() else np.full(counts.size, np.nan)).tolist()
    return svg.stacked(shares, run.classes, run.colors)


def _about(run: Curated, row: int, methods: Sequence[parts.Method]) -> list[tuple[str, str]]:
    """Return the facts shown beside the enlarged picture of a patch."""
    y, x, h, w = run.windows[row].tolist()
    facts = [("Window", f"row {y}, column {x}, {h} \u00d7 {w} px")] if run.scenes else []
    if run.counts is not None and run.counts[row].sum():
        parts = run.counts[row] / run.counts[row].sum()
        facts += [(run.classes[i], human.share(parts[i])) for i in np.flatnonzero(parts).tolist()]
    for method in methods:
        rank = method.data.rank[row]
        text = f"rank {human.count(rank)}" if math.isfinite(rank) else "not ranked"
        kept = ", selected" if (method.data.picks == row).any() else ""
        facts.append((method.short, text + kept))
    return facts


def _maps(
    run: Curated, methods: Sequence[parts.Method], lead: int, album: Album
) -> tuple[list[ui.Overlay], str]:
    """Draw the map; scenes with the most picks of the lead method come first."""
    if not run.scenes:
        return [], ""
    picks = np.array([np.bincount(run.scene[m.data.picks], minlength=len(run.scenes))
                      for m in methods])  # fmt: skip
    votes = picks.sum(axis=0)
    with_picture = np.array([s["scene"] in run.scene_files for s in run.scenes])
    order = np.lexsort((np.arange(votes.size), -votes, ~with_picture))[:SCENES]
    drawn = [int(i) for i in order if votes[i]]
    side = SIDE if len(drawn) > FEW_SCENES else None
    for i in drawn:
        name = str(run.scenes[i]["scene"])
        album.add(name, run.scene_files.get(name), side)
    most = max(100, OUTLINES // max(1, len(drawn) * len(methods)))
    drawn.sort(key=lambda i: -picks[lead, i])
    maps = [_scene(run, methods, lead, i, album, most) for i in drawn]
    note = _scenes_note(len(run.scenes), int((votes > 0).sum()), len(drawn))
    if (picks > most).any():
        note += f" The first {human.count(most)} picks of a scene are drawn."
    return maps, note.strip()


def _scene(  # noqa: PLR0917  (context shared by all scenes)
    run: Curated, methods: Sequence[parts.Method], lead: int, scene: int, album: Album, most: int
) -> ui.Overlay:  # fmt: skip
    name, shape = str(run.scenes[scene]["scene"]), _shape(run, scene)
    layers, counts = [], []
    for number, method in enumerate(methods):
        places = np.flatnonzero(run.scene[method.data.picks] == scene)
        look = "on" if number == lead else ""
        option = {"data_option": number, "class_": look} if len(methods) > 1 else {}
        layers.append(svg.tag("g", _picks(run, method.data, places[:most], shape), **option))
        counts.append(svg.tag("span", human.plural(places.size, "pick"), **option))
    picture = album.uris.get(name, "")
    return ui.Overlay(
        name, *marks.size(shape), f"{name} with the picks outlined", picture,
        f"scene{scene}" if picture else "", Markup().join(layers), note=Markup(" ").join(counts),
    )  # fmt: skip


def _picks(
    run: Curated, method: MethodData, places: NDArray[np.int64], shape: tuple[int, int]
) -> list[Markup]:
    """Outline picks in three line styles, by thirds of the order."""
    rows = method.picks[places]
    boxes = marks.pixel_boxes(run.windows[rows], shape)
    third = (3 * places // max(1, method.picks.size)).tolist()
    alone = not numbers.overlaps(run.scene[rows], run.windows[rows]).any()
    parts = [marks.dimmed(boxes, *marks.size(shape))] if alone and boxes else []
    for step, look in enumerate(("outline", "outline later", "outline last")):
        members = [box for box, at in zip(boxes, third, strict=True) if at == step]
        parts.append(marks.outlines(members, look=look))
    texts = [
        f"#{place + 1} \u00b7 {human.decimal(float(method.score[row]), 3)} \u00b7 "
        + run.ids[row].removeprefix(f"{run.scene_name(row)}/")
        for place, row in list(zip(places.tolist(), rows.tolist(), strict=True))[: svg.TIPS]
    ]
    return [*parts, marks.tips(boxes, texts)]


def _scenes_note(all_: int, picked: int, drawn: int) -> str:
    parts = []
    if picked > drawn:
        text = f"The {human.count(drawn)} scenes with the most picks of all methods are shown; "
        are = "is" if picked - drawn == 1 else "are"
        parts.append(f"{text}{human.plural(picked - drawn, 'scene')} with picks {are} not shown.")
    if picked < all_:
        have = human.plural(all_ - picked, "scene has", "scenes have")
        parts.append(f"{have} no picks.")
    return " ".join(parts)
