"""A sample and bin edges become a mergeable profile; the training data becomes a reference."""
