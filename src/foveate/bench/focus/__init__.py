"""`bench focus`: looks against baselines, on scenes with known content."""
