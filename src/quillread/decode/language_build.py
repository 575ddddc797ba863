"""From a text to a language model: characters and words, in one file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from quillread.decode.character_model import CharacterModel, Level, pack, plain, to_symbols
from quillread.decode.kneser_ney import MAX_ORDER, smooth
from quillread.decode.language_file import AGAIN, Content, read_content
from quillread.decode.word_model import WordModel, WordTable, build_words, count_words
from quillread.errors import ConfigError, DataError, ModelError
from quillread.text.normalise import nfc

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
        return LanguageModel(facts["name"], CharacterModel(facts["alphabet"], levels), WordModel(table), facts)
    except (KeyError, TypeError, UnicodeDecodeError, IndexError) as error:
        raise ModelError(f"{path}: is damaged: lacks {error}", hint=AGAIN) from error
