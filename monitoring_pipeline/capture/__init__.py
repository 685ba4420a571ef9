"""What was served, and what came true: windows, the prediction log, labels, samples."""
