"""Worked examples: public data, a training script, and a replay of what was served."""
