"""Label point clouds: python predict.py ckpt=PATH input=FILE_OR_FOLDER output=DIR; --help shows more."""

import sys

from clusterseg.commands.front_door import run

if __name__ == "__main__":
    run("predict", sys.argv[1:])
