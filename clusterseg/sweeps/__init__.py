"""Sweeps: the sweep callback, Optuna, the summary of runs."""
