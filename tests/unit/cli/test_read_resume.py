import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import bar_line, png, write_bar_folder
from readings import lines_read, read, size_of, sources_read, write_document, write_segmentation, written

from quillread import reader
from quillread.batch.records import LOG_NAME
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
    assert len(list((folder / "other").glob("*.png"))) == 3


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


def test_results_of_another_input_are_not_written_over(folder: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("x", "y"):
        (folder / name).mkdir()
        (folder / name / "1.png").write_bytes((folder / f"{'one' if name == 'x' else 'two'}.png").read_bytes())
    assert read("x/1.png", "--output", "out", "--overlay", "seen") == 0
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    for options in ([], ["--resume"]):
        assert read("y/1.png", "blank.png", "--output", "out", "--overlay", "seen", *options) == 3
        assert "y/1.png: out/1.txt holds what was read in x/1.png\n  hint: write into" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before if path.name[0] != "."} == {
        path: content for path, content in before.items() if path.name[0] != "."
    }
    assert (folder / "out" / "blank.txt").exists()
    assert read("y/1.png", "--output", "out", "--overlay", "seen", "--overwrite") == 0
    assert written(folder / "out")["1.txt"] == "dead\n"
    assert read("y", "--output", "out") == 0
    assert read("y", "--overlay", "seen") == 0  # which keeps a log of its own
    assert read("x", "--overlay", "seen") == 3


@pytest.mark.parametrize(
    "options", [[], ["--resume"], ["--resume", "--set", "read.pdf_dpi=200"], ["--overwrite"]], ids=str
)
def test_what_a_person_has_changed_is_not_written_over(
    options: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert read("one.png", "--output", "out") == 0
    (folder / "out" / "one.txt").write_text("a good cab\n", encoding="utf-8")
    is_skipped, is_forced = options == ["--resume"], options == ["--overwrite"]
    assert read("one.png", "--output", "out", *options) == (0 if is_skipped or is_forced else 3)
    assert written(folder / "out") == {"one.txt": "a bad cab\n" if is_forced else "a good cab\n"}
    if not is_skipped and not is_forced:
        assert "one.png: out/one.txt was changed after it was written\n" in capsys.readouterr().err


def test_a_text_that_lay_there_is_not_written_over(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "one.txt").write_text("by hand\n", encoding="utf-8")
    assert read("one.png", "two.png", "--output", ".") == 3
    assert (folder / "one.txt").read_text(encoding="utf-8") == "by hand\n"
    assert (folder / "two.txt").read_text(encoding="utf-8") == "dead\n"
    assert "one.png: one.txt stands there, and was not written for it" in capsys.readouterr().err


def test_results_are_not_taken_for_inputs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "bad.png").unlink()
    options = (".", "--format", "txt,pdf", "--output", "out", "--overlay", "seen")
    assert read(*options) == 0
    opened = sources_read(monkeypatch)
    assert read(*options) == 0
    assert opened == ["blank.png", "one.png", "two.png"]
    beside = (".", "--format", "txt,pdf", "--output", ".")
    opened.clear()
    assert read(*beside, "--resume") == 0  # out and seen are other folders now, with logs of their own
    assert opened == ["blank.png", "one.png", "two.png"]
    opened.clear()
    assert read("one.png", "two.png", "--format", "pdf", "--output", ".") == 0
    assert read(".", "--format", "pdf", "--output", ".", "--overlay", "seen", "--resume") == 0
    assert not [name for name in opened if name in ("one.pdf", "two.pdf")]


def test_a_run_that_finds_all_done_says_so(folder: Path, capsys: pytest.CaptureFixture[str]):
    read("one.png", "two.png", "--output", "out")
    capsys.readouterr()
    assert read("one.png", "two.png", "--output", "out", "--resume") == 0
    assert capsys.readouterr().err == "quill: all 2 inputs were read by an earlier run: there is nothing to do\n"


def test_what_is_taken_up_is_dated_as_it_was_begun(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_document(folder / "book.pdf", ["dead", "a bad cab", "bead"])
    now = iter((datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)))
    monkeypatch.setattr("quillread.cli.reading.datetime", SimpleNamespace(now=lambda _: next(now)))
    options = ("book.pdf", "one.png", "--output", "out", "--format", "page,alto")
    with monkeypatch.context() as patch:
        lines_read(patch, stop_at=2)
        assert read(*options) == 130
    assert read(*options, "--resume") == 0
    for path in (folder / "out").glob("*.xml"):
        assert f"{2025 if path.name.startswith('book') else 2026}-01-01T00:00:00Z" in path.read_text(encoding="utf-8")


def test_short_names_of_options_do_as_well(folder: Path):
    assert read("one.png", "-o", "out", "-f", "TXT,Json") == 0
    assert list(written(folder / "out")) == ["one.json", "one.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_does_not_command_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]):
    name = "a\x1b[2J\nquill: b.png"
    (folder / "bad.png").rename(folder / name)
    (folder / "one.png").rename(folder / f"c{name}")
    assert main(["-v", "read", "--lines", name, f"c{name}", "--review", "0"]) == 3
    with pytest.raises(SystemExit):
        read("--nonsense\x1b[2J")
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "quill: a\ufffd[2J\ufffdquill: b.png: is not an image" in err
    assert "review ca\ufffd[2J quill: b.png, page 1" in err


def test_a_folder_that_is_gone_ends_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def take_away(source: Path, *args: Any, **options: Any) -> Any:
        if str(source) == "two.png":
            (folder / "out").rename(folder / "away")
        return open_document(source, *args, **options)

    monkeypatch.setattr("quillread.reader.open_document", take_away)
    assert read("one.png", "two.png", "blank.png", "--output", "out") == 3
    assert "quill: error: out: is gone\n" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_a_picture_of_another_input_of_the_run_is_not_drawn_over(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_document(folder / "letter.pdf", ["dead", "bead"])
    (folder / "one.png").rename(folder / "letter-0001.png")
    assert read("letter.pdf", "letter-0001.png", "--output", "out", "--overlay", "seen") == 3
    assert "seen/letter-0001.png: holds what was read in letter.pdf" in capsys.readouterr().err
    assert written(folder / "out")["letter-0001.txt"] == "a bad cab\n"


def test_results_below_a_folder_are_not_read_when_written_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "w").mkdir()
    (folder / "one.png").rename(folder / "w" / "one.png")
    assert read("w", "--format", "pdf", "--output", "w/out", "--overlay", "w/seen") == 0
    opened = sources_read(monkeypatch)
    assert read("w") == 0
    assert opened == ["w/one.png"]
