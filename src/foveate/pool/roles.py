"""Distinguish images from masks by their names.

Names are split at blanks, dots, hyphens and underscores. Words such as "image", "rgb" or
"sat" mark images, "mask", "label" or "truth" mark masks. The remaining words are the name shared
by an image and its mask: ``104_sat.jpg`` is paired with ``104_mask.png``, and
``train_images/a.tif`` with ``train_labels/a.tif``.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.pool.find import Paths, find, need_files, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.location import Location
    from foveate.pool.found import File, Found

IMAGE_WORDS = frozenset(
    {
        "image", "images", "img", "imgs", "imagery", "rgb", "sat", "satellite", "ortho",
        "jpegimages", "photo", "photos",
    }
)  # fmt: skip
MASK_WORDS = frozenset(
    {
        "mask", "masks", "label", "labels", "gt", "gts", "groundtruth", "truth", "annotation",
        "annotations", "ann", "anno", "seg", "segmentation", "segmentations", "segmentationclass",
        "segmentationobject", "segmap", "target", "targets", "lbl",
    }
)  # fmt: skip
_FILLERS = frozenset({"png", "jpg", "jpeg", "tif", "tiff", "dir", "ground"})
_PARTS = re.compile(r"[\s._\-]+")
_EXAMPLES = 3


def find_images(images: Paths, role: str = "image") -> Found:
    """Find images, without masks in the same folders.

    Raises:
        DataError: A path does not exist, or no images are found.
    """
    return need_files(plain_images(find(images, role)), role)


def find_both(images: Paths, masks: Paths, mask_suffix: str = "") -> tuple[Found, Found]:
    """Find images and masks; no file is both.

    In shared folders, images and masks are distinguished by `mask_suffix`, otherwise by their
    folders, otherwise by the words of `MASK_WORDS`.

    Args:
        images: Folders, files or globs.
        masks: The same.
        mask_suffix: Ending of the names of masks before the file suffix: "_truth".

    Raises:
        DataError: A path does not exist, no files are found, or names do not distinguish images
            from masks.
    """
    pictures, labels = find(images, "image"), find(masks, "mask")
    everything = labels.files
    need_files(pictures, "image")
    need_files(labels, "mask")
    if mask_suffix:
        named = [f for f in labels.files if _ends(f, mask_suffix)]
        if not named:
            raise DataError(
                f"no mask has a name ending in {mask_suffix!r}",
                f"Files of masks: {names_of(labels.files)}.",
                "Give the ending of their names without .tif or .png: --mask-suffix _truth, "
                "mask_suffix='_truth'.",
            )
        labels = labels.without("image", [f for f in labels.files if not _ends(f, mask_suffix)])
        pictures = pictures.without("mask", [f for f in pictures.files if _ends(f, mask_suffix)])
    else:
        pictures, labels = _apart(pictures, labels)
    if not pictures.files or not labels.files:
        missing = "image" if not pictures.files else "mask"
        raise DataError(
            f"the names of {len(everything)} files do not distinguish images from masks: "
            f"there is no {missing} among {names_of(everything)}",
            "A file is either an image or a mask, by folders such as images and masks, or by names "
            "such as a.tif and a_mask.tif, a_img.png and a_label.png.",
            f"Give the ending of the masks ({_suffix_hint(everything)}), or globs "
            "('DIR/**/*_a.png' --masks 'DIR/**/*_b.png').",
        )
    return pictures, labels


def plain_images(found: Found) -> Found:
    """Leave out masks in folders of images, if their names are unambiguous."""
    beside = _side_by_side(found.files)
    folder = {f.path: _folder_role(f) for f in found.files}
    both = "image" in folder.values()
    others = {shared_name(f) for f in found.files if folder[f.path] != "mask"}
    masks = [
        f for f in found.files
        if beside.get(f.path) == "mask"
        or (
            f.path not in beside and folder[f.path] == "mask"
            and (both or shared_name(f) in others)
        )
    ]  # fmt: skip
    return found.without("mask", masks) if len(masks) < len(found.files) else found


def shared_name(file: File, suffix: str = "") -> str:
    """Return the name shared by an image and its partner: the name without words for roles."""
    stem = file.key.rsplit("/", 1)[-1].removesuffix(readable(suffix))
    parts = [_stripped(readable(part)) for part in file.parts]
    return "/".join([*(p for p in parts if p), _stripped(stem, keep=stem)])


def ending_of(file: File) -> str:
    """Return the last word of a name with its separator, or ""."""
    match = re.search(r"[\s._\-][^\s._\-]+$", readable(file.path.stem))
    return match[0] if match else ""


def names_of(files: Sequence[File]) -> str:
    """Return the first names, for messages."""
    names = [readable(f.path.name) for f in files[:_EXAMPLES]]
    return ", ".join(map(repr, names)) + (" ..." if len(files) > _EXAMPLES else "")


def _apart(images: Found, masks: Found) -> tuple[Found, Found]:
    """Assign every file that was found in both roles to one of them."""
    pictures, labels = (_by_place(side.files) for side in (images, masks))
    shared = pictures.keys() & labels.keys()
    if shared == labels.keys() and len(labels) < len(pictures):  # the path of masks is narrower
        mask_paths = shared
    elif shared == pictures.keys() and len(pictures) < len(labels):
        mask_paths = set()
    else:
        beside = _side_by_side(masks.files)
        mask_paths = {
            path for path in shared
            if (beside.get(labels[path].path) or _folder_role(labels[path])
                or _role(labels[path].path.stem)) == "mask"
        }  # fmt: skip
    images = images.without("mask", [pictures[path] for path in mask_paths])
    masks = masks.without("image", [labels[path] for path in shared - mask_paths])
    return plain_images(images), _plain_masks(masks)


def _by_place(files: Sequence[File]) -> dict[Location, File]:
    """Return files by path with resolved folders; links to files are not resolved."""
    folders: dict[Location, Location] = {}
    for file in files:
        parent = file.path.parent
        if parent not in folders:
            folders[parent] = parent.resolve() if isinstance(parent, Path) else parent
    return {folders[f.path.parent] / f.path.name: f for f in files}


def _plain_masks(found: Found) -> Found:
    """Leave out images in folders of masks, if their folders are unambiguous."""
    folder = {f.path: _folder_role(f) for f in found.files}
    both = "mask" in folder.values()
    pictures = [
        f for f in found.files
        if both and folder[f.path] != "mask" and _role(f.path.stem) != "mask"
    ]  # fmt: skip
    return found.without("image", pictures) if len(pictures) < len(found.files) else found


def _stripped(name: str, keep: str = "") -> str:
    """Remove words for roles from a name; return `keep` if no word remains."""
    words = [w for w in _PARTS.split(name) if w]
    remaining = [w for w in words if w.lower() not in IMAGE_WORDS | MASK_WORDS]
    if len(remaining) == len(words):
        return name
    remaining = remaining if keep else [w for w in remaining if w.lower() not in _FILLERS]
    return "_".join(remaining) or keep


def _role(name: str) -> str:
    """Return the role marked by a name, or ""; names of masks may contain words for images."""
    words = {w.lower() for w in _PARTS.split(name)}
    return "mask" if words & MASK_WORDS else "image" if words & IMAGE_WORDS else ""


def _folder_role(file: File) -> str:
    """Return the role marked by the nearest folder, or ""."""
    return next((role for part in reversed(file.parts) if (role := _role(part))), "")


def _side_by_side(files: Sequence[File]) -> dict[Location, str]:
    """Return roles of files that share a folder and a name with a file of the other role."""
    groups: dict[tuple[Location, str], list[File]] = {}
    for file in files:
        name = _stripped(readable(file.path.stem), keep=readable(file.path.stem))
        groups.setdefault((file.path.parent, name), []).append(file)
    roles: dict[Location, str] = {}
    for group in groups.values():
        masks = {f.path for f in group if _role(f.path.stem) == "mask"}
        if masks and len(masks) < len(group):
            roles |= {f.path: "mask" if f.path in masks else "image" for f in group}
    return roles


def _ends(file: File, suffix: str) -> bool:
    return readable(file.path.stem).endswith(readable(suffix))


def _suffix_hint(files: Sequence[File]) -> str:
    ends = Counter(filter(None, map(ending_of, files))).most_common(2)
    name = ends[-1][0] if ends else "_mask"
    return f"--mask-suffix {name}, mask_suffix={name!r}"
