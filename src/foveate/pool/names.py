"""Which image a list means: by its id, else by its last part, with or without suffix."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.pool.find import readable
from foveate.raster import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable


class Names:
    """The ids of images, to be found by what a file of the user's calls them.

    Args:
        ids: Scene ids: paths below the folder given, without suffix, composed as NFC.
        who: What names them, for the message ("the coordinate list").
        folders: Whether the folders that both sides state must agree. Published coordinate lists
            name folders that users rename; captions of "airport/1" are not those of "beach/1".
    """

    def __init__(self, ids: Iterable[str], who: str, *, folders: bool = False) -> None:
        self._folders = folders
        self._ids = dict.fromkeys(ids)
        self._who = who
        self._by_last: dict[str, list[str]] = {}
        for scene_id in self._ids:
            self._by_last.setdefault(scene_id.rsplit("/", 1)[-1], []).append(scene_id)

    def look_up(self, name: str) -> str | None:
        """Return the id that a name means, or None.

        Raises:
            DataError: It fits several images.
        """
        name = readable(name)
        suffix = PurePosixPath(name).suffix
        forms = [name, name.removesuffix(suffix)] if suffix.lower() in SUFFIXES else [name]
        for form in forms:
            if form in self._ids:
                return form
        for form in forms:
            meant = self._by_last.get(form.rsplit("/", 1)[-1], [])
            if self._folders:
                meant = [i for i in meant if _agree(i, form)]
            if len(meant) > 1:
                raise DataError(
                    f"{self._who} names the image {name!r}, which is {meant[0]!r} or {meant[1]!r}",
                    "A name without its folder must fit one image.",
                    "Write the folder too, as in the first of them.",
                )
            if meant:
                return meant[0]
        return None

    def find(self, name: str) -> str:
        """Return the id that a name means.

        Raises:
            DataError: It fits none, or several images.
        """
        found = self.look_up(name)
        if found is None:
            raise DataError(
                f"{self._who} names the image {name!r}, which is not among the images",
                f"Images: {', '.join(sorted(self._ids)[:5])}"
                f"{' ...' if len(self._ids) > 5 else '.'}",
                "Give the folder that the list was made for.",
            )
        return found


def _agree(a: str, b: str) -> bool:
    """Say whether one path is the end of the other."""
    return f"/{a}".endswith(f"/{b}") or f"/{b}".endswith(f"/{a}")
