"""What a batch reads: folders, patterns, tables, archives and collections, on disks and in other stores."""

import datetime
import decimal
import io
import itertools
import json
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
from batches import read_bars, rows
from webserver import Answer, Names, WebServer, serve

from quillread.batch.cluster import store as stores
from quillread.batch.cluster.fetching import Sources
from quillread.batch.cluster.sources import Source
from quillread.batch.cluster.tasks import Item
from quillread.errors import DataError, ImageError, UsageError
from quillread.images.document import ReadConfig
from quillread.images.web import WebConfig
from quillread.options import ReadOptions


def items(*arguments: str, **changes: Any) -> list[Item]:
    return list(Source(arguments, **changes).items())


def names(*arguments: str, **changes: Any) -> list[str]:
    return [item.name for item in items(*arguments, **changes)]


@pytest.fixture
def scans(here: Path) -> Path:
    for name in ("a2.png", "a10.png", "notes.txt", ".hidden.png", "deep/b.jpg", "deep/b.tif", ".cache/c.png"):
        path = here / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return here / "scans"


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def site() -> Iterator[WebServer]:
    with serve() as found:
        yield found


def test_a_folder_gives_its_pages_in_the_order_of_their_numbers(scans: Path):
    assert names("scans") == ["scans/a2.png", "scans/a10.png", "scans/deep/b.jpg", "scans/deep/b.tif"]


def test_results_are_named_as_quill_read_names_them(scans: Path):
    assert [item.stem for item in items("scans")] == ["a2", "a10", "deep/b.jpg", "deep/b.tif"]


def test_places_are_absolute_wherever_a_worker_runs(scans: Path):
    assert items("scans")[0].place == str(scans / "a2.png")
    assert items("scans/a2.png")[0].place == str(scans / "a2.png")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("scans/*.png", ["scans/a2.png", "scans/a10.png"]),
        ("scans/**/b.*", ["scans/deep/b.jpg", "scans/deep/b.tif"]),
        ("scans/a[0-9].png", ["scans/a2.png"]),
        ("./scans/a?.png", ["scans/a2.png"]),
    ],
)
def test_a_pattern_gives_the_files_that_match(pattern: str, found: list[str], scans: Path):
    assert names(pattern) == found


def test_the_folder_that_is_written_into_is_not_read(scans: Path):
    assert names("scans", hidden=str(scans / "deep")) == ["scans/a2.png", "scans/a10.png"]


@pytest.mark.parametrize("hidden", ["scans", "elsewhere"])
def test_what_a_batch_has_written_beside_the_pages_is_not_read(hidden: str, scans: Path):
    for name in ("_ledger/settings.json", "files/a2.pdf", "pages/x.png"):
        (scans / name).parent.mkdir(exist_ok=True)
        (scans / name).write_bytes(b"x")
    found = ["scans/a2.png", "scans/a10.png", "scans/deep/b.jpg", "scans/deep/b.tif"]
    assert names("scans", hidden=str(scans.with_name(hidden))) == found


def test_folders_of_pages_may_be_called_as_those_of_a_target(scans: Path):
    (scans / "pages").mkdir()
    (scans / "pages" / "x.png").write_bytes(b"x")
    assert "scans/pages/x.png" in names("scans")


def test_a_link_to_a_folder_is_told_and_not_followed(scans: Path, caplog: pytest.LogCaptureFixture):
    (scans / "link").symlink_to(scans / "deep")
    (scans / "page.png").symlink_to(scans / "deep")
    (scans / ".hidden").symlink_to(scans / "deep")
    (scans / "b3.png").symlink_to(scans / "a2.png")
    (scans / "circle.png").symlink_to(scans / "circle.png")
    found = ["a2.png", "a10.png", "b3.png", "circle.png", "deep/b.jpg", "deep/b.tif"]
    assert names("scans") == [f"scans/{name}" for name in found]
    told = {f"{scans / name}: is a link to a folder, and not followed" for name in ("link", "page.png")}
    assert set(caplog.messages) == told


