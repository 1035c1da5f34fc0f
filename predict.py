"""Label point clouds: python predict.py ckpt=PATH input=FILE_OR_FOLDER output=DIR; --help tells more."""

from clusterseg.cli import command
from clusterseg.prediction import predict

if __name__ == "__main__":
    command("predict", predict)
