"""Options that the commands share which train on pairs, in the words of the help."""

from pathlib import Path
from typing import Annotated

import typer

Concepts = Annotated[
    str, typer.Option(help="Names, or a file with weights. [default: those of the pairs]")
]
Text = Annotated[
    str | None, typer.Option(help="Model of images and texts. [default: --model, if it can]")
]
TextWeights = Annotated[Path | None, typer.Option(help="Its local weights.")]
LrModel = Annotated[str | None, typer.Option(help="Encoder of overviews. [default: --model]")]
LrWeights = Annotated[Path | None, typer.Option(help="Its local weights.")]
TargetModel = Annotated[
    str | None, typer.Option(help="Encoder whose tokens are completed. [default: --model]")
]
TargetWeights = Annotated[Path | None, typer.Option(help="Its local weights.")]
Size = Annotated[str | None, typer.Option(help="nano, tiny, small or full. [default: tiny]")]
Val = Annotated[
    float | None, typer.Option(help="Share of the groups to choose by. [default: 0.15]")
]
Epochs = Annotated[int | None, typer.Option(help="Most passes over the scenes. [default: 40]")]
TrainBatch = Annotated[int | None, typer.Option(help="Scenes a step. [default: 8]")]
Lr = Annotated[float | None, typer.Option(help="Learning rate. [default: 0.001]")]
Patience = Annotated[
    int | None, typer.Option(help="Epochs without progress before the end. [default: 8]")
]
Precision = Annotated[
    str | None, typer.Option(help="float32 or bfloat16, in training. [default: float32]")
]
SaliencyModel = Annotated[
    str | None, typer.Option(help="Encoder for structural saliency. [default: --model]")
]
SaliencyWeights = Annotated[Path | None, typer.Option(help="Its local weights.")]
Similarity = Annotated[
    str | None,
    typer.Option(help="s of Eq. 5: lift, z, cosine (of texts) or logit. [default: lift]"),
]
Reference = Annotated[
    str | None, typer.Option(help="Gain beyond the tile or the scene. [default: tile]")
]
Lam = Annotated[
    float | None, typer.Option("--lambda", help="Weight of the reference. [default: 1]")
]
Over = Annotated[str | None, typer.Option(help="sum or max over concepts. [default: sum]")]
TargetScale = Annotated[
    str | None,
    typer.Option(help="quantile, ecdf, scene_minmax or scene_sum. [default: quantile]"),
]
Align = Annotated[
    str | None, typer.Option(help="dense (Eq. 8) or siglip (Eq. 9 on top). [default: dense]")
]
Norm = Annotated[
    float | None,
    typer.Option(help="Weight of the length in the loss; 0: cosine alone. [default: 0.5]"),
]
ObservedWeight = Annotated[
    float | None,
    typer.Option(help="Weight of observed tokens in the loss; 1: Eq. 8. [default: 0.25]"),
]
