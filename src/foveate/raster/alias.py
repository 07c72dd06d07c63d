"""Names by which GDAL can open files whose own names are no UTF-8."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

from foveate.files import printable

_BESIDE = (".aux.xml", ".ovr", ".msk")  # after the name, and what takes the suffix's place:
_INSTEAD = (".tfw", ".tifw", ".wld", ".pgw", ".pngw", ".jgw", ".jpgw", ".j2w", ".prj", ".aux.xml")

_lock = threading.Lock()
_folders: dict[int, Path] = {}  # process -> its folder of links


def gdal_name(path: str) -> str:
    """Return a name that GDAL understands, which reads names as UTF-8.

    Where the locale is ASCII, Python's text for a path is another than its UTF-8. A name that is
    no UTF-8 at all is reached through a link with a name that is; its sidecars are linked, too.

    Raises:
        OSError: There is no place for the link.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        pass
    else:
        return path
    text = printable(path)
    if os.fsencode(path) == text.encode():
        return text
    here = Path(path).absolute()
    with _lock:
        if not _is_text(str(here.parent)):
            # What a virtual raster names lies beside it.
            here = _link(_folder() / _hash(here.parent), here.parent) / here.name
        if _is_text(here.name):
            return str(here)
        name = _hash(here)
        for end in _BESIDE:
            _link(
                _folder() / f"{name}{printable(here.suffix)}{end}", here.with_name(here.name + end)
            )
        for end in _INSTEAD:
            _link(_folder() / f"{name}{end}", here.with_suffix(end))
        return str(_link(_folder() / f"{name}{printable(here.suffix)}", here))


def _is_text(name: str) -> bool:
    return printable(name) == name


def _hash(path: Path) -> str:
    return hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()


def _folder() -> Path:
    """Return the folder of this process for links; it is removed at the end."""
    process = os.getpid()
    if process not in _folders:
        _folders[process] = Path(tempfile.mkdtemp(prefix="foveate-names-"))
        atexit.register(shutil.rmtree, _folders[process], ignore_errors=True)
    return _folders[process]


def _link(link: Path, target: Path) -> Path:
    if target.exists() and not link.is_symlink():
        link.symlink_to(target)
    return link
