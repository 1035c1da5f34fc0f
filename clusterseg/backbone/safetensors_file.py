"""Read and write safetensors files without the package of that name.

The format (https://github.com/huggingface/safetensors, README, "Format"): eight bytes with the length of a header, the
header as JSON, name -> dtype, shape and data_offsets, and the numbers. Nothing in it can run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
METADATA = "__metadata__"
#: In bytes, as the format's own reader has it.
LONGEST_HEADER = 100_000_000


def is_safetensors(path: Path) -> bool:
    """Whether a file starts like a safetensors file: a length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file.

    Raises:
        ValueError: The file is damaged.
    """
    content = bytearray(path.read_bytes())
    size, header = _header(content)
    return {name: _tensor(content, 8 + size, entry, name) for name, entry in header.items() if name != METADATA}


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a file, texts by name.

    Raises:
        ValueError: The file is damaged.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        file.seek(0)
        _, header = _header(file.read(8 + min(size, LONGEST_HEADER)))
    return {str(name): str(text) for name, text in (header.get(METADATA) or {}).items()}


def _header(content: bytes | bytearray) -> tuple[int, dict[str, Any]]:
    """The length of the header and its content, of a file or of its beginning."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if not isinstance(header, dict):
        raise ValueError(f"its header is a {type(header).__name__}, expected names with entries")
    return size, header


def _tensor(content: bytearray, start: int, entry: Mapping[str, Any], name: str) -> Tensor:
    dtype, shape, (begin, end) = DTYPES.get(entry["dtype"]), entry["shape"], entry["data_offsets"]
    if dtype is None:
        raise ValueError(f"{name} is of type {entry['dtype']}, expected one of {', '.join(DTYPES)}")
    if not 0 <= begin <= end <= len(content) - start or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has shape {shape} and bytes {begin} to {end} of {len(content) - start}")
    if begin == end:
        return torch.empty(shape, dtype=dtype)
    # A copy: the numbers of the file need not be aligned.
    numbers = torch.frombuffer(content[start + begin : start + end], dtype=dtype)
    return numbers.reshape(shape)


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode tensors and metadata as the content of a file."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    data = bytearray()
    for name, value in tensors.items():
        numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        offsets = [len(data), len(data) + len(numbers)]
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": offsets}
        data += numbers
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)
