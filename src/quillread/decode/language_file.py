"""Files of language models: a head that says what lies where, then plain arrays, mapped into memory.

8 bytes  magic, "QUILLLM" and a zero
uint32   version, little-endian as all numbers
uint32   length of the head
uint32   CRC-32 of all that follows
head     JSON: facts, and name -> [type, offset from the end of the head, count] of each array; spaces up to 8 bytes
arrays   each from a multiple of 8 bytes
"""

import json
import mmap
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ModelError
from quillread.files import write_atomic

_MAGIC = b"QUILLLM\0"
_VERSION = 1
_START = struct.Struct("<8sIII")
_TYPES = ("uint8", "uint16", "uint32")

AGAIN = "copy the file again, or make it anew with: quill lm train"


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def write_content(path: Path, content: Content) -> None:
    """Write a file, atomically.

    Raises:
        OutputError: If it cannot be written.
    """
    places, body = {}, b""
    for name, array in content.arrays.items():
        places[name] = [array.dtype.name, len(body), array.size]
        body += _padded(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    head = json.dumps({"facts": dict(content.facts), "arrays": places}, ensure_ascii=False).encode()
    head += b" " * (-(_START.size + len(head)) % 8)
    write_atomic(path, _START.pack(_MAGIC, _VERSION, len(head), zlib.crc32(head + body)) + head + body)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 8)


def read_content(path: Path) -> Content:
    """Map a file into memory and check it.

    Raises:
        ModelError: If it is missing, no language model, of a later version, cut or damaged.
    """
    try:
        with path.open("rb") as file:
            data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such language model", hint="see: quill lm list") from error
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise ModelError(f"{path}: cannot be read as a language model: {error}", hint=AGAIN) from error
    return _parse(data, path)


def _parse(data: mmap.mmap, path: Path) -> Content:
    if len(data) < _START.size or data[: len(_MAGIC)] != _MAGIC:
        raise ModelError(f"{path}: is no language model of quillread", hint="make one with: quill lm train")
    _, version, length, checksum = _START.unpack(data[: _START.size])
    if version != _VERSION:
        raise ModelError(f"{path}: has format {version}", hint="it needs a newer version of quillread")
    view = memoryview(data)[_START.size :]
    if zlib.crc32(view) != checksum:
        raise ModelError(f"{path}: is cut or damaged: its checksum does not fit its content", hint=AGAIN)
    try:
        head = json.loads(bytes(view[:length]))
        body = view[length:]
        arrays = {name: _array(body, *place) for name, place in head["arrays"].items()}
        return Content(head["facts"], arrays)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: is damaged: {error}", hint=AGAIN) from error


def _array(body: memoryview, kind: str, offset: int, count: int) -> NDArray[Any]:
    if kind not in _TYPES:
        raise ValueError(f"an array is of type {kind!r}")
    stored = np.frombuffer(body, np.dtype(kind).newbyteorder("<"), count, offset)
    return stored if kind == "uint8" else stored.astype(kind)  # in the byte order of this machine
