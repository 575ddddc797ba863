import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documents import INFO, export, scan
from PIL import Image

from quillread.batch.inputs import Input, find_inputs, find_segmented, part_results
from quillread.batch.outputs import refuse_overwriting
from quillread.batch.records import LOG_NAME
from quillread.errors import DataError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def names(*arguments: str) -> list[str]:
    return [entry.name for entry in find_inputs(list(arguments))]


def stems(*arguments: str) -> list[str]:
    return [entry.stem.as_posix() for entry in find_inputs(list(arguments))]


def fault(argument: str) -> str:
    (entry,) = find_inputs([argument])
    assert entry.fault is not None
    return str(entry.fault)


def test_files_keep_their_order_and_names(folder: Path):
    touch("b.jpg", "a.jpg")
    assert names("b.jpg", "./a.jpg") == ["b.jpg", "./a.jpg"]


def test_a_file_that_is_missing_is_left_to_the_reader(folder: Path):
    assert find_inputs(["none.jpg"]) == [Input("none.jpg", Path("none"))]


def test_a_file_named_is_taken_whatever_its_suffix(folder: Path):
    touch("scan.dat")
    assert names("scan.dat") == ["scan.dat"]


def test_a_dash_is_stdin(folder: Path):
    assert find_inputs(["-"]) == [Input("-", Path("stdin"))]


def test_a_folder_gives_its_pages_at_any_depth(folder: Path):
    touch("in/b.PDF", "in/deep/a.jpg", "in/notes.txt")
    assert names("in") == ["in/b.PDF", "in/deep/a.jpg"]


def test_results_of_a_folder_keep_its_subfolders(folder: Path):
    touch("in/deep/a.jpg", "in/a.jpg")
    assert stems("in") == ["a", "deep/a"]


def test_a_folder_is_sorted_with_its_numbers_as_numbers(folder: Path):
    touch("in/page-10.jpg", "in/page-2.jpg", "in/page-1.jpg")
    assert stems("in") == ["page-1", "page-2", "page-10"]


def test_hidden_files_and_folders_are_skipped(folder: Path):
    touch("in/.a.jpg", "in/.thumbs/b.jpg", "in/c.jpg")
    assert stems("in") == ["c"]


def test_a_hidden_folder_that_is_named_is_read(folder: Path):
    touch(".in/a.jpg")
    assert stems(".in") == ["a"]


def test_a_link_in_a_folder_that_leads_nowhere_is_not_dropped(folder: Path):
    touch("in/a.jpg")
    (folder / "in" / "b.jpg").symlink_to("gone.jpg")
    assert stems("in") == ["a", "b"]


def test_a_folder_named_like_an_image_is_not_a_page(folder: Path):
    touch("in/a.jpg/b.png")
    assert names("in") == ["in/a.jpg/b.png"]


def test_a_folder_without_images_says_so(folder: Path):
    touch("in/notes.txt")
    assert fault("in").startswith("in: holds no images or PDFs\n  hint: ")


def test_a_pattern_is_expanded_in_the_order_of_numbers(folder: Path):
    touch("p10.jpg", "p9.jpg", "q.jpg")
    assert names("p*.jpg") == ["p9.jpg", "p10.jpg"]


