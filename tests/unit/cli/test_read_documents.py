import json
import shutil
import tracemalloc
from pathlib import Path

import pypdfium2
import pytest
from fakes import bar_line, png
from readings import documents, lines_read, read, size_of, write_document, write_segmentation, written

from quillread.cli.main import main
from quillread.formats.alto import read_alto
from quillread.formats.export import FORMATS
from quillread.formats.pagexml import read_page_xml

pytestmark = pytest.mark.usefixtures("bar_model")


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


def test_faults_are_data_beside_what_people_read(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_document(folder / "book.pdf", ["dead", None])
    assert read("book.pdf", "bad.png", "*.gif", "--format", "json") == 3
    out, err = capsys.readouterr()
    book, bad, none = documents(out)
    assert "fault" not in book
    assert "fault" not in book["pages"][0]
    failed = (book["pages"][1], bad, none)
    assert [document["fault"]["kind"] for document in failed] == ["image", "image", "input"]
    for document in failed:
        fault = document["fault"]
        assert list(fault) == ["kind", "message", "hint"]
        assert document["error"] == f"{fault['message']}\n  hint: {fault['hint']}"
        assert f"quill: {document['error']}\n" in err


# --- ranges of pages -------------------------------------------------------------------------------------------------


def write_book(folder: Path) -> None:
    write_document(folder / "book.pdf", ["dead", "bead", "cab", "cede"])


@pytest.mark.parametrize(
    ("pages", "text"),
    [
        ("2-3", "bead\n\ncab\n"),
        ("4,1", "dead\n\ncede\n"),
        ("3-", "cab\n\ncede\n"),
        ("2", "bead\n"),
        ("1-2,2-9", "dead\n\nbead\n\ncab\n\ncede\n"),
    ],
)
def test_the_pages_that_are_asked_for_are_read_in_order(
    pages: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write_book(folder)
    seen = lines_read(monkeypatch)
    assert read("book.pdf", "--pages", pages) == 0
    assert capsys.readouterr().out == text
    assert len(seen) == len(text.split())


def test_pages_of_a_range_keep_their_numbers(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_book(folder)
    assert read("book.pdf", "--pages", "2-3", "--output", "out", "--format", "json,page", "--overlay", "seen") == 0
    document = json.loads((folder / "out" / "book.json").read_text(encoding="utf-8"))
    assert [page["number"] for page in document["pages"]] == [2, 3]
    assert document["provenance"]["settings"]["pages"] == "2-3"
    assert sorted(path.name for path in (folder / "out").glob("*.xml")) == ["book-0002.page.xml", "book-0003.page.xml"]
    assert sorted(path.name for path in (folder / "seen").glob("*.png")) == ["book-0002.png", "book-0003.png"]


def test_an_input_without_such_pages_is_a_fault_and_the_others_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    write_book(folder)
    assert read("one.png", "book.pdf", "--pages", "4-", "--format", "json") == 3
    out, err = capsys.readouterr()
    one, book = documents(out)
    assert one["fault"]["message"] == "one.png: ends at page 1, with none of those asked for: 4-"
    assert book["text"] == "cede"
    assert err.endswith("quill: 1 of 2 inputs could not be read in full\n")


@pytest.mark.parametrize("pages", ["0", "3-2", "x", "2,", "1-2-3", "-3", ""])
def test_what_is_no_range_of_pages_gives_2(pages: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png", f"--pages={pages}") == 2
    assert f"pages: {pages!r} is not of the form 2-5,9" in capsys.readouterr().err


def test_a_range_that_was_read_is_skipped_and_another_one_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_book(folder)
    options = ("book.pdf", "--output", "out", "--format", "page", "--resume", "--pages")
    assert read(*options, "2-3") == 0
    seen = lines_read(monkeypatch)
    assert read(*options, "2-3") == 0
    assert seen == []
    (folder / "out" / "book-0003.page.xml").unlink()
    assert read(*options, "2-3") == 0
    assert len(seen) == 2
    assert read(*options, "3-4") == 0
    assert len(seen) == 4


# --- memory ----------------------------------------------------------------------------------------------------------


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
    # A line of text a page, the table of contents of a PDF and the names and digests of what was written are kept.
    # Python's table of interned strings may double at any time, by 2 MB; not twice in a row.
    assert min(peak_of(long, formats) for _ in range(2)) < peak_of(short, formats) + 500 * 2500
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


# --- given lines ------------------------------------------------------------------------------------------------------


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


def test_a_page_that_has_page_and_alto_is_read_once(folder: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("page", "alto"):
        write_segmentation(folder / f"one.{name}.xml", "one.png", size_of("a bad cab"), name)
    assert main(["read", "--segmentation", ".", "--set", "crop.margin=0", "--format", "json"]) == 0
    (document,) = documents(capsys.readouterr().out)
    assert (document["source"], document["text"]) == ("one.png", "a bad cab")


def test_segmentations_whose_images_are_missing_fail_and_the_others_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "seg").mkdir()
    shutil.copy(folder / "one.png", folder / "seg" / "one.png")
    write_segmentation(folder / "seg" / "one.xml", "one.png", size_of("a bad cab"))
    write_segmentation(folder / "seg" / "gone.xml", "gone.png", (100, 100))
    assert main(["read", "--segmentation", "seg", "--set", "crop.margin=0"]) == 3
    out, err = capsys.readouterr()
    assert out == "== seg/one.png\na bad cab\n"
    assert "seg/gone.xml: has no image of its name beside it" in err


def test_a_malformed_address_gives_3_and_the_others_are_read(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png", "http://[::1/x", "two.png", "--output", "out") == 3
    assert capsys.readouterr().err.startswith("quill: http://[::1/x: is not a valid address: ")
    assert written(folder / "out") == {"one.txt": "a bad cab\n", "two.txt": "dead\n"}


def test_a_list_to_proofread_is_written_again_while_nobody_changed_it(folder: Path):
    for _ in range(3):
        assert read("one.png", "--review", "0", "--output", "out") == 0
    assert "review.tsv" in written(folder / "out")


@pytest.mark.parametrize(
    ("is_ours", "why"), [(True, "was changed after it was written"), (False, "was not written by an earlier run")]
)
def test_a_list_to_proofread_that_a_person_has_is_kept(
    is_ours: bool, why: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    if is_ours:
        read("one.png", "--review", "0", "--output", "out")
    (folder / "out").mkdir(exist_ok=True)
    (folder / "out" / "review.tsv").write_text("checked", encoding="utf-8")
    assert read("two.png", "--review", "0", "--output", "out") == 3
    assert why in capsys.readouterr().err
    assert written(folder / "out")["review.tsv"] == "checked"
    assert "two.txt" not in written(folder / "out")
    assert read("two.png", "--review", "0", "--output", "out", "--overwrite") == 0
    assert written(folder / "out")["review.tsv"] != "checked"
