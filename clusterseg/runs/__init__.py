"""Contents of a run folder: checkpoints, outcome, logs."""
