"""Files found below some paths, and files that are ignored, with the reasons."""

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
    "again", "format", "archive", "array", "catalogue", "mask", "image", "other",
]  # fmt: skip

# Reason -> text of the note for one file and for several files, and hint; in the order of notes.
# "other" (texts, tables, sidecars: not imagery by name) is recorded without a note.
REASON_TEXTS: dict[Reason, tuple[str, str, str]] = {
    "run": (
        "folder is a run of foveate and is ignored", "folders are runs of foveate and are ignored",
        "",
    ),
    "link": (
        "image is a link to a missing file", "images are links to missing files",
        "Fetch them (git annex get, datalad get, dvc pull), or mount the disk of the targets.",
    ),
    "pointer": (
        "image has not been fetched: the file is a pointer to the content",
        "images have not been fetched: the files are pointers to the content",
        "Fetch the content: git lfs pull, or git annex get.",
    ),
    "empty": ("image has zero bytes", "images have zero bytes", "Copy or download them again."),
    "special": (
        "image is not a regular file but a pipe, a socket or a device, and is ignored",
        "images are not regular files but pipes, sockets or devices, and are ignored", "",
    ),
    "folder": (
        "folder cannot be read: permission denied", "folders cannot be read: permission denied",
        "Request permission to list them (chmod +rx), or give other folders.",
    ),
    "hidden": ("image is hidden and is ignored", "images are hidden and are ignored", ""),
    "system": (
        "image is in a folder created by the operating system or a viewer, and is ignored",
        "images are in folders created by the operating system or a viewer, and are ignored", "",
    ),
    "preview": (
        "image is a preview of another image by name, and is ignored",
        "images are previews of other images by name, and are ignored",
        "To read previews, give them by a glob: 'DIR/*_thumb.png'.",
    ),
    "again": (
        "image is given twice and is read once", "images are given twice and are read once", "",
    ),
    "format": (
        "file may be imagery of an unsupported format, and is ignored",
        "files may be imagery of unsupported formats, and are ignored",
        "Convert them: gdal_translate IN OUT.tif.",
    ),
    "archive": (
        "file is an archive and is ignored", "files are archives and are ignored",
        "Extract them: unzip FILE -d FOLDER, or tar xf FILE -C FOLDER.",
    ),
    "array": (
        "file is an array of NumPy and is ignored", "files are arrays of NumPy and are ignored",
        (
            "Write images as GeoTIFF, and embeddings as Parquet: "
            "pandas.DataFrame({'id': IDS, 'embedding': list(X)}).to_parquet('vectors.parquet')."
        ),
    ),
    "catalogue": (
        "STAC catalogue is ignored, and the images in its folder are read as plain files",
        "STAC catalogues are ignored, and the images in their folders are read as plain files",
        "To use dates, scales and nodata of the items, give the file of the catalogue.",
    ),
    "mask": (
        "file is a mask by name, and is not read as an image",
        "files are masks by name, and are not read as images", "",
    ),
    "image": (
        "file is an image by name, and is not read as a mask",
        "files are images by name, and are not read as masks", "",
    ),
}  # fmt: skip
_QUIET: frozenset[Reason] = frozenset({"other"})


@dataclass(frozen=True)
class File:
    """A raster file that was found.

    Attributes:
        path: Path of the file, below the path that was given.
        parts: Folders below the root.
        key: Name of the scene: path below the root without suffix and without folders such as
            "images"; printable text, composed as NFC.
        wild: Text matched by the wildcards, if the file was found by a glob.
        named: Whether the path itself was given, not a folder or a glob that contains it.
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
        path: The file or folder.
        reason: Why it is left out, one of `Reason`.
    """

    path: Location
    reason: Reason


@dataclass(frozen=True)
class Found:
    """Result of a search for files below some paths.

    Attributes:
        files: Files that are read, sorted by the path below the root.
        left_out: Files and folders that are not read, with the reasons.
        given: The paths that were searched.
    """

    files: tuple[File, ...]
    left_out: tuple[LeftOut, ...] = ()
    given: tuple[Location, ...] = ()

    def without(self, reason: Reason, files: Iterable[File]) -> Found:
        """Return the result with some files left out for a reason."""
        dropped = {id(f) for f in files}
        kept = tuple(f for f in self.files if id(f) not in dropped)
        left_out = tuple(LeftOut(f.path, reason) for f in self.files if id(f) in dropped)
        return Found(kept, self.left_out + left_out, self.given)

    def why(self, reason: Reason) -> list[Location]:
        """Return the paths that are left out for a reason."""
        return [entry.path for entry in self.left_out if entry.reason == reason]

    def notes(self) -> list[Note]:
        """Return one note per reason on the files that are left out."""
        notes = []
        for reason, (singular, plural, hint) in REASON_TEXTS.items():
            paths = [] if reason in _QUIET else self.why(reason)
            if paths:
                text = f"{len(paths)} {singular if len(paths) == 1 else plural}"
                first = printable(str(paths[0]))
                notes.append(
                    Note(
                        "files",
                        f"{text}, the first is {first!r}"
                        if len(paths) > 1
                        else f"{text}: {first!r}",
                        hint,
                        tuple(printable(str(p)) for p in paths),
                    )
                )
        return notes