def test_of_the_files_of_a_folder_little_more_than_the_names_is_in_memory(here: Path):
    (here / "scans").mkdir()
    for number in range(2000):
        (here / "scans" / f"page-{number}.png").touch()
    next(Source(("scans",)).items())  # what is imported with it
    tracemalloc.start()
    for _ in Source(("scans",)).items():
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most / 2000 < 700


def test_results_of_quill_read_are_not_read(scans: Path):
    line = {"stem": "x", "source": "x.png", "files": {"a2.png": ["0"]}, "formats": [], "pages": 1, "last": 1}
    (scans / ".quillread-log.jsonl").write_text(json.dumps(line), encoding="utf-8")
    assert names("scans") == ["scans/a10.png", "scans/deep/b.jpg", "scans/deep/b.tif"]


def test_folders_and_patterns_of_another_store_are_listed(memory: Any):
    for name in ("a.png", "deep/b.jpg", "deep/note.txt"):
        memory.pipe_file(f"/bucket/{name}", b"x")
    assert names("memory://bucket") == ["memory:///bucket/a.png", "memory:///bucket/deep/b.jpg"]
    assert names("memory://bucket/*/b.jpg") == ["memory:///bucket/deep/b.jpg"]
    assert Sources().open(items("memory://bucket/a.png")[0]) == b"x"


def listed_until_the_error(*arguments: str, **changes: Any) -> tuple[list[str], str]:
    found: list[str] = []
    with pytest.raises(DataError) as caught:
        found.extend(item.name for item in Source(arguments, **changes).items())
    return found, caught.value.message


def test_what_follows_an_argument_that_cannot_be_listed_is_listed(scans: Path):
    assert listed_until_the_error("nowhere", "scans/a2.png") == (["scans/a2.png"], "nowhere: no such file or folder")


def test_what_follows_a_folder_that_cannot_be_listed_is_listed(scans: Path, monkeypatch: pytest.MonkeyPatch):
    look = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("/deep"):
            raise PermissionError(13, "Permission denied")
        return look(path)

    (scans / "late").mkdir()
    (scans / "late" / "z.png").write_bytes(b"z")
    monkeypatch.setattr(os, "scandir", refuse)
    found, told = listed_until_the_error("scans")
    assert found == ["scans/a2.png", "scans/a10.png", "scans/late/z.png"]
    assert told == f"{scans}/deep: cannot be listed: Permission denied"


def test_folders_that_lie_deeper_than_a_pattern_are_not_looked_into(scans: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    look = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: asked.append(path) or look(path))
    assert names("scans/*.png") == ["scans/a2.png", "scans/a10.png"]
    assert asked == [str(scans)]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("list.csv", "path,id\na.png,1\nb.png,1,2\nc.png,3\n", "list.csv, row 2: has more cells"),
        ("list.jsonl", '{"path": "a.png"}\n' * 1000 + '{"path": \n{"path": "c.png"}\n', "list.jsonl: a line cannot"),
    ],
)
def test_what_follows_a_damaged_row_is_listed(name: str, content: str, told: str, here: Path):
    (here / name).write_text(content, encoding="utf-8")
    found, message = listed_until_the_error(name)
    assert found[-1] == "c.png"
    assert message.startswith(told)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("list.csv", ['b.png,"The letter', "c.png,The answer", "d.png,None"]),
        ("list.tsv", ['b.png\t"The letter', "c.png\tThe answer", "d.png\tNone"]),
        ("list.csv", ['b.png,"The letter', 'c.png,He said "No"', "d.png,None"]),
        ("list.csv", ['b.png,"The letter', "c.png,The answer", 'd.png,"']),
        ("list.tsv", ['https://example.org/2/manifest\t"One', 'https://example.org/3/manifest\t"']),
        ("list.csv", ["b.png," + "x" * 140_000, "c.png,The answer"]),
    ],
)
def test_a_quotation_mark_that_is_not_closed_swallows_no_rows_in_silence(name: str, rows: list[str], here: Path):
    head = ["path,title", "a.png,One", ""] if name == "list.csv" else ["path\ttitle", "a.png\tOne", ""]
    (here / name).write_text("\n".join([*head, *rows]), encoding="utf-8")
    found, message = listed_until_the_error(name)
    assert found == ["a.png"]
    assert message.startswith(f"{name}, line 4: a quotation mark opens a cell and does not close it, or a cell is")


