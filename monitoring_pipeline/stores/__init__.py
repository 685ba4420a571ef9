"""Where things are kept: files, databases and the model registry behind the protocols of the stages."""
