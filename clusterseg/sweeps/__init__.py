"""Sets of runs: the sweep callback, Optuna, the summary."""
