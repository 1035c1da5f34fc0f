"""From a configuration to its parts: data, task, trainer."""
