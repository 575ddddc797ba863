import errno
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from fakes import bar_line, png, write_bar_folder
from PIL import Image
from readings import documents, read, size_of, write_document, write_segmentation, written
from webserver import Answer, serve

from quillread.batch.records import LOG_NAME
from quillread.cli.main import main
from quillread.formats.export import FORMATS
from quillread.formats.pagexml import read_page_xml
from quillread.formats.plain import TextWriter
from quillread.types import Scan

pytestmark = pytest.mark.usefixtures("bar_model")


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_text_goes_to_stdout(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read("one.png") == 0
    assert capsys.readouterr() == ("a bad cab\n", "")


def test_texts_of_several_inputs_carry_their_names(folder: Path, capsys: pytest.CaptureFixture[str]):
    read("one.png", "blank.png", "two.png")
    assert capsys.readouterr().out == "== one.png\na bad cab\n\n== blank.png\n\n== two.png\ndead\n"


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
    assert out == "== one.png\na bad cab\n\n== two.png\ndead\n"
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


@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=str)
def test_of_equal_names_in_different_folders_the_first_is_read(
    options: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "x").mkdir()
    (folder / "x" / "one.png").write_bytes(png(bar_line("cabe")))
    assert read("one.png", "x/one.png", "two.png", "--output", "out", "--format", "txt,json", *options) == 3
    found = written(folder / "out")
    assert list(found) == ["one.json", "one.txt", "two.json", "two.txt"]
    assert found["one.txt"] == "a bad cab\n"
    assert "x/one.png: its results would have the names of those of one.png\n  hint: " in capsys.readouterr().err


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
    assert capsys.readouterr().err.startswith("quill: -: stdin is empty\n  hint: pipe an image")


def test_stdin_without_end_is_refused_and_the_next_input_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("quillread.images.read._MOST_STREAM", 1000)
    set_stdin(monkeypatch, b"%PDF-" * 1000)
    assert read("-", "one.png") == 3
    out = capsys.readouterr()
    assert "quill: -: does not end within" in out.err
    assert "a bad cab" in out.out


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
    text = capsys.readouterr().out or next((folder / "out").glob("*.json")).read_text(encoding="utf-8")
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
    assert capsys.readouterr().err.startswith("quill: error: two.png: cannot be created: File exists\n  hint: ")


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
    assert err.startswith("quill: one.png: out/one.txt: cannot be written: No space left on device\n  hint: ")
    assert [path.name for path in (folder / "out").iterdir()] == [LOG_NAME]


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


def test_an_unknown_option_of_a_file_gives_2_and_the_nearest(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "options.yaml").write_text("read: {pdf_dp: 200}\nvaraints: 2\n", encoding="utf-8")
    assert read("one.png", "--config", "options.yaml") == 2
    err = capsys.readouterr().err
    assert "unknown setting 'read.pdf_dp' (did you mean 'pdf_dpi'?)" in err
    assert "unknown setting 'varaints' (did you mean 'variants'?)" in err


@pytest.mark.parametrize("content", ["- lines\n", "lines: [\n", None])
def test_a_file_that_holds_no_options_gives_2_and_is_named(
    content: str | None, folder: Path, capsys: pytest.CaptureFixture[str]
):
    if content is not None:
        (folder / "options.yaml").write_text(content, encoding="utf-8")
    assert read("one.png", "--config", "options.yaml") == 2
    assert capsys.readouterr().err.startswith("quill: error: options.yaml: ")


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

    monkeypatch.setattr("quillread.recognize.load.load", load)
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
        assert pdf[0].get_textpage().get_text_range().rstrip() == "a bad cab"
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
    assert capsys.readouterr().out == "# one.png\n\na bad cab\n\n# two.png\n\ndead\n"


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
    assert sorted(path.name for path in (folder / "seen").glob("*.png")) == [
        "book-0001.png",
        "book-0002.png",
        "one.png",
    ]
    with Image.open(folder / "seen" / "one.png") as picture:
        assert picture.size == (2 * bar_line("a bad cab").shape[1], bar_line("a bad cab").shape[0])
    assert capsys.readouterr().out.endswith("\n== book.pdf\ndead\n\nbead\n")


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
    assert "is one of the inputs, and would be overwritten\n  hint: name another folder" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_segmentation_is_never_written_over(folder: Path, capsys: pytest.CaptureFixture[str]):
    write_segmentation(folder / "one-0001.page.xml", "one.png", size_of("a bad cab"))
    before = (folder / "one-0001.page.xml").read_bytes()
    options = ["--segmentation", ".", "--format", "page", "--output", "."]
    assert main(["read", "one.png", *options]) == 3
    assert "one.page.xml: is one of the inputs, and would be overwritten" in capsys.readouterr().err
    assert (folder / "one-0001.page.xml").read_bytes() == before


def test_results_may_go_beside_what_is_read(folder: Path):
    assert read("one.png", "--output", ".", "--format", "txt,json,page,pdf") == 0
    assert (folder / "one.txt").read_text(encoding="utf-8") == "a bad cab\n"


# --- the web ----------------------------------------------------------------------------------------------------------


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
