"""What lies in a run folder: checkpoints, outcome, logs."""
