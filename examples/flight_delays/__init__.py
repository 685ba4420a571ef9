"""Flights from New York in 2013: which of them arrive more than 15 minutes late."""
