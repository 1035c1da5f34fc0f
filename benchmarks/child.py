"""A measurement in a process of its own: `python -m benchmarks.child THREADS MODULE:FUNCTION JSON_ARGUMENTS`."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import torch

from clusterseg.commands.allocator import keep_freed_memory

if __name__ == "__main__":
    threads, path, arguments = sys.argv[1:]
    keep_freed_memory()
    torch.set_num_threads(int(threads))
    module, _, function = path.partition(":")
    print(json.dumps(getattr(import_module(module), function)(*json.loads(arguments))))
