"""One file per channel: a message in, an acceptance out."""
