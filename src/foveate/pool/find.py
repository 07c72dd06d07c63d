"""Finding raster files, and saying which files are left out and why."""

from __future__ import annotations

import json
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.files import printable, refuse_empty, stored_path
from foveate.location import URL, Location, is_url, locate
from foveate.pool.find_remote import start_of, walk
from foveate.pool.found import SAID, File, Found, LeftOut
from foveate.pool.stac.sources import kind_of
from foveate.raster import SUFFIXES
from foveate.remote import content_of, need_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from foveate.pool.found import Reason

IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "imagery", "rgb", "jpegimages", "sat"})
MASK_FOLDERS = frozenset(
    {
        "mask", "masks", "label", "labels", "gt", "gts", "groundtruth", "ground_truth", "truth",
        "annotation", "annotations", "ann", "segmentation", "segmentations", "segmentationclass",
    }
)  # fmt: skip

Paths = str | Path | list[str] | list[Path] | tuple[str, ...] | tuple[Path, ...]
_SYSTEM = frozenset(
    {
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx",
        "$recycle.bin", "system volume information", "lost+found", "__pycache__",
    }
)  # fmt: skip
_FORMATS = frozenset(
    {
        ".asc", ".bil", ".bip", ".bmp", ".bsq", ".dem", ".ecw", ".gif", ".grb", ".grib", ".h5",
        ".hdf", ".hdr", ".heic", ".hgt", ".img", ".j2k", ".jp2k", ".jpe", ".jxl", ".mbtiles", ".nc",
        ".nitf", ".npy", ".npz", ".ntf", ".pgm", ".ppm", ".rst", ".safe", ".sid", ".tar", ".tgz",
        ".webp", ".zip",
    }
)  # fmt: skip
_CATALOGUES = frozenset({"catalog.json", "collection.json"})  # as STAC calls them
_PREVIEW = re.compile(r"(.+)[_\-. ](thumb|thumbnail|preview|quicklook|ql|browse)", re.IGNORECASE)
_PREVIEW_FOLDERS = frozenset({"thumbs", "thumbnails", "previews", "quicklooks", "browse"})
_MAGIC = re.compile(r"[*?[]")
_POINTER = 1024  # bytes: what says where a file is kept is shorter, and no raster is
_POINTERS = (b"version https://git-lfs", b"/annex/objects/")


def need_paths(paths: Paths, role: str) -> list[Location]:
    """Return the paths, all of which exist; of a glob, the folder that it begins in.

    URLs are returned as they are: whether they are there is said when they are read.

    Raises:
        ParameterError: One of them is empty, or a URL of a scheme that is not read.
        DataError: One of them does not exist.
        MissingExtraError: One is a URL, and ``foveate[cloud]`` is not installed.
    """
    many = list(paths) if isinstance(paths, list | tuple) else [paths]
    given: list[Location] = []
    for path in many:
        if kind_of(str(path)) and is_url(str(path)):  # of STAC: asked when it is opened
            continue
        refuse_empty(path, f"path of the {role}s")
        if is_url(path):
            place = locate(path)
            assert isinstance(place, URL)  # noqa: S101  (it was asked)
            need_cloud(place)
            given.append(place)
            continue
        given.append(Path(path) if _exists(Path(path)) else Path(stored_path(str(path))))
    for path in given:
        if isinstance(path, URL):
            continue  # whether it is there is said when it is read
        there = path if _exists(path) else _split_glob(path)[0]
        if there is None or not _exists(there):
            raise _missing(path, role)
    return given


def find(paths: Paths, role: str) -> Found:
    """Find the raster files below the given paths, sorted by their path below what they share.

    Args:
        paths: Folders (searched through linked folders too), files, and globs: ``**`` stands for
            any folders, ``*`` and ``?`` for parts of a name.
        role: What they are for, in messages.

    Raises:
        ParameterError: A path is empty.
        DataError: A path does not exist, or a folder that was given is a run of foveate.
    """
    everything = need_paths(paths, role)
    urls = [place for place in everything if isinstance(place, URL)]
    given = [place for place in everything if not isinstance(place, URL)]
    if not urls:
        return _find_local(given, role)
    remote = _find_remote(urls)
    if not given:
        return remote
    local = _find_local(given, role)
    return Found(
        (*local.files, *remote.files), (*local.left_out, *remote.left_out), tuple(everything)
    )


