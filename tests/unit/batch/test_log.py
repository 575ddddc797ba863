import json
import os
from pathlib import Path

import pytest
from documents import INFO, scan

from quillread.batch.inputs import Input
from quillread.batch.log import LOG_NAME, ReadLog
from quillread.errors import OutputError
from quillread.types import DocumentInfo

ENTRY = Input("a.png", Path("deep/a"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an input and its results in `out`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"image")
    (tmp_path / "out" / "deep").mkdir(parents=True)
    for name in ("a.txt", "a.json", "a-0002.page.xml"):
        (tmp_path / "out" / "deep" / name).touch()
    return tmp_path


def log(*formats: str, settings: str = "s", overlays: Path | None = None) -> ReadLog:
    return ReadLog(Path("out"), formats or ("txt",), settings, overlays)


def test_an_input_that_was_read_in_full_is_known():
    assert not log().has(ENTRY)
    log().add(ENTRY, 1, 0)
    assert log().has(ENTRY)


@pytest.mark.parametrize("change", ["content", "time", "gone", "failed", "settings", "format", "result", "name"])
def test_anything_else_than_the_same_is_read_again(change: str, folder: Path):
    log("txt", "json").add(ENTRY, 1, int(change == "failed"))
    entry = Input("b.png", ENTRY.stem) if change == "name" else ENTRY
    (folder / "b.png").write_bytes(b"image")
    if change == "content":
        (folder / "a.png").write_bytes(b"another")
    if change == "time":
        os.utime(folder / "a.png", ns=(1, 1))
    if change == "gone":
        (folder / "a.png").unlink()
    if change == "result":
        (folder / "out" / "deep" / "a.json").unlink()
    formats = ("txt", "hocr") if change == "format" else ("txt", "json")
    assert not log(*formats, settings="t" if change == "settings" else "s").has(entry)


def test_fewer_formats_than_before_need_not_be_read_again():
    log("txt", "json").add(ENTRY, 1, 0)
    assert log("json").has(ENTRY)


def test_of_files_of_pages_the_last_must_be_there(folder: Path):
    log("page").add(ENTRY, 5, 0, last=2)
    assert log("page").has(ENTRY)
    (folder / "out" / "deep" / "a-0002.page.xml").unlink()
    assert not log("page").has(ENTRY)


def test_pictures_must_be_there(folder: Path):
    log(overlays=folder / "seen").add(ENTRY, 1, 0)
    assert log().has(ENTRY)
    assert not log(overlays=folder / "seen").has(ENTRY)
    (folder / "seen" / "deep").mkdir(parents=True)
    (folder / "seen" / "deep" / "a.png").touch()
    assert log(overlays=folder / "seen").has(ENTRY)


def test_the_last_word_on_an_input_counts():
    first = log()
    first.add(ENTRY, 1, 0)
    first.add(ENTRY, 1, 1)
    assert not log().has(ENTRY)


def test_stdin_is_read_again(folder: Path):
    (folder / "out" / "stdin.txt").touch()
    entry = Input("-", Path("stdin"), content=b"image")
    log().add(entry, 1, 0)
    assert not log().has(entry)


def test_an_address_is_known_by_itself(folder: Path):
    (folder / "out" / "scan.txt").touch()
    entry = Input("http://example.org/scan.png", Path("scan"))
    log().add(entry, 1, 0)
    assert log().has(entry)


def test_lines_that_are_damaged_count_for_nothing(folder: Path):
    log().add(ENTRY, 1, 0)
    path = folder / "out" / LOG_NAME
    good = path.read_bytes()
    path.write_bytes(b'{"stem": "deep/a", "fai\n\xff\xfe\n[1]\n{}\n{"stem": 3}\n' + good + b'{"stem": "x"')
    assert log().has(ENTRY)
    assert [json.loads(line)["stem"] for line in path.read_bytes().splitlines()] == ["deep/a"]


def test_a_log_that_is_not_a_file_is_named(folder: Path):
    (folder / "out" / LOG_NAME).mkdir()
    with pytest.raises(OutputError, match=rf"{LOG_NAME}: cannot be written"):
        log()


def test_pages_of_an_interrupted_input_are_known_with_the_same_settings_only():
    first = log()
    journal = first.journal(ENTRY, False)
    journal.begin(DocumentInfo(ENTRY.name, 2, INFO.provenance))
    journal.add(scan(2))
    journal.abort()
    assert [log().journal(ENTRY, True).page(number) is None for number in (1, 2)] == [True, False]
    assert log(settings="t").journal(ENTRY, True).page(2) is None


def test_the_journal_of_an_input_is_hidden_beside_its_results(folder: Path):
    journal = log().journal(ENTRY, False)
    journal.begin(DocumentInfo(ENTRY.name, 2))
    journal.abort()
    (hidden,) = (path for path in (folder / "out" / "deep").iterdir() if path.name.startswith("."))
    assert hidden.name == ".a.quillread-pages.jsonl"
