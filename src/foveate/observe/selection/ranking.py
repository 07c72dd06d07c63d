"""`rank`: rank the tiles of overviews by their value in high resolution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.models.embed import bind
from foveate.models.families.features import FEATURES, stored_scale
from foveate.models.load import load_model
from foveate.observe.data.pairs import Pairs, open_pairs
from foveate.observe.observer import Observer
from foveate.observe.options import AUTO, PolicyName
from foveate.observe.scoring.policies import apply_policy, get_policy
from foveate.observe.selection.blank import blank_tiles, put_last
from foveate.observe.selection.overviews import (
    OverviewTiles,
    TiledInference,
    check_reads,
    cut,
    is_pairs,
    overview_tiles,
)
from foveate.observe.totals.covariates import covered
from foveate.pool.folder import open_pool
from foveate.pool.pool import Pool
from foveate.pool.scan import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.models.capabilities import Embeds
    from foveate.observe.observer_config import ObserverConfig
    from foveate.observe.options import Mode
    from foveate.pool.find import Paths
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.selection import Ranking

LEARNED, DESIGN = "learned", "design"
FROM_LR = get_args(PolicyName)  # policies that do not need HR


@dataclass(frozen=True, eq=False)
class TileScores:
    """Scores and ranking of tiles.

    Attributes:
        ranking: Ranking of all n tiles, with calibrated scores of the sampler, or the scores of
            another policy.
        raw: (n,) raw scores of the sampler, 0 to 1; NaN for another policy.
        sd: (n,) standard deviation over the heads of the sampler; NaN for another policy.
        beyond: (n,) bool, tiles whose overview is unlike the training, see `Familiarity`; False
            for policies that do not use the features of overviews.
        blank: (n,) bool, tiles of one value in each band, which are ranked last.
    """

    ranking: Ranking
    raw: NDArray[np.float64]
    sd: NDArray[np.float64]
    beyond: NDArray[np.bool_]
    blank: NDArray[np.bool_]


def rank(
    overviews: Pool | Pairs | Paths,
    observer: Observer | str | Path,
    *,
    policy: str = AUTO,
    covariate: str | Path | None = None,
    bands: Sequence[int] = (),
    tile: float | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: ProgressFn | None = None,
) -> Ranking:
    """Rank the tiles of overviews by their value in high resolution, highest first.

    No high-resolution pixels are read, not even those of pairs. Tiles of one value in each band are
    ranked last, whatever the policy.

    Args:
        overviews: A pool of overviews that are cut into rows and columns; files or folders, which
            are cut as in training; or pairs, or their folder.
        observer: A trained observer, or its folder.
        policy: "learned", the sampler of the observer; "design", the sampler with an experimental
            design that avoids redundant tiles; or a baseline: "random", "uniform", "lr-entropy",
            "covariate". "auto" is the best policy of the training, see `policy_of`.
        covariate: Raster (night lights, population) for the policy "covariate".
        bands: 1-based bands that replace the bands of the training; empty for the same bands.
        tile: Side of a tile in pixels of overviews that are files; None: as in training.
        seed: Seed of ties and random policies.
        device: Device of the encoder, and of an observer loaded from a folder.
        progress: Progress callback.

    Returns:
        The ranking; ``ranking.at("12%")`` never exceeds a budget. Scores of the sampler are
        calibrated: a score of 0.9 is above 90 % of the validation tiles.

    Raises:
        DataError: There is no imagery, or it does not match the training; see `open_pool`.
        ParameterError: The policy needs more than overviews.
    """
    check_policy(policy, covariate)
    if not isinstance(observer, Observer):
        observer = Observer.load(observer, device=device)
    target = open_tiles(overviews, observer, bands=bands, tile=tile, progress=progress)
    return score_tiles(
        target, observer, policy=policy_of(policy, observer.record), covariate=covariate,
        bands=bands, seed=seed, device=device, progress=progress,
    ).ranking  # fmt: skip


def open_tiles(
    overviews: Pool | Pairs | Paths, observer: Observer, *, bands: Sequence[int] = (),
    tile: float | None = None, progress: ProgressFn | None = None,
) -> OverviewTiles:  # fmt: skip
    """Open overviews, and cut them into tiles as in training; see `rank`.

    Raises:
        DataError: There is no imagery, or it does not match the training.
    """
    if isinstance(overviews, Pool | Pairs):
        return overview_tiles(overviews)
    if isinstance(overviews, str | Path) and is_pairs(overviews):
        return overview_tiles(open_pairs(overviews))
    headers = open_pool(overviews, split=(1, 1), measure=False)
    check_reads(headers.scenes, observer.record.encoders["lr"], bands)
    tiles = cut(headers, observer.record, tile)
    return overview_tiles(scan(tiles, bands=bands or None, progress=progress))


def score_tiles(
    target: OverviewTiles, observer: Observer, *, policy: str, covariate: str | Path | None = None,
    bands: Sequence[int] = (), seed: int = 0, device: str = "auto", run: Run | None = None,
    progress: ProgressFn | None = None,
) -> TileScores:  # fmt: skip
    """Rank the tiles of a target; see `rank`.

    Args:
        target: Tiles and overviews.
        observer: The observer.
        policy: Name of the policy.
        covariate: Raster for the policy "covariate".
        bands: 1-based bands that replace the bands of the training.
        seed: Seed of ties and random policies.
        device: Device of the encoder.
        run: Run that caches the tokens.
        progress: Progress callback.
    """
    check_reads(target.overviews, observer.record.encoders["lr"], bands)
    nan, no = np.full(len(target.pool), np.nan), np.zeros(len(target.pool), bool)
    blank = blank_tiles(target, bands or observer.record.encoders["lr"].spec.bands)
    evidence: dict[str, Any] = {"place": target.place}
    if policy == "covariate":
        evidence["covariate"] = covered(target, covariate)
    if policy not in (LEARNED, DESIGN, "lr-entropy"):
        ranking = apply_policy(target.pool, policy, evidence, seed=seed)
        return TileScores(put_last(ranking, blank), nan, nan, no, blank)
    inference = TiledInference(
        target, observer, bind_lr(target, observer, bands, device), run, progress
    )
    if policy != LEARNED:
        if policy == DESIGN:
            evidence[DESIGN] = inference.design()
        else:
            head = concept_head(target, observer, device)
            evidence["probabilities"] = inference.probabilities(head)
        ranking = apply_policy(target.pool, policy, evidence, seed=seed)
        return TileScores(put_last(ranking, blank), nan, nan, inference.beyond, blank)
    score, raw, sd = inference.scores()
    raw = np.where(blank, 0.0, raw)  # thresholds apply to raw scores, too
    ranking = apply_policy(target.pool, policy, {"learned": raw}, seed=seed)
    ranking = put_last(replace(ranking, score=score[ranking.rows]), blank)
    return TileScores(ranking, raw, sd, inference.beyond, blank)


def policy_of(stated: str, record: ObserverConfig, mode: Mode = "budget") -> str:
    """Return the policy to use.

    Args:
        stated: Policy of the job. "auto" is the trained policy if it was better than random tiles
            in training, otherwise the best of the untrained baselines.
        record: Configuration of the observer.
        mode: "budget", "threshold" or "obr"; only scores of the sampler have thresholds.
    """
    if stated != AUTO:
        return stated
    return record.policy if mode == "budget" else LEARNED


def check_policy(policy: str, covariate: str | Path | None) -> None:
    """Check that a policy can be applied to overviews, with a covariate if it needs one.

    Raises:
        UnknownNameError: The policy is unknown.
        ParameterError: The policy needs more than overviews, a required covariate is missing, or
            the policy does not use the given covariate.
    """
    name = LEARNED if policy == AUTO else get_policy(policy).name
    if name not in FROM_LR:
        raise ParameterError(
            f"policy={policy!r}",
            f"Policies that need overviews only: {', '.join(FROM_LR)}.",
            "Use foveate bench observe to compare other policies.",
        )
    if (name == "covariate") != (covariate is not None):
        raise ParameterError(
            "the policy 'covariate' without a raster"
            if covariate is None
            else f"a covariate for the policy {policy!r}",
            "The policy 'covariate' requires a raster, and no other policy uses one.",
            "Use --policy covariate --covariate RASTER.",
        )


def bind_lr(target: OverviewTiles, observer: Observer, bands: Sequence[int], device: str) -> Embeds:
    """Build the LR encoder of the training for overviews.

    Raises:
        DataError: Its weights, or the scale of features, differ from the training.
    """
    encoder = observer.record.encoders["lr"]
    handle = observer.handle("lr", device)
    if bands:
        handle = load_model(
            str(handle), weights=handle.weights or None, bands=bands, scale=handle.scale,
            device=device,
        )  # fmt: skip
    if handle.family == FEATURES:
        scale = stored_scale(handle, target.overviews, handle.bands)
        if encoder.spec.scale is None or not np.allclose(scale, encoder.spec.scale):
            raise DataError(
                "features with another scale or offset than in training",
                "Scale and offset of features must be those of the training.",
                "Use the same product with the same scale and offset.",
            )
    model: Any = bind(handle, Pool(np.array([], np.str_), target.overviews))
    if model.spec.fingerprint != encoder.spec.fingerprint:
        raise DataError(
            f"the LR encoder {encoder.name!r} has other weights than in training",
            "An observer needs the encoder that it was trained with.",
            "Restore the weights, or train again.",
        )
    return model


def concept_head(target: OverviewTiles, observer: Observer, device: str = "auto") -> Any:
    """Return the classifier of concepts of an observer: trained on labels, or else from texts.

    Raises:
        DataError: The observer has no concepts.
    """
    from foveate.models.heads import templates_from, text_head
    from foveate.observe.networks.heads import TextConcepts

    if observer.head is not None:
        return observer.head
    concepts = observer.record.concepts
    if observer.to_text is None or not concepts:
        raise DataError(
            "this observer has no concepts",
            "It was trained without labels and without a text model.",
            "Use another policy, or train on pairs with --masks and --concepts.",
        )
    text: Any = bind(observer.handle("text", device), Pool(np.array([], np.str_), target.overviews))
    texts = {concept.name: concept.texts for concept in concepts}
    head = text_head(text, texts, templates=templates_from(observer.record.templates))
    return TextConcepts(head, observer.to_text)