def _find_remote(urls: Sequence[URL]) -> Found:
    """Find files in object stores; a file of a web server is itself."""
    globs = [_split_remote(url) for url in urls]
    starts = [start for start, _ in globs]
    folders = [s.parts if _is_folder(s) else s.parent.parts for s in starts]
    shared = 0
    while all(len(f) > shared for f in folders) and len({f[shared] for f in folders}) == 1:
        shared += 1
    found: dict[tuple[str, ...], File] = {}
    out: list[LeftOut] = []
    for start, glob in globs:
        for file in walk(start):
            wild = None if glob is None else glob.fullmatch(file.inner.as_posix())
            if glob is not None and wild is None:
                continue
            rel = Path(*file.url.parts[shared:])
            reason = _reason_by_name(rel) or ("empty" if file.size == 0 else None)
            if reason is not None and not file.named:
                out.append(LeftOut(file.url, reason))
            elif rel.parts in found:
                out.append(LeftOut(file.url, "again"))
            else:
                text = None if wild is None else readable("/".join(g or "" for g in wild.groups()))
                found[rel.parts] = File(file.url, rel.parts[:-1], _key(rel), text, named=file.named)
    ordered = tuple(found[rel] for rel in sorted(found))
    everything = Found(ordered, tuple(sorted(set(out), key=lambda o: str(o.path))), tuple(urls))
    globbed = {id(f) for f in ordered if f.wild is not None}
    return everything.without("preview", [f for f in _previews(ordered) if id(f) not in globbed])


def _split_remote(url: URL) -> tuple[URL, re.Pattern[str] | None]:
    """Return the prefix that is listed, and what keys below it are like."""
    start = start_of(url)
    if start == url:
        return url, None
    return start, _pattern(url.parts[len(start.parts) :])


def _is_folder(start: URL) -> bool:
    return start.is_prefix or Path(start.name).suffix.lower() not in SUFFIXES


def _find_local(given: Sequence[Path], role: str) -> Found:
    globs = [(None, None) if _exists(p) else _split_glob(p) for p in given]
    starts = [folder or path for path, (folder, _) in zip(given, globs, strict=True)]
    plain = [_plain(p) for p in starts]
    root = Path(os.path.commonpath(plain))
    root = root if root.is_dir() else root.parent
    found: dict[Path, File] = {}
    out: list[LeftOut] = []
    for start, below, (_, glob) in zip(starts, plain, globs, strict=True):
        if start.is_dir() and _is_run(start):
            raise DataError(
                f"{str(start)!r} is a run of foveate",
                f"Its pictures are no {role}s; images are folders and files of your own.",
                f"Give the folder of the {role}s; if it lies in the run, name that folder.",
            )
        base = below.relative_to(root)
        files = _walk(start, out) if start.is_dir() else [(start, Path())]
        for file, inner in files:
            rel = base / inner
            wild = None if glob is None else glob.fullmatch(inner.as_posix())
            if glob is not None and wild is None:
                continue
            reason = _reason(file, rel)
            if reason is not None:
                out.append(LeftOut(file, reason))
            elif rel in found:
                out.append(LeftOut(file, "again"))
            else:
                text = None if wild is None else readable("/".join(g or "" for g in wild.groups()))
                found[rel] = File(file, rel.parts[:-1], _key(rel), text, named=file is start)
    ordered = tuple(found[rel] for rel in sorted(found))
    everything = Found(ordered, tuple(sorted(set(out), key=lambda o: str(o.path))), tuple(given))
    globbed = {id(f) for f in ordered if f.wild is not None}
    return everything.without("preview", [f for f in _previews(ordered) if id(f) not in globbed])


def need_files(found: Found, role: str) -> Found:
    """Return what was found if there is anything to read.

    Raises:
        DataError: There is not; the message says what was left out.
    """
    if found.files:
        return found
    notes = found.notes()
    where = ", ".join(printable(str(p)) for p in found.given)
    raise DataError(
        f"no {role} in {where!r}" + "".join(f"; {note.text}" for note in notes),
        f"Looked for files ending in {', '.join(SUFFIXES)}, in all subfolders.",
        next((note.hint for note in notes if note.hint), "Check the path."),
    )


def contents(paths: Sequence[str], role: str) -> list[str]:
    """Return what tells the content of each raster below paths from others; see `find`.

    Raises:
        DataError: There is none, or one cannot be read.
    """
    return [content_of(file.path) for file in need_files(find(list(paths), role), role).files]


def readable(text: str) -> str:
    """Return a name as printable text, composed as NFC: the same on every file system."""
    return unicodedata.normalize("NFC", printable(text))


def index(files: Sequence[File], what: str) -> dict[str, Location]:
    """Return key -> file.

    Raises:
        DataError: Two files have one key.
    """
    table: dict[str, Location] = {}
    for file in files:
        if file.key in table:
            raise DataError(
                f"two {what} are called {file.key!r}: {printable(str(table[file.key]))!r} and "
                f"{printable(str(file.path))!r}",
                "Files are told apart by their path without the suffix, and without folders such "
                "as 'images'.",
                "Rename one of them, or move it out of the folder.",
            )
        table[file.key] = file.path
    return table


def _missing(path: Path, role: str) -> DataError:
    """Say why there is nothing at a path."""
    allowed, name = f"Give a folder or a file for the {role}s.", printable(str(path))
    if path.is_symlink():
        there = printable(str(path.readlink()))
        return DataError(
            f"{name!r} is a link to {there!r}, which is not there", allowed, SAID["link"][2]
        )
    if path.with_name(f"{path.name}.dvc").exists():
        return DataError(
            f"there is no {name!r}, only its .dvc file", allowed, f"Fetch it: dvc pull {name}.dvc"
        )
    return DataError(f"there is no {name!r}", allowed, "Check the path.")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or one with a null
        return False


