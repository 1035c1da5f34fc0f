"""Train: python train.py model=spvnas_cluster data.root=DIR; python train.py --help shows more."""

import sys

from clusterseg.commands.front_door import run

if __name__ == "__main__":
    run("train", sys.argv[1:])
