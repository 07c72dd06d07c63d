"""`Observer`: a trained sampler and predictor, with all that they need to read imagery.

A trained observer on disk can be moved and handed on: local weights of its encoders lie in it.

    model/
      observer.json         encoders, sizes, form, concepts, calibration, how it was trained
      observer.safetensors  sampler, predictor, projections, heads
      encoders/             local weights, one folder an encoder
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.files import digest, write_bytes, write_json
from foveate.models.base import model_folder, parse_name, read_format
from foveate.models.extras import requires
from foveate.models.load import load_model
from foveate.models.runtime import resolve_device
from foveate.observe.calibration import Calibration
from foveate.observe.concepts import Concept, concepts_of
from foveate.observe.features import Encoder
from foveate.observe.heads import LabelHead, ToText
from foveate.observe.networks.sizes import Architecture, Shape
from foveate.observe.projection import Projection

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler

FORMAT = 2  # raised when the same file comes to mean something else
RECORD = "observer.json"
RATIO = 10.0  # of resolutions, where nothing tells


@dataclass(frozen=True)
class ObserverConfig:
    """What a trained observer is.

    Attributes:
        encoders: "lr" and "hr"; "text" where there is a model that reads texts.
        shape: Sizes of the networks.
        form: What the predictor is made of.
        conv_fill: Whether the fill has a convolutional part.
        tiles: ``(R, C)`` of a training scene.
        lr_tile: Side of a tile in pixels of an overview, mean over the scenes of the training.
        gsd: Metres of an LR and of an HR pixel, or None.
        concepts: The K concepts.
        supervision: What the sampler has learnt.
        obr: Observed share that it was trained for.
        calibration: From its scores to places among those of the validation scenes.
        templates: Sentences around texts.
        training: For people.
        ratio: Side of an LR pixel over that of an HR pixel.
        held_out: How policies did against random tiles on scenes that no network was fitted to:
            "split", "scenes", "measure", "shares" and "against_random", see
            `foveate.observe.evaluate.choose_policy`. None for an observer of an earlier version.
        tile_size: Side of a tile in metres, where the pairs were cut by it.
    """

    encoders: dict[str, Encoder]
    shape: Shape
    form: Architecture
    conv_fill: bool
    tiles: tuple[int, int]
    lr_tile: float
    gsd: tuple[float, float] | None
    concepts: tuple[Concept, ...]
    supervision: str
    obr: float
    calibration: Calibration
    templates: str
    training: dict[str, Any]
    ratio: float = RATIO
    held_out: dict[str, Any] | None = None
    tile_size: float | None = None

    @property
    def policy(self) -> str:
        """The policy to select by: a trained one if it has proved better than random tiles.

        "learned" for an observer of an earlier version, which did not compare.
        """
        against = (self.held_out or {}).get("against_random", {})
        return against.get("policy", "learned")

    @property
    def tile_metres(self) -> float | None:
        """Side of a tile of the training in metres; None in pixel space."""
        if self.tile_size is not None or self.gsd is None:
            return self.tile_size
        return self.lr_tile * self.gsd[0]

    def write(self, folder: Path) -> Path:
        """Write it into a folder, and return the file."""
        content = {**vars(self)}
        content["encoders"] = {
            role: {**vars(encoder), "spec": encoder.spec.to_dict()}
            for role, encoder in self.encoders.items()
        }
        content["shape"], content["form"] = asdict(self.shape), asdict(self.form)
        content["concepts"] = [concept.to_dict() for concept in self.concepts]
        content["calibration"] = self.calibration.to_dict()
        write_json(folder / RECORD, {"format": FORMAT, **content})
        return folder / RECORD

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it from a folder.

        Raises:
            DataError: It is of another format.
        """
        content = read_format(folder / RECORD, FORMAT, "train")
        rest = {k: v for k, v in content.items() if k != "format"}
        encoders: dict[str, dict[str, Any]] = content["encoders"]
        rest["encoders"] = {
            role: Encoder(**{**given, "spec": EncoderSpec.from_dict(given["spec"])})  # ty: ignore[invalid-argument-type]
            for role, given in encoders.items()
        }
        rest["shape"], rest["form"] = Shape(**content["shape"]), Architecture(**content["form"])
        rest["concepts"] = concepts_of(content["concepts"]) if content["concepts"] else ()
        rest["calibration"] = Calibration.from_dict(content["calibration"])
        rest["tiles"] = _pair(content["tiles"])
        rest["gsd"] = None if content["gsd"] is None else _pair(content["gsd"])
        return cls(**rest)


def find_observer(path: str | Path) -> Path:
    """Return the folder of a trained observer: the one given, or "model" in it.

    Raises:
        DataError: There is none.
    """
    command = "foveate observe train ... --out MODEL"
    hint = "Give the folder that --out named."
    return model_folder(path, RECORD, "trained observer", command, hint)


