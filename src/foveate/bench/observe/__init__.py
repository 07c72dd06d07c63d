"""What observing is worth: policies and completions, trained and tested anew under each seed."""
