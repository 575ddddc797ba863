from collections.abc import Callable
from pathlib import Path

import pytest
from documents import INFO, blank, failed, scan
from PIL import Image

from quillread.batch.inputs import find_inputs
from quillread.batch.outputs import OverlayWriter, PageFilesWriter, Tee, file_writer, refuse_overwriting
from quillread.errors import Fault, OutputError, UsageError
from quillread.formats.export import FORMATS, FileWriter
from quillread.types import DocumentInfo, Scan

FAULT = Fault("image", "a.pdf: is broken")


class Note:
    """A writer that notes what it is asked, and fails where it is told to."""

    def __init__(self, name: str, noted: list[str], fails_in: str = "") -> None:
        self._name = name
        self._noted = noted
        self._fails_in = fails_in

    def begin(self, info: DocumentInfo) -> None:
        self._note("begin")

    def add(self, scan: Scan) -> None:
        self._note("add")

    def close(self, fault: Fault | None) -> None:
        self._note("close")

    def abort(self) -> None:
        self._note("abort")

    def _note(self, what: str) -> None:
        self._noted.append(f"{self._name} {what}")
        if what == self._fails_in:
            raise OutputError(f"{self._name}: {what}")


def tee(noted: list[str], **failures: str) -> Tee:
    return Tee([Note(name, noted, failures.get(name, "")) for name in ("a", "b", "c")])


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_tee_hands_on_to_all_in_their_order():
    noted: list[str] = []
    writer = tee(noted)
    writer.begin(INFO)
    writer.add(scan())
    writer.close(None)
    assert noted == [f"{name} {what}" for what in ("begin", "add", "close") for name in "abc"]


@pytest.mark.parametrize("step", ["begin", "add", "close"])
def test_a_writer_that_fails_is_aborted_and_the_others_go_on(step: str):
    noted: list[str] = []
    writer = tee(noted, b=step)
    writer.begin(INFO)
    writer.add(scan())
    writer.close(None)
    writer.abort()
    assert [what for what in noted if what[0] != "b"] == [
        f"{name} {what}" for what in ("begin", "add", "close") for name in "ac"
    ]
    assert [what for what in noted if what[0] == "b"][-2:] == [f"b {step}", "b abort"]
    assert [fault.message for fault in writer.faults] == [f"{INFO.source}: b: {step}"]


def test_the_journal_is_kept_when_something_could_not_be_written():
    noted: list[str] = []
    writer = Tee([Note("a", noted, "close"), Note("b", noted)], Note("journal", noted))
    writer.begin(INFO)
    writer.close(None)
    assert [what for what in noted if "journal" in what] == ["journal begin", "journal abort"]


def test_a_writer_that_fails_to_abort_does_not_keep_others_from_it():
    noted: list[str] = []
    writer = tee(noted, b="abort")
    writer.begin(INFO)
    with pytest.raises(OutputError, match="b: abort"):
        writer.abort()
    assert sorted(noted[3:]) == ["a abort", "b abort", "c abort"]


def test_abort_after_close_does_nothing():
    noted: list[str] = []
    writer = tee(noted)
    writer.begin(INFO)
    writer.close(None)
    writer.abort()
    assert not any("abort" in what for what in noted)


def test_each_page_has_a_file_with_its_number(tmp_path: Path):
    writer = PageFilesWriter(tmp_path / "a.b", FORMATS["page"])
    writer.begin(INFO)
    writer.add(scan(2))
    assert names(tmp_path) == ["a.b-0002.page.xml"]
    writer.add(scan(11))
    writer.close(None)
    assert names(tmp_path) == ["a.b-0002.page.xml", "a.b-0011.page.xml"]


