"""Words: lists of known ones, and the correction of words that are in doubt.

A word is changed only if it is unknown, one or two of its letters are in doubt, and one known word explains what was
seen much better than all others and than an unknown word does. Numbers, names, abbreviations, words in capitals, parts
of words at line ends, and words of lines in another language are left alone.
"""

import itertools
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from quillread.errors import ConfigError, DataError
from quillread.language.scoring import Words
from quillread.language.words import WORDS
from quillread.text.normalise import MARKS, nfc
from quillread.types import Change, Character, Transcript, Word

_CORE = re.compile(rf"^\W*(.*?)[^\w{MARKS}]*$", re.DOTALL)
_HYPHENS = ("-", "\u2010", "¬", "=", "\u00ad")
"""What ends a line within a word."""

_ENDS = ".!?"


@dataclass(frozen=True, slots=True)
class SpellingConfig:
    """How bold a correction may be."""

    doubt: float = 0.85
    """Letters with less confidence may be changed."""
    sure: float = 0.6
    """Words with more confidence stay."""
    least_letters: int = 4
    """Shorter words stay: too many words are near them."""
    lead: float = 3.0
    """A correction explains what was seen better than anything else by this factor's natural logarithm, in nats."""

    def __post_init__(self) -> None:
        if not (0 <= self.doubt <= 1 and 0 <= self.sure <= 1 and self.least_letters >= 1 and self.lead >= 0):
            raise ConfigError(f"settings of the spelling are out of range: {self}")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a corrector knows of a language."""

    words: Words
    letters: str
    """Letters that words are made of, in lower case."""
    accepts: Callable[[str], bool]
    """Whether a line is in the language."""


class SpellingCorrector:
    """Corrects the lines of a page.

    Args:
        vocabularies: Languages, of which the first that a line is in counts.
        config: How boldly.
        lexicon: More known words, in lower case.
    """

    def __init__(
        self,
        vocabularies: Sequence[Vocabulary],
        config: SpellingConfig | None = None,
        lexicon: Container[str] = (),
    ) -> None:
        self._vocabularies = vocabularies
        self._config = config or SpellingConfig()
        self._lexicon = lexicon

    def __call__(self, lines: Sequence[Transcript]) -> list[Transcript]:
        """Correct lines, in reading order: a word may be parted by the end of a line."""
        befores = [None, *lines[:-1]]
        return [self._correct(line, before) for before, line in zip(befores, lines, strict=True)]

    def _correct(self, line: Transcript, before: Transcript | None) -> Transcript:
        vocabulary = next((v for v in self._vocabularies if v.accepts(line.text)), None)
        if vocabulary is None or len(line.characters) != len(line.text):
            return line
        starts = [match.start() for match in re.finditer(r"[^ ]+", line.text)]
        if len(starts) != len(line.words):
            return line
        words, changes, last = list(line.words), [], 0
        for i, (start, word) in enumerate(zip(starts, line.words, strict=True)):
            is_part = (i == 0 and before is not None and before.text.endswith(_HYPHENS)) or (
                i == len(starts) - 1 and word.text.endswith(_HYPHENS)
            )
            found = None if is_part else self._better(word, line, start, last, vocabulary)
            if found:
                text, reason = found
                changes.append(Change(start, word.text, text, reason))
                words[i] = replace(word, text=text)
            _, last = vocabulary.words.score(last, _core(words[i].text).lower(), -30.0)
        return _apply(line, words, changes, starts) if changes else line

    def _better(
        self, word: Word, line: Transcript, start: int, before: int, vocabulary: Vocabulary
    ) -> tuple[str, str] | None:
        """A better text for a word, and why; None if it is to stay."""
        core = _core(word.text)
        offset = start + word.text.index(core) if core else 0
        if word.confidence > self._config.sure or not self._is_open(core, word.text, line.text, offset, vocabulary):
            return None
        sure = [c.confidence for c in line.characters[offset : offset + len(core)]]
        stay, _ = vocabulary.words.score(before, "", -_LETTER * len(core))
        scores = {"": stay + sum(math.log(max(p, _LEAST)) for p in sure)}
        for text, seen in _near(core.lower(), sure, vocabulary, self._config.doubt):
            if text in vocabulary.words or text in self._lexicon:
                scores[text] = max(scores.get(text, -math.inf), seen + vocabulary.words.score(before, text, -20.0)[0])
        best, *others = sorted(scores, key=lambda text: -scores[text])
        if not best or (others and scores[best] < scores[others[0]] + self._config.lead):
            return None
        shaped = best[0].upper() + best[1:] if core[0].isupper() else best
        reason = (
            f"{core!r} is not a known word, its confidence is {word.confidence:.2f}; {shaped!r} is a known word near it"
        )
        return word.text.replace(core, shaped, 1), reason

    def _is_open(self, core: str, text: str, line: str, offset: int, vocabulary: Vocabulary) -> bool:
        """Whether a word may be changed at all."""
        if len(core) < self._config.least_letters or not core.isalpha():
            return False  # numbers, what has marks within it
        if core.lower() in vocabulary.words or core.lower() in self._lexicon:
            return False
        if core[1:] != core[1:].lower():
            return False  # capitals, McNames
        begins = not line[:offset].strip() or line[:offset].rstrip(" \"'«“").endswith(tuple(_ENDS))
        if core[0].isupper() and not begins:
            return False  # a name
        # A point after a short word in the middle of a line may be that of an abbreviation.
        return not (text.endswith(".") and len(core) <= 5 and line.rstrip() != line[: offset + len(core) + 1])


_LETTER = 3.0
"""What a letter of an unknown word costs, in nats: about the entropy of letters."""
_LEAST = 1e-4
_OTHERS = 15.0
"""Number of characters that one may be mistaken for: a share of its doubt goes to each."""


def _core(text: str) -> str:
    """A word without the marks at its ends."""
    match = _CORE.match(text)
    return match.group(1) if match else ""


def _near(word: str, sure: Sequence[float], vocabulary: Vocabulary, doubt: float) -> Iterator[tuple[str, float]]:
    """Words that differ in one or two doubtful letters, and the log probability that what was seen is them."""
    kept = sum(math.log(max(p, _LEAST)) for p in sure)
    open_places = [i for i, p in enumerate(sure) if p < doubt]
    singles = [(i, *edit) for i in open_places for edit in _edits(word, i, sure[i], vocabulary.letters)]
    for i, piece, gain in singles:
        yield word[:i] + piece + word[i + 1 :], kept + gain
    if len(open_places) > _MOST_OPEN:
        return
    for (i, first, gain), (j, second, more) in itertools.product(singles, singles):
        if i < j:
            yield word[:i] + first + word[i + 1 : j] + second + word[j + 1 :], kept + gain + more


_MOST_OPEN = 3
"""Words with more letters in doubt are changed in one of them at most."""


def _edits(word: str, i: int, sure: float, letters: str) -> Iterator[tuple[str, float]]:
    """What may stand in place of one letter: another, none, or the letter and one more; and what that gains."""
    gain = math.log(max(1 - sure, _LEAST) / _OTHERS) - math.log(max(sure, _LEAST))
    for letter in letters:
        if letter != word[i]:
            yield letter, gain
    yield "", gain
    for letter in letters:
        yield word[i] + letter, gain - math.log(2)
        yield letter + word[i], gain - math.log(2)


def _apply(line: Transcript, words: Sequence[Word], changes: Sequence[Change], starts: Sequence[int]) -> Transcript:
    """Put changed words into a line; the characters of a changed word share its place."""
    characters: list[Character] = []
    text, end = "", 0
    by_start = {change.start: change for change in changes}
    for start, old in zip(starts, line.words, strict=True):
        characters += line.characters[end:start]
        text += line.text[end:start]
        end = start + len(old.text)
        change = by_start.get(start)
        run = line.characters[start:end]
        new = change.after if change else old.text
        if change:
            width = (run[-1].x1 - run[0].x0) / len(new)
            first = run[0].x0
            sure = min(c.confidence for c in run)
            run = tuple(
                replace(run[0], text=c, confidence=sure, x0=first + k * width, x1=first + (k + 1) * width)
                for k, c in enumerate(new)
            )
        characters += run
        text += new
    characters += line.characters[end:]
    text += line.text[end:]
    others = tuple(other for other in line.alternatives if other.text != text)
    return replace(
        line,
        text=text,
        words=tuple(words),
        characters=tuple(characters),
        alternatives=others,
        raw_text=line.text,
        changes=tuple(changes),
    )


class Lexicon:
    """Tells whether it holds a word, in lower case.

    Two million words take 16 MB: of each only a 64-bit hash is kept. That another word has the hash of one of them is
    as likely as one in 10^13.
    """

    def __init__(self, words: Iterable[str]) -> None:
        # Python salts its hashes anew in each process; these never leave it.
        self._hashes = np.unique(np.fromiter(map(hash, words), np.int64)).data

    def __len__(self) -> int:
        """Number of words."""
        return len(self._hashes)

    def __contains__(self, word: object) -> bool:
        """Whether a word in lower case is listed."""
        wanted = hash(word)
        place = bisect_left(self._hashes, wanted)
        return place < len(self._hashes) and self._hashes[place] == wanted


def read_lexicon(paths: Iterable[Path]) -> Lexicon:
    """Read lists of words, UTF-8, one entry a line; of entries of several words each counts by itself.

    Raises:
        DataError: If a file cannot be read or holds no words.
    """
    lexicon = Lexicon(word for path in paths for word in _words(path))
    if not len(lexicon):
        raise DataError("the lexicon holds no words", hint="write one name a line, as UTF-8 text")
    return lexicon


def _words(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                yield from WORDS.findall(nfc(line).lower())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as a list of words: {error}", hint="it must be UTF-8 text") from error
