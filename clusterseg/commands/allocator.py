"""The allocator of the C library: keep the memory of freed tensors for the next ones."""

from __future__ import annotations

import ctypes
import os

#: Parameters of glibc's mallopt.
TRIM_THRESHOLD, MMAP_MAX = -1, -4
#: Whoever sets one of these has decided.
DECIDED = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, and use it again; on Linux with glibc, for the rest of its life.

    A step of training frees some hundred tensors of many megabytes, and the next step makes them anew. By default
    glibc gives such memory back at once, and the system clears every page again when it is next touched: under a
    virtual machine that can take as long as the arithmetic.

    Returns:
        Whether it was set: not on other systems, nor where the environment sets the allocator already.

    Examples:
        >>> from clusterseg.commands.allocator import keep_freed_memory
        >>> kept = keep_freed_memory()
    """
    if any(name in os.environ for name in DECIDED):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library, or another system
        return False
    # A threshold of -1 never trims; without mmap, large blocks come from the heap, where they are used again.
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
