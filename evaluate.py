"""Score a checkpoint: python evaluate.py ckpt=PATH; python evaluate.py --help tells more."""

from clusterseg.commands.hydra_command import command
from clusterseg.commands.evaluate import evaluate

if __name__ == "__main__":
    command("evaluate", evaluate)
