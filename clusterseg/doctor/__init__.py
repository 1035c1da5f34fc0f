"""The doctor: examine every scan of a data set before anyone trains on it."""
