"""The commands and their options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Choose, under a budget, what to look at in Earth observation.",
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to: new, empty, or earlier.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


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
    """Take the options that stand before a command."""


@app.command()
def demo(out: Out, seed: Seed = 0, as_json: Json = False) -> None:
    """Draw a landscape, rank its tiles by all methods, and write a report. Offline."""
    from foveate.cli.show import finished, progress_bars
    from foveate.demo import run_demo

    with progress_bars(quiet=as_json) as progress:
        run = run_demo(out, seed=seed, command=_command(), progress=progress)
    finished(run, as_json=as_json)


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
    """Draw a procedural landscape: GeoTIFF scenes, masks, classes and objects."""
    from foveate.cli.show import progress_bars, result
    from foveate.world import WorldSpec, write_world

    spec = WorldSpec(scenes=scenes, size=size, bands=bands, gsd=gsd, dtype=dtype, seed=seed)
    with progress_bars(quiet=as_json) as progress:
        files = write_world(out, spec, progress=progress)
    images, masks = files.root / "images", files.root / "masks"
    content = {"images": str(images), "masks": str(masks), "classes": str(files.classes)}
    rank = f"foveate curate {images} --masks {masks} --classes {files.classes} --out RUN"
    result(content, f"{scenes} scenes in {out}\nRank their tiles: {rank}", as_json=as_json)


@app.command()
def curate(
    images: Annotated[list[Path], typer.Argument(help="Folders or files of images.")],
    out: Out,
    masks: Annotated[
        list[Path] | None, typer.Option(help="Folder of masks, paired by name; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="lc, fd, lc-fd, fa, cb, fa-cb, random, kcenter, or all; several with commas or "
            "repeated. [default: fa-cb]"
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="10%, 500 (tiles), pixels=1e9, area=25%; several with commas.")
    ] = "10%",
    classes: Annotated[Path | None, typer.Option(help="Classes file: YAML, TOML or JSON.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="builtin, timm:NAME[@TAG][?key=value]. [default: builtin]"),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Local weights (safetensors).")] = None,
    bands: Annotated[str, typer.Option(help="Bands to embed, from 1: 4,3,2. All if empty.")] = "",
    scale: Annotated[
        str, typer.Option(help="Raw values for 0 and 1: LOW,HIGH. Automatic if empty.")
    ] = "",
    tile: Annotated[int | None, typer.Option(help="Side of a tile, pixels. [default: 256]")] = None,
    stride: Annotated[int | None, typer.Option(help="Step, pixels. [default: the tile]")] = None,
    edge: Annotated[
        str | None, typer.Option(help="shift, drop, pad or clip. [default: shift]")
    ] = None,
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Further bands alongside (surface model), paired by name; repeatable."),
    ] = None,
    stack: Annotated[
        str, typer.Option(help="File name endings that are bands of one scene: B4,B3,B2.")
    ] = "",
    coordinates: Annotated[
        Path | None, typer.Option(help="Coordinate list (5 or 6 columns) instead of a grid.")
    ] = None,
    nodata: Annotated[float | None, typer.Option(help="Value of missing pixels.")] = None,
    min_valid: Annotated[float, typer.Option(help="Smallest valid share of a tile.")] = 0.5,
    min_labelled: Annotated[
        float, typer.Option(help="Smallest labelled (not ignored) share of a tile.")
    ] = 0.0,
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Leave out scenes of nothing but nodata.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of a method: fd.max_k=20; repeatable.")
    ] = None,
    preset: Annotated[str, typer.Option(help="default, paper or released.")] = "default",
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(help="Processes that embed.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Tiles per call of the model.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Json = False,
) -> None:
    """Rank the tiles of a labelled pool and keep the best under a budget."""
    from foveate.cli.parse import curate_job
    from foveate.cli.show import finished, progress_bars
    from foveate.curate import run
    from foveate.report import write_report

    job = curate_job(
        preset=preset, images=images, masks=masks, classes=classes, methods=method,
        budget=budget, model=model, weights=weights, bands=bands, scale=scale, tile=tile,
        stride=stride, edge=edge, extra=extra, stack=stack, coordinates=coordinates,
        nodata=nodata, min_valid=min_valid, min_labelled=min_labelled, skip_empty=skip_empty,
        options=option, seed=seed, workers=workers, batch_size=batch_size, device=device,
    )  # fmt: skip
    with progress_bars(quiet=as_json) as progress:
        done = run(job, out, command=_command(), report=write_report, progress=progress)
    finished(done, as_json=as_json)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    to: Annotated[str, typer.Option(help="geojson, geoparquet or csv.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    method: Annotated[
        list[str] | None, typer.Option(help="Methods to export; all if none is given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the selections of a run for other programs."""
    from foveate.cli.show import result
    from foveate.export import export_run

    files = [str(path) for path in export_run(run, to, out, methods=method)]
    result({"files": files}, "\n".join(files), as_json=as_json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    out: Annotated[Path | None, typer.Option(help="HTML file. [default: RUN/report.html]")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a run: one HTML file, offline."""
    from foveate.cli.show import result
    from foveate.report import write_report

    path = write_report(run, out)
    result({"report": str(path)}, str(path), as_json=as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Print versions, the device, and which models are available and why not."""
    from foveate.cli.doctor import as_text, examine
    from foveate.cli.show import result

    found: dict[str, Any] = examine()
    result(found, as_text(found), as_json=as_json)


def _command() -> str:
    """The command line that is running, to be pasted into a shell."""
    import shlex

    return shlex.join(["foveate", *(a for a in sys.argv[1:] if a != "--json")])
