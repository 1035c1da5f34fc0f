"""The allocator of the C library: keep the memory of freed tensors for the next ones, but for the largest."""

from __future__ import annotations

import ctypes
import os

#: Parameters of glibc's mallopt.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
#: Bytes from which a block goes back to the system when it is freed: kept, blocks of so many sizes leave holes, and the
#: peak of a training step on a whole scan is a third higher. glibc takes at most 32 MiB.
LARGE = 16 << 20
#: Whoever sets one of these has decided.
DECIDED = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
#: Of PyTorch: tensors of 2 MB and more lie in huge pages where the system has them, which are cleared at less cost.
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, and use it again; on Linux with glibc, for the rest of its life.

    A step of training frees some hundred tensors of many megabytes, and the next step makes them anew. By default
    glibc gives such memory back at once, and the system clears every page again when it is next touched: under a
    virtual machine that can take as long as the arithmetic. Only blocks of `LARGE` bytes or more go back; they and
    other tensors of PyTorch are in huge pages. Call it before PyTorch makes its first tensor.

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
    os.environ.setdefault(HUGE_PAGES, "1")
    # A threshold of -1 never trims the heap.
    return bool(mallopt(MMAP_THRESHOLD, LARGE) and mallopt(TRIM_THRESHOLD, -1))
