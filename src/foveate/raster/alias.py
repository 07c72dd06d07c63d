"""Names for GDAL of files whose names are not UTF-8."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

from foveate.files import printable

_APPENDED = (".aux.xml", ".ovr", ".msk")  # sidecar suffixes appended to the name
_REPLACED = (".tfw", ".tifw", ".wld", ".pgw", ".pngw", ".jgw", ".jpgw", ".j2w", ".prj", ".aux.xml")

_lock = threading.Lock()
_folders: dict[int, Path] = {}  # process -> its folder of links


def gdal_name(path: str) -> str:
    """Return a name of a file for GDAL, which decodes names as UTF-8.

    With an ASCII locale, Python's text of a path differs from its UTF-8. Files with names that are
    not UTF-8 are opened through a symbolic link with a valid name; their sidecars are linked, too.

    Raises:
        OSError: The link cannot be created.
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
    file = Path(path).absolute()
    with _lock:
        if not _is_text(str(file.parent)):
            # The folder is linked, because source files of a virtual raster may be in it.
            file = _link(_folder() / _hash(file.parent), file.parent) / file.name
        if _is_text(file.name):
            return str(file)
        name = _hash(file)
        for end in _APPENDED:
            _link(
                _folder() / f"{name}{printable(file.suffix)}{end}", file.with_name(file.name + end)
            )
        for end in _REPLACED:
            _link(_folder() / f"{name}{end}", file.with_suffix(end))
        return str(_link(_folder() / f"{name}{printable(file.suffix)}", file))


def _is_text(name: str) -> bool:
    return printable(name) == name


def _hash(path: Path) -> str:
    return hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()


def _folder() -> Path:
    """Return the folder of this process for links; it is removed at exit."""
    process = os.getpid()
    if process not in _folders:
        _folders[process] = Path(tempfile.mkdtemp(prefix="foveate-names-"))
        atexit.register(shutil.rmtree, _folders[process], ignore_errors=True)
    return _folders[process]


def _link(link: Path, target: Path) -> Path:
    if target.exists() and not link.is_symlink():
        link.symlink_to(target)
    return link
