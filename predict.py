"""Label point clouds: python predict.py ckpt=PATH input=FILE_OR_FOLDER output=DIR; --help tells more."""

from clusterseg.commands.hydra_command import command
from clusterseg.commands.predict import predict

if __name__ == "__main__":
    command("predict", predict)
