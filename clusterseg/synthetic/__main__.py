"""`python -m clusterseg.synthetic` is `clusterseg streets`."""

import sys

from clusterseg.commands.front_door import run

if __name__ == "__main__":
    run("streets", sys.argv[1:])
