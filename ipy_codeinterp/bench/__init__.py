"""The benchmark: which interpreter does which work right, how fast, and for how much."""
