"""Engines: the same profiles of many rows, computed by threads, by Spark or where the rows already are."""
