"""Watches machine-learning models in production: says what is wrong and why, and retrains when that helps."""