def test_a_cell_of_several_lines_is_read(here: Path):
    (here / "list.csv").write_text(
        'path,title\r\na.png,"One\r\nand, more"\r\nb.png,Two\r\n', encoding="utf-8", newline=""
    )
    assert [(item.name, item.columns["title"]) for item in items("list.csv")] == [
        ("a.png", "One\r\nand, more"),
        ("b.png", "Two"),
    ]


def test_a_quotation_mark_that_opens_the_names_of_columns_is_told(here: Path):
    (here / "list.csv").write_text('path,"title\na.png,One\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"list\.csv: cannot be read"):
        items("list.csv")


@pytest.mark.parametrize("argument", ["nowhere", "nowhere/*.png", "empty", ""])
def test_what_holds_nothing_to_read_is_an_error(argument: str, here: Path):
    (here / "empty").mkdir()
    with pytest.raises(DataError):
        items(argument)


def test_an_unknown_kind_of_store_is_told(here: Path):
    with pytest.raises(UsageError, match="Protocol not known"):
        items("nostore://bucket/pages")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", "title,path,id\nOne,a.png,1\nTwo,/abs/b.png,2\n"),
        ("list.tsv", "title\tpath\tid\nOne\ta.png\t1\nTwo\t/abs/b.png\t2\n"),
        (
            "list.jsonl",
            '{"title": "One", "path": "a.png", "id": "1"}\n\n{"title": "Two", "path": "/abs/b.png", "id": "2"}\n',
        ),
    ],
)
def test_tables_give_addresses_and_their_other_columns(name: str, content: str, here: Path):
    (here / "lists").mkdir()
    (here / "lists" / name).write_text(content, encoding="utf-8")
    first, second = items(f"lists/{name}")
    assert (first.name, first.place, first.stem) == ("a.png", str(here / "lists" / "a.png"), "a")
    assert (second.place, second.columns) == ("/abs/b.png", {"title": "Two", "id": "2"})


def test_a_text_file_has_an_address_a_line(here: Path):
    (here / "list.txt").write_text("a.png\n\nhttps://example.org/b.jpg\ns3://bucket/c.tif\n", encoding="utf-8")
    assert [item.place for item in items("list.txt")] == [
        str(here / "a.png"), "https://example.org/b.jpg", "s3://bucket/c.tif",
    ]  # fmt: skip


def test_parquet_keeps_the_types_of_its_columns(here: Path):
    table = pyarrow.table(
        {"URL": ["a.png", "b.png"], "year": [1800, None], "share": [0.5, 1.0], "is_print": [True, False],
         "box": [[1, 2], [3, 4]]}
    )  # fmt: skip
    pyarrow.parquet.write_table(table, here / "list.parquet")
    source = Source(("list.parquet",))
    assert source.types() == {"year": "int64", "share": "double", "is_print": "bool", "box": "string"}
    assert [item.columns for item in source.items()] == [
        {"year": 1800, "share": 0.5, "is_print": True, "box": "[1, 2]"},
        {"year": None, "share": 1.0, "is_print": False, "box": "[3, 4]"},
    ]


def test_what_parquet_has_beyond_text_and_numbers_becomes_text(here: Path):
    values = {"day": datetime.date(1800, 1, 2), "sum": decimal.Decimal("1.50"), "raw": b"a\xff"}
    table = pyarrow.table({"path": ["a.png"], **{name: [value] for name, value in values.items()}})
    pyarrow.parquet.write_table(table, here / "list.parquet")
    assert items("list.parquet")[0].columns == {"day": "1800-01-02", "sum": "1.50", "raw": "a\\xff"}


def test_a_column_that_two_tables_have_in_different_types_becomes_text(here: Path):
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.png"], "id": [1]}), here / "list.parquet")
    (here / "list.csv").write_text("path,id\nb.png,x\n", encoding="utf-8")
    assert [item.columns for item in items("list.parquet", "list.csv")] == [{"id": "1"}, {"id": "x"}]