def _split_glob(path: Path) -> tuple[Path | None, re.Pattern[str] | None]:
    """Return the folder that a glob begins in, and what paths below it are like; or nothing."""
    place = next((i for i, part in enumerate(path.parts) if _MAGIC.search(part)), None)
    if place is None:
        return None, None
    return Path(*path.parts[:place]), _pattern(path.parts[place:])


def _pattern(parts: Sequence[str]) -> re.Pattern[str]:
    """Return what paths are like that a glob means."""
    pattern = ""
    for part in parts:
        pattern += "((?:[^/]+/)*)" if part == "**" else _glob_part(part) + "/"
    # A glob may name folders: everything below them is meant.
    end = "(.*)" if parts[-1] == "**" else "(/.*)?"
    return re.compile(pattern.removesuffix("/") + end, re.DOTALL)


def _glob_part(part: str) -> str:
    """Turn one part of a glob into a regular expression that keeps what the wildcards match."""
    found = ""
    for piece in re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part):
        if piece.startswith("*"):
            found += "([^/]*)"
        elif piece == "?":
            found += "([^/])"
        elif re.fullmatch(r"\[.+\]", piece):
            letters = re.sub(r"([\\^\[\]])", r"\\\1", piece[1:-1])
            found += f"([^{letters[1:]}])" if letters.startswith("!") else f"([{letters}])"
        else:
            found += re.escape(piece)
    return found


def _plain(path: Path) -> Path:
    """Return the absolute path without "..", which would look like a hidden folder."""
    normal = Path(os.path.normpath(path.absolute()))
    # After a link ".." leads elsewhere than its text says.
    return normal if normal.exists() and normal.samefile(path) else path.resolve()


def _walk(folder: Path, out: list[LeftOut]) -> Iterator[tuple[Path, Path]]:
    """All files below a folder and their paths inside it, through linked folders too.

    Each folder is looked at once.

    Runs of foveate and folders that cannot be read go to `out`.
    """

    def closed(error: OSError) -> None:
        out.append(LeftOut(Path(error.filename), "folder"))

    seen: set[str] = set()
    waiting = [folder]
    for start in waiting:  # grows: linked folders wait until the real ones have been seen
        for here, folders, names in os.walk(start, onerror=closed):
            real = os.path.realpath(here)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            if "run.json" in names and Path(here) != folder and _is_run(Path(here)):
                out.append(LeftOut(Path(here), "run"))
                folders.clear()
                continue
            folders.sort()
            place = Path(here)
            inner = place.relative_to(folder)
            yield from ((place / name, inner / name) for name in names)
            waiting += [Path(here, f) for f in folders if Path(here, f).is_symlink()]


def _is_run(folder: Path) -> bool:
    """Say whether foveate wrote a folder, and not another program whose runs have a run.json."""
    try:
        record = json.loads((folder / "run.json").read_bytes())
    except OSError:
        return False
    except ValueError:  # cut off when the disk was full: what lies beside it are pictures of a run
        return (folder / "tables").is_dir() or (folder / "scenes.parquet").exists()
    return isinstance(record, dict) and {"schema", "steps"} <= record.keys()


def _reason(file: Path, rel: Path) -> Reason | None:
    """Say why a file is not read, if it is not."""
    return _reason_by_name(rel) or _unreadable(file)


def _reason_by_name(rel: Path) -> Reason | None:
    suffix = rel.suffix.lower()
    hidden = any(part.startswith(".") for part in rel.parts)
    if rel.name.lower() in _CATALOGUES:
        return "catalogue"
    if suffix not in SUFFIXES:
        return "format" if suffix in _FORMATS and not hidden else "other"
    if any(part.lower() in _SYSTEM for part in rel.parts[:-1]):
        return "system"
    return "hidden" if hidden else None


def _unreadable(file: Path) -> Reason | None:
    """Say why there is nothing to read in a file of the right name, as far as can be told."""
    try:
        status = file.stat()
    except OSError:
        return "link"
    if not stat.S_ISREG(status.st_mode):
        return "special"
    if not status.st_size:
        return "empty"
    return "pointer" if status.st_size <= _POINTER and _is_pointer(file) else None


def _is_pointer(file: Path) -> bool:
    try:
        return file.read_bytes().startswith(_POINTERS)
    except OSError:
        return False  # GDAL will say why


def _previews(files: Sequence[File]) -> list[File]:
    """Return files that are small pictures of others: called so, and the others are there."""
    there = {(f.path.parent, f.path.stem) for f in files}
    found = []
    for file in files:
        parent, stem = file.path.parent, file.path.stem
        named = _PREVIEW.fullmatch(stem)
        forms = {(parent, named[1])} if named else set()
        if parent.name.lower() in _PREVIEW_FOLDERS:
            forms |= {(parent.parent, stem), (parent.parent, named[1] if named else stem)}
        if forms & there:
            found.append(file)
    return found


def _key(rel: Path) -> str:
    words = IMAGE_FOLDERS | MASK_FOLDERS
    return readable("/".join([*(p for p in rel.parts[:-1] if p.lower() not in words), rel.stem]))
