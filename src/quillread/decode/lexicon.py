"""A list of names or other words that a language is to know, of any length."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from quillread.errors import DataError
from quillread.text.normalise import nfc

_LETTERS = re.compile(r"[^\W\d_]+")


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
                yield from _LETTERS.findall(nfc(line).lower())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as a list of words: {error}", hint="it must be UTF-8 text") from error
