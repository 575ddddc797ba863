import json
import re
from pathlib import Path
from typing import Any

import pytest
from fakes import bar_line, png, write_bar_folder
from readings import lines_read, read, size_of, sources_read, write_document, write_segmentation, written

from quillread import reader
from quillread.batch.log import LOG_NAME
from quillread.cli.main import main
from quillread.errors import ImageError
from quillread.formats.export import FORMATS
from quillread.images.read import Document, open_document
from quillread.pages.segment import Layout

pytestmark = pytest.mark.usefixtures("bar_model")


def test_resume_reads_what_is_missing_and_what_failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert read("one.png", "bad.png", "--output", "out") == 3
    opened = sources_read(monkeypatch)
    capsys.readouterr()
    assert read("one.png", "bad.png", "two.png", "--output", "out", "--resume") == 3
    assert opened == ["bad.png", "two.png"]
    assert "skipped 1 of 3 inputs that an earlier run has read" in capsys.readouterr().err
    assert written(folder / "out") == {"one.txt": "a bad cab\n", "two.txt": "dead\n"}


def test_resume_draws_missing_overlays(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_document(folder / "book.pdf", ["dead", "bead"])
    options = ("one.png", "book.pdf", "--output", "out", "--resume", "--overlay")
    assert read(*options, "seen") == 0
    opened = sources_read(monkeypatch)
    assert read(*options, "seen") == 0
    assert opened == []
    (folder / "seen" / "one.png").unlink()
    assert read(*options, "seen") == 0
    assert opened == ["one.png"]
    (folder / "seen" / "book-0002.png").unlink()
    assert read(*options, "seen") == 0
    assert opened == ["one.png", "book.pdf"]
    assert read(*options, "other") == 0
    assert len(list((folder / "other").iterdir())) == 3


def test_lines_asked_for_by_a_setting_exclude_given_ones_too(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["read", "one.png", "--set", "lines=true", "--segmentation", "x.xml"]) == 2
    assert "lines and segmentation exclude each other" in capsys.readouterr().err


def test_a_segmentation_file_is_about_one_input(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "x.xml").write_text("", encoding="utf-8")
    assert main(["read", "one.png", "two.png", "--segmentation", "x.xml"]) == 2
    assert "x.xml is about one page, and there are 2 inputs" in capsys.readouterr().err


def test_without_resume_all_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read("one.png", "--output", "out")
    opened = sources_read(monkeypatch)
    read("one.png", "--output", "out")
    assert opened == ["one.png"]


def test_resume_goes_on_after_ctrl_c(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(path: Path, *_: Any, **__: Any) -> Any:
        if str(path) == "two.png":
            raise KeyboardInterrupt
        return open_document(path)

    with monkeypatch.context() as patch:
        patch.setattr("quillread.reader.open_document", interrupt)
        assert read("one.png", "two.png", "blank.png", "--output", "out") == 130
    opened = sources_read(monkeypatch)
    assert read("one.png", "two.png", "blank.png", "--output", "out", "--resume") == 0
    assert opened == ["two.png", "blank.png"]
    assert written(folder / "out") == {"blank.txt": "", "one.txt": "a bad cab\n", "two.txt": "dead\n"}


def test_a_document_with_a_failed_page_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_document(folder / "book.pdf", ["dead", None])
    assert read("book.pdf", "--output", "out") == 3
    opened = sources_read(monkeypatch)
    read("book.pdf", "--output", "out", "--resume")
    assert opened == ["book.pdf"]


ALL = ",".join(FORMATS)


def test_a_document_goes_on_at_the_page_where_it_was_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_document(folder / "book.pdf", ["dead", "a bad cab", "bead", "cab"])
    assert read("book.pdf", "--output", "whole", "--format", ALL) == 0
    with monkeypatch.context() as patch:
        lines_read(patch, stop_at=2)
        assert read("book.pdf", "--output", "out", "--format", ALL) == 130
    assert (folder / "out" / ".book.quillread-pages.jsonl").exists()
    seen = lines_read(monkeypatch)
    assert read("book.pdf", "--output", "out", "--format", ALL, "--resume") == 0
    assert len(seen) == 2
    files = {path.name for path in (folder / "out").iterdir()}
    assert files == {path.name for path in (folder / "whole").iterdir()}
    for name in ("book.txt", "book.json", "book.csv", "book.md", "book.hocr", "book.pdf", "book-0002.alto.xml"):
        made, whole = ((folder / place / name).read_bytes() for place in ("out", "whole"))
        assert re.sub(rb"\d\d:\d\d:\d\dZ", b"", made) == re.sub(rb"\d\d:\d\d:\d\dZ", b"", whole)


def test_of_a_document_with_failed_pages_only_those_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_document(folder / "book.pdf", ["dead", None, "bead"])
    assert read("book.pdf", "--output", "out") == 3
    seen = lines_read(monkeypatch)
    assert read("book.pdf", "--output", "out", "--resume") == 3
    assert seen == []
    assert (folder / "out" / "book.txt").read_text(encoding="utf-8") == "dead\n\n[page 2 could not be read]\n\nbead\n"


@pytest.mark.parametrize("gone", ["a page", "all"])
def test_what_was_read_outlives_a_run_that_cannot_have_the_images(
    gone: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    write_document(folder / "book.pdf", ["dead", None, "bead"])
    read("book.pdf", "--output", "out", "--format", "txt,pdf")

    page_of = Document.page

    def lacks_one(document: Document, index: int) -> Any:
        return page_of(document, index) if index else fail()

    def fail(*_: Any, **__: Any) -> Any:
        raise ImageError("the disk went away")

    with monkeypatch.context() as patch:
        patch.setattr(*((Document, "page", lacks_one) if gone == "a page" else (reader, "open_document", fail)))
        assert read("book.pdf", "--output", "out", "--format", "txt,pdf", "--resume") == 3
    text = "dead\n\n[page 2 could not be read]\n\nbead\n"
    assert (folder / "out" / "book.txt").read_text(encoding="utf-8") == text
    seen = lines_read(monkeypatch)
    assert read("book.pdf", "--output", "out", "--format", "txt,pdf", "--resume") == 3
    assert seen == []
    assert (folder / "out" / "book.txt").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("change", ["no --resume", "settings", "lexicon", "file", "cut off", "nonsense"])
def test_pages_of_another_run_are_not_taken_up(change: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_document(folder / "book.pdf", ["dead", None, "bead"])
    names = folder / "names.txt"
    names.write_text("Ann", encoding="utf-8")
    read("book.pdf", "--output", "out", "--lexicon", names)
    journal = folder / "out" / ".book.quillread-pages.jsonl"
    if change == "file":
        write_document(folder / "book.pdf", ["dead", None, "bead", "cab"])
    elif change == "lexicon":
        names.write_text("Anna", encoding="utf-8")
    elif change == "cut off":
        journal.write_bytes(journal.read_bytes()[:-30])
    elif change == "nonsense":
        journal.write_bytes(b"\xff\n[1]\n{")
    seen = lines_read(monkeypatch)
    options = {"no --resume": [], "settings": ["--resume", "--set", "read.pdf_dpi=299"]}.get(change, ["--resume"])
    read("book.pdf", "--output", "out", "--lexicon", names, *options)
    assert len(seen) == {"file": 3, "cut off": 1}.get(change, 2)
    assert (
        (folder / "out" / "book.txt")
        .read_text(encoding="utf-8")
        .startswith("dead\n\n[page 2 could not be read]\n\nbead\n")
    )


@pytest.mark.parametrize(
    "change",
    [
        ["--set", "read.pdf_dpi=200"],
        ["--model", "other"],
        ["--lm", "none"],
        ["--lm", "en@2", "--lm", "fr"],
        ["--lm", "en@3", "--lm", "fr"],
        ["--correct"],
        ["--lm", "none", "--correct"],
        ["--variants", "2"],
        ["--pages", "1"],
        ["--format", "json"],
        ["--format", "txt,md"],
        ["--overlay", "seen"],
    ],
    ids=str,
)
def test_other_settings_or_formats_are_read_again(change: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_bar_folder(folder / "other", b"other weights")
    read("one.png", "--output", "out")
    opened = sources_read(monkeypatch)
    read("one.png", "--output", "out", "--resume", *change)
    assert opened == ["one.png"]


@pytest.mark.parametrize("option", ["--model", "--lm", "--lexicon", "--segmenter"])
def test_what_is_read_with_files_that_changed_is_read_again(option: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "with").mkdir()
    file = folder / "with" / "lines.onnx"
    file.write_text("a", encoding="utf-8")
    monkeypatch.setattr("quillread.reader.load_segmenter", lambda *_: lambda image: Layout())
    write_bar_folder(folder / "with")
    named = "with" if option == "--model" else "with/lines.onnx"
    arguments = ["read", "one.png", option, named, "--output", "out", "--resume"]
    assert main(arguments) == 0
    opened = sources_read(monkeypatch)
    main(arguments)
    assert opened == []
    file.write_text("ab", encoding="utf-8")
    main(arguments)
    assert opened == ["one.png"]


def test_what_is_read_with_lines_that_changed_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "seg").mkdir()
    write_segmentation(folder / "seg" / "one.xml", "one.png", size_of("a bad cab"))
    arguments = ["read", "one.png", "--segmentation", "seg", "--output", "out", "--resume"]
    assert main(arguments) == 0
    opened = sources_read(monkeypatch)
    main(arguments)
    assert opened == []
    with (folder / "seg" / "one.xml").open("ab") as xml:
        xml.write(b"<!-- drawn anew -->")
    main(arguments)
    assert opened == ["one.png"]


def test_other_options_of_trocr_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read("one.png", "--output", "out", "--beams", "2")
    opened = sources_read(monkeypatch)
    read("one.png", "--output", "out", "--resume", "--beams", "2")
    assert opened == []
    read("one.png", "--output", "out", "--resume", "--beams", "3")
    assert opened == ["one.png"]


def test_a_file_that_changed_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read("one.png", "--output", "out")
    (folder / "one.png").write_bytes(png(bar_line("bead")))
    opened = sources_read(monkeypatch)
    read("one.png", "--output", "out", "--resume")
    assert opened == ["one.png"]


def test_fewer_formats_than_were_written_are_complete(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read("one.png", "--output", "out", "--format", "txt,json")
    opened = sources_read(monkeypatch)
    read("one.png", "--output", "out", "--resume", "--format", "json")
    assert opened == []


def test_a_log_that_is_cut_off_costs_its_last_input_only(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read("one.png", "two.png", "--output", "out")
    log = folder / "out" / LOG_NAME
    log.write_bytes(log.read_bytes()[:-20] + b"\xff")
    opened = sources_read(monkeypatch)
    assert read("one.png", "two.png", "--output", "out", "--resume") == 0
    assert opened == ["two.png"]


def test_what_an_earlier_version_logged_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_document(folder / "book.pdf", ["dead", None, "bead"])
    one, book = ([stat.st_size, stat.st_mtime_ns] for stat in (Path(name).stat() for name in ("one.png", "book.pdf")))
    settings = "17a7fb915364ca0b"
    kept = {"settings": settings, "formats": ["txt"]}
    log = [
        {"stem": "one", "source": "one.png", "file": one, **kept, "pages": 1, "failed": 0},
        {"stem": "book", "source": "book.pdf", "file": book, **kept, "pages": 3, "failed": 1},
    ]
    journal = [
        ["book.pdf", book, settings],
        {"number": 1, "width": 40, "height": 48, "lines": [], "regions": []},
    ]
    out = folder / "out"
    out.mkdir()
    (out / "one.txt").write_text("of an earlier version\n", encoding="utf-8")
    (out / LOG_NAME).write_text("".join(f"{json.dumps(row)}\n" for row in log), encoding="utf-8")
    (out / ".book.quillread-pages.jsonl").write_text("".join(f"\n{json.dumps(row)}\n" for row in journal), "utf-8")
    seen = lines_read(monkeypatch)
    assert read("one.png", "book.pdf", "--output", "out", "--resume") == 3
    assert len(seen) == 3
    text = "dead\n\n[page 2 could not be read]\n\nbead\n"
    assert written(out) == {"one.txt": "a bad cab\n", "book.txt": text}
    assert read("one.png", "book.pdf", "--output", "out", "--resume") == 3
    assert len(seen) == 3


def test_a_result_that_was_removed_is_written_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read("one.png", "--output", "out")
    (folder / "out" / "one.txt").unlink()
    opened = sources_read(monkeypatch)
    read("one.png", "--output", "out", "--resume")
    assert opened == ["one.png"]
