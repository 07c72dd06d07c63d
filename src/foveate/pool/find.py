"""Finding raster files, and the names by which they are paired."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from foveate.errors import DataError
from foveate.raster import SUFFIXES

IMAGE_WORDS = frozenset({"image", "images", "img", "imgs", "imagery", "rgb"})
MASK_WORDS = frozenset(
    {"mask", "masks", "label", "labels", "gt", "annotation", "annotations", "segmentation"}
)
_MASK_ENDINGS = ("_mask", "_masks", "_label", "_labels", "_gt", "_seg")

Paths = str | Path | list[str] | list[Path] | tuple[str, ...] | tuple[Path, ...]


@dataclass(frozen=True)
class File:
    """A raster file that was found.

    Attributes:
        path: As it was given.
        parts: Folders below the root.
        key: What pairs an image with its mask.
    """

    path: Path
    parts: tuple[str, ...]
    key: str


def need_paths(paths: Paths, role: str) -> list[Path]:
    """Return the paths, all of which exist.

    Raises:
        DataError: One of them does not.
    """
    given = [Path(p) for p in (paths if isinstance(paths, list | tuple) else [paths])]
    missing = [p for p in given if not p.exists()]
    if missing:
        raise DataError(
            f"there is no {str(missing[0])!r}",
            f"Give a folder or a file for the {role}s.",
            "Check the path.",
        )
    return given


def collect(paths: Paths, role: str) -> list[File]:
    """Find the raster files below the given paths, sorted by their path below what they share.

    Args:
        paths: Folders (searched through linked folders too) and files.
        role: "mask" keeps masks, "image" images where a folder holds both; else what it is for.

    Raises:
        DataError: A path does not exist, or nothing is found.
    """
    given = need_paths(paths, role)
    plain = [_plain(p) for p in given]
    root = Path(os.path.commonpath(plain))
    root = root if root.is_dir() else root.parent
    found: list[tuple[Path, File]] = []
    for path, start in zip(given, plain, strict=True):
        for file in _below(path) if path.is_dir() else [path]:
            rel = (start / file.relative_to(path)).relative_to(root)
            hidden = any(part.startswith(".") for part in rel.parts)
            if file.suffix.lower() in SUFFIXES and not hidden and file.is_file():
                found.append((rel, File(file, rel.parts[:-1], _key(rel))))
    return _of_role([f for _, f in sorted(found, key=lambda pair: pair[0])], given, role)


def _plain(path: Path) -> Path:
    """Return the absolute path without "..", which would look like a hidden folder."""
    normal = Path(os.path.normpath(path.absolute()))
    # After a link ".." leads elsewhere than its text says.
    return normal if normal.exists() and normal.samefile(path) else path.resolve()


def _below(folder: Path) -> list[Path]:
    """All files below a folder, through linked folders too; each folder is looked at once."""
    files: list[Path] = []
    seen: set[str] = set()
    waiting = [folder]
    for start in waiting:  # grows: linked folders wait until the real ones have been seen
        for here, folders, names in os.walk(start):
            real = os.path.realpath(here)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            files += [Path(here, name) for name in names]
            waiting += [Path(here, f) for f in folders if Path(here, f).is_symlink()]
    return files


def _of_role(found: list[File], given: list[Path], role: str) -> list[File]:
    """Keep the images or the masks.

    Raises:
        DataError: There are none.
    """
    # One folder may hold both, told apart by the names of its subfolders.
    words = [{part.lower() for part in f.parts} for f in found]
    if role == "mask" and any(w & MASK_WORDS for w in words):
        found = [f for f, w in zip(found, words, strict=True) if w & MASK_WORDS]
    elif role == "image" and any(w & IMAGE_WORDS for w in words):
        found = [f for f, w in zip(found, words, strict=True) if not w & MASK_WORDS]
    found = _by_ending(found, role)
    if not found:
        raise DataError(
            f"no {role} in {', '.join(map(str, given))!r}",
            f"Looked for files ending in {', '.join(SUFFIXES)}, in all subfolders.",
            "Check the path.",
        )
    return found


def _by_ending(found: list[File], role: str) -> list[File]:
    """Where ``a.png`` and ``a_mask.png`` lie side by side, the name says which is the mask."""
    named = {f.key: f for f in found if f.path.stem.lower().endswith(_MASK_ENDINGS)}
    plain = {f.key for f in found if f.path.stem.lower() == f.key.rsplit("/", 1)[-1].lower()}
    both = set(named) & plain
    keep_named = role == "mask"
    return [
        f for f in found
        if f.key not in both or f.path.stem.lower().endswith(_MASK_ENDINGS) == keep_named
    ]  # fmt: skip


def _key(rel: Path) -> str:
    folders = [p for p in rel.parts[:-1] if p.lower() not in IMAGE_WORDS | MASK_WORDS]
    stem = rel.stem
    for ending in _MASK_ENDINGS:
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
    return "/".join([*folders, stem])


def index(files: list[File], what: str) -> dict[str, Path]:
    """Return key -> file.

    Raises:
        DataError: Two files have one key.
    """
    table: dict[str, Path] = {}
    for file in files:
        if file.key in table:
            raise DataError(
                f"two {what} are called {file.key!r}: {str(table[file.key])!r} and "
                f"{str(file.path)!r}",
                "Files are paired by their path without the suffix.",
                "Rename one of them, or move it out of the folder.",
            )
        table[file.key] = file.path
    return table
