"""Damage to files: of bytes, and of the numbers, names and nesting in those that are text."""

import re
from collections.abc import Callable

import numpy as np

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_]{3,}")
_NUMBERS = (b"0", b"-1", b"1", b"65535", b"-2147483648", b"4294967296", b"1e308", b"1e999", b"0.0001", b"nan", b"null")
_PIECES = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n\n", b"\x1b[31m", b'"', b"<", b"&#0;", b"{}", b"[[", b"true",
    "é\u0301\u202e".encode(), b"../../..", b"A" * 5000,
)  # fmt: skip
_BYTES = (0, 1, 0x7F, 0x80, 0xFF)

Mutation = Callable[[bytearray, np.random.Generator], bytearray]


def mutate(content: bytes, seed: int) -> bytes:
    """Damage the content of a file in one to four places; the same seed does the same damage."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        damaged = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](damaged, rng)
    return bytes(damaged)


def _span(size: int, rng: np.random.Generator, longest: int) -> slice:
    start = int(rng.integers(size + 1))
    return slice(start, min(size, start + int(rng.integers(1, longest + 1))))


def _flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    # Headers are a small part of a file and the most of its meaning.
    end = len(content) if rng.random() < 0.5 else min(len(content), 200)
    for at in rng.integers(0, max(end, 1), int(rng.integers(1, 9))).tolist() if content else ():
        content[at] ^= 1 << int(rng.integers(8))
    return content


def _set_bytes(content: bytearray, rng: np.random.Generator) -> bytearray:
    where = _span(len(content), rng, 8)
    content[where] = bytes([_BYTES[int(rng.integers(len(_BYTES)))]]) * (where.stop - where.start)
    return content


def _cut_end(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: int(rng.integers(len(content) + 1))]


def _drop(content: bytearray, rng: np.random.Generator) -> bytearray:
    del content[_span(len(content), rng, max(4, len(content) // 4))]
    return content


def _repeat(content: bytearray, rng: np.random.Generator) -> bytearray:
    where = _span(len(content), rng, 300)
    content[where.start : where.start] = content[where] * int(rng.integers(1, 40))
    return content


def _move(content: bytearray, rng: np.random.Generator) -> bytearray:
    piece = content[_span(len(content), rng, 2000)]
    at = int(rng.integers(len(content) + 1))
    content[at:at] = piece
    return content


def _insert(content: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(len(content) + 1))
    content[at:at] = _PIECES[int(rng.integers(len(_PIECES)))]
    return content


def _change_number(content: bytearray, rng: np.random.Generator) -> bytearray:
    return _put(content, _NUMBER, _NUMBERS[int(rng.integers(len(_NUMBERS)))], rng)


def _change_word(content: bytearray, rng: np.random.Generator) -> bytearray:
    found = _WORD.findall(content) or [b"x"]
    pieces = (*_PIECES, found[int(rng.integers(len(found)))])
    return _put(content, _WORD, pieces[int(rng.integers(len(pieces)))], rng)


def _put(content: bytearray, what: "re.Pattern[bytes]", piece: bytes, rng: np.random.Generator) -> bytearray:
    found = list(what.finditer(content))
    if found:
        match = found[int(rng.integers(len(found)))]
        content[match.start() : match.end()] = piece
    return content


_MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits, _set_bytes, _cut_end, _drop, _repeat, _move, _insert, _change_number, _change_word,
)  # fmt: skip
