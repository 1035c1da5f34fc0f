"""What the first hour on a GPU should answer, in one call: `python -m benchmarks gpu [--rehearse]`."""
