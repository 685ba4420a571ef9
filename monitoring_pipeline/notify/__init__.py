"""Verdicts become incidents, and incidents become notifications that are delivered at least once."""
