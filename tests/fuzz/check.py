"""Run one command on spoiled imagery, in this process, and say what is wrong with how it ended."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.parquet as pq
from mutate import spoil

from foveate import errors
from foveate.cli.main import main
from foveate.raster import SUFFIXES, close_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

SECONDS = 60  # for one command; they take a tenth of one
_OURS = {
    name for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.FoveateError)
}  # fmt: skip


class Outcome(NamedTuple):
    """How a command ended: its exit status, what was wrong, and how the input had been spoiled."""

    status: int
    faults: list[str]
    spoiled: list[str]


def commands(observer: Path | None) -> dict[str, list[str]]:
    """Name -> arguments; IMAGES, MASKS, CLASSES, OBJECTS and OUT stand for paths."""
    found = {
        "curate": "curate IMAGES --masks MASKS --classes CLASSES --tile 32 --method cb,fa "
        "--budget 3",
        "plain": "curate IMAGES --tile 48 --method random --budget area=50%",
        "inferred": "curate IMAGES --masks MASKS --tile 32 --method lc --budget 3",
        "embed": "embed IMAGES --tile 32",
        # Stop at the first image that cannot be processed, so that its error is checked.
        "look": "focus look IMAGES --goal rare --crop 16 --cells 2 --passes 9 --on-error stop",
        "prepare": "observe prepare IMAGES --masks MASKS --classes CLASSES --objects OBJECTS "
        "--concepts water,tank --tiles 4x4 --ratio 4",
    }
    if observer is not None:
        found["select"] = f"observe select IMAGES --observer {observer} --budget 30%"
    return {name: text.split() for name, text in found.items()}


def attempt(arguments: Sequence[str], seed: int) -> Outcome:
    """Spoil a folder by `seed`, run a command on it, and check how it ended."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        spoiled = spoil(root / "in", seed)
        places = {
            "IMAGES": "in/images", "MASKS": "in/masks", "CLASSES": "in/classes.yaml",
            "OBJECTS": "in/objects.geojson",
        }  # fmt: skip
        typed = [str(root / places[a]) if a in places else a for a in arguments]
        before = _state(root / "in")
        status, out, err = _run([*typed, "--out", str(root / "out"), "--json"])
        faults = [*_of_ending(status, out, err), *_of_folder(root / "out", status)]
        if _state(root / "in") != before:
            faults.append("the input was changed")
        if status == 0 and (root / "out/scenes.parquet").exists():
            faults += _unnamed(root / "in/images", root / "out", err)
        return Outcome(status, faults, spoiled)
    finally:
        close_files()
        shutil.rmtree(root, ignore_errors=True)


def _run(arguments: list[str]) -> tuple[int, str, str]:
    """Run the command line here, under a time limit, with warnings as errors."""
    out, err = io.StringIO(), io.StringIO()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"{SECONDS} s are over")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        with (
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):  # fmt: skip
            warnings.simplefilter("error")
            status = main(arguments)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return status, out.getvalue(), err.getvalue()


def _of_ending(status: int, out: str, err: str) -> list[str]:
    """Check the exit status and what was said."""
    try:
        said = json.loads(out)
    except ValueError:
        return [f"status {status}, and no JSON on stdout: {out[-300:]!r} {err[-300:]!r}"]
    if status == 0:
        return [] if "error" not in said else [f"an error with status 0: {said}"]
    if status != 1 or said.get("error") not in _OURS:
        return [f"status {status}: {said.get('error')}: {said.get('message', '')[:400]}"]
    if not said["given"] or not (said["allowed"] or said["hint"]):
        return [f"an error that helps nobody: {said['message']}"]
    return []


def _of_folder(out: Path, status: int) -> list[str]:
    """Check that nothing in a run directory is half-written."""
    faults = [f"left over: {p.name}" for p in out.rglob("*.tmp")]
    if status == 0 and "summary" not in json.loads((out / "run.json").read_text("utf-8")):
        faults.append("status 0 and no summary in run.json")
    for path in out.rglob("*"):
        try:
            if path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix in {".json", ".geojson"}:
                _finite(path)
        except ValueError as error:
            faults.append(f"{path.name}: {error}")
    return faults


def _finite(path: Path) -> None:
    """Read JSON; NaN and infinity are none."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    json.loads(path.read_text("utf-8"), parse_constant=refuse)


def _unnamed(images: Path, out: Path, err: str) -> list[str]:
    """Check that each raster below the images was read, or is named as left out."""
    uris = "\n".join(pq.read_table(out / "scenes.parquet")["uri"].to_pylist())
    records = [
        p.read_text("utf-8") for p in (out / "run.json", out / "tables/notes.json") if p.exists()
    ]
    named = "\n".join([uris, err, *records])
    faults = []
    for here, _, files in os.walk(images):
        for name in files:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            known = any(form in named for form in (name, shown, Path(name).stem, repr(name)[1:-1]))
            if Path(name).suffix.lower() in SUFFIXES and not known:
                faults.append(f"neither read nor named: {Path(here, name)}")
    return faults


def _state(root: Path) -> dict[bytes, object]:
    """Return what tells whether anything below a folder was changed."""
    found: dict[bytes, object] = {}
    for here, folders, files in os.walk(os.fsencode(root)):
        for name in [*folders, *files]:
            path = os.path.join(here, name)  # noqa: PTH118  (bytes)
            if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
                with open(path, "rb") as file:  # noqa: PTH123
                    found[path] = hashlib.blake2b(file.read()).digest()
            else:
                found[path] = None
    return found