def test_page_files_that_are_whole_stay_after_an_abort(tmp_path: Path):
    writer = PageFilesWriter(tmp_path / "a", FORMATS["alto"])
    writer.begin(INFO)
    writer.add(scan())
    writer.abort()
    assert names(tmp_path) == ["a-0001.alto.xml"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_aborted_file_leaves_nothing(name: str, tmp_path: Path):
    writer = FileWriter(tmp_path / "a", FORMATS[name])
    writer.begin(DocumentInfo("a", 1))
    writer.add(scan())
    writer.abort()
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("step", ["make", "begin"])
def test_a_file_whose_format_cannot_begin_leaves_nothing(
    name: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    writer = FileWriter(tmp_path / "a", FORMATS[name])
    begin = f"quillread.formats.{FORMATS[name].maker.replace(':', '.')}.begin"
    with monkeypatch.context() as patches:
        patches.setattr("importlib.import_module" if step == "make" else begin, interrupt)
        with pytest.raises(KeyboardInterrupt):
            writer.begin(INFO)
    writer.abort()
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", FORMATS)
def test_only_some_formats_have_a_file_for_an_input_that_failed(name: str, tmp_path: Path):
    writer = FileWriter(tmp_path / "a", FORMATS[name])
    writer.begin(DocumentInfo("a.pdf", 0))
    writer.close(FAULT)
    writer.abort()
    assert names(tmp_path) == (["a"] if name in ("json", "csv") else [])


@pytest.mark.parametrize(("name", "kind"), [("txt", FileWriter), ("page", PageFilesWriter), ("alto", PageFilesWriter)])
def test_a_format_of_one_page_has_a_file_a_page(name: str, kind: type, tmp_path: Path):
    assert isinstance(file_writer(tmp_path / "a", name), kind)


def test_an_unknown_format_has_no_writer(tmp_path: Path):
    with pytest.raises(UsageError, match="did you mean 'txt'"):
        file_writer(tmp_path / "a", "tx")


def draw(folder: Path, count: int, *scans: Scan) -> list[str]:
    writer = OverlayWriter(folder / "a")
    writer.begin(DocumentInfo("a.pdf", count))
    for page in scans:
        writer.add(page)
    writer.close(None)
    return names(folder)


def test_the_picture_of_an_only_page_has_no_number(tmp_path: Path):
    assert draw(tmp_path, 1, scan()) == ["a.png"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] >= 1000
        assert len(picture.getcolors(1 << 24) or []) > 2


def test_pictures_of_several_pages_have_numbers(tmp_path: Path):
    assert draw(tmp_path, 3, scan(2), blank(3)) == ["a-0002.png", "a-0003.png"]


def test_a_page_whose_image_cannot_be_decoded_has_no_picture(tmp_path: Path):
    assert draw(tmp_path, 3, scan(1), failed(2)) == ["a-0001.png"]


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fill_up(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_up)
    with pytest.raises(OutputError, match=r"a\.png: cannot be written: No space left"):
        draw(tmp_path, 1, scan())
    assert names(tmp_path) == []


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Check what is read in the current folder against files of endings in folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("scan.pdf", "scan-0001.page.xml", "b.PNG", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def check(arguments: list[str], *results: tuple[str, str], sources: tuple[str, ...] = ()) -> None:
        refuse_overwriting(find_inputs(arguments), map(Path, sources), [(Path(f), ending) for f, ending in results])

    return check


@pytest.mark.parametrize(
    ("arguments", "results", "sources"),
    [
        (["scan.pdf"], [(".", ".pdf")], []),
        (["deep/../scan.pdf"], [("deep/..", ".pdf")], []),
        (["deep"], [(".", ".txt"), ("deep", ".png")], []),
        (["scan.pdf"], [(".", ".page.xml")], ["scan-0001.page.xml"]),
    ],
)
def test_what_is_read_is_not_written_over(
    arguments: list[str], results: list[tuple[str, str]], sources: list[str], check: Callable[..., None]
):
    with pytest.raises(OutputError, match="would be overwritten"):
        check(arguments, *results, sources=tuple(sources))


@pytest.mark.parametrize(
    ("arguments", "results"),
    [
        (["scan.pdf"], [(".", ".txt")]),
        (["scan.pdf"], [("deep", ".pdf")]),
        (["deep"], [(".", ".png")]),
        (["-"], [(".", ".txt")]),
        (["http://example.org/scan.pdf"], [(".", ".txt")]),
    ],
)
def test_results_beside_what_is_read_are_fine(
    arguments: list[str], results: list[tuple[str, str]], check: Callable[..., None]
):
    check(arguments, *results)
