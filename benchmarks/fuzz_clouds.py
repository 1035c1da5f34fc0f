"""Feed the readers of point clouds with broken files for a while: python benchmarks/fuzz_clouds.py [SECONDS] [SEED].

Prints how many files were tried, read and refused in words, the slowest one, the peak memory of the process, and what
raised anything else than a refusal; such files stay in a folder that is named. Exit status 1 if there are any.
"""

from __future__ import annotations

import collections
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "predict"))

import numpy as np
from odd_clouds import broken

from clusterseg.data.clouds import read_cloud
from clusterseg.errors import UserError


def main(seconds: float = 600.0, seed: int = 0) -> int:
    warnings.simplefilter("error")
    folder = Path(tempfile.mkdtemp(prefix="fuzz_clouds_"))
    counts: collections.Counter[str] = collections.Counter()
    slowest, faults = (0.0, ""), 0
    end = time.perf_counter() + seconds
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.perf_counter() < end:
        suffix, content = broken(random.Random(seed))
        path = folder / f"{seed}{suffix}"
        path.write_bytes(content)
        start = time.perf_counter()
        try:
            read_cloud(path).points(1.0, offset=np.zeros(3))
            counts["read"] += 1
        except UserError:
            counts["refused"] += 1
        except BaseException:  # what this script looks for
            faults += 1
            print(f"{path}\n{traceback.format_exc(limit=-3)}", flush=True)
            (folder / f"fault_{path.name}").write_bytes(content)
        slowest = max(slowest, (time.perf_counter() - start, path.name))
        counts[suffix] += 1
        path.unlink()
        seed += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kinds = ", ".join(f"{suffix} {counts[suffix]}" for suffix in sorted(counts) if suffix.startswith("."))
    print(f"{counts['read'] + counts['refused'] + faults} files ({kinds}): {counts['read']} read, "
          f"{counts['refused']} refused in words, {faults} faults{f' (in {folder})' if faults else ''}")  # fmt: skip
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(
        f"slowest {slowest[0]:.3f} s ({slowest[1]}); peak memory {peak / 1024:.0f} MiB ({before / 1024:.0f} at first), "
        f"of processes that unpack .laz {children / 1024:.0f} MiB"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*(kind(word) for kind, word in zip((float, int), sys.argv[1:], strict=False))))