def test_a_million_addresses_are_listed_one_by_one(here: Path):
    def lines() -> Iterator[str]:
        yield "path,id\n"
        yield from (f"a{i}.png,{i}\n" for i in range(100_000))

    (here / "list.csv").write_text("".join(lines()), encoding="utf-8")
    first = list(itertools.islice(Source(("list.csv",)).items(), 3))
    assert [item.columns for item in first] == [{"id": "0"}, {"id": "1"}, {"id": "2"}]


@pytest.mark.parametrize(
    "content",
    [
        b"path;title\r\na.png;One, two\r\ndeep/b.png;Three\r\n",
        b"sep=;\r\npath;title\r\na.png;One, two\r\ndeep/b.png;Three\r\n",
        b"path\ttitle\na.png\tOne, two\ndeep/b.png\tThree\n",
        'path,title\na.png,"One, two"\ndeep/b.png,Three\n'.encode("utf-16"),
    ],
    ids=["semicolons", "excel", "tabs", "utf-16"],
)
def test_lists_of_other_programs_are_read(here: Path, content: bytes):
    (here / "list.csv").write_bytes(content)
    assert [(item.name, item.columns) for item in items("list.csv")] == [
        ("a.png", {"title": "One, two"}),
        ("deep/b.png", {"title": "Three"}),
    ]


