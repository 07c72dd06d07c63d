"""Notes: what is read of imagery and is no reason to stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from foveate.pool.notes import Note, warn

if TYPE_CHECKING:
    import pytest


def test_text_and_hint_are_sentences() -> None:
    assert str(Note("files", "two links are broken", "Fetch them: git annex get")) == (
        "two links are broken. Fetch them: git annex get."
    )
    assert str(Note("files", "Is it empty?")) == "Is it empty?"


def test_round_trip_through_json() -> None:
    note = Note("place", "a", "b", ("x", "y"))
    assert Note.from_dict(note.to_dict()) == note


def test_warn_logs_each_note_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "foveate"):
        kept = warn([Note("files", "100 % of it"), Note("values", "b")])
    assert [n.topic for n in kept] == ["files", "values"]
    assert [r.getMessage() for r in caplog.records] == ["100 % of it.", "b."]
