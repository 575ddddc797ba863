import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from documents import INFO, failed, page, scan

from quillread.batch.journal import PageJournal, journal_path
from quillread.errors import Fault, OutputError
from quillread.types import Alternative, Change, DocumentInfo, Line, Polygon, Region, Scan

KEY = ["letters/a&b.pdf", [120, 7], "settings"]
FAULT = Fault("image", "broken")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / ".a.jsonl"


def begin(path: Path, *numbers: int, key: list[object] = KEY, resume: bool = False, count: int = 3) -> PageJournal:
    """Note pages of a document, and leave it open."""
    journal = PageJournal(path, key, resume)
    journal.begin(DocumentInfo(INFO.source, count))
    for number in numbers:
        journal.add(scan(number))
    return journal


def interrupt(path: Path, *numbers: int) -> None:
    begin(path, *numbers).abort()


def known(path: Path, key: list[object] = KEY, resume: bool = True) -> list[int]:
    journal = PageJournal(path, key, resume)
    return [number for number in (1, 2, 3) if journal.page(number) is not None]


def test_pages_of_an_interrupted_run_are_known_as_they_were(path: Path):
    interrupt(path, 1, 3)
    journal = PageJournal(path, KEY, resume=True)
    assert known(path) == [1, 3]
    assert journal.page(3) is not None
    assert journal.page(3).text == page(3).text  # type: ignore[union-attr]
    assert journal.page(3).source == INFO.source  # type: ignore[union-attr]


def test_pages_are_there_while_the_run_goes_on(path: Path):
    journal = begin(path, 1)
    assert known(path) == [1]
    journal.abort()


def test_nothing_is_known_without_resume(path: Path):
    interrupt(path, 1)
    assert known(path, resume=False) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_pages_of_another_file_or_other_settings_are_not_known(place: int, path: Path):
    interrupt(path, 1)
    other = list(KEY)
    other[place] = "other"
    assert known(path, key=other) == []


def test_a_run_without_resume_begins_anew(path: Path):
    interrupt(path, 1, 2)
    interrupt(path, 3)
    assert known(path) == [3]


def test_a_resumed_run_goes_on_and_notes_no_page_twice(path: Path):
    interrupt(path, 1)
    begin(path, 1, 2, resume=True).abort()
    assert known(path) == [1, 2]
    assert path.read_bytes().count(b'{"number": 1,') == 1


def test_a_document_that_was_read_in_full_leaves_no_journal(path: Path):
    begin(path, 1, 2, 3).close(None)
    assert not path.exists()


def test_a_page_that_failed_is_tried_again(path: Path):
    journal = begin(path, 1)
    journal.add(failed(2))
    journal.add(scan(3))
    journal.close(None)
    assert known(path) == [1, 3]


def test_a_page_whose_image_is_missing_is_tried_again(path: Path):
    interrupt(path, 1)
    journal = begin(path, resume=True)
    journal.add(replace(scan(1), missing=FAULT))
    journal.close(None)
    assert known(path) == [1]


def test_pages_stay_known_when_the_input_cannot_be_opened_this_time(path: Path):
    interrupt(path, 1)
    journal = PageJournal(path, KEY, resume=True)
    journal.begin(DocumentInfo(INFO.source, 0))
    journal.close(FAULT)
    assert known(path) == [1]


def test_an_only_page_needs_no_journal(path: Path):
    begin(path, 1, count=1).abort()
    assert not path.exists()


def test_stdin_has_no_journal(path: Path):
    begin(path, 1, key=["-", None, "settings"]).abort()
    assert not path.exists()


def test_a_page_that_was_cut_off_is_not_known_and_does_not_spoil_the_next(path: Path):
    interrupt(path, 1, 2)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert known(path) == [1]
    begin(path, 2, resume=True).abort()
    assert known(path) == [1, 2]


@pytest.mark.parametrize("content", [b"", b"\n", b"\nnot JSON\n", b"\n{}\n", b"\xff\n\xff\n"])
def test_a_journal_that_is_none_counts_for_nothing(content: bytes, path: Path):
    path.parent.mkdir()
    path.write_bytes(content)
    assert known(path) == []
    interrupt(path, 2)
    assert known(path) == [2]


def test_a_page_of_another_form_is_not_known(path: Path):
    path.parent.mkdir()
    path.write_text(f'\n{json.dumps(KEY)}\n\n{{"number": 1, "words": 3}}\n', encoding="utf-8")
    assert known(path) == []


def test_a_journal_that_cannot_be_written_is_named(path: Path):
    path.parent.mkdir()
    path.mkdir()
    with pytest.raises(OutputError, match=r"\.a\.jsonl: cannot be written"):
        begin(path)


def test_a_page_is_known_with_all_digits(path: Path):
    def odd(value: float) -> float:
        return value + 1 / 3

    first = page(1)
    (line, *_), outline = first.lines, Polygon(((odd(1), 2), (odd(3), odd(4)), (5, 6)))
    read = replace(line.transcript, confidence=odd(0), expected_error=odd(0), rows=2, raw_text="x")  # type: ignore
    read = replace(read, changes=(Change(0, "a", "b", "c"),), alternatives=(Alternative("z", odd(0)),))
    lines = (replace(line, transcript=read, baseline=((odd(1), 2), (3, odd(4)))), Line(((1, 2), (3, 4)), outline))
    odd_page = replace(first, regions=(Region(outline, lines, "r"), *first.regions))
    journal = begin(path)
    journal.add(Scan(odd_page))
    journal.abort()
    assert repr(PageJournal(path, KEY, resume=True).page(1)) == repr(odd_page)


def test_the_time_at_which_a_reading_began_is_known(path: Path):
    began = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    journal = PageJournal(path, KEY, resume=False)
    journal.begin(DocumentInfo(INFO.source, 3, began=began))
    journal.add(scan(1))
    journal.abort()
    assert PageJournal(path, KEY, resume=True).began == began
    assert PageJournal(path, KEY, resume=False).began is None


def test_a_link_in_the_place_of_a_journal_is_not_followed(path: Path):
    path.parent.mkdir()
    (path.parent / "precious").write_text("x", encoding="utf-8")
    path.symlink_to("precious")
    assert known(path) == []
    with pytest.raises(OutputError, match=r"\.a\.jsonl: cannot be written"):
        begin(path)
    assert (path.parent / "precious").read_text(encoding="utf-8") == "x"


def test_the_journal_of_a_long_name_has_room():
    short, long, other = (journal_path(Path("out") / name) for name in ("a", "Ц" * 120, "Ц" * 121))
    assert short == Path("out/.a.quillread-pages.jsonl")
    assert long != other
    assert len(long.name.encode()) < 255
