"""Train: python train.py model=spvnas_cluster data.root=DIR; python train.py --help tells more."""

from clusterseg.commands.hydra_command import command
from clusterseg.commands.train import train

if __name__ == "__main__":
    command("train", train)
