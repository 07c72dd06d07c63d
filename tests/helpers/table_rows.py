"""Tables of the documentation, each row of which has a test."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
_KEY = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)


class Rows:
    """Which test shows which row of a page."""

    def __init__(self, page):
        self.page = DOCS / page
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
        keys = _KEY.findall(self.page.read_text(encoding="utf-8"))
        assert len(set(keys)) == len(keys)
        assert set(keys) == set(self.tests)
