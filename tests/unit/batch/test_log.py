import json
import os
from functools import partial
from pathlib import Path

import pytest
from documents import INFO, scan

from quillread.batch.inputs import Input
from quillread.batch.log import ReadLog
from quillread.batch.records import LOG_NAME, written_files
from quillread.errors import OutputError
from quillread.files import AtomicFile
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


def test_files_of_all_pages_that_were_written_must_be_there(folder: Path):
    known = log("page", "txt")
    write(ENTRY, "a-0001.page.xml", "a-0002.page.xml", "a-0003.page.xml", "a.txt", known=known)
    known.add(ENTRY, 3, 0)
    assert log("page").has(ENTRY)
    (folder / "out" / "deep" / "a-0002.page.xml").unlink()
    assert not log("page").has(ENTRY)
    assert log("txt").has(ENTRY)


def test_files_that_a_later_reading_did_not_write_again_may_be_gone(folder: Path):
    known = log("page")
    write(ENTRY, "a-0001.page.xml", "a-0002.page.xml", known=known)
    known.add(ENTRY, 2, 0)
    (folder / "out" / "deep" / "a-0001.page.xml").unlink()
    known = log("page")
    write(ENTRY, "a-0002.page.xml", known=known)
    known.add(ENTRY, 2, 0)
    assert log("page").has(ENTRY)


def test_pictures_of_all_pages_must_be_there(folder: Path):
    (folder / "seen").mkdir()
    known = log("csv", overlays=Path("seen"))
    write(ENTRY, "a.csv", known=known)
    for number in (1, 2):
        AtomicFile(Path(f"seen/deep/a-000{number}.png"), partial(known.note, ENTRY)).commit()
    known.add(ENTRY, 2, 0)
    assert log("csv", overlays=Path("seen")).has(ENTRY)
    Path("seen/deep/a-0001.png").unlink()
    assert not log("csv", overlays=Path("seen")).has(ENTRY)
    assert log("csv").has(ENTRY)


def test_pictures_must_be_there(folder: Path):
    (folder / "seen").mkdir()
    log(overlays=folder / "seen").add(ENTRY, 1, 0)
    assert log().has(ENTRY)
    assert not log(overlays=folder / "seen").has(ENTRY)
    (folder / "seen" / "deep").mkdir()
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


@pytest.mark.parametrize(
    "damage",
    [{"files": {}}, {"files": {"deep/a.txt": ["1"]}}, {"source": "x", "files": {"deep/a.txt": 1}}, {"source": 3}]
    + [{"source": "x", name: "1"} for name in ("files", "formats", "pages", "last")],
    ids=str,
)
def test_lines_that_lack_something_count_for_nothing(damage: dict[str, object], folder: Path):
    write(ENTRY, "a.txt")
    with (folder / "out" / LOG_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"stem": "deep/a", **damage}) + "\n")
    assert log().refusal(ENTRY) is None
    assert not log().has(ENTRY)


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


OTHER = Input("other/a.png", Path("deep/a"))


def write(entry: Input, *names: str, known: ReadLog | None = None) -> None:
    """Write files for an input as a run does."""
    known = known or log("txt", "page")
    for name in names:
        file = AtomicFile(Path("out", "deep", name), partial(known.note, entry))
        file.file.write(b"text")
        file.commit()


def test_results_of_another_input_are_in_the_way():
    write(OTHER, "a.txt")
    assert log().refusal(ENTRY) == "out/deep/a.txt holds what was read in other/a.png"
    assert log().refusal(OTHER) is None
    assert log("md").refusal(ENTRY) is None


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "a-0002.page.xml"])
def test_results_that_were_changed_are_in_the_way(name: str, is_finished: bool, folder: Path):
    known = log("txt", "page")
    write(ENTRY, "a.txt", "a-0002.page.xml", known=known)
    if is_finished:
        known.add(ENTRY, 2, 0)
    assert log("txt", "page").refusal(ENTRY) is None
    (folder / "out" / "deep" / name).write_bytes(b"better")
    assert log("txt", "page").refusal(ENTRY) == f"out/deep/{name} was changed after it was written"


@pytest.mark.parametrize("formats", [("txt",), ("json",), ("page",)])
def test_files_that_nobody_knows_are_in_the_way(formats: tuple[str, ...]):
    assert str(log(*formats).refusal(ENTRY)).endswith(" stands there, and was not written for it")
    assert log("csv").refusal(ENTRY) is None


def test_files_of_a_run_are_not_in_its_own_way():
    known = log("csv")
    assert known.refusal(ENTRY) is None
    write(OTHER, "a.csv", known=known)
    assert known.refusal(ENTRY) is None


