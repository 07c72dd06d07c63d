"""`bench observe`: policies and completions, trained and tested with each seed."""