def test_a_pattern_may_reach_into_subfolders(folder: Path):
    touch("in/x/a.jpg", "in/y/b.jpg")
    assert names("in/**/*.jpg") == ["in/x/a.jpg", "in/y/b.jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder: Path):
    touch("a[1].jpg", "a1.jpg")
    assert names("a[1].jpg") == ["a[1].jpg"]


def test_a_pattern_without_a_match_says_so(folder: Path):
    assert fault("*.jpg").startswith("*.jpg: matches no file\n  hint: ")


def test_a_pattern_that_matches_folders_only_does_not_vanish(folder: Path):
    touch("scans/a.jpg")
    assert "matches no file" in fault("sc*")


def test_an_empty_argument_is_not_the_current_folder(folder: Path):
    touch("a.jpg")
    assert "is not the name of a file" in fault("")


def test_a_name_that_the_file_system_cannot_hold_is_a_fault_of_that_input(folder: Path):
    touch("a.jpg")
    found = find_inputs(["x" * 300 + ".jpg", "a.jpg"])
    assert [entry.fault is None for entry in found] == [False, True]


def test_names_that_differ_in_their_suffix_keep_it_in_a_folder(folder: Path):
    touch("in/a.jpg", "in/a.png")
    assert stems("in") == ["a.jpg", "a.png"]


def test_names_of_a_folder_that_differ_in_case_only_do_not_share_a_result(folder: Path):
    touch("in/A.jpg", "in/a.jpg")
    assert len({stem.casefold() for stem in stems("in")}) == len(stems("in"))


@pytest.mark.parametrize("arguments", [["x/a.jpg", "y/a.jpg"], ["x", "y"], ["x/*.jpg", "y/a.jpg"]], ids=str)
def test_names_of_results_do_not_depend_on_what_else_is_in_the_call(arguments: list[str], folder: Path):
    touch("x/a.jpg", "y/a.jpg", "y/b.jpg")
    assert stems(*arguments) == [stem for argument in arguments for stem in stems(argument)]


def test_of_several_inputs_with_the_same_results_all_but_one_are_refused(folder: Path):
    touch("x/a.jpg", "y/A.png", "y/b.jpg")
    first, second, third = part_results(find_inputs(["x/a.jpg", "y/A.png", "y/b.jpg"]))
    assert (first.fault, third.fault) == (None, None)
    assert second.fault is not None
    assert second.fault.message == "y/A.png: its results would have the names of those of x/a.jpg"
    assert not second.has_results


def test_what_is_named_twice_is_read_once(folder: Path, caplog: pytest.LogCaptureFixture):
    touch("x/a.jpg")
    assert [entry.name for entry in part_results(find_inputs(["x/a.jpg", "./x/../x/a.jpg", "x"]))] == ["x/a.jpg"]
    assert caplog.messages[0] == "./x/../x/a.jpg: is named twice, and read once"


def test_results_of_faulty_inputs_have_names_of_their_own(folder: Path):
    assert stems("", "*.none", "x/*.jpg") == ["input", "none", "x_"]


def test_a_folder_that_is_written_into_is_not_searched(folder: Path):
    touch("in/a.jpg", "in/out/a.pdf", "in/seen/a.png", "in/b.pdf", "in/deep/out/c.jpg")
    results = {folder / "in" / "out", folder / "in" / "seen", folder / "in" / "b.pdf"}
    assert [entry.name for entry in find_inputs(["in"], results)] == ["in/a.jpg", "in/deep/out/c.jpg"]
    assert [entry.name for entry in find_inputs(["in/**/*.p*"], results)] == ["in/**/*.p*"]
    assert [entry.name for entry in find_inputs(["in/out"], results)] == ["in/out/a.pdf"]
    assert [entry.name for entry in find_inputs(["in/out/*"], results)] == ["in/out/a.pdf"]
    assert [entry.name for entry in find_inputs(["*/*.jpg"], {folder})] == ["in/a.jpg"]


def test_what_a_log_says_was_written_is_not_an_input(folder: Path):
    touch("in/a.jpg", "in/out/deep/a.pdf", "in/out/b.pdf", "in/out/c.jpg")
    lines = [{"stem": "a", "source": "x", "files": {"deep/a.pdf": ["1"], "b.pdf": ["1"]}}, [1], {"stem": 1}]
    (folder / "in" / "out" / LOG_NAME).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert names("in") == ["in/a.jpg", "in/out/c.jpg"]
    assert names("in/out") == ["in/out/c.jpg"]
    assert names("in/**/*.*", "in/out/*.*") == ["in/a.jpg", "in/out/c.jpg", "in/out/c.jpg"]
    assert names("in/out/b.pdf") == ["in/out/b.pdf"]
    Path("in/out/c.jpg").unlink()
    assert fault("in/out").startswith("in/out: holds no images or PDFs but results of an earlier run\n  hint: ")


def test_links_in_a_circle_are_left_to_the_reader(folder: Path):
    touch("in/1.jpg")
    Path("in/a.jpg").symlink_to("b.jpg")
    Path("in/b.jpg").symlink_to("a.jpg")
    found = find_inputs(["in"])
    assert [entry.name for entry in part_results(found)] == ["in/1.jpg", "in/a.jpg", "in/b.jpg"]
    refuse_overwriting(found, [], [(Path("out"), ".txt")])


def test_a_link_to_a_folder_is_said_not_to_be_followed(folder: Path, caplog: pytest.LogCaptureFixture):
    touch("in/1.jpg", "other/2.jpg")
    Path("in/more").symlink_to("../other")
    assert stems("in") == ["1"]
    assert caplog.messages == ["in/more: is a link to a folder, and not followed"]


def test_a_folder_that_may_not_be_opened_is_an_input_that_failed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    touch("in/a.jpg", "in/closed/b.jpg")

    def scan(place: str, scandir: Callable[..., Any] = os.scandir) -> Any:
        if str(place).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", scan)
    first, second = find_inputs(["in"])
    assert (first.name, first.fault) == ("in/a.jpg", None)
    assert str(second.fault).startswith("in/closed: cannot be opened: Permission denied\n  hint: check its permissions")
    (only,) = find_inputs(["in/closed"])
    assert "cannot be opened: Permission denied" in str(only.fault)


@pytest.mark.parametrize(("path", "stem"), [("book1/manifest.json", "book1"), ("book1/b.json", "b")])
def test_results_of_a_manifest_in_a_file_have_a_name_that_tells(path: str, stem: str, folder: Path):
    touch(path)
    assert stems(path) == [stem]


def test_a_manifest_in_the_folder_above_has_the_name_of_that_folder(folder: Path, monkeypatch: pytest.MonkeyPatch):
    touch("book1/manifest.json", "book1/deep/a.jpg")
    monkeypatch.chdir("book1/deep")
    assert stems("../manifest.json", "./../manifest.json") == ["book1", "book1"]


def test_an_address_is_an_input(folder: Path):
    (entry,) = find_inputs(["https://example.org/iiif/b123/manifest.json"])
    assert (entry.name, entry.stem, entry.is_address) == (
        "https://example.org/iiif/b123/manifest.json",
        Path("b123"),
        True,
    )


@pytest.mark.parametrize(
    ("address", "stem"),
    [
        ("http://example.org/scan.jpg", "scan"),
        ("http://example.org", "address"),
        ("http://example.org/a%2Fb/manifest", "a_b"),
        ("http://example.org/book%201.pdf?x=1", "book_1"),
    ],
)
def test_results_of_an_address_have_its_last_part_for_a_name(address: str, stem: str, folder: Path):
    assert stems(address) == [stem]


def test_a_manifest_in_a_folder_is_an_input_and_other_json_is_not(folder: Path):
    touch("in/a.jpg", "in/letter.json", "in/notes.json")
    Path("in/book.json").write_text('{"@context": "http://iiif.io/api/presentation/3/context.json"}', encoding="utf-8")
    Path("in/letter.json").write_text('{"source": "iiif.io/api/presentation"}', encoding="utf-8")
    Path("in/notes.json").write_text("[1]", encoding="utf-8")
    assert names("in") == ["in/a.jpg", "in/book.json"]


def write_segmentation(path: str, image: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(export("page", scan(), info=replace(INFO, source=image)))


def test_images_are_found_by_their_segmentations(folder: Path):
    touch("seg/a.jpg", "seg/b 10.png")
    write_segmentation("seg/page/a.xml", "a.jpg")
    write_segmentation("seg/export.xml", "b 10.png")
    Path("seg/mets.xml").write_text("<mets/>", encoding="utf-8")
    found = find_segmented(Path("seg"))
    assert [(entry.name, entry.stem.as_posix()) for entry in found] == [
        ("seg/a.jpg", "page/a"),
        ("seg/b 10.png", "b 10"),
    ]


def test_an_image_with_several_segmentations_is_one_input(folder: Path):
    touch("seg/a.jpg", "seg/b.jpg")
    for path in ("seg/a.xml", "seg/a.page.xml", "seg/page/a.xml", "seg/alto/a.xml"):
        write_segmentation(path, "a.jpg")
    write_segmentation("seg/b.xml", "b.jpg")
    assert [entry.name for entry in find_segmented(Path("seg"))] == ["seg/a.jpg", "seg/b.jpg"]


def test_a_document_with_a_segmentation_for_each_page_is_one_input(folder: Path):
    pages = [Image.new("RGB", (40, 30)) for _ in range(3)]
    Path("seg").mkdir()
    pages[0].save("seg/book.tif", save_all=True, append_images=pages[1:])
    for number in range(1, 4):
        write_segmentation(f"seg/book-{number:04}.page.xml", "book.tif")
    assert [entry.name for entry in find_segmented(Path("seg"))] == ["seg/book.tif"]


def test_a_segmentation_whose_image_is_missing_is_an_input_that_failed(folder: Path):
    write_segmentation("a.xml", "a.jpg")
    (entry,) = find_segmented(Path("a.xml"))
    assert entry.fault is not None
    assert entry.fault.message.startswith("a.xml: has no image of its name beside it")


def test_a_segmentation_with_entities_is_an_input_that_failed(folder: Path):
    Path("a.xml").write_text(
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><PcGts>&e;</PcGts>', encoding="utf-8"
    )
    (entry,) = find_segmented(Path("a.xml"))
    assert entry.fault is not None
    assert "a document type (a) is not allowed" in entry.fault.message


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("none.xml", "no such file or folder"),
        ("empty", "holds no PAGE or ALTO file"),
        ("other", "holds no PAGE or ALTO file"),
    ],
)
def test_a_place_without_segmentations_says_so(name: str, what: str, folder: Path):
    touch("empty/a.jpg")
    Path("other").mkdir()
    Path("other/mets.xml").write_text("<mets/>", encoding="utf-8")
    with pytest.raises(DataError, match=f"^{name}: {what}"):
        find_segmented(Path(name))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for(folder: Path):
    Path("in").mkdir()
    os.mkfifo("in/manifest.json")
    os.mkfifo("in/page.jpg")
    assert names("in") == ["in/page.jpg"]


@pytest.mark.parametrize("address", ["http://[::1/x", "http://a]b/x", "https://[/box/x?page=1"])
def test_a_malformed_address_is_an_input_that_failed(address: str):
    (entry,) = find_inputs([address])
    assert entry.name == address
    assert str(entry.fault).startswith(f"{address}: is not a valid address: ")


@pytest.mark.parametrize("argument", ["in/b.jpg", "in"])
def test_a_link_that_leads_nowhere_says_so(folder: Path, argument: str):
    Path("in").mkdir()
    Path("in/b.jpg").symlink_to("gone.jpg")
    (entry,) = find_inputs([argument])
    assert entry.stem == Path("b")
    assert str(entry.fault).startswith("in/b.jpg: is a link to gone.jpg, which is not there\n  hint: ")
