import errno
import io
import json
import re
import shutil
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from documents import export
from fakes import bar_line, png, write_bar_folder
from PIL import Image
from webserver import Answer, serve

from quillread import reader
from quillread.batch.log import LOG_NAME
from quillread.cli.main import main
from quillread.errors import ImageError
from quillread.formats.alto import read_alto
from quillread.formats.export import FORMATS
from quillread.formats.pagexml import read_page_xml
from quillread.formats.pdf import PdfWriter
from quillread.formats.plain import TextWriter
from quillread.images.read import Document, open_document
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan

pytestmark = pytest.mark.usefixtures("bar_model")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: three lines and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("one", "a bad cab"), ("two", "dead"), ("blank", "")):
        (tmp_path / f"{name}.png").write_bytes(png(bar_line(text)))
    (tmp_path / "bad.png").write_text("no image", encoding="utf-8")
    return tmp_path


def read(*arguments: str | Path) -> int:
    return main(["read", "--lines", *map(str, arguments)])


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def written(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_text_goes_to_stdout(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png") == 0
    assert capsys.readouterr() == ("a bad cab\n", "")


def test_texts_are_parted_by_an_empty_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    read("one.png", "blank.png", "two.png")
    assert capsys.readouterr().out == "a bad cab\n\ndead\n"


def test_json_is_one_document_for_each_input_in_order(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("--format", "json", "two.png", "blank.png", "one.png") == 0
    found = documents(capsys.readouterr().out)
    assert [(d["source"], d["text"]) for d in found] == [
        ("two.png", "dead"),
        ("blank.png", ""),
        ("one.png", "a bad cab"),
    ]


def test_a_bad_input_gives_3_and_the_others_are_read(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png", "bad.png", "two.png") == 3
    out, err = capsys.readouterr()
    assert out == "a bad cab\n\ndead\n"
    assert err.startswith("quill: bad.png: is not an image or PDF that can be read\n  hint: ")
    assert err.endswith("quill: 1 of 3 inputs could not be read in full\n")


def test_a_bad_input_has_a_document_with_its_error(folder: Path, capsys: pytest.CaptureFixture[str]):
    read("--format", "json", "one.png", "bad.png", "none.png")
    good, bad, missing = documents(capsys.readouterr().out)
    assert "error" not in good
    assert bad["error"].startswith("bad.png: is not an image")
    assert missing["error"].startswith("none.png: no such file")
    assert bad["provenance"] == good["provenance"]


def test_output_has_a_text_file_for_each_input_that_was_read(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png", "bad.png", "blank.png", "--output", "out/deep") == 3
    assert written(folder / "out" / "deep") == {"blank.txt": "", "one.txt": "a bad cab\n"}
    assert capsys.readouterr().out == ""


def test_output_has_a_json_file_for_each_input(folder: Path):
    assert read("one.png", "bad.png", "--output", "out", "--format", "json") == 3
    found = written(folder / "out")
    assert list(found) == ["bad.json", "one.json"]
    assert "error" in json.loads(found["bad.json"])


def test_equal_names_in_different_folders_overwrite_nothing(folder: Path):
    (folder / "x").mkdir()
    (folder / "x" / "one.png").write_bytes(png(bar_line("cabe")))
    assert read("one.png", "x/one.png", "--output", "out") == 0
    assert written(folder / "out") == {"one.png.txt": "a bad cab\n", "one.png-2.txt": "cabe\n"}


def test_a_folder_is_read_into_the_same_folders(folder: Path):
    (folder / "in" / "deep").mkdir(parents=True)
    (folder / "one.png").rename(folder / "in" / "deep" / "one.png")
    assert read("in", "--output", "out") == 0
    assert written(folder / "out") == {"deep/one.txt": "a bad cab\n"}


def test_a_bad_argument_is_an_input_that_failed(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "empty").mkdir()
    assert read("--format", "json", "empty", "*.gif", "one.png") == 3
    found = documents(capsys.readouterr().out)
    assert [d.get("error", "").split("\n")[0] for d in found] == [
        "empty: holds no images or PDFs",
        "*.gif: matches no file",
        "",
    ]


def test_stdin_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    set_stdin(monkeypatch, (folder / "one.png").read_bytes())
    assert read("-", "--format", "json") == 0
    (document,) = documents(capsys.readouterr().out)
    assert (document["source"], document["text"]) == ("-", "a bad cab")


def test_stdin_is_written_under_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch):
    set_stdin(monkeypatch, (folder / "one.png").read_bytes())
    read("-", "--output", "out")
    assert written(folder / "out") == {"stdin.txt": "a bad cab\n"}


@pytest.mark.parametrize("is_closed", [False, True])
def test_empty_stdin_says_what_to_pipe(
    is_closed: bool, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if is_closed:
        monkeypatch.setattr(sys, "stdin", None)
    else:
        set_stdin(monkeypatch, b"")
    assert read("-") == 3
    assert capsys.readouterr().err.startswith("quill: -: nothing came from stdin\n  hint: pipe an image")


@pytest.mark.parametrize("name", ["my letter.png", "lettre d'été – 1.png", "手紙.png", "--name.png"])
def test_odd_file_names_are_read(name: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    try:
        (folder / "one.png").rename(folder / name)
    except UnicodeEncodeError:
        pytest.skip("names of files cannot have these letters here")
    assert read("--format", "json", "--output", "out", "--", name) == 0
    assert json.loads((folder / "out" / name).with_suffix(".json").read_text(encoding="utf-8"))["source"] == name


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("output", [[], ["--output", "out"]], ids=["stdout", "file"])
def test_a_file_name_that_is_no_text_comes_back_as_it_was(
    output: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (folder / "one.png").rename(folder / name)
    assert read("--format", "json", name, *output) == 0
    text = capsys.readouterr().out or next((folder / "out").iterdir()).read_text(encoding="utf-8")
    assert json.loads(text)["source"] == name


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_no_text_can_be_written_in_every_format(folder: Path):
    name = b"caf\xe9 <&.png".decode("utf-8", "surrogateescape")
    (folder / "one.png").rename(folder / name)
    assert read(name, "--format", ",".join(FORMATS), "--output", "out", "--overlay", "seen") == 0
    assert len([path for path in (folder / "out").iterdir() if path.name != LOG_NAME]) == len(FORMATS)
    for path in (folder / "out").glob("*.xml"):
        assert "caf\ufffd" in path.read_text(encoding="utf-8")
    assert read(name, "--format", ",".join(FORMATS), "--output", "out", "--overlay", "seen", "--resume") == 0


def test_an_output_folder_that_is_a_file_is_found_before_reading(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png", "--output", "two.png") == 3
    assert capsys.readouterr().err.startswith("quill: error: two.png: cannot be made a folder: File exists\n  hint: ")


def test_an_output_folder_without_permission_is_found_before_reading(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert read("one.png", "--output", "out") == 3
    assert capsys.readouterr().err.startswith("quill: error: out: no permission to write there\n  hint: ")


def test_a_full_disk_leaves_nothing_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fill_up(writer: TextWriter, scan: Scan) -> None:
        writer._file.write(b"a b")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TextWriter, "add", fill_up)
    assert read("one.png", "--output", "out") == 3
    err = capsys.readouterr().err
    assert err.startswith("quill: error: out/one.txt: cannot be written: No space left on device\n  hint: ")
    assert written(folder / "out") == {}


def test_results_from_before_an_interruption_stay(folder: Path, monkeypatch: pytest.MonkeyPatch):
    replace = Path.replace

    def interrupt_second(path: Path, target: Path) -> Path:
        if target.name == "two.txt":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", interrupt_second)
    assert read("one.png", "two.png", "blank.png", "--output", "out") == 130
    assert written(folder / "out") == {"one.txt": "a bad cab\n"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("read.pdf_dp=200", "unknown setting 'read.pdf_dp' (did you mean 'pdf_dpi'?)"),
        ("segmentr=x", "unknown setting 'segmentr' (did you mean 'segmenter'?)"),
        ("read.pdf_dpi=5", "read.pdf_dpi must be 36 to 1200, got 5"),
        ("crop.margin=much", "crop.margin: expected float, got 'much'"),
        ("crop.margin", "setting 'crop.margin' is not of the form name=value"),
        ("read=5", "read: expected settings, got 5"),
    ],
)
def test_a_wrong_setting_gives_2(setting: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png", "--set", setting) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_line_finder_gives_2(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["read", "one.png", "--set", "segmenter=clasical"]) == 2
    assert "did you mean 'classical'?" in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["-1", "two", "1.5"])
def test_a_wrong_number_of_threads_gives_2(threads: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        read("one.png", "--threads", threads)
    assert caught.value.code == 2
    assert f"got {threads!r}" in capsys.readouterr().err


def test_settings_are_in_the_provenance(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_bar_folder(folder / "mine")
    read("one.png", "--format", "json", "--set", "read.pdf_dpi=150", "--model", "mine")
    (document,) = documents(capsys.readouterr().out)
    assert document["provenance"]["model"] == "mine"
    assert document["provenance"]["settings"]["read"]["pdf_dpi"] == 150
    assert document["provenance"]["settings"]["lines"] is True


def test_the_model_and_threads_that_are_named_are_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def load(name: str, *, threads: int, generate: Any, **_: Any) -> Any:
        asked.append((name, threads))
        raise KeyboardInterrupt

    monkeypatch.setattr("quillread.reader.load", load)
    read("one.png", "--model", "mine", "--threads", "3")
    assert asked == [("mine", 3)]


def test_several_formats_are_written_at_once(folder: Path):
    assert read("one.png", "--format", "txt,json, page,alto,hocr,md,csv,docx,pdf", "--output", "out") == 0
    found = {path.name for path in (folder / "out").iterdir()} - {LOG_NAME}
    assert found == {
        *("one.txt", "one.json", "one-0001.page.xml", "one-0001.alto.xml", "one.hocr"),
        *("one.md", "one.csv", "one.docx", "one.pdf"),
    }
    with pypdfium2.PdfDocument(folder / "out" / "one.pdf") as pdf:
        assert pdf[0].get_textpage().get_text_range() == "a bad cab"
    assert read_page_xml(folder / "out" / "one-0001.page.xml").text == "a bad cab"


def test_a_failed_input_has_files_that_say_so_only(folder: Path):
    assert read("bad.png", "--format", ",".join(FORMATS), "--output", "out") == 3
    assert {path.name for path in (folder / "out").iterdir()} - {LOG_NAME} == {"bad.json", "bad.csv"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "txt,json"], "several formats (txt, json) need files"),
        (["--format", "pdf"], "the format pdf needs files"),
        (["--format", "page"], "the format page needs files"),
        (["--resume"], "--resume looks into the folder of --output"),
        (["--show", "--format", "json"], "--show and --format would both write to stdout"),
        (["--segmentation", "x.xml"], "lines and segmentation exclude each other"),
        (["--segmenter", "classical"], "--segmenter finds lines, and --lines says that none are to be found"),
        (["--resume", "--output", "out", "--review", "0.05"], "--review lists what is read now, and --resume"),
    ],
)
def test_options_that_make_no_sense_give_2(
    options: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert read("one.png", *options) == 2
    assert message in capsys.readouterr().err


def test_a_line_finder_has_nothing_to_do_with_given_lines(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["read", "one.png", "--segmenter", "classical", "--segmentation", "x.xml"]) == 2
    assert "--segmenter finds lines, and --segmentation says" in capsys.readouterr().err


def test_an_unknown_format_gives_2(folder: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        read("one.png", "--format", "txt,jsn")
    assert caught.value.code == 2
    assert "unknown format 'jsn' (did you mean 'json'?)" in capsys.readouterr().err


def test_nothing_to_read_gives_2(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read() == 2
    assert "there is nothing to read" in capsys.readouterr().err


def test_markdown_may_go_to_stdout(folder: Path, capsys: pytest.CaptureFixture[str]):
    read("one.png", "two.png", "--format", "md")
    assert capsys.readouterr().out == "a bad cab\n\ndead\n"


def test_show_takes_the_place_of_the_text(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png", "bad.png", "--show") == 3
    assert capsys.readouterr().out == "== one.png\n  1  a bad cab\n== bad.png\n[could not be read]\n"


def test_show_and_files_go_together(folder: Path, capsys: pytest.CaptureFixture[str]):
    read("one.png", "--show", "--output", "out")
    assert written(folder / "out") == {"one.txt": "a bad cab\n"}
    assert capsys.readouterr().out.startswith("== one.png\n")


def test_overlays_are_drawn_beside_the_text(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_document(folder / "book.pdf", ["dead", "bead"])
    assert read("one.png", "book.pdf", "bad.png", "--overlay", "seen") == 3
    assert sorted(path.name for path in (folder / "seen").iterdir()) == ["book-0001.png", "book-0002.png", "one.png"]
    with Image.open(folder / "seen" / "one.png") as picture:
        assert picture.size == (2 * bar_line("a bad cab").shape[1], bar_line("a bad cab").shape[0])
    assert capsys.readouterr().out == "a bad cab\n\ndead\n\nbead\n"


def write_document(path: Path, texts: list[str | None]) -> Path:
    """Write a PDF with a line a page; pages without text are damaged."""
    file = io.BytesIO()
    writer = PdfWriter(file)
    writer.begin(DocumentInfo(path.name, len(texts)))
    for number, text in enumerate(texts, 1):
        image = bar_line(text or "dead")
        points = (image.shape[1] * 0.72, image.shape[0] * 0.72) if text else (1.0, 1.0)
        writer.add(Scan(Page("", number, image.shape[1], image.shape[0]), image, points))
    writer.close(None)
    # The writer makes no page without an area.
    path.write_bytes(file.getvalue().replace(b"/MediaBox [0 0 1.0000 1.0000]", b"/MediaBox [0 0 0.0000 0.0000]"))
    return path


def test_the_pages_of_a_pdf_keep_their_size_on_paper(folder: Path):
    write_document(folder / "book.pdf", ["dead", "a bad cab"])
    read("book.pdf", "--output", "out", "--format", "pdf")
    with pypdfium2.PdfDocument(folder / "book.pdf") as source, pypdfium2.PdfDocument(folder / "out/book.pdf") as made:
        assert [page.get_size() for page in made] == [page.get_size() for page in source]


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (["book.pdf"], ["--output", ".", "--format", "txt,pdf"]),
        (["one.png"], ["--overlay", "."]),
        (["one.png"], ["--overlay", "out/..", "--output", "out"]),
        (["book-0002.png"], ["--output", "seen", "--overlay", "."]),
    ],
)
def test_what_is_read_is_never_written_over(
    inputs: list[str], options: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
):
    write_document(folder / "book.pdf", ["dead", "bead"])
    shutil.copy(folder / "one.png", folder / "book-0002.png")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert read(*inputs, *options) == 3
    assert "what is read here would be written over\n  hint: name another folder" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_segmentation_is_never_written_over(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_segmentation(folder / "one-0001.page.xml", "one.png", size_of("a bad cab"))
    before = (folder / "one-0001.page.xml").read_bytes()
    options = ["--segmentation", ".", "--format", "page", "--output", "."]
    assert main(["read", "one.png", *options]) == 3
    assert "one.page.xml: what is read here would be written over" in capsys.readouterr().err
    assert (folder / "one-0001.page.xml").read_bytes() == before


def test_results_may_go_beside_what_is_read(folder: Path):
    assert read("one.png", "--output", ".", "--format", "txt,json,page,pdf") == 0
    assert (folder / "one.txt").read_text(encoding="utf-8") == "a bad cab\n"


# --- resume ----------------------------------------------------------------------------------------------------------


def sources_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the files that are opened for reading."""
    opened: list[str] = []

    def note(source: Path, *args: Any, **options: Any) -> Any:
        opened.append(str(source))
        return open_document(source, *args, **options)

    monkeypatch.setattr("quillread.reader.open_document", note)
    return opened


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


def lines_read(monkeypatch: pytest.MonkeyPatch, *, stop_at: int = -1) -> list[int]:
    """Note the widths of the lines that are read; the one after `stop_at` of them meets Ctrl-C."""
    seen: list[int] = []
    read_lines = LineRecognizer.read

    def note(recognizer: LineRecognizer, images: Any) -> Any:
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        seen.extend(image.shape[1] for image in images)
        return read_lines(recognizer, images)

    monkeypatch.setattr(LineRecognizer, "read", note)
    return seen


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
    monkeypatch.setattr("quillread.reader.load_segmenter", lambda *_: lambda image: ())
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


def test_a_result_that_was_removed_is_written_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read("one.png", "--output", "out")
    (folder / "out" / "one.txt").unlink()
    opened = sources_read(monkeypatch)
    read("one.png", "--output", "out", "--resume")
    assert opened == ["one.png"]


# --- many pages ------------------------------------------------------------------------------------------------------


def test_a_page_that_failed_is_in_every_format(folder: Path):
    write_document(folder / "book.pdf", ["dead", None, "bead"])
    assert read("book.pdf", "--output", "out", "--format", ",".join(FORMATS)) == 3
    out = folder / "out"
    assert (out / "book.txt").read_text(encoding="utf-8") == "dead\n\n[page 2 could not be read]\n\nbead\n"
    pages = json.loads((out / "book.json").read_text(encoding="utf-8"))["pages"]
    assert [page.get("error", "")[:16] for page in pages] == ["", "book.pdf, page 2", ""]
    for name in ("book.md", "book.csv", "book.hocr", "book-0002.page.xml", "book-0002.alto.xml"):
        assert "book.pdf, page 2" in (out / name).read_text(encoding="utf-8")
    with pypdfium2.PdfDocument(out / "book.pdf") as pdf:
        assert len(pdf) == 3
        assert "Page 2 could not be read" in pdf[1].get_textpage().get_text_range()


def test_a_document_of_failed_pages_has_its_errors_and_no_text(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_document(folder / "book.pdf", [None, None])
    assert read("book.pdf", "--output", "out", "--format", "txt,json") == 3
    assert list(written(folder / "out")) == ["book.json"]
    document = json.loads((folder / "out" / "book.json").read_text(encoding="utf-8"))
    assert document["error"] == "book.pdf: none of its 2 pages could be read"
    assert len(document["pages"]) == 2


def peak_of(document: Path, formats: str) -> int:
    """Bytes that Python and numpy held at most while a document was read."""
    tracemalloc.start()
    try:
        assert read(document, "--output", document.stem, "--format", formats) == 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pages_of_a_document(folder: Path):
    formats = ",".join(FORMATS)
    short = write_document(folder / "short.pdf", ["a bad cab"] * 20)
    long = write_document(folder / "long.pdf", ["a bad cab"] * 500)
    peak_of(short, formats)  # what is loaded once
    # A line of text a page and the table of contents of a PDF are kept.
    # Python's table of interned strings may double at any time, by 2 MB; not twice in a row.
    assert min(peak_of(long, formats) for _ in range(2)) < peak_of(short, formats) + 500 * 1500
    assert len(json.loads((folder / "long" / "long.json").read_text(encoding="utf-8"))["pages"]) == 500


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_inputs(folder: Path):
    def peak(count: int) -> int:
        many = folder / f"many{count}"
        many.mkdir()
        image = png(bar_line("a bad cab", scale=3))
        for number in range(count):
            (many / f"{number}.png").write_bytes(image)
        return peak_of(many, "txt,json,page,pdf")

    peak(5)
    # Their names are kept; their images, 100 kB each, are not.
    assert peak(500) < peak(20) + 500 * 20_000


@pytest.mark.slow
def test_a_pdf_of_two_thousand_pages_is_read(folder: Path):
    write_document(folder / "long.pdf", ["a bad cab"] * 2000)
    assert read("long.pdf", "--output", "out") == 0
    assert (folder / "out" / "long.txt").read_text(encoding="utf-8") == "a bad cab\n\n" * 1999 + "a bad cab\n"


# --- given lines -----------------------------------------------------------------------------------------------------


def write_segmentation(path: Path, image: str, size: tuple[int, int]) -> None:
    outline = Polygon(((0.0, 0.0), (size[0], 0.0), (size[0], size[1]), (0.0, size[1])))
    line = Line(((0.0, size[1] * 0.9), (size[0], size[1] * 0.9)), outline, None, "eSc_line_1")
    page = Page(image, 1, *size, (Region(outline, (line,), "eSc_block_1"),))
    path.write_bytes(export("page", Scan(page), info=DocumentInfo(image)))


def size_of(text: str) -> tuple[int, int]:
    height, width, _ = bar_line(text).shape
    return width, height


@pytest.mark.parametrize("inputs", [["one.png"], []], ids=["named", "found"])
def test_lines_of_a_segmentation_are_read_and_keep_their_names(inputs: list[str], folder: Path):
    write_segmentation(folder / "one.xml", "one.png", size_of("a bad cab"))
    options = ["--segmentation", "one.xml", "--set", "crop.margin=0", "--output", "out", "--format", "page,alto,json"]
    assert main(["read", *inputs, *options]) == 0
    for found in (read_page_xml(folder / "out/one-0001.page.xml"), read_alto(folder / "out/one-0001.alto.xml")):
        assert (found.regions[0].id, found.lines[0].id, found.text) == ("eSc_block_1", "eSc_line_1", "a bad cab")
    document = json.loads((folder / "out/one.json").read_text(encoding="utf-8"))
    assert document["pages"][0]["lines"][0]["id"] == "eSc_line_1"
    assert document["provenance"]["segmentation"]["name"] == "one.xml"


def test_a_folder_of_segmentations_is_matched_by_name(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "seg").mkdir()
    write_segmentation(folder / "seg" / "one.xml", "one.png", size_of("a bad cab"))
    write_segmentation(folder / "seg" / "two.xml", "two.png", size_of("a bad cab"))
    arguments = ["one.png", "two.png", "blank.png", "--segmentation", "seg", "--set", "crop.margin=0"]
    assert main(["read", *arguments, "--format", "json"]) == 3
    out, err = capsys.readouterr()
    one, two, blank = documents(out)
    assert one["text"] == "a bad cab"
    assert "two.xml is about one of " in two["error"]
    assert "seg has no segmentation of it" in blank["error"]
    assert "2 of 3 inputs could not be read" in err


def test_segmentations_whose_images_are_missing_fail_and_the_others_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "seg").mkdir()
    shutil.copy(folder / "one.png", folder / "seg" / "one.png")
    write_segmentation(folder / "seg" / "one.xml", "one.png", size_of("a bad cab"))
    write_segmentation(folder / "seg" / "gone.xml", "gone.png", (100, 100))
    assert main(["read", "--segmentation", "seg", "--set", "crop.margin=0"]) == 3
    out, err = capsys.readouterr()
    assert out == "a bad cab\n"
    assert "seg/gone.xml: has no image of its name beside it" in err


# --- the web ---------------------------------------------------------------------------------------------------------


def test_a_manifest_is_read_page_by_page(folder: Path, capsys: pytest.CaptureFixture[str]):
    with serve() as site:
        bodies = [{"id": site.add(f"/{text[0]}.png", Answer(png(bar_line(text))))} for text in ("dead", "bead")]
        canvases = [{"type": "Canvas", "items": [{"items": [{"body": body}]}]} for body in bodies]
        context = "http://iiif.io/api/presentation/3/context.json"
        content = json.dumps({"@context": context, "type": "Manifest", "items": canvases}).encode()
        address = site.add("/b12/manifest.json", Answer(content))
        assert read(address, "--output", "out") == 0
        assert read(f"{site.address}/none", "one.png", "--format", "json") == 3
    assert written(folder / "out") == {"b12.txt": "dead\n\nbead\n"}
    failed, good = documents(capsys.readouterr().out)
    assert "/none: HTTP 404" in failed["error"]
    assert good["text"] == "a bad cab"


def test_verbose_tells_of_each_input(folder: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", "quillread.batch.run"):
        assert main(["-v", "read", "--lines", "one.png", "two.png"]) == 0
    told = [re.fullmatch(r"(\S+): pages read: (\d+), in \d+\.\d s", message) for message in caplog.messages]
    assert [match and match.groups() for match in told] == [("one.png", "1"), ("two.png", "1")]
