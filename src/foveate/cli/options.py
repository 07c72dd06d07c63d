"""Options that several commands share, in the words of the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to: new, empty, or earlier.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]

Images = Annotated[list[Path], typer.Argument(help="Folders, files or globs of images.")]
Masks = Annotated[
    list[Path] | None, typer.Option(help="Folder or glob of masks, paired by name; repeatable.")
]
MaskSuffix = Annotated[
    str, typer.Option(help="How names of masks end: _truth. [default: usual words tell them]")
]
Classes = Annotated[Path | None, typer.Option(help="Classes file: YAML, TOML or JSON.")]
Extra = Annotated[
    list[Path] | None,
    typer.Option(help="Further bands alongside (surface model), paired by name; repeatable."),
]
Stack = Annotated[
    str, typer.Option(help="File name endings that are bands of one scene: B4,B3,B2.")
]
Coordinates = Annotated[
    Path | None, typer.Option(help="Coordinate list (5 or 6 columns) instead of a grid.")
]
Tile = Annotated[
    int | None, typer.Option(help="Side of a tile, pixels; 0: each image as it is. [default: 256]")
]
TileOrWhole = Annotated[
    int | None, typer.Option(help="Side of a tile, pixels. [default: 0, each image as it is]")
]
Stride = Annotated[int | None, typer.Option(help="Step, pixels. [default: the tile]")]
Edge = Annotated[str | None, typer.Option(help="shift, drop, pad or clip. [default: shift]")]
Nodata = Annotated[float | None, typer.Option(help="Value of missing pixels.")]
MinValid = Annotated[float, typer.Option(help="Smallest valid share of a tile.")]
MinLabelled = Annotated[
    float, typer.Option(help="Smallest labelled (not ignored) share of a tile.")
]
SkipEmpty = Annotated[
    bool, typer.Option("--skip-empty", help="Leave out scenes of nothing but nodata.")
]

Labels = Annotated[str, typer.Option(help="Names of the classes: forest,water,town.")]
LabelsFile = Annotated[
    Path | None, typer.Option(help="One name a line, or YAML, TOML, JSON: name -> texts.")
]
Probe = Annotated[Path | None, typer.Option(help="File of a linear probe, instead of labels.")]
Templates = Annotated[
    str, typer.Option(help="Sentences around a name: rs, plain, none, ..., a file, or one.")
]

Model = Annotated[
    str | None,
    typer.Option(help="FAMILY[:NAME][@TAG][?key=value]; see foveate models. [default: builtin]"),
]
Weights = Annotated[
    Path | None, typer.Option(help="Local weights: .safetensors, .pt; a folder for hf.")
]
Bands = Annotated[str, typer.Option(help="Bands to embed, from 1: 4,3,2. All if empty.")]
Scale = Annotated[str, typer.Option(help="Raw values for 0 and 1: LOW,HIGH. Automatic if empty.")]
Workers = Annotated[int, typer.Option(help="Processes that embed.")]
BatchSize = Annotated[int, typer.Option(help="Tiles per call of the model.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


def command() -> str:
    """The command line that is running, to be pasted into a shell; plain text whatever the names.

    Arguments are bytes. Python hands on those that are no text in the locale's encoding as
    surrogates, which no file of UTF-8 can hold.
    """
    import sys

    given = ["foveate", *(a for a in sys.argv[1:] if a != "--json")]
    return " ".join(map(_quoted, given))


def _quoted(argument: str) -> str:
    """Quote an argument for a shell."""
    import os
    import shlex

    raw = os.fsencode(argument)
    try:
        return shlex.quote(raw.decode("utf-8"))
    except UnicodeDecodeError:
        plain = (chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\x{b:02x}" for b in raw)
        return "$'" + "".join(plain) + "'"
