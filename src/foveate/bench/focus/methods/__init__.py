"""Methods that `bench focus` compares, by name."""
