"""An asset of a STAC item as a source: its file, read as the item says.

What the item says of nodata, scale and offset takes the place of what the file says. Where it also
says size, place, type and number of bands, the header is not read before the first pixels are, and
then compared.
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
_OFF = 0.01  # pixels that a corner may be off what the item says


@dataclass(frozen=True)
class AssetSource(FileSource):
    """A file that an item of STAC describes; for the rest see `FileSource`.

    Attributes:
        item: Id of the item.
        asset: Key of the asset.
        facts: What the item says.

    Raises:
        DataError: On first use, when the file cannot be read or is not as the item says.
    """

    item: str = ""
    asset: str = ""
    facts: Facts = field(default_factory=lambda: Facts(""))

    @property
    def who(self) -> str:
        """The asset in messages."""
        return f"the asset {self.asset!r} of the item {self.item!r}"

    @cached_property
    def info(self) -> SourceInfo:
        """What the item says, as far as that is enough, else what the header says."""
        if not self.facts.complete:
            return self._named(lambda: self.described(*self._file, self._reading))
        stored = self._claimed
        found = self.described(stored, self.state, self._decided(stored))
        # Whether the file has a mask, too, is known when it is opened: all pixels are looked at.
        return replace(found, masked=True, rules=(*found.rules, _MASKS))

    def read(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> Raster:
        """Read a window; see `Source.read`."""
        return self._named(
            lambda: self._checked and FileSource.read(
                self, window, bands=bands, out_shape=out_shape
            )
        )  # fmt: skip

    def stored(self, window: Window | None = None) -> StoredPixels:
        """Read a window as the file stores it; see `FileSource.stored`."""
        return self._named(lambda: self._checked and FileSource.stored(self, window))

    @cached_property
    def _file(self) -> tuple[Stored, str]:
        """What the file says of itself, in the words of the item where it has some."""
        stored, content = FileSource._file.func(self)  # noqa: SLF001  (its own)
        said = (self.facts.nodata, self.facts.scaling)
        if not any(said):
            return stored, content
        return replace(stored, header=self._overlaid(stored.header)), digest([content, *said])

    @cached_property
    def _claimed(self) -> Stored:
        """What the item says of the file."""
        facts = self.facts
        assert facts.shape is not None  # noqa: S101  (asked of complete facts)
        header = FileHeader(
            driver="", dtypes=(facts.dtype,) * len(facts.names), descriptions=facts.names,
            nodata=(None,) * len(facts.names), georeferenced=True,
        )  # fmt: skip
        return Stored(self._overlaid(header), facts.shape, facts.geobox, "")

    @property
    def state(self) -> str:
        """What tells this content from another, without reading it."""
        path = self.path
        if not is_url(path) and Path(path).is_file():
            status = Path(path).stat()
            path = f"{Path(path).name} {status.st_size} {status.st_mtime_ns}"
        facts = self.facts
        place = [] if facts.geobox is None else [str(facts.geobox.crs), *facts.geobox.affine[:6]]
        said = (facts.names, facts.dtype, facts.shape, facts.nodata, facts.scaling)
        return digest([path, facts.state, place, *said])

    def _overlaid(self, header: FileHeader) -> FileHeader:
        """Return a header with what the item says of values in place of what it says."""
        facts = self.facts
        for what in (facts.nodata, facts.scaling):
            if what and len(what) != len(header.dtypes):
                raise DataError(
                    f"{self.who} has {len(header.dtypes)} bands, the item describes {len(what)}",
                    "An item describes every band of an asset.",
                )
        if facts.nodata:
            mask = "" if header.mask == "values" else header.mask
            header = replace(header, nodata=facts.nodata, nodata_text="", mask=mask)
        if facts.scaling:
            plain = all(pair == (1.0, 0.0) for pair in facts.scaling)
            header = replace(header, scaling=() if plain else facts.scaling, unscalable="")
        return header

    def _decided(self, stored: Stored) -> Reading:
        return decide(
            stored.header, Asked(self.nodata, self.palette, self.physical, self.labels)
        )  # fmt: skip

    @cached_property
    def _checked(self) -> bool:
        """Whether the file is as the item says.

        Raises:
            DataError: It is not.
        """
        if not self.facts.complete:
            return True
        claimed, real = self._claimed, self._file[0]
        own, reading = self._decided(claimed), self._reading
        for what, says, has in (
            ("pixels", "{} x {}".format(*claimed.shape), "{} x {}".format(*real.shape)),
            ("bands", own.bands, reading.bands),
            ("values of type", own.dtype, reading.dtype),
        ):
            if says != has:
                raise DataError(
                    f"{self.who} has {has} {what}, and the item says {says}"
                    if what != "values of type"
                    else f"{self.who} has values of type {has}, and the item says {says}",
                    "Tiles are cut by what the item says.", "Correct the item.",
                )  # fmt: skip
        if not _same_place(claimed.geobox, real.geobox):
            raise DataError(
                f"{self.who} lies elsewhere than the item says (proj:transform, proj:code)",
                "Tiles are cut by what the item says.", "Correct the item.",
            )  # fmt: skip
        return True

    def _named(self, work: Any) -> Any:
        """Do some work; errors name the item and the asset."""
        try:
            return work()
        except FoveateError as error:
            if self.who in error.given:
                raise
            given = f"{self.who}: {error.given}"
            raise type(error)(given, error.allowed, error.hint) from error


def need_asset(source: AssetSource) -> AssetSource:
    """Return an asset whose file is there, as far as that is seen without a request.

    Raises:
        DataError: It is a path of this machine, and there is no such file.
        MissingExtraError: It is a URL, without the packages for that.
    """
    if is_url(source.path):
        need_cloud(URL(source.path))
    elif not Path(source.path).is_file():
        raise DataError(
            f"{source.who} is not there: {printable(source.path)!r}",
            "Each asset that is read is a file.",
            "Fetch it, correct the item, or leave the item out (--datetime, --bbox).",
        )
    return source


def _same_place(claimed: GeoBox | None, real: GeoBox | None) -> bool:
    """Say whether corners agree to a hundredth of a pixel, and the CRS; of what both state."""
    if claimed is None or real is None:
        return real is None or claimed is None
    if claimed.crs and real.crs and not same_crs(str(claimed.crs), str(real.crs)):
        return False
    h, w = claimed.shape
    back = ~real.affine
    corners = [(claimed.affine @ (x, y), (x, y)) for x, y in ((0, 0), (w, 0), (0, h), (w, h))]
    return all(
        max(abs(a - b) for a, b in zip(back @ there, here, strict=True)) <= _OFF
        for there, here in corners
    )
