"""Convert STAC items to scenes: choose assets, parse their metadata, and assign unique names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.files import printable
from foveate.pool.notes import Note
from foveate.pool.stac.asset_source import AssetSource, need_asset
from foveate.pool.stac.assets import bands_of, facts_of, quality_kind, quality_of
from foveate.pool.stac.items import read_items
from foveate.pool.stac.search import moments, read_moment
from foveate.wording import part, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from foveate.pool.stac.assets import Facts
    from foveate.pool.stac.items import Item
    from foveate.pool.stac.search import Search

_EXAMPLES = 3
_WINDOW = "foveate:window"  # property of exported tiles, see `foveate.export.stac`
DATE = "datetime"


@dataclass(frozen=True)
class ItemScene:
    """A scene described by a STAC item.

    Attributes:
        name: Id of the item, prefixed with the id of its collection if several collections use it.
        href: Path or URL of the item, or of the file that lists it.
        bands: Key and metadata of each asset to read.
        quality: Key and metadata of the quality raster, or None.
        quality_kind: "scl" or "qa_pixel"; "" if its name does not indicate the kind.
        properties: Scalar properties of the item: numbers, booleans and strings.
    """

    name: str
    href: str
    bands: tuple[tuple[str, Facts], ...]
    quality: tuple[str, Facts] | None
    quality_kind: str
    properties: Mapping[str, Any]

    def sources(self, nodata: float | None = None) -> tuple[AssetSource, ...]:
        """Return one source for each asset.

        Raises:
            DataError: A local file does not exist.
            MissingExtraError: The packages for remote files are not installed.
        """
        return tuple(
            need_asset(AssetSource(facts.href, nodata, item=self.name, asset=key, facts=facts))
            for key, facts in self.bands
        )

    @property
    def quality_source(self) -> AssetSource | None:
        """The quality raster, or None. Whether the file exists is not checked."""
        if self.quality is None:
            return None
        key, facts = self.quality
        return AssetSource(facts.href, palette=False, item=self.name, asset=key, facts=facts)


def item_scenes(paths: Sequence[str], search: Search) -> tuple[list[ItemScene], list[Note]]:
    """Return the scenes of all items that match a search, and notes on the other items.

    Raises:
        DataError: A path cannot be read or is not STAC, no item matches, an item is a tile exported
            by foveate, or an item lacks a requested asset.
        ParameterError: An item has several image assets and none was requested.
    """
    found: dict[tuple[str, str], ItemScene] = {}
    left: Counter[str] = Counter()  # skipped items by the option that excludes them
    repeated: list[str] = []
    for path in paths:
        for item in read_items(path, search):
            why = search.why_not(item.content)
            if why:
                left[why] += 1
                continue
            key = (str(item.content.get("collection") or ""), item.name)
            scene = _scene(item, search)
            if key in found and found[key].bands != scene.bands:
                raise DataError(
                    f"two different items have the id {item.name!r}",
                    "Item ids must be unique within a collection.",
                    "Remove one of them.",
                )  # fmt: skip
            if key in found:
                repeated.append(item.name)
            found[key] = scene
    if not found:
        raise _nothing(paths, left)
    notes = _notes(left, len(found), list(found.values()), search)
    return _with_names(found), [*_repeated_notes(repeated), *notes]


def _scene(item: Item, search: Search) -> ItemScene:
    assets = item.content["assets"]
    if _WINDOW in item.content["properties"]:
        raise DataError(
            f"the item {item.name!r} is a tile that foveate selected from an image",
            "An item is read as a whole scene; the assets of this one contain the whole image.",
            "Give the original imagery, or export the tiles as separate images: --to chips.",
        )
    bands = tuple((key, facts_of(item, key)) for key in bands_of(item, search.assets))
    key = quality_of(item, search.quality)
    first, last = moments(item.content) or (None, None)
    properties = {
        name: value for name, value in item.content["properties"].items()
        if isinstance(value, str | int | float) and not name.startswith("proj:")
    }  # fmt: skip
    date = read_moment(properties.get(DATE)) or first
    if date is not None:
        properties[DATE] = date.isoformat().replace("+00:00", "Z")
    if last is not None and last != first:
        properties["end_datetime"] = last.isoformat().replace("+00:00", "Z")
    return ItemScene(
        name=item.name, href=item.base, bands=bands,
        quality=None if key is None else (key, facts_of(item, key)),
        quality_kind="" if key is None else quality_kind(key, assets[key]) or "",
        properties=properties,
    )  # fmt: skip


def _with_names(found: Mapping[tuple[str, str], ItemScene]) -> list[ItemScene]:
    """Return the scenes sorted by unique names."""
    from dataclasses import replace

    times = Counter(name for _, name in found)
    scenes = [
        replace(scene, name=f"{collection}/{name}" if times[name] > 1 else name)
        for (collection, name), scene in found.items()
    ]
    return sorted(scenes, key=lambda scene: scene.name)


def _nothing(paths: Sequence[str], left: Counter[str]) -> DataError:
    where = ", ".join(printable(path.partition("?")[0]) for path in paths[:_EXAMPLES])
    if not left:
        return DataError(
            f"no item in {where!r}", "Catalogues link to items (rel: item, child).",
            "Check the path, or widen --datetime and --bbox.",
        )  # fmt: skip
    why = ", ".join(f"{count:,} by {option}" for option, count in left.items())
    return DataError(
        f"none of {left.total():,} items in {where!r} matches; excluded: {why}",
        "An item without a date, a location or eo:cloud_cover does not match a condition on it.",
        f"Widen {max(left, key=left.__getitem__)}.",
    )


def _repeated_notes(names: Sequence[str]) -> Iterator[Note]:
    """Yield a note on items that are listed again with the same assets."""
    items = tuple(dict.fromkeys(names))
    if items:
        what = plural(len(items), "item is", "items are")
        which = "the first" if len(items) > 1 else "it"
        text = f"{what} listed more than once and read once; {which} is {items[0]!r}"
        yield Note("files", text, items=items)


def _notes(
    left: Counter[str], kept: int, scenes: Sequence[ItemScene], search: Search
) -> list[Note]:
    """Return notes on the number of skipped items and on missing quality rasters.

    If no item has a quality raster, they are reported only if the search names one.
    """
    notes = []
    if left:
        why = ", ".join(f"{count:,} by {option}" for option, count in left.items())
        text = f"{kept:,} of {kept + left.total():,} items are read; skipped: {why}"
        notes.append(Note("files", text))
    missing = [scene.name for scene in scenes if scene.quality is None]
    if missing and (len(missing) < kept or search.quality not in ((), ("none",))):
        text = part(len(missing), kept, "item", "has no quality raster", "have no quality raster")
        text += f", the first is {missing[0]!r}"
        hint = "Clouds are not detected in these items; name the asset: --quality NAME"
        notes.append(Note("validity", text, hint, tuple(missing)))
    return notes
