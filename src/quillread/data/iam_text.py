"""Tokens of the IAM database put together as they stand on paper.

Its texts come from the LOB corpus: every mark of punctuation is a token of its own, and letters that ASCII
lacks are written in codes. In the database's own files a crossed-out word is the token "#".
"""

import re
from collections.abc import Sequence

from quillread.text.normalise import nfc

_CLOSING = frozenset(".,;:!?)]")
_ENDS = frozenset(".!?")
_OPENING = frozenset("([")
_CLITICS = frozenset(("'s", "'m", "'d", "'t", "'ve", "'re", "'ll", "n't"))
_QUOTES = ('"', "'")
_LEADING = frozenset(("a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"))
"""Words after which a quotation hardly ends."""
_BREAK = 0.9
"""Doubt about a form that begins within a quotation, or one that is not closed: just less than other doubts."""
_ACCENTS = {"2": "\u0301", "5": "\u0302", "6": "\u0327"}
"""Digit after `*?` -> the combining accent; a digit that no text of the database showed leaves the bare letter."""


def undo_codes(token: str) -> str:
    """Write a token with its accents: `fiance*?2` is fiancé, `nai"vety` is naïvety; NFC."""
    token = re.sub(r"\*\?(\d?)", lambda code: _ACCENTS.get(code[1], ""), token)
    return nfc(re.sub(r'(?<=[A-Za-z])"(?=[a-z])', "\u0308", token))


def written_tokens(tokens: Sequence[str]) -> list[str]:
    """Leave out crossed-out words and undo the codes of the others."""
    return [word for token in tokens if token != "#" and (word := undo_codes(token))]


def join_lines(lines: Sequence[Sequence[str]]) -> list[str]:
    """Put the lines of one form as written.

    Whether a quotation mark belongs to the word before or after it is often seen only from whether a quotation
    is under way, and those go on from line to line: the marks of all lines are judged together.

    Args:
        lines: Tokens of each line, in order, as the database has them; codes and crossed-out words included.
    """
    written = [written_tokens(tokens) for tokens in lines]
    opening: list[set[int]] = [set() for _ in lines]
    for mark in _QUOTES:
        for found, places in zip(opening, _opening_quotes(written, mark), strict=True):
            found.update(places)
    return [_join(tokens, found) for tokens, found in zip(written, opening, strict=True)]


def _join(tokens: Sequence[str], opening: set[int]) -> str:
    text, joins_next = "", True
    for i, token in enumerate(tokens):
        is_closing_quote = token in _QUOTES and i not in opening
        joins_last = token in _CLOSING or token.lower() in _CLITICS or _is_full_ellipsis(tokens, i)
        text += token if joins_next or joins_last or is_closing_quote else " " + token
        joins_next = token in _OPENING or i in opening
    return text


def _opening_quotes(lines: Sequence[Sequence[str]], mark: str) -> list[list[int]]:
    """Return the positions of the marks of each line that open a quotation.

    Marks open and close in turn, also from one line to the next, unless more speaks for a break: the least
    doubtful way through all lines is found by dynamic programming.
    """
    # For a quotation under way at the end of the lines so far, or not: the doubt, and the opening marks.
    ways: dict[bool, tuple[float, list[list[int]]]] = {False: (0, []), True: (_BREAK, [])}
    for tokens in lines:
        places = [i for i, token in enumerate(tokens) if token == mark]
        found = {}
        for quoting in (False, True):
            before = min(ways[quoting][0], ways[not quoting][0] + _BREAK)
            so_far = ways[quoting if before == ways[quoting][0] else not quoting][1]
            opens, closes = (places[1::2], places[::2]) if quoting else (places[::2], places[1::2])
            ends_quoting = quoting ^ (len(places) % 2 == 1)
            found[ends_quoting] = (before + _doubt(tokens, opens, closes), [*so_far, opens])
        ways = found
    return min(ways[False], ways[True], key=lambda way: way[0])[1]


def _doubt(tokens: Sequence[str], opens: Sequence[int], closes: Sequence[int]) -> int:
    """Count what speaks against marks at `opens` opening a quotation, and those at `closes` closing one."""
    padded = ["", *tokens, ""]
    doubt = 0
    for before, mark, after in (padded[i : i + 3] for i in opens):
        doubt += after in ("", "-", mark) or after in _CLOSING or (before in _ENDS and after[0].islower())
    for before in (padded[i] for i in closes):
        doubt += before in ("", "(", ":") or before in _LEADING
    return doubt


def _is_full_ellipsis(tokens: Sequence[str], i: int) -> bool:
    """Whether a token is an ellipsis that ends a sentence, with its full stop or after another end mark.

    Others stand apart from the word before them about as often as not; on that the tokens say nothing.
    """
    if len(tokens[i]) < 2 or set(tokens[i]) != {"."} or i == 0:
        return False
    follows_word = tokens[i - 1][-1].isalnum()
    return tokens[i - 1] in ("!", "?") or (follows_word and tokens[i + 1 : i + 2] == ["."])
