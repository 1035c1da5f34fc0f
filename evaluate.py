"""Score a checkpoint: python evaluate.py ckpt=PATH; python evaluate.py --help tells more."""

from clusterseg.cli import command
from clusterseg.evaluation import evaluate

if __name__ == "__main__":
    command("evaluate", evaluate)
