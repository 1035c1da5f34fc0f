"""Train: python train.py model=spvnas_cluster data.root=DIR; python train.py --help tells more."""

from clusterseg.cli import command
from clusterseg.run import train

if __name__ == "__main__":
    command("train", train)
