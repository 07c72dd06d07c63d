"""`focus`: which few regions of a wide-area image a frozen model should be shown."""
