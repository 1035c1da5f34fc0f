"""Commands as a user types them, without the seconds of their imports.

One process imports what the commands need and does nothing else; each command runs in a fork of it, so that it finds a
fresh interpreter, a folder of its own and nothing of the tests.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path


def command(arguments: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run `clusterseg ARGUMENTS` in a folder; returns the exit status and what it says on both streams."""
    with tempfile.NamedTemporaryFile("r", prefix="said") as said:
        job = {"arguments": list(arguments), "folder": str(folder), "said": said.name}
        server = _server()
        assert server.stdin is not None and server.stdout is not None
        print(json.dumps(job), file=server.stdin, flush=True)
        answer = server.stdout.readline()
        assert answer, "the process that runs commands has ended"
        return int(answer), Path(said.name).read_text()


@cache
def _server() -> subprocess.Popen[str]:
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, __file__], env=environ, **streams)
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Run each line of the standard input as a command, and answer with its exit status."""
    sys.path[0] = ""  # as of `python -m`: the folder where the command runs
    from clusterseg.commands.lean_start import leave_out_scipy_signal

    leave_out_scipy_signal()
    from clusterseg.commands import check, evaluate, predict, train  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _run(job)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(job: dict) -> None:
    from clusterseg.commands.front_door import main

    os.chdir(job["folder"])
    said = os.open(job["said"], os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.close(0)
    sys.argv = ["clusterseg", *job["arguments"]]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    for text in (sys.stdout, sys.stderr):
        text.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve()
