"""`rank`: from overviews to tiles, the one first that is most worth seeing in high resolution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.models.embed import bind
from foveate.models.families.features import FEATURES, stored_scale
from foveate.models.load import load_model
from foveate.observe.covariates import covered
from foveate.observe.observer import Observer
from foveate.observe.options import AUTO, PolicyName
from foveate.observe.overviews import (
    OverviewTiles,
    TiledInference,
    check_reads,
    cut,
    is_pairs,
    overview_tiles,
)
from foveate.observe.pairs import Pairs, open_pairs
from foveate.observe.policies import apply_policy, get_policy
from foveate.pool.folder import open_pool
from foveate.pool.pool import Pool
from foveate.pool.scan import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.models.capabilities import Embeds
    from foveate.observe.observer import ObserverConfig
    from foveate.observe.options import Mode
    from foveate.pool.find import Paths
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.selection import Ranking

LEARNED, DESIGN = "learned", "design"
FROM_LR = get_args(PolicyName)  # what needs no HR


@dataclass(frozen=True, eq=False)
class TileScores:
    """Tiles of a target, ranked.

    Attributes:
        ranking: All n tiles. Its scores are calibrated ones of the sampler, or those of the policy.
        raw: (n,) what the sampler says, 0 to 1; NaN by another policy.
        sd: (n,) standard deviation over its heads; NaN by another policy.
    """

    ranking: Ranking
    raw: NDArray[np.float64]
    sd: NDArray[np.float64]


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
    """Rank the tiles of overviews from most to least worth seeing in high resolution.

    No pixel of high resolution is read, also not that of pairs.

    Args:
        overviews: A pool of overviews that are cut into rows and columns; files or folders, which
            are cut as in training; or pairs, or their folder.
        observer: A trained observer, or its folder.
        policy: "learned", the observer's sampler; "design", the same with tiles that tell of each
            other apart; or a baseline: "random", "uniform", "lr-entropy", "covariate". "auto" is
            what the training has found, see `policy_of`.
        covariate: A raster (night lights, population), for that policy.
        bands: 1-based bands in the place of those of the training; empty for the same.
        tile: Side of a tile in pixels of overviews that are files; that of the training when None.
        seed: Of ties, and of policies that draw.
        device: Of the encoder, and of an observer that is loaded.
        progress: Called with ticks.

    Returns:
        The ranking; ``ranking.at("12%")`` keeps a budget exactly. Scores of the sampler are
        calibrated: 0.9 is above 90 % of the tiles that it was validated on.

    Raises:
        DataError: Nothing to look at, or not what the observer was trained on; see `open_pool`.
        ParameterError: A policy that needs more than overviews.
    """
    check_policy(policy, covariate)
    own = observer if isinstance(observer, Observer) else Observer.load(observer, device=device)
    target = open_tiles(overviews, own, bands=bands, tile=tile, progress=progress)
    return score_tiles(
        target, own, policy=policy_of(policy, own.record), covariate=covariate, bands=bands,
        seed=seed, device=device, progress=progress,
    ).ranking  # fmt: skip


def open_tiles(
    overviews: Pool | Pairs | Paths, observer: Observer, *, bands: Sequence[int] = (),
    tile: float | None = None, progress: ProgressFn | None = None,
) -> OverviewTiles:  # fmt: skip
    """Open overviews, and cut them into tiles as in training; see `rank`.

    Raises:
        DataError: Nothing to look at, or not what the observer was trained on.
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
        policy: Name.
        covariate: A raster, for that policy.
        bands: 1-based bands in the place of those of the training.
        seed: Of ties, and of policies that draw.
        device: Of the encoder.
        run: Keeps the tokens.
        progress: Called with ticks.
    """
    check_reads(target.overviews, observer.record.encoders["lr"], bands)
    nothing = np.full(len(target.pool), np.nan)
    evidence: dict[str, Any] = {"place": target.place}
    if policy == "covariate":
        evidence["covariate"] = covered(target, covariate)
    if policy not in (LEARNED, DESIGN, "lr-entropy"):
        found = apply_policy(target.pool, policy, evidence, seed=seed)
        return TileScores(found, nothing, nothing)
    parts = TiledInference(
        target, observer, bind_lr(target, observer, bands, device), run, progress
    )
    if policy != LEARNED:
        if policy == DESIGN:
            evidence[DESIGN] = parts.design()
        else:
            evidence["probabilities"] = parts.probabilities(concept_head(target, observer, device))
        found = apply_policy(target.pool, policy, evidence, seed=seed)
        return TileScores(found, nothing, nothing)
    score, raw, sd = parts.scores()
    found = apply_policy(target.pool, policy, {"learned": raw}, seed=seed)
    return TileScores(replace(found, score=score[found.rows]), raw, sd)


def policy_of(stated: str, record: ObserverConfig, mode: Mode = "budget") -> str:
    """Return the policy that is used.

    Args:
        stated: What was asked for. "auto" is what the training has found: its sampler if that was
            better than random tiles, else the best of the policies that learn nothing.
        record: The observer's.
        mode: What decides how many tiles are chosen: only scores of the sampler have thresholds.
    """
    if stated != AUTO:
        return stated
    return record.policy if mode == "budget" else LEARNED


def check_policy(policy: str, covariate: str | Path | None) -> None:
    """Check that a policy needs nothing but overviews.

    Raises:
        UnknownNameError: No such policy.
        ParameterError: It needs more, or a covariate that is not given, or has one that it does
            not look at.
    """
    name = LEARNED if policy == AUTO else get_policy(policy).name
    if name not in FROM_LR:
        raise ParameterError(
            f"policy={policy!r}",
            f"From overviews alone there are {', '.join(FROM_LR)}.",
            "Others are compared by foveate bench observe.",
        )
    if (name == "covariate") != (covariate is not None):
        raise ParameterError(
            "the policy 'covariate' without a raster"
            if covariate is None
            else f"a covariate for the policy {policy!r}",
            "The covariate is what the policy 'covariate' draws by.",
            "--policy covariate --covariate RASTER",
        )


def bind_lr(target: OverviewTiles, observer: Observer, bands: Sequence[int], device: str) -> Embeds:
    """Build the LR encoder for overviews, as it was in training.

    Raises:
        DataError: Its weights are not those of the training.
    """
    encoder = observer.record.encoders["lr"]
    handle = observer.handle("lr", device)
    if bands:
        handle = load_model(
            str(handle), weights=handle.weights or None, bands=bands, scale=handle.scale,
            device=device,
        )  # fmt: skip
    if handle.family == FEATURES:
        found = stored_scale(handle, target.overviews, handle.bands)
        if encoder.spec.scale is None or not np.allclose(found, encoder.spec.scale):
            raise DataError(
                "features with another scale or offset than in training",
                "An observer sees numbers that mean what they meant in training.",
                "Give the product as it was then, and with the same scale and offset.",
            )
    model: Any = bind(handle, Pool(np.array([], np.str_), target.overviews))
    if model.spec.fingerprint != encoder.spec.fingerprint:
        raise DataError(
            f"the LR encoder {encoder.name!r} has other weights than in training",
            "An observer reads overviews with the very encoder that it was trained with.",
            "Train again, or put the weights back.",
        )
    return model


def concept_head(target: OverviewTiles, observer: Observer, device: str = "auto") -> Any:
    """Return what tells the concepts of tiles from their tokens, by labels or else by texts.

    Raises:
        DataError: The observer knows no concepts.
    """
    from foveate.models.heads import templates_from, text_head
    from foveate.observe.heads import TextConcepts

    if observer.head is not None:
        return observer.head
    concepts = observer.record.concepts
    if observer.to_text is None or not concepts:
        raise DataError(
            "this observer knows no concepts",
            "It was trained without labels and without a model that reads texts.",
            "Use another policy, or train it on pairs with --masks and --concepts.",
        )
    text: Any = bind(observer.handle("text", device), Pool(np.array([], np.str_), target.overviews))
    called = {concept.name: concept.texts for concept in concepts}
    head = text_head(text, called, templates=templates_from(observer.record.templates))
    return TextConcepts(head, observer.to_text)
