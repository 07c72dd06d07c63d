"""Scenes from items: which assets are read, under which name, and what is known of them."""

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
from foveate.pool.stac.search import moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.pool.stac.assets import Facts
    from foveate.pool.stac.items import Item
    from foveate.pool.stac.search import Search

_EXAMPLES = 3
_WINDOW = "foveate:window"  # of an item that is a tile: see `foveate.export.stac`
DATE = "datetime"


@dataclass(frozen=True)
class ItemScene:
    """A scene that an item describes.

    Attributes:
        name: Id of the item; with that of its collection where ids repeat.
        href: Path or URL of the item, or of the list that it is in.
        bands: Key and facts of each asset that is read.
        quality: Key and facts of its quality raster, or None.
        quality_kind: What that holds: "scl" or "qa_pixel"; "" where its name does not tell.
        properties: Its plain properties: numbers, truth values and texts.
    """

    name: str
    href: str
    bands: tuple[tuple[str, Facts], ...]
    quality: tuple[str, Facts] | None
    quality_kind: str
    properties: Mapping[str, Any]

    def sources(self, nodata: float | None = None) -> tuple[AssetSource, ...]:
        """Return the assets as sources.

        Raises:
            DataError: A file is not there.
        """
        return tuple(
            need_asset(AssetSource(facts.href, nodata, item=self.name, asset=key, facts=facts))
            for key, facts in self.bands
        )

    @property
    def quality_source(self) -> AssetSource | None:
        """Its quality raster, which need not be there; None without one."""
        if self.quality is None:
            return None
        key, facts = self.quality
        return AssetSource(facts.href, palette=False, item=self.name, asset=key, facts=facts)


def item_scenes(paths: Sequence[str], search: Search) -> tuple[list[ItemScene], list[Note]]:
    """Return the scenes of the items that are searched for, and notes on those left out.

    Raises:
        DataError: A path cannot be read or is no STAC, no item is left, an item is a tile that was
            chosen, or an item has not the assets.
        ParameterError: Items have several assets of imagery, and none is asked for.
    """
    found: dict[tuple[str, str], ItemScene] = {}
    left: Counter[str] = Counter()
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
                    f"two items are called {item.name!r}", "Ids of items of a collection differ.",
                    "Leave one of them out.",
                )  # fmt: skip
            found[key] = scene
    if not found:
        raise _nothing(paths, left)
    return _with_names(found), _notes(left, len(found), list(found.values()), search)


def _scene(item: Item, search: Search) -> ItemScene:
    assets = item.content["assets"]
    if _WINDOW in item.content["properties"]:
        raise DataError(
            f"the item {item.name!r} is a tile of an image, chosen by foveate",
            "An item is a scene and read as a whole; the assets of this one are all of the image.",
            "Give the imagery that it was chosen from; or export the tiles as images of their own: "
            "--to chips.",
        )
    bands = tuple((key, facts_of(item, key)) for key in bands_of(item, search.assets))
    key = quality_of(item, search.quality)
    first, last = moments(item.content) or (None, None)
    properties = {
        name: value for name, value in item.content["properties"].items()
        if isinstance(value, str | int | float) and not name.startswith("proj:")
    }  # fmt: skip
    if first is not None:
        properties[DATE] = first.isoformat().replace("+00:00", "Z")
    if last is not None and last != first:
        properties["end_datetime"] = last.isoformat().replace("+00:00", "Z")
    return ItemScene(
        name=item.name, href=item.base, bands=bands,
        quality=None if key is None else (key, facts_of(item, key)),
        quality_kind="" if key is None else quality_kind(key, assets[key]) or "",
        properties=properties,
    )  # fmt: skip


def _with_names(found: Mapping[tuple[str, str], ItemScene]) -> list[ItemScene]:
    """Return the scenes with one name each, sorted."""
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
            f"no item in {where!r}", "Catalogues lead to items by links (rel: item, child).",
            "Check the path, or the place and date that are searched for.",
        )  # fmt: skip
    why = ", ".join(f"{count:,} by {option}" for option, count in left.items())
    return DataError(
        f"no item in {where!r} is left of {left.total():,}: {why}",
        "What an item does not say (a date, a place, eo:cloud_cover) meets no condition of it.",
        f"Widen {max(left, key=left.__getitem__)}.",
    )


def _notes(
    left: Counter[str], kept: int, scenes: Sequence[ItemScene], search: Search
) -> list[Note]:
    """Say how many items are left out, and which have no quality raster where others have one."""
    notes = []
    if left:
        why = ", ".join(f"{count:,} by {option}" for option, count in left.items())
        text = f"{kept:,} of {kept + left.total():,} items are read: {why} are left out"
        notes.append(Note("files", text))
    bare = [scene.name for scene in scenes if scene.quality is None]
    if bare and (len(bare) < kept or search.quality not in ((), ("none",))):
        text = f"{len(bare)} of {kept} items have no quality raster, the first is {bare[0]!r}"
        hint = "Nothing is known of clouds there; name the asset: --quality NAME"
        notes.append(Note("validity", text, hint, tuple(bare)))
    return notes
