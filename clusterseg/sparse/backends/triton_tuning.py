"""Choose the block sizes of a kernel by timing them once, and keep the choice on the disk.

A choice holds for a class of shapes, not for an exact number of rows: scans differ in their rows, and each choice costs
some compilations.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from clusterseg.errors import UserError
from clusterseg.files import write_file


class Block(NamedTuple):
    """Sizes of the block that one program computes.

    Attributes:
        rows: Output voxels, or pairs.
        outputs: Output channels.
        inputs: Input channels.
        warps: Warps that compute it.
        stages: Depth of the pipeline that loads it.
    """

    rows: int
    outputs: int
    inputs: int
    warps: int
    stages: int


def shape_class(kind: str, rows: int, c_in: int, c_out: int, offsets: int, precision: str) -> str:
    """Name of the class of a product: channels to the next power of two from 16, rows to the next power of four.

    Args:
        kind: `forward`, `input_gradient` or `weight_gradient`.
        rows: Output voxels, or pairs of the commonest offset.
        c_in: Input channels.
        c_out: Output channels.
        offsets: Kernel offsets.
        precision: Data type, and how float32 is multiplied.
    """
    channels = (f"{1 << max(4, (c - 1).bit_length())}" for c in (c_in, c_out))
    return f"{kind} k{offsets} {'x'.join(channels)} rows4^{-(-max(rows - 1, 0).bit_length() // 2)} {precision}"


class Tuner:
    """Times the candidates of each class when it first occurs.

    Args:
        blocks: The candidates; a single one is taken without timing.
        seconds: Time of a launch; called once for each candidate.
        refusals: Exceptions by which a device refuses a candidate, such as for want of shared memory.
        file: Where choices are kept; None: in this process only.
        device: What the choices hold for: the device and the version of the compiler.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        seconds: Callable[[Callable[[], None]], float],
        refusals: tuple[type[Exception], ...] = (),
        file: Path | None = None,
        device: str = "",
    ) -> None:
        self.blocks, self.seconds, self.refusals = tuple(blocks), seconds, refusals
        self.file, self.device = file, device
        self._chosen = _read(file).get(device, {})

    def choose(self, name: str, c_out: int, launch: Callable[[Block], None]) -> Block:
        """Return the block of a class, timing the candidates if none is known.

        Args:
            name: Of the class, see `shape_class`.
            c_out: Output channels; much wider candidates are left out.
            launch: Runs the kernel with a block; its results may be overwritten.

        Raises:
            Exception: The device refuses every candidate; the last refusal.
        """
        if len(self.blocks) == 1:
            return self.blocks[0]
        known = self._chosen.get(name)
        if known not in self.blocks:
            known = self._fastest(c_out, launch)
            self._chosen[name] = known
            self._keep()
        return known

    def _fastest(self, c_out: int, launch: Callable[[Block], None]) -> Block:
        narrowest = min(block.outputs for block in self.blocks)
        fitting = [block for block in self.blocks if block.outputs <= max(narrowest, 1 << (c_out - 1).bit_length())]
        times: dict[Block, float] = {}
        refusal: Exception | None = None
        for block in fitting:
            try:
                times[block] = self.seconds(partial(launch, block))
            except self.refusals as error:
                refusal = error
        if not times:
            assert refusal is not None
            raise refusal
        return min(times, key=times.__getitem__)

    def _keep(self) -> None:
        """Add the choices to the file; other processes may have added theirs. Without room they are lost."""
        if self.file is None:
            return
        kept = _read(self.file)
        self._chosen = {**kept.get(self.device, {}), **self._chosen}
        with suppress(UserError):
            write_file(self.file, json.dumps({**kept, self.device: self._chosen}, indent=1) + "\n")


def _read(file: Path | None) -> dict[str, dict[str, Block]]:
    """The choices in a file by device; what is missing or is not such a file counts as empty."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        if file is not None:
            found = json.loads(file.read_bytes())
            return {
                device: {name: Block(*map(int, block)) for name, block in choices.items()}
                for device, choices in found.items()
            }
    return {}


def choices_file() -> Path:
    """Beside the kernels that Triton itself keeps: in TRITON_CACHE_DIR, or where Triton's default is."""
    folder = os.environ.get("TRITON_CACHE_DIR")
    return (Path(folder) if folder else Path.home() / ".triton" / "cache") / "clusterseg_blocks.json"
