"""Language models: made of plain text, written to files and read from them.

8 bytes  magic, "QUILLLM" and a zero
uint32   version, little-endian as all numbers
uint32   length of the head
uint32   CRC-32 of all that follows
head     JSON: facts, and name -> [type, offset from the end of the head, count] of each array; spaces up to 8 bytes
arrays   each from a multiple of 8 bytes
"""

import json
import mmap
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError, DataError, ModelError
from quillread.files import write_atomic
from quillread.language.characters import CharacterModel, Level, pack, plain, to_symbols
from quillread.language.kneser_ney import MAX_ORDER, smooth
from quillread.language.words import WordModel, WordTable, build_words, count_words
from quillread.text.normalise import nfc

MAGIC = b"QUILLLM\0"
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
    write_atomic(path, _START.pack(MAGIC, _VERSION, len(head), zlib.crc32(head + body)) + head + body)


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
    if len(data) < _START.size or data[: len(MAGIC)] != MAGIC:
        raise ModelError(f"{path}: is not a language model of quillread", hint="make one with: quill lm train")
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
        return Content(dict(head["facts"]), arrays)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: is damaged: {error}", hint=AGAIN) from error


def _array(body: memoryview, kind: str, offset: int, count: int) -> NDArray[Any]:
    if kind not in _TYPES:
        raise ValueError(f"an array is of type {kind!r}")
    stored = np.frombuffer(body, np.dtype(kind).newbyteorder("<"), count, offset)
    return stored if kind == "uint8" else stored.astype(kind)  # in the byte order of this machine


_MOST_CHARACTERS = 250
_KIND = "language model"


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """How a language model is made."""

    order: int = 7
    """Longest run of characters that it knows, 2 to 8."""
    keep: int = 1_000_000
    """Most runs that it keeps: those that matter most; each takes 2 to 4 bytes."""
    least_character: int = 2
    """Characters that occur less often are unknown."""
    least_word: int = 2
    """Words that occur less often are unknown."""
    least_pair: int = 2
    """Pairs of words that occur less often are not kept."""

    def __post_init__(self) -> None:
        if not 2 <= self.order <= MAX_ORDER:
            raise ConfigError(f"order must lie in 2 to {MAX_ORDER}, got {self.order}")
        if min(self.keep, self.least_character, self.least_word, self.least_pair) < 1:
            raise ConfigError(f"counts of a language model are 1 or more, got {self}")


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A language model as it is read from a file."""

    name: str
    characters: CharacterModel
    words: WordModel
    facts: Mapping[str, Any]
    """`name`, `language` (such as "en"; empty if unknown), and what it was made from."""

    @property
    def language(self) -> str:
        """Code of its language, such as "en"; empty if unknown."""
        return str(self.facts.get("language", ""))


def build_language(
    paragraphs: Sequence[str], name: str, language: str = "", config: BuildConfig | None = None
) -> Content:
    """Make a language model.

    Args:
        paragraphs: The text.
        name: What it is called.
        language: Code of the language, such as "en"; empty if unknown.
        config: Its size.

    Raises:
        DataError: If the text holds no words.
    """
    config = config or BuildConfig()
    texts = [nfc(paragraph) for paragraph in paragraphs]
    words, pairs = count_words(texts)
    if not words:
        raise DataError(f"{name}: the text holds no words, so no language can be learnt", hint="give more text")
    alphabet = _alphabet(texts, config.least_character)
    symbols = to_symbols(texts, alphabet)
    levels = pack(smooth(symbols, config.order, len(alphabet) + 1, config.keep))
    table = build_words(words, pairs, config.least_word, config.least_pair)
    facts = {
        "kind": _KIND,
        "name": name,
        "language": language,
        "order": config.order,
        "alphabet": alphabet,
        "characters_read": len(symbols),
        "words_read": words.total(),
    }
    return Content(facts, _arrays(levels, table))


def _alphabet(texts: Iterable[str], least: int) -> str:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(map(plain, text))
    spaces = [c for c in counts if c.isspace()]
    for space in spaces:
        del counts[space]
    # A short text has no character to spare.
    kept = [c for c, count in counts.most_common(_MOST_CHARACTERS) if count >= least or counts.total() < 10_000]
    return " " + "".join(kept)


def _arrays(levels: Sequence[Level], table: WordTable) -> dict[str, Any]:
    arrays = {
        f"{field.name}.{n}": getattr(level, field.name) for n, level in enumerate(levels) for field in fields(Level)
    }
    arrays["words"] = np.frombuffer("\n".join(table.words).encode(), np.uint8)
    return arrays | {f"word.{f.name}": getattr(table, f.name) for f in fields(WordTable) if f.name != "words"}


def read_language(path: Path) -> LanguageModel:
    """Read a language model from a file.

    Raises:
        ModelError: If it is missing, damaged, or something else.
    """
    content = read_content(path)
    facts, arrays = content.facts, content.arrays
    if facts.get("kind") != _KIND:
        raise ModelError(f"{path}: holds a {facts.get('kind')}, not a {_KIND}")
    try:
        levels = [Level(*(arrays[f"{f.name}.{n}"] for f in fields(Level))) for n in range(facts["order"])]
        listed = arrays["words"].tobytes().decode()
        table = WordTable(
            tuple(listed.split("\n")) if listed else (),
            *(arrays[f"word.{f.name}"] for f in fields(WordTable) if f.name != "words"),
        )
        if not (_is_whole(facts["alphabet"], levels) and table.is_whole):
            raise ModelError(f"{path}: is damaged: its parts do not fit each other", hint=AGAIN)
        return LanguageModel(str(facts["name"]), CharacterModel(facts["alphabet"], levels), WordModel(table), facts)
    except (KeyError, TypeError, UnicodeDecodeError, IndexError) as error:
        raise ModelError(f"{path}: is damaged: lacks {error}", hint=AGAIN) from error


def _is_whole(alphabet: str, levels: Sequence[Level]) -> bool:
    """Whether each level of n-grams has as many as the one before it says."""
    expected = len(alphabet) + 1
    for number, level in enumerate(levels):
        is_last = number + 1 == len(levels)
        rest = 0 if is_last else expected
        sizes = (len(level.symbols), len(level.costs), len(level.backoff_costs), len(level.children))
        if sizes != (expected, expected, rest, rest):  # the longest levels may be empty, where few runs were kept
            return False
        expected = int(level.children.sum(dtype=np.int64))
    return bool(levels)


_WRONG = re.compile("[\x80-\x9f\ufffd]")
"""Control characters that no text holds, and the sign for bytes that could not be read: a file decoded wrongly."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text in paragraphs."""

    paragraphs: list[str]
    dropped: int
    """Paragraphs that were skipped because they had been decoded wrongly at some time."""


def read_corpus(paths: Sequence[Path]) -> Corpus:
    """Read text files, UTF-8, one paragraph a line.

    Raises:
        DataError: If one cannot be read, or they hold no text.
    """
    lines: list[str] = []
    for path in paths:
        try:
            lines += path.read_text(encoding="utf-8-sig").split("\n")
        except OSError as error:
            hint = "check the path and its permissions"
            raise DataError(f"{path}: cannot be read: {error.strerror or error}", hint=hint) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: cannot be read as text: {error}", hint="it must be UTF-8 text") from error
    filled = [line.strip() for line in lines if line.strip()]
    kept = [line for line in filled if not _WRONG.search(line)]
    if not kept:
        raise DataError(f"{', '.join(map(str, paths))}: no text in it", hint="give UTF-8 text, the more the better")
    return Corpus(kept, len(filled) - len(kept))
