"""Build data, task and trainer from a configuration."""
