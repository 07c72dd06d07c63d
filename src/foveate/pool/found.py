"""What was found below some paths, and what is left out and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from foveate.files import printable
from foveate.pool.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foveate.location import Location

Reason = Literal[
    "run", "link", "pointer", "empty", "special", "folder", "hidden", "system", "preview",
    "again", "format", "catalogue", "mask", "image", "other",
]  # fmt: skip

# Why a file is left out: one and several of them, and what to do. In the order of the notes.
# "other" (texts, tables, sidecars: no imagery by their names) is data and no warning.
SAID: dict[Reason, tuple[str, str, str]] = {
    "run": (
        "folder is a run of foveate and not read", "folders are runs of foveate and not read", "",
    ),
    "link": (
        "image is a link to a file that is not there",
        "images are links to files that are not there",
        "Fetch them (git annex get, datalad get, dvc pull), or mount the disk that they lead to.",
    ),
    "pointer": (
        "image has not been fetched: the file says only where it is kept",
        "images have not been fetched: the files say only where they are kept",
        "Fetch the content: git lfs pull, or git annex get.",
    ),
    "empty": ("image has zero bytes", "images have zero bytes", "Copy or download them again."),
    "special": (
        "name of an image is no file, but a pipe, a socket or a device",
        "names of images are no files, but pipes, sockets or devices", "",
    ),
    "folder": (
        "folder cannot be read: permission denied", "folders cannot be read: permission denied",
        "Ask for the right to list them (chmod +rx), or give the folders to read.",
    ),
    "hidden": ("image is hidden and not read", "images are hidden and not read", ""),
    "system": (
        "image lies in a folder that a system or a viewer made for itself and is not read",
        "images lie in folders that a system or a viewer made for itself and are not read", "",
    ),
    "preview": (
        "image is by its name a small picture of one beside it and not read",
        "images are by their names small pictures of others beside them and not read",
        "Give those that are to be read by a glob: 'DIR/*_thumb.png'.",
    ),
    "again": (
        "image is named twice and read once", "images are named twice and read once", "",
    ),
    "format": (
        "file may be imagery of a format that is not read",
        "files may be imagery of formats that are not read",
        "Convert them: gdal_translate IN OUT.tif.",
    ),
    "catalogue": (
        "STAC catalogue is not read, but the images beside it, as plain files",
        "STAC catalogues are not read, but the images beside them, as plain files",
        "To have dates, scales and nodata from its items, give the file of the catalogue.",
    ),
    "mask": (
        "file is by its name a mask and not read as an image",
        "files are by their names masks and not read as images", "",
    ),
    "image": (
        "file is by its name an image and not read as a mask",
        "files are by their names images and not read as masks", "",
    ),
}  # fmt: skip
_QUIET: frozenset[Reason] = frozenset({"other"})


@dataclass(frozen=True)
class File:
    """A raster file that was found.

    Attributes:
        path: As it was given.
        parts: Folders below the root.
        key: Name of the scene: path below the root without suffix and without folders such as
            "images"; printable text, composed as NFC.
        wild: What the wildcards stand for, if it was found by a glob.
        named: Whether the path was given itself, and not a folder or glob that it is found by.
    """

    path: Location
    parts: tuple[str, ...]
    key: str
    wild: str | None = None
    named: bool = False


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not read.

    Attributes:
        path: As it was found.
        reason: Why, one of `Reason`.
    """

    path: Location
    reason: Reason


@dataclass(frozen=True)
class Found:
    """What was found below some paths.

    Attributes:
        files: What is read, sorted by the path below the root.
        left_out: What is not, and why.
        given: The paths that were asked for.
    """

    files: tuple[File, ...]
    left_out: tuple[LeftOut, ...] = ()
    given: tuple[Location, ...] = ()

    def without(self, reason: Reason, files: Iterable[File]) -> Found:
        """Leave files out for a reason."""
        out = {id(f) for f in files}
        kept = tuple(f for f in self.files if id(f) not in out)
        gone = tuple(LeftOut(f.path, reason) for f in self.files if id(f) in out)
        return Found(kept, self.left_out + gone, self.given)

    def why(self, reason: Reason) -> list[Location]:
        """Return what is left out for a reason."""
        return [one.path for one in self.left_out if one.reason == reason]

    def notes(self) -> list[Note]:
        """Say what is left out, a note for each reason."""
        found = []
        for reason, (one, several, hint) in SAID.items():
            paths = [] if reason in _QUIET else self.why(reason)
            if paths:
                text = f"{len(paths)} {one if len(paths) == 1 else several}"
                first = printable(str(paths[0]))
                found.append(
                    Note(
                        "files",
                        f"{text}, the first is {first!r}"
                        if len(paths) > 1
                        else f"{text}: {first!r}",
                        hint,
                        tuple(printable(str(p)) for p in paths),
                    )
                )
        return found
