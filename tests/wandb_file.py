"""Reads back what an offline wandb run has recorded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, FILE_HEADER, HEADER = 32768, 7, 7
FULL, FIRST, LAST = 1, 2, 4


def records(run: Path) -> list[Any]:
    """The records of the only offline run in a run folder."""
    (path,) = (run / "wandb").glob("offline-run-*/*.wandb")
    found = []
    for content in _contents(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        found.append(record)
    return found


def _contents(data: bytes) -> Iterator[bytes]:
    """LevelDB's log format: blocks of chunks, a header of checksum, length and type before each."""
    at, parts = FILE_HEADER, []
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts = [] if kind in (FULL, FIRST) else parts
        parts.append(data[at + HEADER : at + HEADER + length])
        at += HEADER + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
