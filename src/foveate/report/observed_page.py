"""What all pages of `observe` have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from foveate.report.panels import Figure
    from foveate.report.provenance import Origin
    from foveate.report.view import Shot


@dataclass(frozen=True)
class Page:
    """A page of `observe`; each kind adds its own fields and its template."""

    styles: ClassVar[tuple[str, ...]] = ("focused.css", "observed.css")
    script: ClassVar[dict[str, Any]] = {}  # the page is complete without one

    title: str
    headline: str
    verdicts: tuple[str, ...]
    warnings: list[str]
    figures: list[Figure]
    facts: list[tuple[str, str]]
    ramp: str
    reading: list[tuple[str, str]]
    pictures_note: str
    origin: Origin
    pictures: dict[str, str]
    shots: dict[str, Shot]
