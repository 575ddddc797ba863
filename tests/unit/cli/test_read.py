import errno
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import bar_line, png

from quillread.cli.main import main

pytestmark = pytest.mark.usefixtures("bar_model")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: three lines and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("one", "a bad cab"), ("two", "dead"), ("blank", "")):
        (tmp_path / f"{name}.png").write_bytes(png(bar_line(text)))
    (tmp_path / "bad.png").write_text("no image")
    return tmp_path


def read(*arguments: str | Path) -> int:
    return main(["read", "--lines", *map(str, arguments)])


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def written(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


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
    (folder / "one.png").rename(folder / name)
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
    write = Path.write_bytes

    def fill_up(path: Path, data: bytes) -> int:
        write(path, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)
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
