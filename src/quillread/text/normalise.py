"""Normal forms of text: the one that is stored, and the ones that scoring compares.

Punctuation is every character of a Unicode category P* (General_Category, UAX #44): . , ; : ! ? ' " - ( ) & %
and their kin, @ # * / included. Symbols (S*: £ $ + = < > ^ ` | ~ °) are not punctuation: the space beside
them counts.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        # Hyphen to horizontal bar, and the minus sign, which looks like a dash on paper.
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u2044": "/",  # NFKC writes ½ with it
    }
)
_JOINERS = frozenset("'-")
_LAST_SOFT_HYPHEN = re.compile("(?<![-\u2010\u2e17\u00ac=\u00ad])\u00ad+(?=\\s|$)")
"""One that stands behind another hyphen adds none."""
_BEFORE_FRACTION = re.compile("(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215f\u2189])")
_SPACE = re.compile(r"\r\n|\s")
_UNWRITTEN = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
"""Of the invisible characters those that have no part in writing; joiners and variants choose shapes of letters."""
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
"""Default_Ignorable_Code_Point (UAX #44) but for fillers of Hangul: joiners, marks of direction, variants of glyphs."""


def nfc(text: str) -> str:
    """Compose the text canonically (NFC), the form in which all transcriptions are held."""
    return unicodedata.normalize("NFC", text)


def compositions(pieces: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Find the runs of pieces of a text, such as a letter and its accents, that NFC writes with other characters.

    Args:
        pieces: Of the text, none empty.

    Yields:
        The first piece of a run, the one after its last, and how NFC writes them.
    """
    if (whole := "".join(pieces)) == nfc(whole):
        return
    start, run = 0, ""
    for place, piece in enumerate((*pieces, "")):
        is_apart = not piece or not unicodedata.combining(unicodedata.normalize("NFD", piece)[0])
        if run and is_apart and (not piece or nfc(run + piece) == nfc(run) + nfc(piece)):
            if nfc(run) != run:
                yield start, place, nfc(run)
            start, run = place, ""
        run += piece


MARKS = "\u0300-\u036f\u0483-\u0487\u1ab0-\u1ace\u1dc0-\u1dff\u20d0-\u20dc\ufe20-\ufe2f"
"""Combining marks of European scripts, as a regular expression has them in brackets."""
_MARKS = re.compile(f"[{MARKS}]")


def is_mark(character: str) -> bool:
    """Whether a character is a mark that stands on the letter before it."""
    return _MARKS.match(character) is not None


def line_text(text: str) -> str:
    """Bring the known text of a line to the form in which lines are held: NFC, in one row.

    A space of any kind, a tab or the end of a row is written like a space, and none at the ends is. Marks of direction,
    spaces without width and soft hyphens are removed; a soft hyphen at the end of a row is a hyphen, unless one stands
    there.
    """
    seen = _UNWRITTEN.sub("", _LAST_SOFT_HYPHEN.sub("-", text))
    return nfc(_SPACE.sub(" ", seen).strip())


def letter_of(character: str) -> str:
    """Return the letter that a character is a form of: s of ſ, a of ā; itself if it is none."""
    return unicodedata.normalize("NFKD", character)[0]


def scoring_form(text: str) -> str:
    """Bring text to the form that `cer_spacing` compares: typography and spacing habits do not count.

    What cannot be seen is removed; a soft hyphen at the end of a line can be, and is a hyphen. Then NFKC; curly quotes,
    dashes and the slash of fractions made plain; white space collapsed to single spaces and stripped at the ends; the
    space on either side of any punctuation character removed. Applying it twice changes nothing.

    Accents that stand by themselves, such as U+00B4, stay as they are: NFKC would make a space and a combining mark of
    them. A fraction is parted from the digit before it: NFKC would make 21/2 of 2½.
    """
    seen = _INVISIBLE.sub("", _LAST_SOFT_HYPHEN.sub("-", text))
    parted = _BEFORE_FRACTION.sub(" ", nfc(seen))
    runs = ((stays, "".join(run)) for stays, run in groupby(parted, _is_accent_alone))
    compatible = "".join(run if stays else unicodedata.normalize("NFKC", run) for stays, run in runs)
    plain = " ".join(compatible.translate(_PLAIN).split())
    return "".join(
        char
        for i, char in enumerate(plain)
        if char != " " or not (_is_punctuation(plain[i - 1]) or _is_punctuation(plain[i + 1]))
    )


def scoring_words(text: str) -> list[str]:
    """Split text into the words that `wer_spacing` compares.

    Of the scoring form, every punctuation mark is a word of its own, except ' and - between two letters or
    digits (categories L*, N*; a combining mark, M*, belongs to its letter).
    """
    words: list[str] = []
    form = f" {scoring_form(text)} "
    word = ""
    for i in range(1, len(form)):
        char = form[i]
        joins = char in _JOINERS and _is_letter_or_digit(form[i - 1]) and _is_letter_or_digit(form[i + 1])
        stands_alone = _is_punctuation(char) and not joins
        if char != " " and not stands_alone:
            word += char
            continue
        if word:
            words.append(word)
            word = ""
        if stands_alone:
            words.append(char)
    return words


@cache
def _is_accent_alone(char: str) -> bool:
    apart = unicodedata.normalize("NFKD", char)
    return len(apart) > 1 and apart[0] == " " and all(unicodedata.combining(mark) for mark in apart[1:])


@cache
def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] == "P"


@cache
def _is_letter_or_digit(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM"