def test_the_same_file_by_another_name_is_the_same_input(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write(ENTRY, "a.txt")
    assert log().refusal(Input(str(folder / "a.png"), ENTRY.stem)) is None
    monkeypatch.chdir(folder / "out")
    assert ReadLog(folder / "out", ("txt",), "s").refusal(Input("a.png", ENTRY.stem)) is not None


def test_what_came_from_stdin_is_known_by_its_content():
    one, other = (Input("-", Path("deep/a"), content=content) for content in (b"1", b"2"))
    write(one, "a.txt")
    assert log().refusal(one) is None
    assert log().refusal(other) == "out/deep/a.txt holds what was read from stdin earlier"


def test_pictures_of_another_input_are_in_the_way(folder: Path):
    known = ReadLog(folder / "out", (), "s", folder / "out")
    for name in ("a.png", "b-0001.png", "c-2024.png"):
        write(Input(f"x/{name}", Path("deep") / name.split("-0")[0].removesuffix(".png")), name, known=known)
    again = ReadLog(folder / "out", (), "s", folder / "out")
    assert "a.png holds what was read in x/a.png" in str(again.refusal(ENTRY))
    assert "b-0001.png holds what was read in x/b-0001.png" in str(again.refusal(Input("b.png", Path("deep/b"))))
    assert again.refusal(Input("c.png", Path("deep/c"))) is None  # of c-2024


def test_what_an_earlier_version_wrote_may_be_written_over(folder: Path):
    record = {"stem": "deep/a", "source": "a.png", "formats": ["txt"], "pages": 1, "failed": 0}
    (folder / "out" / LOG_NAME).write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert log().refusal(ENTRY) is None
    assert log().refusal(OTHER) is not None


def test_a_reading_that_is_begun_anew_is_not_done():
    known = log()
    write(ENTRY, "a.txt", known=known)
    known.add(ENTRY, 1, 0)
    assert log().has(ENTRY)
    write(ENTRY, "a.txt")
    assert not log().has(ENTRY)


def test_written_files_are_named_by_their_real_paths(folder: Path):
    write(ENTRY, "a.txt")
    assert written_files(Path("out/../out")) == {(folder / "out" / "deep" / "a.txt").resolve()}
    assert written_files(Path("none")) == set()


def test_a_file_is_not_written_for_two_inputs_of_a_run(folder: Path):
    known = log("csv")
    for _ in range(2):
        write(OTHER, "b-0001.png", known=known)
    with pytest.raises(OutputError, match=r"^out/deep/b-0001\.png: holds what was read in other/a\.png"):
        write(Input("b-0001.jpg", Path("deep/b-0001")), "b-0001.png", known=known)
    assert known.refusal(OTHER) is None


def test_a_folder_that_is_spelled_in_two_ways_has_one_log(folder: Path):
    (folder / "link").symlink_to("out")
    for overlays in (folder / "out", folder / "link"):
        known = log("csv", overlays=overlays)
        AtomicFile(overlays / "deep" / "a.png", partial(known.note, ENTRY)).commit()
        write(ENTRY, "a.csv", known=known)
        known.add(ENTRY, 1, 0)
        for again in (overlays, folder / "out"):
            assert log("csv", overlays=again).refusal(ENTRY) is None
            assert log("csv", overlays=again).has(ENTRY)


def test_pictures_are_noted_in_their_own_folder(folder: Path):
    seen = folder / "seen"
    seen.mkdir()
    for open_log in (lambda: log("csv", overlays=seen), lambda: ReadLog(seen, (), "s", seen)):
        known = open_log()
        assert known.refusal(ENTRY) is None
        AtomicFile(seen / "deep" / "a.png", partial(known.note, ENTRY)).commit()
        assert str(open_log().refusal(OTHER)).endswith("a.png holds what was read in a.png")


@pytest.mark.parametrize("was_finished", [False, True])
def test_a_file_that_was_about_to_be_replaced_when_the_run_was_killed_is_no_change(was_finished: bool):
    known = log()
    write(ENTRY, "a.txt", known=known)
    if was_finished:
        known.add(ENTRY, 1, 0)
    log().note(ENTRY, Path("out/deep/a.txt"), "another")
    assert log().refusal(ENTRY) is None
    Path("out/deep/a.txt").write_bytes(b"better")
    assert log().refusal(ENTRY) is not None


def test_a_file_that_was_replaced_is_not_taken_for_the_one_before():
    known = log()
    for content in (b"first", b"second"):
        part = AtomicFile(Path("out/deep/a.txt"), partial(known.note, ENTRY))
        part.file.write(content)
        part.commit()
    known.add(ENTRY, 1, 0)
    Path("out/deep/a.txt").write_bytes(b"first")
    assert log().refusal(ENTRY) is not None


def draw(content: bytes, known: ReadLog, entry: Input = ENTRY) -> None:
    part = AtomicFile(Path("seen/deep/a.png"), partial(known.note, entry))
    part.file.write(content)
    part.commit()


def test_a_picture_that_was_replaced_is_not_taken_for_the_one_before(folder: Path):
    (folder / "seen").mkdir()
    for content in (b"first", b"second"):
        known = log("csv", overlays=Path("seen"))
        draw(content, known)
        known.add(ENTRY, 1, 0)
    assert log("csv", overlays=Path("seen")).refusal(ENTRY) is None
    Path("seen/deep/a.png").write_bytes(b"first")
    assert log("csv", overlays=Path("seen")).refusal(ENTRY) == "seen/deep/a.png was changed after it was written"


def test_the_picture_of_another_input_stays_that_of_it(folder: Path):
    (folder / "seen").mkdir()
    known = log("csv", overlays=Path("seen"))
    draw(b"first", known, OTHER)
    known.add(ENTRY, 1, 1)
    assert log("csv", overlays=Path("seen")).refusal(ENTRY) == "seen/deep/a.png holds what was read in other/a.png"
