"""Progress is a callback; people in a notebook or at a prompt see bars."""

import sys

import pytest

from foveate.progress import Meter, watched


def count(progress):
    with watched(progress) as shown, Meter(shown, "reading", 3) as meter:
        meter.advance(3)


def test_a_callback_is_handed_on():
    ticks = []
    count(ticks.append)
    assert ticks[-1].done == 3


@pytest.mark.parametrize(("progress", "prompt", "drawn"), [
    (None, False, False), (None, True, True), (True, False, True), (False, True, False),
])  # fmt: skip
def test_bars_are_drawn_where_a_person_watches(monkeypatch, capsys, progress, prompt, drawn):
    monkeypatch.delattr(sys, "ps1", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if prompt:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    count(progress)
    assert ("reading" in capsys.readouterr().err) is drawn
