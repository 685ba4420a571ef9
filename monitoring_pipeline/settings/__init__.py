"""One YAML file per monitored model, and the places a deployment keeps things in."""
