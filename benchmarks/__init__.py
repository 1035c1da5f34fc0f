"""What things cost, one command a table: `python -m benchmarks NAME|all`, and on a GPU `python -m benchmarks gpu`."""

from clusterseg.commands.idle_threads import sleep_when_idle

sleep_when_idle()  # as the commands do
