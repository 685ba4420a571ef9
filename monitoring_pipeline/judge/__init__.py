"""Signals become verdicts, rule outcomes and retraining decisions: decisions only, no measurements."""
