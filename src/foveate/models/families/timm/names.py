"""What the name of a timm model may say: architecture, weights, options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.errors import ParameterError, UnknownNameError
from foveate.models.weights import RANDOM
from foveate.registry import suggest

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle

_SET_HERE = (
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir",
    "num_classes", "features_only", "out_indices",
)  # fmt: skip


def check_name(handle: ModelHandle) -> None:
    """Check that timm has the architecture, and lists its pretrained weights.

    Raises:
        ParameterError: There is no name.
        UnknownNameError: timm does not know it.
    """
    import timm

    if not handle.name:
        raise ParameterError("a timm model without a name", "", "Type e.g. timm:resnet18.")
    if not timm.is_model(handle.name):
        known = timm.list_models()
        raise UnknownNameError(
            f"timm has no model {handle.name!r}",
            f"It knows {len(known)}; list them with: "
            "python -c 'import timm; print(timm.list_models())'.",
            suggest(handle.name, known),
        )
    architecture, _, tag = full_name(handle).partition(".")
    if not tag:
        return
    listed = timm.list_models(f"{architecture}.*", include_tags=True)
    tags = [name.partition(".")[2] for name in listed]
    if tag not in tags:
        raise UnknownNameError(
            f"timm's {architecture} has no weights {tag!r}",
            f"It has: {', '.join(tags) or 'none'}; or random.",
            suggest(tag, tags),
        )


def full_name(handle: ModelHandle) -> str:
    """Return the name as timm writes it: NAME, or NAME.TAG."""
    tagged = handle.tag not in ("", RANDOM, "pretrained")
    return f"{handle.name}.{handle.tag}" if tagged else handle.name


def check_options(handle: ModelHandle) -> None:
    """Refuse options of ``timm.create_model`` that change what foveate relies on.

    Raises:
        ParameterError: There is one.
    """
    for name in _SET_HERE:
        if name in handle.options:
            raise ParameterError(
                f"{handle} has the option {name!r}",
                "The weights and the form of the output are not the options' to change.",
                "Leave it out; local weights are given with --weights PATH.",
            )
