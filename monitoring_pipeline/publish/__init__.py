"""Signals and incidents become something to look at."""