def _pair(values: Sequence[Any]) -> tuple[Any, Any]:
    return (values[0], values[1])


WEIGHTS = "observer.safetensors"
_AT_ONCE = 16  # scenes


@dataclass(frozen=True)
class Scores:
    """What a sampler says of tiles.

    Attributes:
        score: (...) float64 calibrated: the share of the validation tiles below.
        raw: (...) float64 mean of its heads, 0 to 1.
        sd: (...) float64 standard deviation of its heads.
    """

    score: NDArray[np.float64]
    raw: NDArray[np.float64]
    sd: NDArray[np.float64]


@dataclass(frozen=True)
class Scenes:
    """Completed scenes, as arrays; see `foveate.observe.networks.predictor.Completed`.

    Attributes:
        tokens: (s, R * k, C * k, d) float32.
        fill: The same from the overviews alone.
        doubt: (s, R, C) float32, 0 to 1.
    """

    tokens: NDArray[np.float32]
    fill: NDArray[np.float32]
    doubt: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Observer:
    """A trained observer.

    Attributes:
        record: What it is.
        sampler: On its device, in eval mode.
        predictor: The same.
        lr: Projection of LR tokens.
        hr: Projection of HR tokens.
        head: Concepts from labels, or None.
        to_text: From mean tokens to the space of texts, or None.
        folder: Where it was loaded from; empty before it is saved.
    """

    record: ObserverConfig
    sampler: Sampler
    predictor: Predictor
    lr: Projection
    hr: Projection
    head: LabelHead | None = None
    to_text: ToText | None = None
    folder: str = ""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.predictor.mu.device

    def scores(self, lr: NDArray[np.floating]) -> Scores:
        """Say what tiles are worth; nothing but the overview is looked at.

        Args:
            lr: (s, R * r, C * r, lr_dim) reduced LR tokens, any R and C.

        Returns:
            (s, R, C) each.
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

    def filled(self, lr: NDArray[np.floating]) -> NDArray[np.float32]:
        """Say what HR tokens look like, as far as the overviews alone tell; nothing else is run.

        Args:
            lr: (s, R * r, C * r, lr_dim) reduced LR tokens.

        Returns:
            (s, R * k, C * k, hr_dim).
        """
        import torch

        with torch.inference_mode():
            parts = [
                self.predictor.fill(self._tensor(lr[i : i + _AT_ONCE])).cpu().numpy()
                for i in range(0, len(lr), _AT_ONCE)
            ]
        return np.concatenate(parts)

    def complete(
        self, lr: NDArray[np.floating], hr: NDArray[np.floating], seen: NDArray[np.bool_],
        *, passthrough: bool = True,
    ) -> Scenes:  # fmt: skip
        """Complete scenes from their overviews and the observed tiles (Eq. 3).

        Args:
            lr: (s, R * r, C * r, lr_dim) reduced LR tokens.
            hr: (s, R * k, C * k, hr_dim) reduced HR tokens; only those of observed tiles count.
            seen: (s, R, C) bool. A tile with a token that is not finite counts as unobserved.
            passthrough: Whether observed tokens come back as they are.
        """
        import torch

        side = self.record.shape.hr_side
        finite = np.isfinite(hr).all(axis=-1)
        s, rows, cols = seen.shape
        whole = finite.reshape(s, rows, side, cols, side).all(axis=(2, 4))
        tokens, fills, doubts = [], [], []
        with torch.inference_mode():
            for start in range(0, s, _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                mask = torch.from_numpy(seen[part] & whole[part]).to(self.device)
                done = self.predictor(
                    self._tensor(lr[part]), self._tensor(hr[part]), mask, passthrough=passthrough
                )
                for kept, found in (
                    (tokens, done.tokens), (fills, done.fill), (doubts, done.doubt)
                ):  # fmt: skip
                    kept.append(found.float().cpu().numpy())
        return Scenes(np.concatenate(tokens), np.concatenate(fills), np.concatenate(doubts))

    def design(self, lr: NDArray[np.floating], worth: NDArray[np.floating]) -> NDArray[np.float64]:
        """Say in which order tiles teach most, given those before: worth, spread by likeness.

        A tile that is much like one that was bought is mostly known: the kriging says how much.

        Args:
            lr: (s, R * r, C * r, lr_dim) reduced LR tokens.
            worth: (s, R, C) at least 0; 0 where there is no tile.

        Returns:
            (s, R, C) gains: the higher, the earlier.

        Raises:
            ParameterError: The predictor has no kriging.
        """
        import torch

        from foveate.select.design import greedy_design

        kriging = self.predictor.kriging
        if kriging is None:
            raise ParameterError(
                "a design with a predictor that has no kriging",
                "Which tiles are alike is what its kernel says.",
                "Train with --architecture kriged, or use the policy learned.",
            )
        gains = np.zeros(worth.shape)
        with torch.inference_mode():
            noise = float(kriging.log_noise.exp())
            for scene, values in enumerate(worth):
                n = values.size
                kernel = kriging.kernel(self._tensor(lr[[scene]])).reshape(n, n).cpu().numpy()
                order, found = greedy_design(kernel, values.ravel(), noise)
                # A running minimum has ties: the order among them is part of the design.
                found = found * (1 - 1e-9 * np.arange(n))
                gains[scene].ravel()[order] = found
        return gains

    def handle(self, role: str, device: str = "auto") -> ModelHandle:
        """Return an encoder by name, as it was in training.

        Args:
            role: "lr", "hr" or "text".
            device: Where it is to run.

        Raises:
            DataError: There is no such encoder.
        """
        encoder = self.record.encoders.get(role)
        if encoder is None:
            raise DataError(
                "this observer has no model that reads texts",
                "It was trained without one.",
                "Train it with --text-model MODEL.",
            )
        weights = str(Path(self.folder) / encoder.weights) if encoder.weights else None
        # Pictures have a range of their own; values of a sensor are read as they were in training.
        scale = None if encoder.dtype == "uint8" else encoder.spec.scale
        return load_model(
            _beside(encoder.name, Path(self.folder)), weights=weights, bands=encoder.spec.bands,
            scale=scale, device=device,
        )  # fmt: skip

    def _tensor(self, x: NDArray[np.floating]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(self.device)

    def save(self, folder: Path, handles: dict[str, ModelHandle]) -> list[Path]:
        """Write the observer; the JSON file comes last.

        Args:
            folder: Where to.
            handles: Its encoders as they were loaded, role by role; local weights are copied.
        """
        from safetensors.torch import save as as_bytes

        from foveate.models.tune_text.store import copy_base

        encoders = {}
        for role, handle in handles.items():
            own = self.record.encoders[role]
            place = f"encoders/{digest([str(handle), handle.weights])[:8]}"
            copied = copy_base(handle, own.spec, folder / place)
            weights = copied["base_weights"] and f"{place}/{copied['base_weights']}"
            name = _beside(copied["base"], folder / place, place)
            encoders[role] = replace(own, name=name, weights=weights)
        record = replace(self.record, encoders=encoders)
        tensors = {k: v.contiguous() for k, v in self._tensors().items()}
        write_bytes(folder / WEIGHTS, as_bytes(tensors))
        return [folder / WEIGHTS, record.write(folder)]

    def _tensors(self) -> dict[str, torch.Tensor]:
        import torch

        found: dict[str, torch.Tensor] = {}
        for name, net in (("sampler", self.sampler), ("predictor", self.predictor)):
            found |= {f"{name}.{k}": v.detach().cpu() for k, v in net.state_dict().items()}
        arrays: dict[str, Any] = {}
        for name, reduction in (("lr", self.lr), ("hr", self.hr)):
            arrays |= {f"{name}.mean": reduction.mean, f"{name}.basis": reduction.basis}
            arrays[f"{name}.scale"] = np.array([reduction.scale], np.float64)
        for name, linear in (("head", self.head), ("to_text", self.to_text)):
            if linear is not None:
                arrays |= {f"{name}.weight": linear.weight, f"{name}.bias": linear.bias}
        return found | {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}

    @classmethod
    @requires("observe", "an observer")
    def load(cls, path: str | Path, *, device: str = "auto") -> Self:
        """Load a trained observer.

        Args:
            path: The folder that ``--out`` named, or "model" in it.
            device: Where its networks are to be.

        Raises:
            DataError: There is none, or it is of another format.
        """
        from foveate.models.weights import put_state, read_state
        from foveate.observe.networks.tasks import new_predictor, new_sampler

        folder = find_observer(path)
        record = ObserverConfig.read(folder)
        state = read_state(folder / WEIGHTS)
        sampler = new_sampler(record.shape, 0)
        predictor = new_predictor(record.shape, record.form, conv_fill=record.conv_fill, seed=0)
        for name, net in (("sampler", sampler), ("predictor", predictor)):
            own = {
                k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")
            }
            put_state(net, own, folder / WEIGHTS, f"an observer's {name}")
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
            folder=str(folder),
        )  # fmt: skip


def _projection(arrays: dict[str, Any], name: str) -> Projection:
    mean, basis, scale = (arrays[f"{name}.{part}"] for part in ("mean", "basis", "scale"))
    return Projection(mean, basis, float(scale[0]))


def _beside(name: str, folder: Path, called: str = "") -> str:
    """Return the name of an encoder; if its architecture lies in a folder, with the folder.

    Args:
        name: For `load_model`; what lies in the folder is a file, or that of a tuned model.
        folder: Where it may be.
        called: What to call the folder; its path when empty.
    """
    found = parse_name(name)
    own = folder / found.name
    there = own.is_dir() if found.family == "tuned" else own.is_file()
    if not found.name or Path(found.name).is_absolute() or not there:
        return name
    return str(replace(found, name=f"{called or folder}/{found.name}"))
