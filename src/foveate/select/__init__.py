"""Arrays in, order out: the algorithms, which know nothing of imagery."""
