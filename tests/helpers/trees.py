"""What lies in a folder, to compare runs."""

from __future__ import annotations

import hashlib


def digest_tree(folder, skip=("run.json", "report.html")):
    """Return the hash of each file, by its name relative to the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in skip and path.parent.name != "receipts"  # times
    }
