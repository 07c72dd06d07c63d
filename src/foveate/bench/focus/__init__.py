"""`bench focus`: looks compared with baselines on scenes with known content."""
