"""The page "What counts", each row of which has a test."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "what-counts.md"
_KEY = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)


def section(title):
    """Return the text of a section of the page."""
    parts = re.split(r"^## (.+)$", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


class Rows:
    """Which test shows which row of a section."""

    def __init__(self, title):
        self.title = title
        self.tests = {}

    def __call__(self, *keys):
        """Mark the test of rows."""

        def mark(test):
            for key in keys:
                assert key not in self.tests, key
                self.tests[key] = test.__name__
            return test

        return mark

    def check(self):
        """Check that rows and tests are the same."""
        keys = _KEY.findall(section(self.title))
        assert len(set(keys)) == len(keys)
        assert set(keys) == set(self.tests)