def test_a_quotation_mark_that_is_not_closed_is_told_by_its_line_below_a_first_row_for_excel(here: Path):
    (here / "list.csv").write_text('sep=;\npath;title\na.png;One\nb.png;"Two\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"list\.csv, line 4: a quotation mark"):
        items("list.csv")


def test_images_are_found_by_paths_of_windows(here: Path, scans: Path):
    (here / "scans" / "odd\\name.png").touch()
    (here / "list.txt").write_text("scans\\deep\\b.jpg\nscans/odd\\name.png\n", encoding="utf-8")
    assert [(item.place, item.stem) for item in items("list.txt")] == [
        (str(scans / "deep" / "b.jpg"), "b"),
        (str(scans / "odd\\name.png"), "odd\\name"),
    ]


@pytest.mark.parametrize(
    ("content", "column", "told"),
    [
        ("title,id\nOne,1\n", None, r"none of its columns \(title, id\)"),
        ("title,id\nOne,1\n", "titel", "has no column 'titel'.*title"),
        ("", None, "is empty"),
    ],
)
def test_a_table_without_a_column_of_addresses_is_refused(content: str, column: str | None, told: str, here: Path):
    (here / "list.csv").write_text(content, encoding="utf-8")
    with pytest.raises((UsageError, DataError), match=told):
        items("list.csv", column=column)


def test_the_column_of_addresses_can_be_named(here: Path):
    (here / "list.csv").write_text("scan,path\na.png,x\n", encoding="utf-8")
    assert names("list.csv", column="scan") == ["a.png"]


@pytest.mark.parametrize("address", [".", "/", "https://[x/a.jpg"])
def test_an_address_that_no_file_has_is_an_input_that_failed(address: str, here: Path):
    (here / "list.csv").write_text(f"path,id\n{address},7\nb.png,8\n", encoding="utf-8")
    bad, good = items("list.csv")
    assert bad.fault is not None
    assert bad.fault.message == f"list.csv, row 1: '{address}' is not the address of a file"
    assert (bad.name, bad.stem, bad.columns, good.name) == (address, "row-1", {"id": "7"}, "b.png")


@pytest.mark.parametrize(
    "address", ["https://[x/a.jpg", "https://[x/manifest", "https://me:secret@example.org/manifest"]
)
def test_what_follows_a_malformed_address_is_listed(address: str, scans: Path):
    found, told = listed_until_the_error(address, "scans/a2.png")
    assert found == ["scans/a2.png"]
    assert "address" in told


def test_a_column_where_there_is_no_table_is_refused(scans: Path):
    with pytest.raises(UsageError, match="--column scan: SOURCE names no table"):
        Source(("scans",), "scan").types()


def test_a_row_without_an_address_is_an_input_that_failed(here: Path):
    (here / "list.csv").write_text("path,id\n,7\n", encoding="utf-8")
    (item,) = items("list.csv")
    assert (item.columns, item.fault and item.fault.message) == ({"id": "7"}, "list.csv, row 1: names no address")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("list.csv", "path,id\na.png,1,2\n", "more cells than there are columns"),
        ("list.jsonl", '{"path": "a.png"}\n[1]\n', "is not an object"),
        ("list.jsonl", '{"path": \n', "cannot be read"),
        ("list.parquet", "no parquet", "cannot be read"),
    ],
)
def test_a_damaged_table_is_told(name: str, content: str, told: str, here: Path):
    (here / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        items(name)


def test_a_column_that_begins_late_is_not_dropped_in_silence(here: Path):
    lines = [json.dumps({"path": f"{i}.png"}) for i in range(1000)] + [json.dumps({"path": "x.png", "late": 1})]
    (here / "list.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match="row 1001: has a column 'late' of its own"):
        items("list.jsonl")


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("deep/a.png", "b.jpg", "notes.txt", "__MACOSX/a.png"):
            archive.writestr(name, name)


def write_tar(path: Path, mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in ("deep/a.png", "b.jpg", "notes.txt"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))


def test_the_pages_of_a_zip_are_read_where_they_lie(here: Path):
    write_zip(here / "pages.zip")
    found, sources = items("pages.zip"), Sources()
    assert [item.name for item in found] == ["zip://deep/a.png::pages.zip", "zip://b.jpg::pages.zip"]
    assert [item.stem for item in found] == ["deep/a", "b"]
    assert [sources.open(item) for item in found] == [b"deep/a.png", b"b.jpg"]
    sources.close()


def test_the_pages_of_a_tar_are_read_where_they_lie(here: Path):
    write_tar(here / "pages.tar")
    found, sources = items("pages.tar"), Sources()
    assert [item.name for item in found] == ["tar://deep/a.png::pages.tar", "tar://b.jpg::pages.tar"]
    assert [sources.open(item) for item in found] == [b"deep/a.png", b"b.jpg"]


def test_archives_of_another_store_are_read_where_they_lie(memory: Any, here: Path):
    write_zip(here / "pages.zip")
    write_tar(here / "pages.tar")
    for name in ("pages.zip", "pages.tar"):
        memory.pipe_file(f"/{name}", (here / name).read_bytes())
        sources = Sources()
        assert [sources.open(item) for item in items(f"memory://{name}")] == [b"deep/a.png", b"b.jpg"]
        sources.close()


@pytest.mark.parametrize("name", ["pages.zip", "pages.tar", "list.csv", "list.parquet"])
def test_a_store_that_is_away_in_the_middle_of_a_file_is_waited_for(
    name: str, memory: Any, here: Path, monkeypatch: pytest.MonkeyPatch
):
    from fsspec.implementations.memory import MemoryFile

    write_zip(here / "pages.zip")
    write_tar(here / "pages.tar")
    (here / "list.csv").write_text("path\n" + "a.png\n" * 5000, encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.png"] * 5000}), here / "list.parquet")
    memory.pipe_file(f"/{name}", (here / name).read_bytes())
    look, tries = MemoryFile.read, itertools.count()

    def fail_now_and_then(self: Any, size: int = -1) -> bytes:
        if next(tries) % 2 == 0:
            raise ConnectionError("reset")
        return look(self, size)

    def contents() -> list[Any]:
        sources = Sources()
        found = items(f"memory://{name}")
        return [sources.open(item) if name.startswith("pages") else item.name for item in found]

    expected = contents()
    monkeypatch.setattr(stores, "_WAITS", (0,) * 8)
    monkeypatch.setattr(MemoryFile, "read", fail_now_and_then)
    assert contents() == expected
    assert next(tries) > 1


def test_a_compressed_tar_is_refused(here: Path):
    write_tar(here / "pages.tar.gz", "w:gz")
    with pytest.raises(DataError, match="cannot be read without unpacking"):
        items("pages.tar.gz")


@pytest.mark.parametrize("name", ["pages.zip", "pages.tar"])
def test_a_damaged_archive_is_told(name: str, here: Path):
    (here / name).write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        items(name)


def test_a_tar_that_is_damaged_behind_its_first_file_is_told(here: Path):
    write_tar(here / "pages.tar")
    content = bytearray((here / "pages.tar").read_bytes())
    content[1024 : 1024 + 512] = b"x" * 512
    (here / "pages.tar").write_bytes(content)
    with pytest.raises(DataError, match="damaged at byte 1,024"):
        items("pages.tar")


@pytest.mark.parametrize("size", [1024, 1100, 3072])
def test_a_tar_that_is_cut_off_is_told(size: int, here: Path):
    write_tar(here / "pages.tar")
    (here / "pages.tar").write_bytes((here / "pages.tar").read_bytes()[:size])
    with pytest.raises(DataError, match="it is cut off"):
        items("pages.tar")


def test_of_a_tar_little_more_than_the_headers_is_fetched_to_list_it(memory: Any, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int | None] = []
    look = type(memory).open

    def note(self: Any, path: str, mode: str = "rb", block_size: int | None = None, **further: Any) -> Any:
        sizes.append(block_size)
        return look(self, path, mode, block_size, **further)

    memory.pipe_file("/pages.tar", bytes(10_240))
    monkeypatch.setattr(type(memory), "open", note)
    with pytest.raises(DataError, match="holds no images"):
        items("memory://pages.tar")
    assert sizes == [65_536]


def test_a_tar_that_was_cut_off_since_it_was_listed_is_told(here: Path):
    write_tar(here / "pages.tar")
    found = items("pages.tar")
    (here / "pages.tar").write_bytes((here / "pages.tar").read_bytes()[:515])
    with pytest.raises(ImageError, match="ends within a file"):
        Sources().open(found[0])


def test_an_address_of_a_file_in_an_archive_is_read_as_fsspec_reads_it(here: Path):
    write_zip(here / "pages.zip")
    address = f"zip://deep/a.png::{here / 'pages.zip'}"
    (here / "list.txt").write_text(address, encoding="utf-8")
    assert [Sources().open(item) for item in items("list.txt")] == [b"deep/a.png"]


def test_a_folder_of_a_web_server_gives_the_pages_that_it_links(site: WebServer):
    links = "".join(f'<a href="{name}">{name}</a>' for name in ("a2.png", "a10.png", "notes.txt", "deep/", "../up.png"))
    address = site.add("/scans/", Answer(links.encode(), headers={"Content-Type": "text/html"}))
    site.add("/scans/deep/", Answer(b'<a href="b.jpg">b</a>', headers={"Content-Type": "text/html"}))
    assert names(address) == [f"{address}a2.png", f"{address}a10.png", f"{address}deep/b.jpg"]
    assert names(f"{address}*.png") == [f"{address}a2.png", f"{address}a10.png"]


def test_the_query_of_an_address_is_no_part_of_its_name(site: WebServer, here: Path):
    write_zip(here / "pages.zip")
    content = (here / "pages.zip").read_bytes()
    site.add("/pages.zip?key=a/b.c", Answer(content, headers={"Accept-Ranges": "bytes"}, has_ranges=True))
    table = site.add("/lists/list.csv?X-Amz-Signature=a/b.c", Answer(b"path\na.png\n"))
    archive = f"{site.address}/pages.zip?key=a/b.c"
    image = f"{site.address}/a/b.jpg?x=[1]"
    assert [item.place for item in items(table)] == [f"{site.address}/lists/a.png"]
    assert names(archive) == [f"zip://deep/a.png::{archive}", f"zip://b.jpg::{archive}"]
    assert [(item.place, item.stem) for item in items(image)] == [(image, "b")]


def test_the_query_of_an_address_may_say_which_collection_is_meant(site: WebServer):
    entry = {"id": f"{site.address}/1/manifest.json", "type": "Manifest"}
    address = site.add("/collection?id=5", Answer(collection("3", entry)))
    assert [item.place for item in items(address, web=WEB)] == [entry["id"]]


def test_a_compressed_tar_is_refused_whatever_its_address_ends_with():
    with pytest.raises(DataError, match="cannot be read without unpacking"):
        items("https://example.org/pages.tar.gz?key=1")


def test_an_address_of_numbers_is_no_pattern():
    address = "http://[::1]:9/a.jpg"
    assert [item.place for item in items(address)] == [address]


def collection(kind: str, *entries: dict[str, Any]) -> bytes:
    context = f"http://iiif.io/api/presentation/{kind}/context.json"
    if kind == "3":
        return json.dumps({"@context": context, "type": "Collection", "items": entries}).encode()
    manifests = [entry for entry in entries if entry["@type"] == "sc:Manifest"]
    inner = [entry for entry in entries if entry["@type"] == "sc:Collection"]
    return json.dumps(
        {"@context": context, "@type": "sc:Collection", "manifests": manifests, "collections": inner}
    ).encode()


WEB = WebConfig(timeout=5, retries=0)


@pytest.mark.parametrize("kind", ["2", "3"])
def test_a_collection_gives_the_manifests_in_it_and_in_its_collections(kind: str, site: WebServer):
    id_name, type_name, prefix = ("@id", "@type", "sc:") if kind == "2" else ("id", "type", "")

    def entry(of: str, path: str) -> dict[str, str]:
        return {id_name: f"{site.address}{path}", type_name: f"{prefix}{of}"}

    inner = collection(kind, entry("Manifest", "/3/manifest.json"), entry("Collection", "/top"))
    site.add("/inner", Answer(inner))
    top = [entry("Manifest", "/1/manifest.json"), entry("Manifest", "/2/manifest.json"), entry("Collection", "/inner")]
    address = site.add("/top", Answer(collection(kind, *top)))
    found = items(address, web=WEB)
    assert [item.place for item in found] == [f"{site.address}/{i}/manifest.json" for i in (1, 2, 3)]
    assert [item.stem for item in found] == ["1", "2", "3"]


def test_an_address_that_is_no_collection_is_one_input(site: WebServer):
    address = site.add("/manifest", Answer(b'{"@context": "http://iiif.io/api/presentation/3/context.json"}'))
    assert [item.place for item in items(address, web=WEB)] == [address]


def test_what_follows_a_dead_collection_is_listed(site: WebServer):
    entries = [("Collection", "/dead"), ("Manifest", "/1/manifest.json")]
    address = site.add("/top", Answer(collection("3", *({"id": f"{site.address}{p}", "type": t} for t, p in entries))))
    found, told = listed_until_the_error(address, web=WEB)
    assert found == [f"{site.address}/1/manifest.json"]
    assert "HTTP 404" in told


def test_a_collection_may_not_name_machines_of_a_private_network(here: Path):
    entry = {"id": "http://127.0.0.1:9/manifest", "type": "Manifest"}
    (here / "top.json").write_bytes(collection("3", entry))
    with pytest.raises(DataError, match="is in a private network, which you did not name"):
        items("top.json", web=WEB)


def test_a_manifest_that_a_collection_names_is_not_fetched_from_a_private_network(
    site: WebServer, here: Path, monkeypatch: pytest.MonkeyPatch
):
    # Its name does not tell where it lies, which only a look-up does.
    Names(monkeypatch, site, {"intranet.example.org": [["10.0.0.7"]]})
    entry = {"id": "http://intranet.example.org/manifest", "type": "Manifest"}
    (here / "top.json").write_bytes(collection("3", entry))
    read_bars("top.json", target="out", options=ReadOptions(lines=True).changed(read=ReadConfig(web=WEB)))
    (row,) = rows("out")
    assert "is in a private network, which you did not name" in row["fault"]["message"]


def test_a_manifest_beside_its_collection_may_lie_in_the_private_network_that_was_named(site: WebServer):
    entry = {"id": f"{site.address}/1/manifest.json", "type": "Manifest"}
    (item,) = items(site.add("/top", Answer(collection("3", entry))), web=WEB)
    assert item.is_named


def test_a_dead_address_of_a_collection_is_told(site: WebServer):
    with pytest.raises(DataError, match="HTTP 404"):
        items(f"{site.address}/nothing", web=WEB)
