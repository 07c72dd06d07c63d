"""Pair images with their masks and further bands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.files import printable
from foveate.location import URL, locate
from foveate.pool.contents import content_notes
from foveate.pool.find import Paths, find, index, need_files
from foveate.pool.found import File, Found
from foveate.pool.notes import Note
from foveate.pool.roles import ending_of, find_both, find_images, shared_name
from foveate.pool.stac.rows import item_scenes
from foveate.pool.stac.search import Search
from foveate.pool.stac.sources import stac_paths
from foveate.wording import part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from foveate.location import Location
    from foveate.pool.stac.rows import ItemScene

_EXAMPLES = 3


@dataclass(frozen=True)
class Row:
    """The files of one scene.

    Attributes:
        key: Name of the scene.
        paths: The image, or the files of its bands.
        mask: Its mask, or None.
        extra: Its further bands.
        item: Its STAC item, which replaces `paths`; or None.
    """

    key: str
    paths: tuple[Location, ...]
    mask: Location | None = None
    extra: tuple[Location, ...] = ()
    item: ItemScene | None = None


@dataclass(frozen=True)
class Pairing:
    """Paired files, and files that are left out; no file is opened.

    Attributes:
        rows: The scenes, sorted by name.
        images: The images that were found, and the files that are left out.
        masks: The same for masks; None if no masks were requested.
        extra: The same for further bands.
        notes: Notes on the files.
    """

    rows: tuple[Row, ...]
    images: Found
    masks: Found | None
    extra: tuple[Found, ...]
    notes: tuple[Note, ...]


def pair_files(
    images: Paths,
    masks: Paths | None = None,
    extra: Sequence[Paths] = (),
    stack: Sequence[str] = (),
    mask_suffix: str = "",
    *,
    search: Search | None = None,
) -> Pairing:
    """Find images, masks and further bands, and pair them by name.

    Args:
        images: Folders, files or globs; or STAC.
        masks: The same; None for images without masks.
        extra: The same, for each further band.
        stack: Endings of names that are bands of one scene.
        mask_suffix: Ending of the names of masks before the file suffix: "_truth".
        search: Selection of STAC items and of their assets.

    Raises:
        DataError: A path does not exist, no files are found, names do not distinguish images from
            masks, or an image has no partner or several, or is the same file as its partner.
        ParameterError: A path is empty, `mask_suffix` is given without masks, or `search` without
            STAC.
    """
    if mask_suffix and masks is None:
        raise ParameterError(
            f"mask_suffix={mask_suffix!r} is given without masks",
            "It distinguishes masks from images.",
            "Give the folder of the masks: --masks DIR, masks=DIR.",
        )
    of_stac = _found_items(images, stack, search)
    labels = None
    if of_stac is not None:
        items, notes = of_stac
        pictures = _as_files(items, images)
        labels = None if masks is None else need_files(find(masks, "mask"), "mask")
        scenes = [(file, [file.path]) for file in pictures.files]
    else:
        items = []
        if masks is None:
            pictures = find_images(images)
            notes = pictures.notes()
        else:
            pictures, labels = find_both(images, masks, mask_suffix)
            # Files read in the other role are not left out; identical notes are reported once.
            notes = _unused(pictures.notes(), labels)
            notes += [n for n in _unused(labels.notes(), pictures) if n not in notes]
        notes += content_notes(pictures.files)
        scenes, stack_notes = _stack(pictures.files, stack)
        notes += stack_notes
    by_name = {item.name: item for item in items}
    heads = [file for file, _ in scenes]
    others, tables = [], []
    for paths in extra:
        further = need_files(find(paths, "extra"), "extra")
        table, pair_notes = partners(heads, further.files, "further band")
        notes += [*(n for n in further.notes() if n not in notes), *pair_notes]
        others.append(further)
        tables.append(table)
    mask_of: dict[str, Location] = {}
    if labels is not None:
        mask_of, pair_notes = partners(heads, labels.files, "mask", suffix=mask_suffix)
        notes += pair_notes
    rows = [
        Row(f.key, tuple(paths), mask_of.get(f.key), tuple(table[f.key] for table in tables),
            by_name.get(f.key))
        for f, paths in sorted(scenes, key=lambda scene: scene[0].key)
    ]  # fmt: skip
    return Pairing(tuple(rows), pictures, labels, tuple(others), tuple(notes))


def _found_items(
    images: Paths, stack: Sequence[str], search: Search | None
) -> tuple[list[ItemScene], list[Note]] | None:
    """Return the scenes of STAC items and notes; None if the images are not STAC.

    Raises:
        ParameterError: A search is given without STAC, or a stack with STAC.
    """
    entries = [images] if isinstance(images, str | Path) else list(images)
    paths = stac_paths([str(path) for path in entries])
    stated = [] if search is None else search.stated()
    if paths is None:
        if stated:
            raise ParameterError(
                f"{stated[0]} is given for images that are not STAC",
                "It selects items and assets of a STAC catalogue.",
                "Remove it, or give a catalogue: catalog.json, items.parquet, "
                "https://HOST/collections/NAME.",
            )
        return None
    if stack:
        raise ParameterError(
            f"stack={','.join(stack)} is given for a STAC catalogue",
            "It stacks files by the endings of their names; items have assets.",
            f"Use --assets {','.join(stack)}",
        )
    return item_scenes(paths, search or Search())


def _as_files(items: Sequence[ItemScene], images: Paths) -> Found:
    """Return items as files, for pairing by name."""
    entries = [images] if isinstance(images, str | Path) else list(images)
    files = [File(locate(item.bands[0][1].href), (), item.name) for item in items]
    return Found(tuple(files), given=tuple(locate(str(path)) for path in entries))


def _unused(notes: list[Note], other: Found) -> list[Note]:
    """Remove notes on files that are all read in the other role."""
    used = {printable(str(f.path)) for f in other.files}
    return [n for n in notes if not used.issuperset(n.items)]


def partners(
    images: Sequence[File], others: Sequence[File], what: str, *, suffix: str = ""
) -> tuple[dict[str, Location], list[Note]]:
    """Return scene -> partner, paired by the text matched by wildcards, otherwise by name.

    Args:
        images: Images with unique keys.
        others: Files to pair them with.
        what: Role of these files: "mask", "further band".
        suffix: Ending of the names of these files.

    Returns:
        The partner of each image, and a note if some files have no image.

    Raises:
        DataError: Two images have the same name, an image has no partner or several, a partner
            matches several images, or is the same file as its image.
    """
    index(images, "images")
    index(others, f"{what}s")
    matches: dict[str, File] = {}
    if len(images) == len(others) == 1 and images[0].named and others[0].named:
        matches[images[0].key] = others[0]  # unambiguous, whatever the names are
    else:
        wild = all(f.wild is not None for f in (*images, *others))
        for group, candidates in _groups(images, others, suffix, wild=wild):
            matches |= _matched(group, candidates, what)
    missing = [f for f in images if f.key not in matches]
    used = {f.key for f in matches.values()}
    unused = [f for f in others if f.key not in used]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(images)} images have no {what}, the first is "
            f"{missing[0].key!r}",
            f"Images: {_keys(missing)}. There are {len(others)} {what}s"
            + (f", of which {len(unused)} match no image: {_keys(unused)}." if unused else "."),
            "An image and its partner must have the same path below the given folder, apart from "
            "the suffix and from words such as image, mask and label. "
            + (
                "Give the ending of the masks (--mask-suffix _truth, mask_suffix='_truth'), or "
                "globs whose wildcards match the same text: 'DIR/*_a.tif' --masks 'DIR/*_b.tif'."
                if what == "mask"
                else "Give globs whose wildcards match the same text: 'DIR/*_a.tif'."
            ),
        )
    for image in images:
        if _same_file(matches[image.key].path, image.path):
            raise DataError(
                f"the image {image.key!r} and its {what} are the same file: "
                f"{printable(str(matches[image.key].path))!r}",
                f"An image and its {what} must be two files.",
                "Check the folders: one may be a link to the other.",
            )
    notes = []
    if unused:
        text = f"{len(unused)} of {len(others)} {what}s match no image and are not used"
        names = tuple(f.key for f in unused)
        notes = [Note("pairing", f"{text}, the first is {names[0]!r}", items=names)]
    return {key: file.path for key, file in matches.items()}, notes


def _same_file(first: Location, other: Location) -> bool:
    if isinstance(first, URL) or isinstance(other, URL) or not other.exists():
        return first == other
    return first.samefile(other)


def need_partners(keys: Sequence[str], table: Mapping[str, object], what: str) -> list[Note]:
    """Check that every image has a partner of the same name.

    Returns:
        A note if some partners have no image.

    Raises:
        DataError: An image has no partner.
    """
    missing = sorted(set(keys) - set(table))
    unused = sorted(set(table) - set(keys))
    if missing:
        raise DataError(
            f"{len(missing)} of {len(keys)} images have no {what}, the first is {missing[0]!r}",
            f"There are {len(table)} {what}s"
            + (f", of which {unused[0]!r} matches no image." if unused else "."),
            "An image and its partner must have the same name apart from the suffix.",
        )
    if not unused:
        return []
    text = f"{len(unused)} of {len(table)} {what}s match no image and are not used"
    return [Note("pairing", f"{text}, the first is {unused[0]!r}", items=tuple(unused))]


def _groups(
    images: Sequence[File], others: Sequence[File], suffix: str, *, wild: bool
) -> Iterable[tuple[list[File], list[File]]]:
    """Yield groups of images and partners with the same shared name."""
    groups: dict[str, tuple[list[File], list[File]]] = {}
    for side, files in enumerate((images, others)):
        for file in files:
            name = file.wild or "" if wild else shared_name(file, suffix if side else "")
            groups.setdefault(name, ([], []))[side].append(file)
    return groups.values()


def _matched(images: list[File], others: list[File], what: str) -> dict[str, File]:
    """Pair files that share a name: one image with one partner, otherwise by equal keys.

    Raises:
        DataError: The pairs are ambiguous.
    """
    if not images or not others:
        return {}
    if len(images) == len(others) == 1:
        return {images[0].key: others[0]}
    same = {f.key: f for f in others}
    matches = {f.key: same[f.key] for f in images if f.key in same}
    if len(matches) == len(others):
        return matches
    spare = [f for f in others if f not in matches.values()]
    image = next((f for f in images if f.key not in matches), None)
    if image is None or len(images) == 1:
        image = image or images[0]
        first, second = matches.get(image.key, others[0]), spare[-1]
        ending = ending_of(second)
        raise DataError(
            f"two {what}s may belong to the image {image.key!r}: "
            f"{printable(str(first.path))!r} and {printable(str(second.path))!r}",
            f"An image must have one {what}.",
            f"Move one of them out of the folder, or select by a glob: --{what}s "
            f"'DIR/*{ending}{second.path.suffix}'."
            if what == "mask"
            else "Move one of them out of the folder.",
        )
    twin = next(f for f in images if f is not image)
    raise DataError(
        f"the {what} {printable(str(spare[0].path))!r} may belong to two images: "
        f"{printable(str(image.path))!r} and {printable(str(twin.path))!r}",
        f"Each image must have a separate {what}.",
        "Move one of them out of the folder, or give the images by a glob: "
        f"'DIR/*{ending_of(twin)}{twin.path.suffix}'.",
    )


def _keys(files: Sequence[File]) -> str:
    return ", ".join(f.key for f in files[:_EXAMPLES]) + (" ..." if len(files) > _EXAMPLES else "")


def _stack(
    files: Sequence[File], endings: Sequence[str]
) -> tuple[list[tuple[File, list[Location]]], list[Note]]:
    """Return each scene with the files of its bands, and a note on files that are not bands."""
    if not endings:
        index(files, "images")
        return [(file, [file.path]) for file in files], []
    groups: dict[str, dict[str, File]] = {}
    for file in files:
        for ending in endings:
            if file.key.endswith(ending):
                stem = file.key[: -len(ending)].rstrip("_-. ")
                twin = groups.setdefault(stem, {}).setdefault(ending, file)
                if twin is not file:
                    raise DataError(
                        f"two files are the band {ending!r} of the scene {stem!r}: "
                        f"{printable(str(twin.path))!r} and {printable(str(file.path))!r}",
                        "Each band of a scene must be one file.",
                        "Move one of them out of the folder, or give a longer ending.",
                    )
    if not groups:
        raise DataError(
            f"no file name ends in {', '.join(endings)}",
            f"A file name is, for example, {files[0].key!r}.",
            "Give endings of file names without suffix (--stack B4,B3, stack=['B4', 'B3']).",
        )
    for stem, bands in groups.items():
        absent = [e for e in endings if e not in bands]
        if absent:
            raise DataError(
                f"the scene {stem!r} has no file ending in {', '.join(absent)}",
                f"Every scene must have files ending in {', '.join(endings)}.",
                "Add the file, or remove the ending from the stack.",
            )
    used = {file.path for bands in groups.values() for file in bands.values()}
    unused = tuple(file.key for file in files if file.path not in used)
    verbs = (
        "is no band of the stack and is not read",
        "are not bands of the stack and are not read",
    )
    text = part(len(unused), len(files), "file", *verbs)
    notes = [Note("files", f"{text}, the first is {unused[0]!r}", items=unused)] if unused else []
    scenes = [
        (replace(bands[endings[0]], key=stem, wild=None), [bands[e].path for e in endings])
        for stem, bands in groups.items()
    ]
    return scenes, notes
