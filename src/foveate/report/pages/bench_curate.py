"""The page of a core-set benchmark: the best method, and the mIoU of all methods by budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from foveate.report import blocks as ui
from foveate.report import human, svg
from foveate.report import origin as made
from foveate.report.page import Page, Section
from foveate.report.pages import compare
from foveate.report.pages.bench import forest_row, forest_table, over, p_text, written_gap
from foveate.report.words import bench_curate as words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.report.read import CoreSets
    from foveate.report.words import Headline

_SHORT = {"none": "uniform sampler", "balanced": "class-balanced sampler"}
_DRAWN = 6  # lines of a chart, besides random and all tiles


def bench_curate(run: CoreSets) -> Page:
    """Draw the page."""
    found, said = run.found, headlines(run)[""]
    samplers = found["samplers"]
    ranked, pictures = compare.sections(run.compared) if run.compared else ([], {})
    return Page.of(
        run.name, "Bench \u00b7 curate", said,
        lead=[ui.Figures(_figures(found))],
        facts=_facts(run),
        sections=[
            *_paper(found),
            Section("budgets", "mIoU by budget",
                    [block for s in samplers for block in _lines(found, s)],
                    "mIoU of models trained on the selection of each method, by the share of "
                    "selected tiles.", "Budgets"),
            Section("differences", "Differences from random", _differences(found),
                    "Difference from the same number of random tiles, trained with the same "
                    "sampler.", "Differences"),
            Section("classes", "Classes", _classes(found),
                    "IoU of each class, mean over seeds.", "Classes"),
            Section("cost", "Cost of the selection", [_cost(found)],
                    "Time for one fold: ranking its tiles, and one training with evaluation.",
                    "Cost"),
            *ranked,
            Section("reading", "Limitations", [
                ui.Text(found["how"], "note"),
                *(ui.Text(f"{name} was left out: {why}", "note")
                  for name, why in found["left_out"].items()),
            ]),
        ],
        origin=made.origin(run, one="tile", many="tiles"),
        pictures=pictures,
        script=bool(pictures),
    )  # fmt: skip


def headlines(run: CoreSets) -> dict[str, Headline]:
    """Return the headline of the benchmark, with the key ""."""
    return {"": words.judged(run.found)}


def _figures(found: Mapping[str, Any]) -> list[ui.Figure]:
    """Return the key figures at the budget with the largest gain, else at the median budget."""
    entries = [e for e in found["entries"] if e["share"] < 1]
    if not entries:
        return []
    best = words.foremost(words.counted(entries))
    share = best.share if best else entries[len(entries) // 2]["share"]
    sampler = best.sampler if best else found["samplers"][-1]
    entry = next(e for e in entries if e["share"] == share)
    rows = {r["label"]: r for r in entry["rows"] if r["block"] == sampler}
    how = f"{human.share(share)} of the tiles, {_SHORT[sampler]}"
    shown = [(best.method, how)] if best else []
    shown += [("random", how), ("all tiles", _SHORT[sampler])]
    figures = [
        ui.Figure(name, human.decimal(_value(rows[name]), 3), f"mIoU, {note}")
        for name, note in shown if name in rows and math.isfinite(_value(rows[name]))
    ]  # fmt: skip
    floor = entry["floor"].get(sampler, math.nan)
    if math.isfinite(floor):
        figures.append(
            ui.Figure("Noise", human.decimal(floor, 3), "sd over trainings on the same set")
        )
    return figures


def _facts(run: CoreSets) -> list[tuple[str, str]]:
    found = run.found
    folds = found["folds"]
    tiles = f"{human.count(folds[0]['train'])} candidates, {human.count(folds[0]['test'])} for test"
    if folds[0].get("val"):
        tiles += f", {human.count(folds[0]['val'])} for validation"
    if len(folds) > 1:
        tiles = (f"{human.count(sum(f['test'] for f in folds))} in {len(folds)} folds, each tested "
                 "once")  # fmt: skip
    judge = {"probe": "linear probe on frozen dense features", "unet": "U-Net"}
    return [
        ("Tiles", tiles),
        ("Imagery", made.imagery(run)),
        ("Judge", judge.get(found["judge"], found["judge"])),
        ("Encoder", str(found["model"])),
        ("Seeds", human.count(found["seeds"])),
        ("Resampled by", f"{found['cluster']}, {human.plural(found['clusters'], 'cluster')}"),
    ]


# the tables of the paper


def _paper(found: Mapping[str, Any]) -> list[Section]:
    """Return Tables I and II of the paper, if the preset requests them."""
    if "paper" not in found:
        return []
    paper = found["paper"]
    note = (
        "mIoU in percent as defined in the core-set paper: the mean over test images of the mean "
        "IoU over all classes, 0 for classes that an image does not show. In brackets: the mIoU of "
        "one confusion matrix over all images, which the rest of this page uses."
    )
    return [
        Section("table1", "Table I", [_table1(paper)], note, "Table I"),
        Section("table2", "Table II", _table2(paper["table2"]),
                "Time of an epoch and of a training at each size, and of a selection.",
                "Table II"),
    ]  # fmt: skip


def _table1(paper: Mapping[str, Any]) -> ui.Table:
    rows = []
    for row in paper["table1"]:
        cells: list[ui.Cell] = [ui.Cell(row["category"], "soft")]
        for cell in row["cells"]:
            if cell["mean"] is None:
                cells.append(ui.Cell(human.NONE, "soft"))
                continue
            mark = "\u25b2 " if cell["above"] else ""
            text = f"{mark}{human.decimal(cell['mean'])} \u00b1 {human.decimal(cell['sd'])}"
            beside = f"{human.decimal(cell['dataset'])} \u00b1 {human.decimal(cell['dataset_sd'])}"
            tests = [f"p {p_text(math.nan if p is None else p)} against {name}"
                     for name, p in cell["p"].items()]  # fmt: skip
            look = "v-better" if cell["above"] else ""
            cells.append(ui.Cell(f"{text} ({beside})", look, "; ".join(tests)))
        rows.append(ui.Row(row["title"], cells, lead=row["method"] == words.REFERENCE))
    heads = ["Method", ui.Column("uses", "text"),
             *(ui.Column(human.share(share)) for share in paper["shares"])]  # fmt: skip
    caption = (
        f"\u25b2 above random tiles of the same size by the paper\u2019s test: paired t-test over "
        f"{human.plural(paper['runs'], 'run')} at 0.05, not corrected. In brackets: one confusion "
        "matrix over all images."
    )
    return ui.Table("Table I", heads, rows, wide=True, caption=caption)


def _table2(times: Mapping[str, Any]) -> list[ui.Block]:
    sizes = [size for size in times["sizes"] if size["epoch"] is not None]
    blocks: list[ui.Block] = []
    if sizes:
        rows = [
            ui.Row(name, [human.seconds(size[key]) for size in sizes])
            for name, key in (("epoch", "epoch"), ("training", "training"))
        ]
        heads = ["Time", *(ui.Column(human.share(size["share"])) for size in sizes)]
        blocks.append(ui.Table("Training", heads, rows))
    heads = ["Selection", ui.Column("ranking"), ui.Column("embedding"), ui.Column("total"),
             ui.Column("epochs with all tiles")]  # fmt: skip
    rows = [
        ui.Row(one["method"], [
            human.seconds(one["ranking"]),
            human.NONE if one["embedding"] is None else human.seconds(one["embedding"]),
            human.seconds(one["seconds"]),
            human.NONE if one["epochs"] is None else human.decimal(one["epochs"], 3),
        ])
        for one in times["selections"]
    ]  # fmt: skip
    said = words.claim(times)
    blocks.append(ui.Table("Selections", heads, rows))
    return [*blocks, *([ui.Text(said, "note")] if said else [])]


# budgets


def _lines(found: Mapping[str, Any], sampler: str) -> list[ui.Block]:
    entries = found["entries"]
    shares = [e["share"] for e in entries]
    names = [r["label"] for r in entries[0]["rows"] if r["block"] == sampler]
    heights = {
        name: [_value(_row(e, name, sampler)) for e in entries]
        for name in names if name != words.ALL
    }  # fmt: skip
    level = next((v for e in entries if math.isfinite(v := _value(_row(e, words.ALL, sampler)))),
                 math.nan)  # fmt: skip
    if len(shares) < 2:
        return [_means(found, sampler)]
    ranked = sorted((n for n in heights if n != words.REFERENCE), key=lambda n: -_mean(heights[n]))
    shown = {words.REFERENCE: "k0 dashed"} | {
        n: f"k{1 + i % 7}" for i, n in enumerate(ranked[:_DRAWN])
    }
    lines = [svg.Line(n, shares, [level if not math.isfinite(v) and s >= 1 else v
                                  for s, v in zip(shares, heights[n], strict=True)], look)
             for n, look in reversed(shown.items())]  # fmt: skip
    drawn = svg.lines(
        lines, f"mIoU over the budget, {_SHORT[sampler]}; the table below has the same figures",
        levels=[(words.ALL, level)], ticks=[(s, human.share(s)) for s in shares], log=True,
        height=320,
    )  # fmt: skip
    if drawn is None:
        return [_means(found, sampler)]
    note = f"the best {len(shown) - 1} by mean mIoU, and random" if len(ranked) > _DRAWN else ""
    legend = [(svg.sample(look), name) for name, look in shown.items()]
    caption = "x axis: share of the tiles used for training (logarithmic); y axis: mIoU."
    title = ui.Heading(_SHORT[sampler].capitalize(), note)
    return [title, ui.Chart(drawn, caption, legend=legend, look="axes"), _means(found, sampler)]


def _means(found: Mapping[str, Any], sampler: str) -> ui.Table:
    entries = found["entries"]
    names = list(dict.fromkeys(
        r["label"] for e in entries for r in e["rows"] if r["block"] == sampler
    ))  # fmt: skip
    rows = []
    for name in names:
        cells: list[ui.Cell] = []
        for entry in entries:
            row = _row(entry, name, sampler)
            value = _value(row)
            text = human.decimal(value, 3) if math.isfinite(value) else ""
            verdict = row["verdict"] if row else ""
            mark = {"better": "\u25b2 ", "worse": "\u25bc "}.get(verdict, "")
            sd = row["sds"].get("miou", math.nan) if row else math.nan
            tip = f"sd over seeds {human.decimal(sd, 3)}; {verdict}" if text else ""
            cells.append(ui.Cell(mark + text, f"v-{verdict or 'none'}", tip))
        rows.append(ui.Row(name, cells, lead=name == words.REFERENCE))
    heads = ["Method", *(ui.Column(human.share(e["share"])) for e in entries)]
    caption = (
        "\u25b2 significantly above random, \u25bc significantly below (Holm within the budget)."
    )
    return ui.Table(f"mIoU, {_SHORT[sampler]}", heads, rows, caption=caption)


# differences


def _differences(found: Mapping[str, Any]) -> list[ui.Block]:
    blocks: list[ui.Block] = []
    entries = [e for e in found["entries"] if e["share"] < 1]
    gaps = [gap for e in entries for r in e["rows"] if (gap := _gap(r)) is not None]
    if not gaps:
        return []
    over, _ = svg.forest_scale(gaps)
    for entry in entries:
        for sampler in found["samplers"]:
            rows = [r for r in entry["rows"] if r["block"] == sampler]
            title = f"{human.share(entry['share'])} of the tiles, {_SHORT[sampler]}"
            drawn = [
                forest_row(over, r["label"], _gap(r), r["verdict"], words.REFERENCE) for r in rows
            ]
            table = forest_table(title, over, drawn)
            blocks.append(ui.Fold(title, [table]) if blocks else table)
    names = {r["verdict"] for e in entries for r in e["rows"] if r["verdict"]}
    legend = [(svg.verdict_mark(name), name) for name in svg.VERDICTS if name in names]
    return [ui.Legend(legend), *blocks, ui.Fold("All figures", [_figures_table(entries)])]


def _figures_table(entries: Sequence[Mapping[str, Any]]) -> ui.Table:
    heads = ["Method", ui.Column("mIoU"), ui.Column("sd over seeds"),
             ui.Column("difference [95\u00a0%]"), ui.Column("p (Holm)"),
             ui.Column("verdict", "text")]  # fmt: skip
    rows = []
    for entry in entries:
        for r in entry["rows"]:
            group = f"{human.share(entry['share'])}, {_SHORT[r['block']]}"
            rows.append(ui.Row(r["label"], [
                over(_value(r), r.get("seeds", {}).get("miou")),
                human.decimal(r["sds"].get("miou", math.nan), 3),
                written_gap(_gap(r)), p_text(math.nan if r["p"] is None else r["p"]),
                ui.Cell(r["verdict"], f"v-{r['verdict'] or 'none'}"),
            ], group=group))  # fmt: skip
    return ui.Table("All differences from random", heads, rows)


def _classes(found: Mapping[str, Any]) -> list[ui.Block]:
    """Return the IoU of each class at the median budget."""
    entries = [e for e in found["entries"] if e["share"] < 1] or found["entries"]
    entry, names = entries[len(entries) // 2], found["classes"]
    heads = ["Method", *(ui.Column(name) for name in names)]
    rows = [
        ui.Row(r["label"], [human.decimal(r["means"].get(f"iou {n}", math.nan), 3) for n in names],
               group=_SHORT[r["block"]].capitalize(), lead=r["label"] == words.REFERENCE)
        for r in entry["rows"]
    ]  # fmt: skip
    title = f"IoU at {human.share(entry['share'])} of the tiles"
    return [ui.Table(title, heads, rows, caption=title)]


def _cost(found: Mapping[str, Any]) -> ui.Table:
    entry = found["entries"][-1] if len(found["entries"]) == 1 else found["entries"][0]
    sampler = found["samplers"][0]
    rows = [
        ui.Row(r["label"], [_seconds(r["means"].get(name)) for name in ("select s", "train s")])
        for r in entry["rows"] if r["block"] == sampler
    ]  # fmt: skip
    return ui.Table("Time", ["Method", ui.Column("ranking"), ui.Column("training")], rows)


def _seconds(value: float | None) -> str:
    """Format a duration; it is unknown for external rankings."""
    return human.NONE if value is None else human.seconds(value)


# rows


def _row(entry: Mapping[str, Any], name: str, sampler: str) -> Mapping[str, Any] | None:
    return next((r for r in entry["rows"] if r["label"] == name and r["block"] == sampler), None)


def _value(row: Mapping[str, Any] | None) -> float:
    return math.nan if row is None else float(row["means"].get("miou", math.nan))


def _gap(row: Mapping[str, Any]) -> svg.Interval | None:
    gap = row["difference"]
    return None if gap is None else svg.Interval(gap["mean"], gap["low"], gap["high"])


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return sum(known) / len(known) if known else -math.inf
