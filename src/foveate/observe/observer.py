"""`Observer`: a trained sampler and predictor, with their encoders and projections.

The folder of a trained observer is self-contained and can be moved: it includes local weights of
the encoders.

    model/
      observer.json         encoders, sizes, architecture, concepts, calibration, training facts
      observer.safetensors  sampler, predictor, projections, heads
      encoders/             local weights, one folder per encoder
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import digest, fingerprint, write_bytes
from foveate.models.base import parse_name
from foveate.models.extras import requires
from foveate.models.load import build_model, load_model
from foveate.models.runtime import resolve_device
from foveate.observe.dense import to_tiles
from foveate.observe.familiarity import Familiarity
from foveate.observe.networks.heads import LabelHead, ToText
from foveate.observe.observer_config import ObserverConfig, find_observer
from foveate.observe.projection import Projection

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler

WEIGHTS = "observer.safetensors"
_FAMILIAR = "familiarity."
_AT_ONCE = 16  # scenes
_WHOLE = 1024  # maximum tiles completed at once, limited by memory of attention and kriging


@dataclass(frozen=True)
class Scores:
    """Scores of a sampler for tiles.

    Attributes:
        score: (...) float64 calibrated score: the share of validation tiles with a lower score.
        raw: (...) float64 mean over the heads, 0 to 1.
        sd: (...) float64 standard deviation over the heads.
    """

    score: NDArray[np.float64]
    raw: NDArray[np.float64]
    sd: NDArray[np.float64]


@dataclass(frozen=True)
class Scenes:
    """Completed scenes as arrays; see `foveate.observe.networks.predictor.Completed`.

    Attributes:
        tokens: (s, R * k, C * k, d) float32 completed tokens.
        fill: (s, R * k, C * k, d) float32 LR fill, from the overviews alone.
        doubt: (s, R, C) float32 uncertainty, 0 to 1.
    """

    tokens: NDArray[np.float32]
    fill: NDArray[np.float32]
    doubt: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Observer:
    """A trained observer.

    Attributes:
        record: Configuration.
        sampler: Sampler on its device, in eval mode.
        predictor: Predictor on its device, in eval mode.
        lr: Projection of LR tokens.
        hr: Projection of HR tokens.
        head: Concept classifiers trained on labels, or None.
        to_text: Projection of mean tokens to the text embedding space, or None.
        folder: Folder that it was loaded from; empty before it is saved.
        familiarity: Distribution of the LR features of the training; None for an observer of an
            earlier version.
    """

    record: ObserverConfig
    sampler: Sampler
    predictor: Predictor
    lr: Projection
    hr: Projection
    head: LabelHead | None = None
    to_text: ToText | None = None
    folder: str = ""
    familiarity: Familiarity | None = None

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.predictor.mu.device

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, independent of the folder."""
        return fingerprint(Path(self.folder) / WEIGHTS)

    def scores(self, lr: NDArray[np.floating]) -> Scores:
        """Predict the value of tiles from the overview.

        Args:
            lr: (s, R * r, C * r, lr_dim) projected LR tokens, any R and C.

        Returns:
            `Scores` of shape (s, R, C).
        """
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(lr), _AT_ONCE):
                x = self._tensor(lr[start : start + _AT_ONCE])
                logits = self.sampler(x, self.predictor.fill.coarse(x))
                parts.append(logits.sigmoid().double().cpu().numpy())
        members = np.concatenate(parts)
        raw = members.mean(axis=-1)
        score = self.record.calibration(raw.ravel()).reshape(raw.shape)
        return Scores(score, raw, members.std(axis=-1))

    def project(
        self, tokens: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Project LR tokens, and find the tiles that are unlike the training.

        Args:
            tokens: (s, R * r, C * r, D) LR tokens.

        Returns:
            (s, R * r, C * r, lr_dim) projected tokens; and an (s, R, C) bool mask of the tiles that
            are farther from the training than all validation tiles, all False for an observer of an
            earlier version.
        """
        projected, side = self.lr(tokens), self.record.shape.lr_side
        tiles = to_tiles(tokens, side)
        if self.familiarity is None:
            return projected, np.zeros(tiles.shape[:3], bool)
        distance = self.familiarity.distance(self.lr, tiles, to_tiles(projected, side))
        return projected, distance > self.familiarity.limit

    def filled(self, lr: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute the LR fill: HR tokens predicted from the overviews alone.

        Args:
            lr: (s, R * r, C * r, lr_dim) projected LR tokens.

        Returns:
            (s, R * k, C * k, hr_dim) float32.
        """
        import torch

        with torch.inference_mode():
            parts = [
                self.predictor.fill(self._tensor(lr[i : i + _AT_ONCE])).cpu().numpy()
                for i in range(0, len(lr), _AT_ONCE)
            ]
        return np.concatenate(parts)

    def complete(
        self, lr: NDArray[np.floating], hr: NDArray[np.floating], observed: NDArray[np.bool_],
        *, passthrough: bool = True,
    ) -> Scenes:  # fmt: skip
        """Complete scenes from their overviews and the observed tiles (Eq. 3).

        Args:
            lr: (s, R * r, C * r, lr_dim) projected LR tokens.
            hr: (s, R * k, C * k, hr_dim) projected HR tokens; only observed tiles are used.
            observed: (s, R, C) bool mask of observed tiles. A tile with a non-finite token is
                treated as unobserved.
            passthrough: Whether observed tokens are returned unchanged.
        """
        import torch

        side = self.record.shape.hr_side
        finite = np.isfinite(hr).all(axis=-1)
        s, rows, cols = observed.shape
        finite_tiles = finite.reshape(s, rows, side, cols, side).all(axis=(2, 4))
        tokens, fills, doubts = [], [], []
        with torch.inference_mode():
            for start in range(0, s, _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                mask = torch.from_numpy(observed[part] & finite_tiles[part]).to(self.device)
                completed = self.predictor(
                    self._tensor(lr[part]), self._tensor(hr[part]), mask, passthrough=passthrough
                )
                for results, tensor in (
                    (tokens, completed.tokens), (fills, completed.fill), (doubts, completed.doubt)
                ):  # fmt: skip
                    results.append(tensor.float().cpu().numpy())
        return Scenes(np.concatenate(tokens), np.concatenate(fills), np.concatenate(doubts))

    def complete_scene(
        self, lr: NDArray[np.floating], hr: NDArray[np.floating], observed: NDArray[np.bool_], *,
        whole: int = _WHOLE,
    ) -> Scenes:  # fmt: skip
        """Complete one scene; a large scene in blocks of about the size of a training scene.

        The cost of attention and kriging is quadratic in the number of tiles. Observed tiles
        influence their own block only.

        Args:
            lr: (R * r, C * r, lr_dim) projected LR tokens.
            hr: (R * k, C * k, hr_dim) projected HR tokens of observed tiles.
            observed: (R, C) bool mask of observed tiles.
            whole: Maximum number of tiles that are completed at once.

        Returns:
            Arrays of one scene.
        """
        if observed.size <= whole:
            return self.complete(lr[None], hr[None], observed[None])
        r, k = self.record.shape.lr_side, self.record.shape.hr_side
        edges = [
            np.arange(parts + 1) * n // parts
            for n, size in zip(observed.shape, self.record.tiles, strict=True)
            for parts in (-(-n // size),)
        ]
        tokens, fill = np.empty((2, *hr.shape), np.float32)
        doubt = np.empty(observed.shape, np.float32)
        for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
            for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
                block, low, high = (
                    np.s_[top * n : bottom * n, left * n : right * n] for n in (1, r, k)
                )
                part = self.complete(lr[low][None], hr[high][None], observed[block][None])
                tokens[high], fill[high], doubt[block] = part.tokens[0], part.fill[0], part.doubt[0]
        return Scenes(tokens[None], fill[None], doubt[None])

    def design(self, lr: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Order tiles by greedy experimental design: value, reduced by similarity to earlier tiles.

        A tile that is similar to an acquired tile adds little; the kriging kernel is the
        similarity.

        Args:
            lr: (s, R * r, C * r, lr_dim) projected LR tokens.
            values: (s, R, C) values >= 0; 0 for missing tiles.

        Returns:
            (s, R, C) gains, higher for earlier tiles.

        Raises:
            ParameterError: The predictor has no kriging.
        """
        import torch

        from foveate.select.design import greedy_design

        kriging = self.predictor.kriging
        if kriging is None:
            raise ParameterError(
                "the policy design with a predictor that has no kriging",
                "The policy design needs the kriging kernel as the similarity of tiles.",
                "Train with --architecture kriged, or use --policy learned.",
            )
        gains = np.zeros(values.shape)
        with torch.inference_mode():
            noise = float(kriging.log_noise.exp())
            for scene, value in enumerate(values):
                n = value.size
                kernel = kriging.kernel(self._tensor(lr[[scene]])).reshape(n, n).cpu().numpy()
                order, gain = greedy_design(kernel, value.ravel(), noise)
                # The gain is a running minimum with ties; keep the order of the design among them.
                gains[scene].ravel()[order] = gain * (1 - 1e-9 * np.arange(n))
        return gains

    def handle(self, role: str, device: str = "auto") -> ModelHandle:
        """Return the handle of an encoder with the settings of the training.

        Args:
            role: "lr", "hr" or "text".
            device: Device of the encoder.

        Raises:
            DataError: The observer has no such encoder.
        """
        encoder = self.record.encoders.get(role)
        if encoder is None:
            raise DataError(
                "this observer has no text model",
                "It was trained without a text model.",
                "Train with --text-model MODEL.",
            )
        weights = str(Path(self.folder) / encoder.weights) if encoder.weights else None
        # uint8 images have a fixed range; sensor values use the scale of the training.
        scale = None if encoder.dtype == "uint8" else encoder.spec.scale
        return load_model(
            _in_folder(encoder.name, Path(self.folder)), weights=weights, bands=encoder.spec.bands,
            scale=scale, device=device,
        )  # fmt: skip

    def build(self, role: str, device: str = "auto") -> Any:
        """Build an encoder for the bands and scale of its training; see `handle`."""
        handle, spec = self.handle(role, device), self.record.encoders[role].spec
        return build_model(handle, spec.bands, spec.scale or ())

    def _tensor(self, x: NDArray[np.floating]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(self.device)

    def save(self, folder: Path, handles: dict[str, ModelHandle]) -> list[Path]:
        """Write the observer; the JSON file is written last.

        Args:
            folder: Output folder.
            handles: Role -> handle of the encoder; local weights are copied.
        """
        from safetensors.torch import save as as_bytes

        from foveate.models.tune_text.store import copy_base

        encoders = {}
        for role, handle in handles.items():
            encoder = self.record.encoders[role]
            subfolder = f"encoders/{digest([str(handle), handle.weights])[:8]}"
            copied = copy_base(handle, encoder.spec, folder / subfolder)
            weights = copied["base_weights"] and f"{subfolder}/{copied['base_weights']}"
            name = _in_folder(copied["base"], folder / subfolder, subfolder)
            encoders[role] = replace(encoder, name=name, weights=weights)
        record = replace(self.record, encoders=encoders)
        tensors = {k: v.contiguous() for k, v in self._tensors().items()}
        write_bytes(folder / WEIGHTS, as_bytes(tensors))
        return [folder / WEIGHTS, record.write(folder)]

    def _tensors(self) -> dict[str, torch.Tensor]:
        import torch

        tensors: dict[str, torch.Tensor] = {}
        for name, net in (("sampler", self.sampler), ("predictor", self.predictor)):
            tensors |= {f"{name}.{k}": v.detach().cpu() for k, v in net.state_dict().items()}
        arrays: dict[str, Any] = {}
        for name, projection in (("lr", self.lr), ("hr", self.hr)):
            arrays |= {f"{name}.mean": projection.mean, f"{name}.basis": projection.basis}
            arrays[f"{name}.scale"] = np.array([projection.scale], np.float64)
        for name, linear in (("head", self.head), ("to_text", self.to_text)):
            if linear is not None:
                arrays |= {f"{name}.weight": linear.weight, f"{name}.bias": linear.bias}
        if self.familiarity is not None:
            arrays |= {f"{_FAMILIAR}{k}": v for k, v in self.familiarity.to_arrays().items()}
        return tensors | {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}

    @classmethod
    @requires("observe", "an observer")
    def load(cls, path: str | Path, *, device: str = "auto") -> Self:
        """Load a trained observer.

        Args:
            path: The ``--out`` folder of the training, or its subfolder "model".
            device: Device of the networks.

        Raises:
            DataError: There is no observer in the folder, or it has another format.
        """
        from foveate.models.checkpoint_file import read_state
        from foveate.models.weights import put_state
        from foveate.observe.networks.tasks import new_predictor, new_sampler

        folder = find_observer(path)
        record = ObserverConfig.read(folder)
        state = read_state(folder / WEIGHTS)
        sampler = new_sampler(record.shape, 0)
        predictor = new_predictor(record.shape, record.form, conv_fill=record.conv_fill, seed=0)
        for name, net in (("sampler", sampler), ("predictor", predictor)):
            weights = {
                k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")
            }
            put_state(net, weights, folder / WEIGHTS, f"an observer's {name}")
            net.to(resolve_device(device)).eval()
        arrays = {
            k: v.numpy()
            for k, v in state.items()
            if k.split(".")[0] not in ("sampler", "predictor")
        }
        names = tuple(concept.name for concept in record.concepts)
        return cls(
            record, sampler, predictor,
            *(_projection(arrays, name) for name in ("lr", "hr")),
            head=LabelHead(names, arrays["head.weight"], arrays["head.bias"])
            if "head.weight" in arrays
            else None,
            to_text=ToText(arrays["to_text.weight"], arrays["to_text.bias"])
            if "to_text.weight" in arrays
            else None,
            folder=str(folder), familiarity=_familiarity(arrays),
        )  # fmt: skip


def _projection(arrays: dict[str, Any], name: str) -> Projection:
    mean, basis, scale = (arrays[f"{name}.{part}"] for part in ("mean", "basis", "scale"))
    return Projection(mean, basis, float(scale[0]))


def _familiarity(arrays: dict[str, Any]) -> Familiarity | None:
    stored = {
        k.removeprefix(_FAMILIAR): v for k, v in arrays.items() if k.startswith(_FAMILIAR)
    }  # fmt: skip
    return Familiarity.from_arrays(stored) if stored else None


def _in_folder(name: str, folder: Path, prefix: str = "") -> str:
    """Return the name of an encoder, with the folder as prefix if its architecture is stored there.

    Args:
        name: Name for `load_model`; a file, or the folder of a tuned model, may be in `folder`.
        folder: Folder that may contain the architecture.
        prefix: Prefix to use; by default the path of the folder.
    """
    parsed = parse_name(name)
    path = folder / parsed.name
    exists = path.is_dir() if parsed.family == "tuned" else path.is_file()
    if not parsed.name or Path(parsed.name).is_absolute() or not exists:
        return name
    return str(replace(parsed, name=f"{prefix or folder}/{parsed.name}"))
