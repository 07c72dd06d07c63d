"""Rules of `TakesSizes`: the same weights with another input size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foveate.models import capabilities
from foveate.testing.networks import networks
from foveate.testing.rules import need, need_refusal
from foveate.testing.texts import TEXTS
from foveate.testing.tokens import check_tokens
from foveate.testing.trial import Trial
from foveate.testing.vectors import check_vectors

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec

_SAME = 1e-5  # largest relative difference of vectors at the same size


def check_sizes(trial: Trial, batch: NDArray[Any]) -> None:
    """Check a model at about half its size.

    Its spec differs in the size only, its capabilities are those of the model, and vectors and
    tokens satisfy their rules. Texts have the same vectors. At its own size, directly or via
    another, the model returns the same vectors; the model itself is unchanged. Weights are
    shared, frozen and in eval mode. Sides that are not a multiple of the step are rejected.

    Args:
        trial: The model.
        batch: (b, c, h, w) of its bands.

    Raises:
        CheckFailed: A rule is violated.
    """
    model, name = trial.model, trial.name
    step = model.size_step
    need(
        isinstance(step, int) and step >= 1, f"{name}: size_step must be a whole number of pixels",
        "", f"got {step!r}",
    )  # fmt: skip
    spec, before = model.spec, model.embed(batch)
    own = spec.input_size or batch.shape[2:]
    small = tuple(_half(side, step) for side in own)
    square = small[0] if small[0] == small[1] else small
    sized = model.at_size(square)
    _check_untouched(trial, spec, before, batch)
    _check_spec(trial, sized, small)
    inner = Trial(sized, trial.tolerance)
    inner.name = f"{name} at {small[0]} x {small[1]}"
    check_vectors(inner, batch)
    need(
        (sized.embed(batch) != before).any(),
        f"{inner.name}: another size must change the embeddings",
    )
    if "tokens" in capabilities(model):
        need(sized.token_spec == model.token_spec, f"{inner.name}: token_spec must not change")
        check_tokens(inner, batch)
    if "text" in capabilities(model):
        need(sized.text_spec == model.text_spec, f"{inner.name}: text_spec must not change")
        rule = "the vectors of texts must not change"
        inner.near(sized.embed_text(TEXTS), model.embed_text(TEXTS), rule, least=_SAME)
    _check_weights(trial, sized)
    _check_oblong(trial, (small[0], small[1] + step), batch)
    if spec.input_size is not None:
        rule = "its own size gives other vectors"
        trial.near(model.at_size(own).embed(batch), before, rule, least=_SAME)
        rule = "a model returned to its first size has other vectors"
        trial.near(sized.at_size(own).embed(batch), before, rule, least=_SAME)
    _check_untouched(trial, spec, before, batch)
    _check_refusals(trial)


def _half(side: int, step: int) -> int:
    """Return about half a side in whole steps, never the side itself."""
    half = step * max(1, round(side / 2 / step))
    return half if half != side else half + step


def _check_untouched(
    trial: Trial, spec: EncoderSpec, before: NDArray[Any], batch: NDArray[Any]
) -> None:
    need(
        trial.model.spec == spec and (trial.model.embed(batch) == before).all(),
        f"{trial.name}: at_size changes the model itself",
    )


def _check_spec(trial: Trial, sized: Any, size: tuple[int, ...]) -> None:
    model = trial.model
    need(
        sized.spec == replace(model.spec, input_size=size),
        f"{trial.name}: at_size must change spec.input_size, and nothing else of the spec", "",
        f"got {sized.spec}",
    )  # fmt: skip
    need(
        capabilities(sized) == capabilities(model) and sized.size_step == model.size_step,
        f"{trial.name}: another size must have the same capabilities", "",
        f"{capabilities(sized)} in steps of {getattr(sized, 'size_step', None)}",
    )  # fmt: skip


def _check_oblong(trial: Trial, size: tuple[int, int], batch: NDArray[Any]) -> None:
    """Check a non-square size; the token grid must have its shape."""
    sized = trial.model.at_size(size)
    _check_spec(trial, sized, size)
    trial.need_array(
        sized.embed(batch), (len(batch), trial.model.spec.dim), "float32", f"embed at {size}"
    )
    if "tokens" in capabilities(sized):
        gh, gw = sized.tokens(batch).shape[1:3]
        need(
            abs(gh * size[1] - gw * size[0]) <= max(size),
            f"{trial.name}: a grid of {gh} x {gw} tokens does not have the shape of {size}",
        )


def _check_weights(trial: Trial, sized: object) -> None:
    """Check that equal parameters share memory, and that all are frozen."""
    held = _parameters(trial.model)
    for where, weight in _parameters(sized).items():
        same = held.get(where)
        twice = same is not None and weight.shape == same.shape and bool((weight == same).all())
        need(
            not twice or weight.data_ptr() == same.data_ptr(),
            f"{trial.name}: at another size {where[1]!r} is copied in memory",
        )
        need(
            not weight.requires_grad and weight.grad is None,
            f"{trial.name}: at another size {where[1]!r} is not frozen",
        )
    modes = [part.training for net in networks(trial.model) for part in net.modules()]
    need(
        any(modes) or not any(part.training for net in networks(sized) for part in net.modules()),
        f"{trial.name}: at another size it is in train mode",
    )


def _parameters(model: object) -> dict[tuple[str, str], torch.nn.Parameter]:
    return {
        (type(net).__name__, name): weight
        for net in networks(model)
        for name, weight in net.named_parameters()
    }


def _check_refusals(trial: Trial) -> None:
    model = trial.model
    wrong: dict[str, Any] = {
        "a size of 0": 0,
        "a negative size": -model.size_step,
        "a size of one side in a tuple": (model.size_step,),
        "a size in words": "small",
    }
    odd = 2 * model.size_step + 1
    if model.size_step > 1 and (odd, odd) != model.spec.input_size:
        wrong[f"a size of {odd} in steps of {model.size_step}"] = odd
    for what, side in wrong.items():
        need_refusal(lambda given=side: model.at_size(given), f"{trial.name}: {what}")
