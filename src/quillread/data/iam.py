"""The IAM database in its official files, and its texts as they are written.

Its texts come from the LOB corpus: every mark of punctuation is a token of its own, and letters that ASCII
lacks are written in codes. In the database's own files a crossed-out word is the token "#".

Published by the University of Bern, https://fki.tic.heia-fr.ch/databases/iam-handwriting-database, for
non-commercial research.
"""

import html
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring

from quillread.data.source import Row, RowSource, Source, list_few
from quillread.data.spec import SPLITS, DataSpec
from quillread.data.tables import read_text
from quillread.errors import DataError, SplitError
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
    """Drop crossed-out words and undo the codes of the others."""
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


log = logging.getLogger(__name__)

_LISTS = tuple(f"{split}-list" for split in SPLITS)
# Rows end in the text, which may hold spaces ("M Ps"). Numbers: grey level, for lines the number of
# components, and the box. The head of words.txt promises a number of components that its rows do not have.
_LINE_ROW = re.compile(r"(\S+) (\S+)(?: -?\d+){6} (.+)")
_WORD_ROW = re.compile(r"(\S+) (\S+)(?: -?\d+){5,6} \S+ (.+)")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line or word as the database's files have it."""

    id: str
    is_ok: bool
    """Whether its segmentation into words is marked as right."""
    tokens: tuple[str, ...]
    text: str | None = None
    """As written, where the files have that."""

    @property
    def form(self) -> str:
        """The first two parts of the id: "a01-000u" of "a01-000u-00-03"."""
        return "-".join(self.id.split("-")[:2])

    def belongs(self, wanted: Set[str]) -> bool:
        """Whether it, its line or its form is among the ids."""
        parts = self.id.split("-")
        return any("-".join(parts[:count]) in wanted for count in range(2, len(parts) + 1))


def open_iam(spec: DataSpec, split: str) -> Source:
    """Open the official files in a folder (source `iam:`).

    Texts come from `ascii/lines.txt` (or `lines.txt`), or else from the forms' `xml/*.xml`; images lie under
    `lines/`. The group is the writer, from `forms.txt` or the XML; with neither, the form.

    Options:
        level: `lines`, or `words` (`words.txt` and `words/`).
        text: `natural` joins the tokens as written, `tokens` keeps a space between all of them.
        err: `keep` or `drop` what is marked `err`. The mark is about where words were cut, and the database's
            own notes say that line and text should not suffer from it: the RWTH/Aachen split keeps such lines,
            and so does the default.
        train-list, validation-list, test-list: Files of form or line ids, one a row, such as the official
            `trainset.txt`; repeatable. A given list is all that the split has.

    Without lists the split is that of RWTH/Aachen, by form, as Théodore Bluche published it: 747 forms with 6,482
    lines for training, 116 with 976 for validation, 336 with 2,915 for test. The other forms are in no split.

    Raises:
        DataError: If files are missing or malformed, or no line of the split has its image.
    """
    spec.refuse_unknown(("level", "text", "err", *_LISTS))
    folder, name = Path(spec.where), f"iam:{spec.where} ({split})"
    level = spec.choice("level", ("lines", "words"))
    natural = spec.choice("text", ("natural", "tokens")) == "natural"
    wanted = _split_ids(spec, split, name)
    forms = _read_ascii(folder, level) or _read_xml(folder, level)
    if not forms:
        raise DataError(
            f"{name}: has neither ascii/{level}.txt nor xml/*.xml",
            hint="unpack the database's ascii.tgz (or xml.tgz) into a folder of that name",
        )
    texts = {entry.id: text for form in forms for entry, text in zip(form, _texts(form, level, natural), strict=True)}
    entries = [entry for form in forms for entry in form if entry.belongs(wanted)]
    if not entries:
        raise SplitError(f"{name}: none of the {len(wanted):,} forms or lines of this split is in the files")
    if spec.choice("err", ("keep", "drop")) == "drop":
        entries = [entry for entry in entries if entry.is_ok]
    images = _find_images(folder / level, entries, name)
    writers = _read_writers(folder)
    rows = [
        Row(entry.id, images[entry.id], texts[entry.id], writers.get(entry.form, entry.form))
        for entry in entries
        if entry.id in images
    ]
    return RowSource(name, rows)


def read_aachen_split() -> dict[str, frozenset[str]]:
    """Return the form ids of each split of RWTH/Aachen."""
    split, ids = "", {name: set[str]() for name in SPLITS}
    for line in files("quillread.data").joinpath("assets", "iam_aachen.txt").read_text("utf-8").splitlines():
        start, *numbers = line.split()
        if not numbers:
            split = start
        elif start != "#":
            ids[split].update(f"{start}-{number}" for number in numbers)
    return {name: frozenset(found) for name, found in ids.items()}


def _split_ids(spec: DataSpec, split: str, name: str) -> Set[str]:
    if split not in SPLITS:
        raise DataError(f"{name}: has no such split", hint=f"the splits are {', '.join(SPLITS)}")
    if not set(_LISTS) & set(spec.options):
        return read_aachen_split()[split]
    lists = spec.options.get(f"{split}-list")
    if not lists:
        # The built-in split could share forms with the user's lists.
        raise SplitError(f"{name}: has lists of other splits only", hint=f"add {split}-list=FILE")
    return {line.strip() for path in lists for line in read_text(Path(path)).splitlines() if line.strip()}


