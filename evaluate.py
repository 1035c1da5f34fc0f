"""Score a checkpoint: python evaluate.py ckpt=PATH; python evaluate.py --help shows more."""

import sys

from clusterseg.commands.front_door import run

if __name__ == "__main__":
    run("evaluate", sys.argv[1:])
