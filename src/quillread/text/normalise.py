"""Normal forms of text: the one that is stored, and the ones that scoring compares.

Punctuation is every character of a Unicode category P* (General_Category, UAX #44): . , ; : ! ? ' " - ( ) & %
and their kin, @ # * / included. Symbols (S*: £ $ + = < > ^ ` | ~ °) are not punctuation: the space beside
them counts.
"""

import unicodedata
from functools import cache

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        # Hyphen to horizontal bar, and the minus sign, which looks like a dash on paper.
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    }
)
_JOINERS = frozenset("'-")


def nfc(text: str) -> str:
    """Compose the text canonically (NFC), the form in which all transcriptions are held."""
    return unicodedata.normalize("NFC", text)


def scoring_form(text: str) -> str:
    """Bring text to the form that `cer_spacing` compares: typography and spacing habits do not count.

    NFKC; curly quotes and dashes made plain; white space collapsed to single spaces and stripped at the ends;
    then the space on either side of any punctuation character removed. Applying it twice changes nothing.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).translate(_PLAIN).split())
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
def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] == "P"


@cache
def _is_letter_or_digit(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM"