def _texts(form: Sequence[_Entry], level: str, natural: bool) -> list[str]:
    if level == "words" or not natural:
        return [" ".join(written_tokens(entry.tokens)) for entry in form]
    joined = join_lines([entry.tokens for entry in form])
    return [text if entry.text is None else entry.text for entry, text in zip(form, joined, strict=True)]


def _read_ascii(folder: Path, level: str) -> list[list[_Entry]]:
    """Read lines.txt or words.txt, by form; nothing if there is none."""
    path = _find_ascii(folder, f"{level}.txt")
    if path is None:
        return []
    pattern = _LINE_ROW if level == "lines" else _WORD_ROW
    entries = []
    for number, row in enumerate(read_text(path).split("\n"), 1):
        if row.startswith("#") or not row.strip():
            continue
        match = pattern.fullmatch(row.rstrip())
        if match is None:
            raise DataError(f"{path}, row {number}: is not a row of {level}.txt: {row[:80]!r}")
        tokens = match[3].split("|") if level == "lines" else [match[3]]
        entries.append(_Entry(match[1], match[2] == "ok", tuple(tokens)))
    return _by_form(entries)


def _read_xml(folder: Path, level: str) -> list[list[_Entry]]:
    read = _lines_of if level == "lines" else _words_of
    return _by_form([entry for path in sorted((folder / "xml").glob("*.xml")) for entry in _entries_of(path, read)])


def _by_form(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    return [list(form) for _, form in groupby(entries, key=lambda entry: entry.form)]


def _entries_of(path: Path, read: Callable[[Element], Iterator[_Entry]]) -> list[_Entry]:
    try:
        return list(read(_parse_form(path)))
    except KeyError as error:
        raise DataError(f"{path}: a line or word has no attribute {error}") from error


def _lines_of(form: Element) -> Iterator[_Entry]:
    for line in form.iterfind("handwritten-part/line"):
        tokens = tuple(html.unescape(word.attrib["text"]) for word in line.iterfind("word"))
        # The text of the line is as written, apart from the corpus's codes; its quotation marks are escaped twice.
        written = (undo_codes(word) for word in html.unescape(line.attrib["text"]).split() if word != "#")
        yield _Entry(line.attrib["id"], _is_ok(line), tokens, " ".join(written))


def _words_of(form: Element) -> Iterator[_Entry]:
    for line in form.iterfind("handwritten-part/line"):
        for word in line.iterfind("word"):
            yield _Entry(word.attrib["id"], _is_ok(line), (html.unescape(word.attrib["text"]),))


def _is_ok(line: Element) -> bool:
    return line.get("segmentation", "ok") == "ok"


def _parse_form(path: Path) -> Element:
    """Parse the XML of a form, which names a document type that is not read; one written into it is refused.

    Raises:
        DataError: If the file cannot be read or is malformed.
    """
    try:
        content = re.sub(rb"<!DOCTYPE[^\[>]*>", b"", path.read_bytes(), count=1)
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\0" in content:  # no UTF-16 to hide them in
            raise DataError(f"{path}: holds a document type of its own, which is not allowed")
        return fromstring(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path}: malformed XML: {error}") from error


def _read_writers(folder: Path) -> dict[str, str]:
    """Return the writer of each form; nothing if no file says."""
    path = _find_ascii(folder, "forms.txt")
    if path is not None:
        rows = (row.split() for row in read_text(path).splitlines() if not row.startswith("#"))
        return {row[0]: row[1] for row in rows if len(row) >= 2}
    found = (_parse_form(path) for path in sorted((folder / "xml").glob("*.xml")))
    return {form.get("id", ""): form.get("writer-id", "") for form in found if form.get("writer-id")}


def _find_ascii(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / "ascii" / name, folder / name) if path.is_file()), None)


def _find_images(folder: Path, entries: Sequence[_Entry], name: str) -> dict[str, Path]:
    """Find the image of each entry, as `a01/a01-000u/a01-000u-00.png`; missing and empty files are reported.

    Raises:
        DataError: If not one is there.
    """
    found: dict[str, Path] = {}
    for form in dict.fromkeys(entry.form for entry in entries):
        place = folder / form.split("-")[0] / form
        if place.is_dir():
            with os.scandir(place) as files_there:
                found.update((Path(file.name).stem, Path(file)) for file in files_there if file.stat().st_size)
    missing = [entry.id for entry in entries if entry.id not in found]
    if len(missing) == len(entries):
        raise DataError(
            f"{name}: none of the {len(entries):,} images is under {folder}",
            hint=f"unpack {folder.name}.tgz into that folder, so that it holds a01, a02 and so on",
        )
    if missing:
        message = "%s: %d of %d images are missing or empty, and skipped: %s"
        log.warning(message, name, len(missing), len(entries), list_few(missing))
    return found
