"""Open datasets of GDAL, cached by thread: all files of GDAL are opened for reading here."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import threading
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, FoveateError
from foveate.files import printable
from foveate.location import is_url, redact
from foveate.raster.alias import gdal_name
from foveate.remote import open_object

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import rasterio
    from numpy.typing import NDArray

GDAL = {
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # a truncated JPEG is an error, not grey pixels
    "GDAL_CACHEMAX": 256 << 20,  # bytes; the default, 5 % of memory, breaks the memory bound
}
# Sidecars (.aux.xml, .tfw, .ovr, .msk) are probed by name: listing the folder for each file
# would be quadratic. Reading never modifies them: GDAL writes .aux.xml for metadata that were set
# or computed (statistics), which does not happen here.
_READING = GDAL | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_PAM_ENABLED": True}
_OPEN_FILES = 16
_OPEN_REMOTE = 64  # remote datasets have no file handles
_VIRTUAL = re.compile(r"/vsiriopener_[0-9a-f]+/")  # prefix of the names of remote files


class _Open(threading.local):
    """Open datasets of this thread, last used last: datasets of GDAL are not thread-safe."""

    def __init__(self) -> None:
        self.datasets: OrderedDict[str, tuple[tuple[int, ...], Any]] = OrderedDict()


_open = _Open()


@contextlib.contextmanager
def open_dataset(path: str) -> Generator[rasterio.DatasetReader]:
    """Yield an open dataset from the cache of this thread; convert errors to `DataError`."""
    import rasterio

    key = str(path)
    try:
        with quiet(), rasterio.Env(**_READING):
            dataset = _cached(key)
            if dataset is None:
                stamp = _stamp(key)  # before opening: a file replaced meanwhile is reopened
                dataset = _open_new(key)
                _open.datasets[key] = (stamp, dataset)
                _close_oldest(remote=is_url(key))
            yield dataset
            _raise_failure(key)
    except rasterio.errors.RasterioError as error:
        _close(key)
        _raise_failure(key)
        raise DataError(
            f"cannot read {printable(key)!r}: {_reason(error)}",
            "The file is missing, truncated or not a raster that GDAL can read.",
            "Replace the file, or move it out of the folder.",
        ) from error
    except BaseException:
        with contextlib.suppress(FoveateError):
            _raise_failure(key)  # otherwise it would be raised for the next file
        raise


def read_bands(
    dataset: rasterio.DatasetReader, bands: Sequence[int], **options: Any
) -> NDArray[Any]:
    """Return (c, h, w) pixels of bands in their common dtype.

    Args:
        dataset: An open file; rasterio reads several bands at once only if their dtypes are equal,
            which they need not be in a VRT.
        bands: 1-based.
        options: Window, size and resampling, as for `rasterio.DatasetReader.read`.
    """
    if len({dataset.dtypes[b - 1] for b in bands}) == 1:
        return dataset.read(bands, **options)
    parts = [dataset.read(band, **options) for band in bands]
    return np.stack([part.astype(np.result_type(*parts)) for part in parts])


def _open_new(key: str) -> rasterio.DatasetReader:
    import rasterio

    if is_url(key):
        from foveate.raster.opener import open_remote

        return open_remote(key)
    return rasterio.open(gdal_name(key))


def _raise_failure(key: str) -> None:
    """Raise the error of fetching a remote file, which GDAL ignores or misreports."""
    if not is_url(key):
        return
    from foveate.raster.opener import raise_failure

    try:
        raise_failure()
    except FoveateError:
        _close(key)  # its block cache may be invalid
        raise


def _cached(key: str) -> Any:
    """Return the open dataset of a file of this thread, unless the file was replaced."""
    stamp, dataset = _open.datasets.pop(key, ((), None))
    if dataset is None:
        return None
    if stamp != _stamp(key):
        dataset.close()
        return None
    _open.datasets[key] = (stamp, dataset)
    return dataset


def _stamp(path: str) -> tuple[int, ...]:
    """Return values that change if a file is replaced, or if the process was forked."""
    if is_url(path):
        return (os.getpid(), open_object(path).number)
    try:
        stat = os.stat(path)  # noqa: PTH116  (may be a URL)
    except OSError:
        return (os.getpid(),)
    return (os.getpid(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _close_oldest(*, remote: bool) -> None:
    """Close the datasets of local or of remote files used longest ago, if there are too many."""
    keys = [key for key in _open.datasets if is_url(key) == remote]
    for key in keys[: -(_OPEN_REMOTE if remote else _OPEN_FILES)]:
        _close(key)


def _close(key: str) -> None:
    """Close a cached dataset of this thread.

    A remote one that an error kept alive would be closed by the garbage collector of any thread,
    and rasterio knows the file objects of a thread only there.
    """
    _, dataset = _open.datasets.pop(key, ((), None))
    if dataset is not None:
        dataset.close()


def close_files() -> None:
    """Close the cached datasets of this thread; those of other threads close when they end."""
    while _open.datasets:
        _close(next(iter(_open.datasets)))


atexit.register(close_files)  # while the interpreter can still handle messages of GDAL


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Suppress warnings about files without a georeference."""
    import rasterio

    with warnings.catch_warnings():
        # PNG and JPEG patches usually have no georeference.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    text = _VIRTUAL.sub("", redact(str(cause)).strip().rstrip("."))
    return text or type(cause).__name__
