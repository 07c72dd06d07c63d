"""Raster source for an asset of a STAC item.

Nodata, scale and offset stated by the item replace those of the file. If the item also states
shape, georeferencing, dtype and bands, the header is read only with the first pixels, and then
compared with the item.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, FoveateError
from foveate.files import digest, printable
from foveate.location import URL, is_url
from foveate.pool.stac.assets import Facts
from foveate.raster import FileSource
from foveate.raster.header import Stored
from foveate.raster.place import same_crs
from foveate.raster.reading import Asked, FileHeader, decide
from foveate.remote import need_cloud

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox

    from foveate.grid import Window
    from foveate.raster import Raster, SourceInfo, StoredPixels
    from foveate.raster.reading import Reading

_MASKS = "masks inside the file, if it has any"
_CORNER_TOLERANCE = 0.01  # pixels between a corner of the file and of the item


@dataclass(frozen=True)
class AssetSource(FileSource):
    """A raster file described by a STAC item; see `FileSource` for the other attributes.

    Attributes:
        item: Id of the item.
        asset: Key of the asset.
        facts: Metadata stated by the item.

    Raises:
        DataError: On first use, if the file cannot be read or contradicts the item.
    """

    item: str = ""
    asset: str = ""
    facts: Facts = field(default_factory=lambda: Facts(""))

    @property
    def who(self) -> str:
        """Name of the asset in messages."""
        return f"the asset {self.asset!r} of the item {self.item!r}"

    @cached_property
    def info(self) -> SourceInfo:
        """Metadata of the item if complete, else of the header of the file."""
        if not self.facts.complete:
            return self._with_context(lambda: self.described(*self._file, self._reading))
        stored = self._stated
        info = self.described(stored, self.state, self._decide(stored))
        # Only the file shows whether it contains a mask: assume one, so that pixels are checked.
        return replace(info, masked=True, rules=(*info.rules, _MASKS))

    def _read(
        self, window: Window, bands: Sequence[int] | None, out_shape: tuple[int, int] | None
    ) -> Raster:
        read = super()._read
        return self._with_context(lambda: self._checked and read(window, bands, out_shape))

    def stored(self, window: Window | None = None) -> StoredPixels:
        """Read a window as the file stores it; see `FileSource.stored`."""
        return self._with_context(lambda: self._checked and FileSource.stored(self, window))

    @cached_property
    def _file(self) -> tuple[Stored, str]:
        """Header of the file, with values of the item taking precedence, and its digest."""
        stored, content = FileSource._file.func(self)  # noqa: SLF001  (base class)
        overrides = (self.facts.nodata, self.facts.scaling)
        if not any(overrides):
            return stored, content
        return replace(stored, header=self._override(stored.header)), digest([content, *overrides])

    @cached_property
    def _stated(self) -> Stored:
        """Header of the file as stated by the item."""
        facts = self.facts
        assert facts.shape is not None  # noqa: S101  (only used if `facts.complete`)
        header = FileHeader(
            driver="", dtypes=(facts.dtype,) * len(facts.names), descriptions=facts.names,
            nodata=(None,) * len(facts.names), georeferenced=True,
        )  # fmt: skip
        return Stored(self._override(header), facts.shape, facts.geobox, "")

    @property
    def state(self) -> str:
        """Digest of path, size, time and stated metadata: identifies the content unread."""
        path = self.path
        if not is_url(path) and Path(path).is_file():
            status = Path(path).stat()
            path = f"{Path(path).name} {status.st_size} {status.st_mtime_ns}"
        facts = self.facts
        grid = [] if facts.geobox is None else [str(facts.geobox.crs), *facts.geobox.affine[:6]]
        stated = (facts.names, facts.dtype, facts.shape, facts.nodata, facts.scaling)
        return digest([path, facts.state, grid, *stated])

    def _override(self, header: FileHeader) -> FileHeader:
        """Replace nodata and scaling of a header by those of the item, if stated."""
        facts = self.facts
        for values in (facts.nodata, facts.scaling):
            if values and len(values) != len(header.dtypes):
                raise DataError(
                    f"{self.who} has {len(header.dtypes)} bands, the item describes {len(values)}",
                    "An item must describe every band of an asset.",
                )
        if facts.nodata:
            mask = "" if header.mask == "values" else header.mask
            header = replace(header, nodata=facts.nodata, nodata_text="", mask=mask)
        if facts.scaling:
            plain = all(pair == (1.0, 0.0) for pair in facts.scaling)
            header = replace(header, scaling=() if plain else facts.scaling, unscalable="")
        return header

    def _decide(self, stored: Stored) -> Reading:
        return decide(
            stored.header, Asked(self.nodata, self.palette, self.physical, self.labels)
        )  # fmt: skip

    @cached_property
    def _checked(self) -> bool:
        """True if the file agrees with the item.

        Raises:
            DataError: Shape, bands, dtype or georeferencing differ.
        """
        if not self.facts.complete:
            return True
        stated, actual = self._stated, self._file[0]
        expected, reading = self._decide(stated), self._reading
        for name, says, has in (
            ("pixels", "{} x {}".format(*stated.shape), "{} x {}".format(*actual.shape)),
            ("bands", expected.bands, reading.bands),
            ("values of type", expected.dtype, reading.dtype),
        ):
            if says != has:
                raise DataError(
                    f"{self.who} has {has} {name}, and the item says {says}"
                    if name != "values of type"
                    else f"{self.who} has values of type {has}, and the item says {says}",
                    "Tiles are cut by the metadata of the item.", "Correct the item.",
                )  # fmt: skip
        if not _same_grid(stated.geobox, actual.geobox):
            raise DataError(
                f"{self.who} lies elsewhere than the item says (proj:transform, proj:code)",
                "Tiles are cut by the metadata of the item.", "Correct the item.",
            )  # fmt: skip
        return True

    def _with_context(self, function: Any) -> Any:
        """Call a function; its errors name the item and the asset."""
        try:
            return function()
        except FoveateError as error:
            if self.who in error.given:
                raise
            given = f"{self.who}: {error.given}"
            raise type(error)(given, error.allowed, error.hint) from error


def need_asset(source: AssetSource) -> AssetSource:
    """Return the source after a check, without requests, that it can be opened.

    Raises:
        DataError: A local file does not exist.
        MissingExtraError: The packages for remote files are not installed.
    """
    if is_url(source.path):
        need_cloud(URL(source.path))
    elif not Path(source.path).is_file():
        raise DataError(
            f"{source.who} does not exist: {printable(source.path)!r}",
            "Each requested asset must be an existing file.",
            "Download it, correct the item, or exclude the item (--datetime, --bbox).",
        )
    return source


def _same_grid(stated: GeoBox | None, actual: GeoBox | None) -> bool:
    """Return whether the CRS is equal and corners agree within the tolerance.

    A geobox or CRS that either side lacks is not compared.
    """
    if stated is None or actual is None:
        return True
    if stated.crs and actual.crs and not same_crs(str(stated.crs), str(actual.crs)):
        return False
    h, w = stated.shape
    to_pixels = ~actual.affine
    corners = [(stated.affine @ (x, y), (x, y)) for x, y in ((0, 0), (w, 0), (0, h), (w, h))]
    return all(
        max(abs(a - b) for a, b in zip(to_pixels @ point, pixel, strict=True)) <= _CORNER_TOLERANCE
        for point, pixel in corners
    )
