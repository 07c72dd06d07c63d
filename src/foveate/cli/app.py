"""The commands and their options.

Typer evaluates the annotations at start-up, so they must be importable.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from foveate.cli import commands, mosaic, observe
from foveate.cli.fields import PanelCommand, group
from foveate.cli.options import (
    Device,
    Json,
    Out,
    Seed,
    Weights,
    command,
    path_argument,
    path_option,
)

_PLAIN: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}

app = typer.Typer(
    cls=group(*commands.IMAGERY),
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Select what to look at in Earth observation, under a budget.",
    **_PLAIN,
)
focus = typer.Typer(
    cls=group(*commands.FOCUS),
    help="Select regions of wide-area images for a frozen model.",
    **_PLAIN,
)
observing = typer.Typer(
    cls=group(*commands.OBSERVE),
    help="Select the tiles to observe in high resolution, from an overview.",
    **_PLAIN,
)
bench = typer.Typer(
    cls=group(*commands.BENCH),
    help="Compare methods with baselines over several seeds, with intervals.",
    **_PLAIN,
)


@focus.callback()
@observing.callback()
@bench.callback()
def _group() -> None:
    """Make these command groups, even with a single command."""


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"foveate {version('foveate')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Parse the options before a command."""


@app.command()
def demo(out: Out, seed: Seed = 0, as_json: Json = False) -> None:
    """Generate landscapes, run curate, focus and observe on them, and write reports. Offline."""
    from foveate.cli.show import finished_text, progress_bars, result
    from foveate.cli.show_focus import look_text
    from foveate.cli.show_observe import observed_text
    from foveate.demo import run_demo

    with progress_bars(quiet=as_json) as progress:
        made = run_demo(out, seed=seed, command=command(), progress=progress)
    curated, curated_text = finished_text(made.curate)
    looked, looked_text = look_text(made.focus)
    observed, observed_lines = observed_text(made)
    result(
        {"curate": curated, "focus": looked, **observed},
        f"curate: which tiles to keep\n{curated_text}\n\n"
        f"focus: where to look in a wide scene\n{looked_text}\n\n"
        f"observe: which tiles to acquire\n{observed_lines}",
        as_json=as_json,
    )


@app.command()
def world(
    out: Out,
    scenes: Annotated[int, typer.Option(help="Number of scenes.")] = 4,
    size: Annotated[int, typer.Option(help="Side of a scene in pixels.")] = 1024,
    bands: Annotated[int, typer.Option(help="Bands: red, green, blue, near infrared, ...")] = 4,
    gsd: Annotated[float, typer.Option(help="Ground sampling distance in metres.")] = 1.0,
    dtype: Annotated[str, typer.Option(help="uint8 or uint16.")] = "uint8",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Generate a procedural landscape: GeoTIFF scenes, masks, classes and objects."""
    from foveate.cli.show import progress_bars, result
    from foveate.world import WorldSpec, write_world

    spec = WorldSpec(scenes=scenes, size=size, bands=bands, gsd=gsd, dtype=dtype, seed=seed)
    with progress_bars(quiet=as_json) as progress:
        files = write_world(out, spec, progress=progress)
    images, masks = files.root / "images", files.root / "masks"
    content = {"images": str(images), "masks": str(masks), "classes": str(files.classes)}
    rank = f"foveate curate {images} --masks {masks} --classes {files.classes} --out RUN"
    result(content, f"{scenes} scenes in {out}\nRank their tiles: {rank}", as_json=as_json)


app.command()(mosaic.mosaic)
app.command()(mosaic.join)
observing.command(cls=PanelCommand)(observe.search)
observing.command(cls=PanelCommand)(observe.classify)
app.add_typer(focus, name="focus")
app.add_typer(observing, name="observe")
app.add_typer(bench, name="bench")


@app.command()
def models(
    check: Annotated[
        str, typer.Option(help="Load this model and run the contract tests of models on it.")
    ] = "",
    weights: Weights = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """List recommended models with licences and availability, or check one model."""
    from foveate.cli.models import as_text, catalogue, check_text, examine
    from foveate.cli.show import result

    if not check:
        if weights is not None:
            from foveate.errors import ParameterError

            raise ParameterError(
                f"--weights {str(weights)!r} without --check",
                "The weights are those of the model to check.",
                "Add --check MODEL, or omit --weights.",
            )
        found = catalogue()
        result(found, as_text(found), as_json=as_json)
        return
    answer = examine(check, weights=weights, device=device)
    result(answer, check_text(answer), as_json=as_json)
    if not answer["ok"]:
        raise typer.Exit(1)


@app.command(
    help="Export the selections, predictions or embeddings of a run.\n\n"
    "list: one patch per line, the format of curate --coordinates and compare. chips: a folder of "
    "GeoTIFFs of the selected tiles and their masks, cropped from the images.\n\n\b\n"
    "Example:\n  foveate export RUN --to chips --out CHIPS"
)
def export(
    run: Annotated[Path, path_argument("A run directory.")],
    to: Annotated[
        str, typer.Option(help="geojson, geoparquet, csv, list, chips, stac or embeddings.")
    ],
    out: Annotated[
        Path, path_option(help="File to write; for chips, stac and embeddings a new folder.")
    ],
    method: Annotated[
        list[str] | None, typer.Option(help="Methods to export; all if none is given.")
    ] = None,
    previews: Annotated[
        bool, typer.Option("--previews", help="Add 8-bit pictures to chips.")
    ] = False,
    datetime: Annotated[
        str,
        typer.Option(
            metavar="A/B",
            help="For stac and embeddings: date, or first and last day, of tiles without a "
            "date in the run.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Export the selections, predictions or embeddings of a run."""
    from foveate.cli.show import progress_bars, result
    from foveate.export import export_run

    with progress_bars(quiet=as_json) as progress:
        written = export_run(
            run, to, out, methods=method, previews=previews, datetime=datetime, progress=progress
        )
    files = [str(path) for path in written]
    result({"files": files}, "\n".join(files), as_json=as_json)


@app.command()
def report(
    run: Annotated[Path, path_argument("A run directory.")],
    out: Annotated[Path | None, path_option(help="HTML file. [default: RUN/report.html]")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a run: one self-contained HTML file."""
    from foveate.cli.show import result
    from foveate.report import write_report

    path = write_report(run, out)
    result({"report": str(path)}, str(path), as_json=as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Print versions, the device, and the availability of models."""
    from foveate.cli.doctor import as_text, examine
    from foveate.cli.show import result

    found: dict[str, Any] = examine()
    result(found, as_text(found), as_json=as_json)
