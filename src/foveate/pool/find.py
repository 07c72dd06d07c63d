"""Search for raster files, with the reasons why files are left out."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.files import printable, refuse_empty, stored_path
from foveate.location import URL, Location, is_url, locate
from foveate.pool.find_remote import start_of, walk
from foveate.pool.found import REASON_TEXTS, File, Found, LeftOut
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
        ".asc", ".avif", ".bil", ".bip", ".bmp", ".bsq", ".dem", ".ecw", ".geotif", ".geotiff",
        ".gif", ".grb", ".grib", ".gtif", ".gtiff", ".h5", ".hdf", ".hdr", ".heic", ".hgt", ".img",
        ".j2k", ".jp2k", ".jpe", ".jxl", ".mbtiles", ".nc", ".nitf", ".ntf", ".pgm", ".ppm", ".rst",
        ".safe", ".sid", ".webp",
    }
)  # fmt: skip
_ARCHIVES = frozenset({".7z", ".rar", ".tar", ".tgz", ".zip"})
_ARRAYS = frozenset({".npy", ".npz"})
_TABLES = frozenset({".parquet", ".geoparquet", ".pq"})
_OTHER_TABLES = frozenset({".arrow", ".csv", ".feather", ".jsonl", ".pkl", ".tsv"})
_CATALOGUES = frozenset({"catalog.json", "collection.json"})  # file names of STAC
_PREVIEW = re.compile(r"(.+)[_\-. ](thumb|thumbnail|preview|quicklook|ql|browse)", re.IGNORECASE)
_PREVIEW_FOLDERS = frozenset({"thumbs", "thumbnails", "previews", "quicklooks", "browse"})
_MAGIC = re.compile(r"[*?[]")
_POINTER = 1024  # bytes; pointers (Git LFS, git-annex) are shorter, rasters are longer
_POINTERS = (b"version https://git-lfs", b"/annex/objects/")


def need_paths(paths: Paths, role: str) -> list[Location]:
    """Check that paths exist, and return them; of globs, the parent folder must exist.

    URLs are returned without a request: missing remote files raise an error when they are read.

    Raises:
        ParameterError: A path is empty, or a URL has an unsupported scheme.
        DataError: A path does not exist.
        MissingExtraError: A path is a URL, and ``foveate[cloud]`` is not installed.
    """
    many = list(paths) if isinstance(paths, list | tuple) else [paths]
    locations: list[Location] = []
    for path in many:
        if kind_of(str(path)) and is_url(str(path)):  # STAC: checked when it is opened
            continue
        refuse_empty(path, f"path of the {role}s")
        if is_url(path):
            place = locate(path)
            assert isinstance(place, URL)  # noqa: S101  (checked above)
            need_cloud(place)
            locations.append(place)
            continue
        locations.append(Path(path) if _exists(Path(path)) else Path(stored_path(str(path))))
    for path in locations:
        if isinstance(path, URL):
            continue  # checked when it is read
        start = path if _exists(path) else _split_glob(path)[0]
        if start is None or not _exists(start):
            raise _missing(path, role)
    return locations


def find(paths: Paths, role: str) -> Found:
    """Find the raster files below the given paths, sorted by their path below the common folder.

    Args:
        paths: Folders (linked folders are followed), files, and globs: ``**`` matches any number
            of folders, ``*`` and ``?`` parts of a name.
        role: Role of the files, for messages: "image", "mask".

    Raises:
        ParameterError: A path is empty, or there are no paths.
        DataError: A path does not exist, or a given folder is a run of foveate.
    """
    everything = need_paths(paths, role)
    if not everything:
        raise ParameterError(
            f"no paths of {role}s", "At least one folder, file or glob is required."
        )
    urls = [place for place in everything if isinstance(place, URL)]
    local_paths = [place for place in everything if not isinstance(place, URL)]
    if not urls:
        return _find_local(local_paths, role)
    remote = _find_remote(urls)
    if not local_paths:
        return remote
    local = _find_local(local_paths, role)
    return Found(
        (*local.files, *remote.files), (*local.left_out, *remote.left_out), tuple(everything)
    )


def _find_remote(urls: Sequence[URL]) -> Found:
    """Find files in object stores; URLs of web servers are single files."""
    globs = [_split_remote(url) for url in urls]
    starts = [start for start, _ in globs]
    folders = [s.parts if _is_folder(s) else s.parent.parts for s in starts]
    shared = 0
    while all(len(f) > shared for f in folders) and len({f[shared] for f in folders}) == 1:
        shared += 1
    files: dict[tuple[str, ...], File] = {}
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
            elif rel.parts in files:
                out.append(LeftOut(file.url, "again"))
            else:
                text = None if wild is None else readable("/".join(g or "" for g in wild.groups()))
                files[rel.parts] = File(file.url, rel.parts[:-1], _key(rel), text, named=file.named)
    ordered = tuple(files[rel] for rel in sorted(files))
    everything = Found(ordered, tuple(sorted(set(out), key=lambda o: str(o.path))), tuple(urls))
    globbed = {id(f) for f in ordered if f.wild is not None}
    return everything.without("preview", [f for f in _previews(ordered) if id(f) not in globbed])


def _split_remote(url: URL) -> tuple[URL, re.Pattern[str] | None]:
    """Split a URL with wildcards into the prefix to list and the pattern of keys below it."""
    start = start_of(url)
    if start == url:
        return url, None
    return start, _pattern(url.parts[len(start.parts) :])


def _is_folder(start: URL) -> bool:
    return start.is_prefix or Path(start.name).suffix.lower() not in SUFFIXES


def _find_local(paths: Sequence[Path], role: str) -> Found:
    globs = [(None, None) if _exists(p) else _split_glob(p) for p in paths]
    starts = [folder or path for path, (folder, _) in zip(paths, globs, strict=True)]
    plain = [_plain(p) for p in starts]
    root = Path(os.path.commonpath(plain))
    root = root if root.is_dir() else root.parent
    found: dict[Path, File] = {}
    out: list[LeftOut] = []
    for start, below, (_, glob) in zip(starts, plain, globs, strict=True):
        if start.is_dir() and _is_run(start):
            raise DataError(
                f"{str(start)!r} is a run of foveate",
                f"The pictures of a run are not {role}s.",
                f"Give the folder of the {role}s; if it is inside the run, give that subfolder.",
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
    everything = Found(ordered, tuple(sorted(set(out), key=lambda o: str(o.path))), tuple(paths))
    globbed = {id(f) for f in ordered if f.wild is not None}
    return everything.without("preview", [f for f in _previews(ordered) if id(f) not in globbed])


def need_files(found: Found, role: str) -> Found:
    """Check that files were found, and return them.

    Raises:
        DataError: No files were found; the message lists the files that were left out.
    """
    if found.files:
        return found
    notes = found.notes()
    where = ", ".join(printable(str(p)) for p in found.given)
    raise DataError(
        f"no {role} found in {where!r}" + "".join(f"; {note.text}" for note in notes),
        f"Files with the suffixes {', '.join(SUFFIXES)} are read, in all subfolders.",
        next((note.hint for note in notes if note.hint), _table_hint(found) or "Check the path."),
    )


def _table_hint(found: Found) -> str:
    """Return what to type if tables were found where images are expected, or ""."""
    others = [path for path in found.why("other") if isinstance(path, Path)]
    inside = next((path for path in others if path.suffix.lower() in _TABLES), None)
    if inside is not None and isinstance(found.given[0], Path):
        pattern = found.given[0] / "**" / f"*{inside.suffix}"
        return f"To rank embeddings, give the files or a glob: {shlex.quote(str(pattern))}."
    if any(path.suffix.lower() in _OTHER_TABLES for path in others):
        return (
            "To rank embeddings, write the table as Parquet with a column of lists (pandas: "
            "to_parquet)."
        )
    return ""


def contents(paths: Sequence[str], role: str) -> list[str]:
    """Return a hash of the content of each raster below paths; see `find`.

    Raises:
        DataError: No files were found, or a file cannot be read.
    """
    return [content_of(file.path) for file in need_files(find(list(paths), role), role).files]


def readable(text: str) -> str:
    """Return a name as printable text in Unicode normal form NFC, as file systems differ."""
    return unicodedata.normalize("NFC", printable(text))


def index(files: Sequence[File], what: str) -> dict[str, Location]:
    """Return key -> file.

    Raises:
        DataError: Two files have the same key.
    """
    table: dict[str, Location] = {}
    for file in files:
        if file.key in table:
            raise DataError(
                f"two {what} have the name {file.key!r}: {printable(str(table[file.key]))!r} and "
                f"{printable(str(file.path))!r}",
                "Names are paths without the suffix and without folders such as 'images', and must "
                "be unique.",
                "Rename one of them, or move it out of the folder.",
            )
        table[file.key] = file.path
    return table


def _missing(path: Path, role: str) -> DataError:
    """Return the error for a path that does not exist."""
    allowed, name = f"Give a folder or a file for the {role}s.", printable(str(path))
    if path.is_symlink():
        target = printable(str(path.readlink()))
        return DataError(
            f"{name!r} is a link to {target!r}, which does not exist", allowed,
            REASON_TEXTS["link"][2],
        )  # fmt: skip
    if path.with_name(f"{path.name}.dvc").exists():
        return DataError(
            f"{name!r} does not exist, only its .dvc file", allowed,
            f"Fetch it: dvc pull {name}.dvc",
        )  # fmt: skip
    return DataError(f"{name!r} does not exist", allowed, "Check the path.")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is too long, or contains a null character
        return False


def _split_glob(path: Path) -> tuple[Path | None, re.Pattern[str] | None]:
    """Split a glob into its folder and the pattern of paths below it; None for other paths."""
    place = next((i for i, part in enumerate(path.parts) if _MAGIC.search(part)), None)
    if place is None:
        return None, None
    return Path(*path.parts[:place]), _pattern(path.parts[place:])


def _pattern(parts: Sequence[str]) -> re.Pattern[str]:
    """Return the regular expression of the parts of a glob."""
    pattern = ""
    for part in parts:
        pattern += "((?:[^/]+/)*)" if part == "**" else _glob_part(part) + "/"
    # A glob may match folders: all files below them match.
    end = "(.*)" if parts[-1] == "**" else "(/.*)?"
    return re.compile(pattern.removesuffix("/") + end, re.DOTALL)


def _glob_part(part: str) -> str:
    """Return the regular expression of one part of a glob, with a group per wildcard."""
    pattern = ""
    for piece in re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part):
        if piece.startswith("*"):
            pattern += "([^/]*)"
        elif piece == "?":
            pattern += "([^/])"
        elif re.fullmatch(r"\[.+\]", piece):
            letters = re.sub(r"([\\^\[\]])", r"\\\1", piece[1:-1])
            pattern += f"([^{letters[1:]}])" if letters.startswith("!") else f"([{letters}])"
        else:
            pattern += re.escape(piece)
    return pattern


def _plain(path: Path) -> Path:
    """Return the absolute path without "..", which would look like a hidden folder."""
    normal = Path(os.path.normpath(path.absolute()))
    # After a link, ".." is the parent of the target.
    return normal if normal.exists() and normal.samefile(path) else path.resolve()


def _walk(folder: Path, out: list[LeftOut]) -> Iterator[tuple[Path, Path]]:
    """Yield all files below a folder and their paths inside it; linked folders are followed.

    Each folder is visited once. Runs of foveate and unreadable folders are appended to `out`.
    """

    def closed(error: OSError) -> None:
        out.append(LeftOut(Path(error.filename), "folder"))

    seen: set[str] = set()
    waiting = [folder]
    for start in waiting:  # grows: linked folders are visited after the real folders
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
    """Return whether a folder is a run of foveate, not of another program with a run.json."""
    try:
        record = json.loads((folder / "run.json").read_bytes())
    except OSError:
        return False
    except ValueError:  # truncated, for example by a full disk
        return (folder / "tables").is_dir() or (folder / "scenes.parquet").exists()
    return isinstance(record, dict) and {"schema", "steps"} <= record.keys()


def _reason(file: Path, rel: Path) -> Reason | None:
    """Return the reason why a file is left out, or None."""
    return _reason_by_name(rel) or _unreadable(file)


def _reason_by_name(rel: Path) -> Reason | None:
    suffix = rel.suffix.lower()
    hidden = any(part.startswith(".") for part in rel.parts)
    if rel.name.lower() in _CATALOGUES:
        return "catalogue"
    if suffix not in SUFFIXES:
        kinds: dict[Reason, frozenset[str]] = {
            "format": _FORMATS, "archive": _ARCHIVES, "array": _ARRAYS,
        }  # fmt: skip
        found = next((reason for reason, suffixes in kinds.items() if suffix in suffixes), None)
        return "other" if found is None or hidden else found
    if any(part.lower() in _SYSTEM for part in rel.parts[:-1]):
        return "system"
    return "hidden" if hidden else None


def _unreadable(file: Path) -> Reason | None:
    """Return the reason why a file with a suffix of imagery cannot be read, or None."""
    try:
        status = file.stat()
    except OSError:
        return "link"
    if not stat.S_ISREG(status.st_mode):
        return "special"
    if not status.st_size:
        return "empty"
    return "pointer" if is_pointer(file) else None


def is_pointer(file: Path) -> bool:
    """Return whether a file is a pointer of Git LFS or git-annex to content not fetched."""
    try:
        return file.stat().st_size <= _POINTER and file.read_bytes().startswith(_POINTERS)
    except OSError:
        return False  # GDAL reports the error


def _previews(files: Sequence[File]) -> list[File]:
    """Return files that are previews by name, if the files that they show exist."""
    existing = {(f.path.parent, f.path.stem) for f in files}
    previews = []
    for file in files:
        parent, stem = file.path.parent, file.path.stem
        named = _PREVIEW.fullmatch(stem)
        forms = {(parent, named[1])} if named else set()
        if parent.name.lower() in _PREVIEW_FOLDERS:
            forms |= {(parent.parent, stem), (parent.parent, named[1] if named else stem)}
        if forms & existing:
            previews.append(file)
    return previews


def _key(rel: Path) -> str:
    words = IMAGE_FOLDERS | MASK_FOLDERS
    return readable("/".join([*(p for p in rel.parts[:-1] if p.lower() not in words), rel.stem]))
