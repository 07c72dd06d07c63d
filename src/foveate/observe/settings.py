"""`TrainJob`: the only configuration of a training of `observe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, field_validator

from foveate.errors import ParameterError
from foveate.models.load import load_model
from foveate.observe.concepts import Concept, concepts_of
from foveate.observe.networks.shape import SIZES, form_of
from foveate.observe.similarity import SimilarityKind  # noqa: TC001  (pydantic reads it)
from foveate.observe.supervision import FORMS as SUPERVISIONS
from foveate.pool.settings import JobSettings, PathText
from foveate.registry import suggest

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle

AUTO = "auto"
OBSERVED_WEIGHT = 0.25  # observed tokens are known, so that they teach less; 1 is Eq. 8
Role = Literal["hr", "lr", "target", "saliency", "text"]


class TrainJob(JobSettings):
    """Everything that a trained observer depends on; stored in ``run.json``.

    Attributes:
        pairs: Folder of pairs that `foveate observe prepare` wrote.
        model: Encoder of HR tiles; see `load_model`.
        weights: Its local weights.
        lr_model: Encoder of overviews; the same when None.
        lr_weights: Its local weights.
        target_model: Encoder whose tokens of HR tiles are completed: a linear map, fitted on the
            training tiles, brings those of `model` to them. `model` itself when None.
        target_weights: Its local weights.
        saliency_model: Encoder for structural saliency; `model` when None.
        saliency_weights: Its local weights.
        text: Model of images and text for the semantic gain and for search; `model` when None, if
            it reads text.
        text_weights: Its local weights.
        scale: ``(low, high)`` of raw values, one for all bands or one each; empty for automatic.
        bands: 1-based bands; empty for all.
        concepts: Entries as `concepts_of` takes them; those of the pairs when empty.
        templates: Sentences around texts; see `templates_from`.
        size: "nano", "tiny", "small" or "full"; see `foveate.observe.networks.shape.SIZES`.
        form: Of the predictor; see `foveate.observe.networks.shape.FORMS`.
        fill: "linear", or "conv" for a convolutional part on top.
        supervision: What the sampler learns, a name in `foveate.observe.supervision.FORMS`; or
            "auto": the one whose sampler captures most of the gain on the validation scenes. Where
            there are no concepts, "blend" is "surprise" alone.
        similarity: s of Eq. 5: "lift", "z", "cosine" (needs texts) or "logit"; see
            `foveate.observe.similarity`.
        reference: What the gain is beyond: "tile", what the overview tells of this tile; or
            "scene", of the whole scene (F^g of Eq. 5).
        lam: Weight of the reference (lambda of Eq. 5).
        over: "sum" or "max" over concepts.
        target_scale: How targets come to [0, 1]: "quantile", "ecdf", "scene_minmax", "scene_sum".
        align: "dense" (Eq. 8), or "siglip" for Eq. 9 on top in stage II.
        norm: Weight of the length in the representation loss; 0 leaves the cosine of Eq. 8.
        observed_weight: Weight of observed tokens in it, unobserved ones having 1; 1 is Eq. 8.
        obr: Observed share that masks and reports are about.
        init: Folder of a trained observer whose weights to start from; None for random ones.
        val: Share of the groups of scenes to choose by.
        test: Share of the groups to judge by; 0 for none.
        epochs: Most passes over the scenes in each stage.
        train_batch: Scenes of a step.
        lr: Highest learning rate.
        patience: Epochs without a better score after which a stage stops; 0 for never.
        precision: "float32" or "bfloat16" in training.
        batch_size: Tiles per call of the encoder.
        device: Of encoders and training.
        seed: Of everything random.
        replace: Whether an observer that was trained otherwise in the same run may be replaced.
    """

    pairs: str
    model: str = "builtin"
    weights: PathText | None = None
    lr_model: str | None = None
    lr_weights: PathText | None = None
    target_model: str | None = None
    target_weights: PathText | None = None
    saliency_model: str | None = None
    saliency_weights: PathText | None = None
    text: str | None = None
    text_weights: PathText | None = None
    scale: list[tuple[float, float]] = Field([])
    bands: list[int] = Field([])
    concepts: list[dict[str, Any]] = Field([])
    templates: str = "rs"
    size: str = "tiny"
    form: str = "kriged"
    fill: Literal["linear", "conv"] = "linear"
    supervision: str = "blend"
    similarity: SimilarityKind = "lift"
    reference: Literal["tile", "scene"] = "tile"
    lam: float = Field(1.0, ge=0)
    over: Literal["sum", "max"] = "sum"
    target_scale: Literal["quantile", "ecdf", "scene_minmax", "scene_sum"] = "quantile"
    align: Literal["dense", "siglip"] = "dense"
    norm: float = Field(0.5, ge=0)
    observed_weight: float = Field(OBSERVED_WEIGHT, ge=0, le=1)
    obr: float = Field(0.12, gt=0, lt=1)
    init: str | None = None
    val: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.2, ge=0, lt=1)
    epochs: int = Field(40, ge=1)
    train_batch: int = Field(8, ge=1)
    lr: float = Field(1e-3, gt=0)
    patience: int = Field(8, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_size: int = Field(32, ge=1)
    device: str = "auto"
    seed: int = Field(0, ge=0)
    replace: bool = False

    @field_validator("size")
    @classmethod
    def _known_size(cls, name: str) -> str:
        if name not in SIZES:
            raise ParameterError(
                f"size={name!r}", f"Allowed: {', '.join(SIZES)}.", suggest(name, SIZES)
            )
        return name

    @field_validator("form")
    @classmethod
    def _known_form(cls, name: str) -> str:
        form_of(name)
        return name

    @field_validator("supervision")
    @classmethod
    def _known_supervision(cls, name: str) -> str:
        if name not in (AUTO, *SUPERVISIONS):
            raise ParameterError(
                f"supervision={name!r}", f"Allowed: {', '.join((AUTO, *SUPERVISIONS))}.",
                suggest(name, (AUTO, *SUPERVISIONS)),
            )  # fmt: skip
        return name

    def check_models(self) -> None:
        """Refuse models that are known to be wrong before anything is read.

        Raises:
            FoveateError: A name or its weights.
        """
        for role in get_args(Role):
            self.handle(role)

    def handle(self, role: Role) -> ModelHandle | None:
        """Return the model of a role by name; None where none is stated."""
        name, weights = {
            "hr": (self.model, self.weights),
            "lr": (self.lr_model or self.model, self.lr_weights if self.lr_model else self.weights),
            "target": (self.target_model, self.target_weights),
            "saliency": (self.saliency_model, self.saliency_weights),
            "text": (self.text, self.text_weights),
        }[role]
        if name is None:
            return None
        return load_model(
            name, weights=weights, bands=self.bands, scale=tuple(self.scale) or None,
            device=self.device,
        )  # fmt: skip

    def stated_concepts(self) -> tuple[Concept, ...]:
        """Return the concepts of the job; none where those of the pairs count."""
        return concepts_of(self.concepts) if self.concepts else ()
