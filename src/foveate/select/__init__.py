"""Selection algorithms on arrays, independent of imagery."""
