"""Look-up of images by name: by the id, or by its last part, with or without suffix."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.pool.find import readable
from foveate.raster import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable


class Names:
    """Ids of images, looked up by the names used in a file of the user.

    Args:
        ids: Scene ids: paths below the given folder, without suffix, in Unicode normal form NFC.
        who: Source of the names, for messages ("the coordinate list").
        folders: Whether folders that are part of both names must match. Published coordinate lists
            contain folders that users rename; but captions of "airport/1" are not those of
            "beach/1".
    """

    def __init__(self, ids: Iterable[str], who: str, *, folders: bool = False) -> None:
        self._folders = folders
        self._ids = dict.fromkeys(ids)
        self._who = who
        self._by_last: dict[str, list[str]] = {}
        for scene_id in self._ids:
            self._by_last.setdefault(scene_id.rsplit("/", 1)[-1], []).append(scene_id)

    def look_up(self, name: str) -> str | None:
        """Return the id of a name, or None.

        Raises:
            DataError: The name matches several images.
        """
        name = readable(name)
        suffix = PurePosixPath(name).suffix
        forms = [name, name.removesuffix(suffix)] if suffix.lower() in SUFFIXES else [name]
        for form in forms:
            if form in self._ids:
                return form
        for form in forms:
            matches = self._by_last.get(form.rsplit("/", 1)[-1], [])
            if self._folders:
                matches = [i for i in matches if _agree(i, form)]
            if len(matches) > 1:
                raise DataError(
                    f"the image {name!r} of {self._who} matches {matches[0]!r} and {matches[1]!r}",
                    "A name without its folder must match one image.",
                    f"Add the folder, for example {matches[0]!r}.",
                )
            if matches:
                return matches[0]
        return None

    def find(self, name: str) -> str:
        """Return the id of a name.

        Raises:
            DataError: The name matches no image, or several images.
        """
        match = self.look_up(name)
        if match is None:
            raise DataError(
                f"the image {name!r} of {self._who} is not in the pool",
                f"Images: {', '.join(sorted(self._ids)[:5])}"
                f"{' ...' if len(self._ids) > 5 else '.'}",
                "Give the folder of images for which the list was made.",
            )
        return match


def _agree(a: str, b: str) -> bool:
    """Return whether one path is the end of the other."""
    return f"/{a}".endswith(f"/{b}") or f"/{b}".endswith(f"/{a}")
