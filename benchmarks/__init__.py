"""What things cost, one command a table: `python -m benchmarks NAME|all`, and on a GPU `python -m benchmarks gpu`."""
