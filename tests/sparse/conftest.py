from __future__ import annotations

from thread_counts import one_thread, two_threads

__all__ = ["one_thread", "two_threads"]
