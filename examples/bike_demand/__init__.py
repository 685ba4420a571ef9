"""Rental bikes in Washington in 2011: how many will be taken out in the hour that begins."""
