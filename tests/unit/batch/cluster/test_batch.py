"""Whole batches in one process: each page has one row, whatever ends the run."""

import json
from pathlib import Path

import pytest
from batches import WORDS, FrailBars, read_bars, rows, texts, write_bars
from readings import write_document, written
from webserver import Answer, serve

from quillread.batch.cluster.batch import Batch
from quillread.batch.cluster.finished import Finished
from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.plan import Plan
from quillread.batch.cluster.store import Store
from quillread.cli.main import main
from quillread.errors import DataError, UsageError
from quillread.options import ReadOptions
from quillread.types import Scan


class Driver(BaseException):
    """Stands for the end of the driver."""


def ends_after(count: int):
    def stop(done: int) -> None:
        if done > count:
            raise Driver

    return stop


@pytest.mark.parametrize("mistyped", ["scnas", "scans/*.tif", "empty"])
def test_a_mistyped_source_does_not_keep_the_target_from_the_right_one(mistyped: str, here: Path):
    list(write_bars(here / "scans", 2))
    (here / "empty").mkdir()
    with pytest.raises(DataError):
        read_bars(mistyped, target="out")
    read_bars("scans", target="out")
    assert len(texts("out")) == 2


def test_a_run_that_is_ended_before_anything_is_planned_leaves_the_target_free(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(plan: Plan) -> None:
        raise KeyboardInterrupt

    list(write_bars(here / "scans", 2))
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_bars("scans", target="out")
    read_bars("scans/page-000.png", target="out")
    with pytest.raises(UsageError, match="was written by a run with other settings"):
        read_bars("scans", target="out")


def test_a_part_that_is_damaged_is_read_again_with_what_failed(here: Path):
    list(write_bars(here / "scans", 2))
    (here / "scans" / "bad.png").write_text("no image", encoding="utf-8")
    read_bars("scans", target="out")
    first = min((here / "out" / "pages").rglob("*.parquet"))
    first.write_bytes(b"")
    (here / "scans" / "bad.png").write_bytes((here / "scans" / "page-000.png").read_bytes())
    progress = read_bars("scans", target="out", retry_failed=True)
    assert texts("out") == {("bad.png", 1): WORDS[0], ("page-000.png", 1): WORDS[0], ("page-001.png", 1): WORDS[1]}
    assert (progress.pages, progress.failed) == (3, 0)


@pytest.mark.parametrize("content", [b"", b"PAR1 no more PAR1"])
def test_a_part_that_is_damaged_is_told(content: bytes, here: Path):
    list(write_bars(here / "scans", 1))
    read_bars("scans", target="out")
    (part,) = (here / "out" / "pages").rglob("*.parquet")
    part.write_bytes(content)
    with pytest.raises(DataError, match=r"out/pages/block=000000/000000-0000\.parquet: it is damaged"):
        list(Finished("out").rows(("id",)))


def test_a_record_that_is_there_twice_counts_once(here: Path):
    list(write_bars(here / "scans", 2))
    (here / "scans" / "bad.png").write_text("no image", encoding="utf-8")
    read_bars("scans", target="out")
    list(write_bars(here / "scans", 3))
    (here / "scans" / "bad.png").write_bytes((here / "scans" / "page-000.png").read_bytes())
    read_bars("scans", target="out", retry_failed=True)
    done = here / "out" / "_ledger" / "done"
    # As a run leaves it that is killed while it puts records together.
    (done / "000000099.jsonl").write_bytes(b"\n".join(path.read_bytes() for path in sorted(done.iterdir())))
    progress = read_bars("scans", target="out", retry_failed=True)
    assert (progress.pages, progress.failed, progress.inputs) == (4, 0, 4)


def test_files_that_could_not_be_joined_the_second_time_are_counted(here: Path):
    ledger = Ledger(Store(str(here / "out")))
    joining = {"task": "000000-0000-000-files", "block": 0, "rows": 0, "inputs": 0}
    ledger.commit([joining])
    ledger.commit([{**joining, "unwritten": {"output": 1}}])
    batch = Batch(ledger, Plan(ledger, lambda: iter(())), retry_failed=True)
    batch.load()
    assert batch.progress.faults == {"output": 1}


def test_each_page_of_a_folder_has_a_row(here: Path):
    list(write_bars(here / "scans", 5))
    progress = read_bars("scans", target="out")
    assert texts("out") == {(f"page-{i:03}.png", 1): WORDS[i] for i in range(5)}
    assert (progress.pages, progress.failed, progress.inputs, progress.planned) == (5, 0, 5, 5)


def test_a_row_says_what_was_read_where_and_with_what(here: Path):
    list(write_bars(here / "scans", 1))
    read_bars("scans", target="out")
    row = rows("out")[0]
    assert (row["source"], row["page"], row["fault"], row["model"]) == ("scans/page-000.png", 1, None, "builtin")
    line = row["lines"][0]
    assert line["text"] == row["text"] == WORDS[0]
    assert line["box"]["x1"] == row["width"]
    assert 0 < line["confidence"] <= 1
    assert line["confidence"] == pytest.approx(row["confidence"])
    assert len(line["baseline"]) >= 2


def test_an_input_that_cannot_be_opened_has_a_row_with_its_fault(here: Path):
    list(write_bars(here / "scans", 2))
    (here / "scans" / "bad.png").write_text("no image", encoding="utf-8")
    progress = read_bars("scans", target="out")
    row = rows("out")[0]
    assert (row["source"], row["page"], row["text"]) == ("scans/bad.png", None, "")
    assert row["fault"]["kind"] == "image"
    assert (progress.pages, progress.failed) == (3, 1)


def test_a_long_document_among_images_is_spread_over_several_parts(here: Path):
    list(write_bars(here / "scans", 3))
    write_document(here / "scans" / "book.pdf", [WORDS[i % 7] if i != 20 else None for i in range(40)])
    progress = read_bars("scans", target="out")
    found = texts("out")
    assert [found["book.pdf", i + 1] for i in range(40)] == [WORDS[i % 7] if i != 20 else "" for i in range(40)]
    assert len(list((here / "out" / "pages").rglob("*-000-*.parquet"))) == 3
    assert (progress.pages, progress.failed, progress.spread_left) == (43, 1, 0)


@pytest.mark.slow
def test_a_document_of_two_thousand_pages_keeps_no_image_waiting(here: Path):
    list(write_bars(here / "scans", 5))
    write_document(here / "scans" / "a-book.pdf", [WORDS[i % 7] for i in range(2000)])
    pages = FrailBars()
    progress = read_bars("scans", target="out", pages=pages)
    found = texts("out")
    assert [found["a-book.pdf", i + 1] for i in range(2000)] == [WORDS[i % 7] for i in range(2000)]
    assert [found[f"page-{i:03}.png", 1] for i in range(5)] == list(WORDS[:5])
    assert (len(found), progress.pages, progress.failed, progress.spread_left) == (2005, 2005, 0, 0)
    # Other workers may read its pages, and have the images meanwhile.
    assert len(list((here / "out" / "pages").rglob("*-000-*.parquet"))) == 125
    assert pages.read.index(("scans/page-004.png", 0)) < 100


def test_only_the_pages_that_are_selected_are_read_of_a_long_document(here: Path):
    write_document(here / "book.pdf", [WORDS[i % 7] for i in range(40)])
    read_bars("book.pdf", target="out", options=ReadOptions(lines=True, pages="3-20,40"))
    assert sorted(page for _, page in texts("out")) == [*range(3, 21), 40]


@pytest.mark.parametrize("count", range(1, 7))
def test_a_run_that_is_killed_and_started_again_leaves_one_row_for_each_page(count: int, here: Path):
    list(write_bars(here / "scans", 9))
    write_document(here / "scans" / "book.pdf", [WORDS[i % 7] for i in range(20)])
    with pytest.raises(Driver):
        read_bars("scans", target="out", stop=ends_after(count))
    read_bars("scans", target="out")
    assert len(texts("out")) == 29


def test_what_killed_workers_left_unfinished_is_removed(here: Path):
    list(write_bars(here / "scans", 1))
    read_bars("scans", target="out")
    for folder in ("pages/block=000000", "_ledger/done", "files/deep"):
        (here / "out" / folder).mkdir(parents=True, exist_ok=True)
        (here / "out" / folder / f".quillread-{'0' * 16}.part").write_bytes(b"x")
    read_bars("scans", target="out")
    assert list((here / "out").rglob("*.part")) == []


def test_what_is_whole_is_not_read_again(here: Path):
    list(write_bars(here / "scans", 6))
    first, second = FrailBars(), FrailBars()
    with pytest.raises(Driver):
        read_bars("scans", target="out", stop=ends_after(2), pages=first)
    read_bars("scans", target="out", pages=second)
    assert sorted(first.read + second.read) == [(f"scans/page-{i:03}.png", 0) for i in range(6)]


def test_pages_that_were_added_since_are_read_by_the_next_run(here: Path):
    list(write_bars(here / "scans", 3))
    read_bars("scans", target="out")
    again = FrailBars()
    list(write_bars(here / "scans", 5))
    read_bars("scans", target="out", pages=again)
    assert sorted(again.read) == [("scans/page-003.png", 0), ("scans/page-004.png", 0)]
    assert len(texts("out")) == 5


def test_a_page_that_kills_its_worker_three_times_is_parked_and_named(here: Path):
    list(write_bars(here / "scans", 3))
    write_document(here / "scans" / "kill-2.pdf", ["dead"] * 3)
    pages = FrailBars()
    progress = read_bars("scans", target="out", pages=pages)
    found = {(row["source"], row["page"]): row for row in rows("out")}
    assert found["scans/kill-2.pdf", 2]["fault"]["kind"] == "crash"
    assert [found["scans/kill-2.pdf", page]["text"] for page in (1, 3)] == ["dead", "dead"]
    assert (len(found), progress.deadly) == (6, ["scans/kill-2.pdf"])
    assert pages.read.count(("scans/kill-2.pdf", 1)) == 3


def test_pages_that_failed_are_read_again_only_when_asked_for(here: Path):
    list(write_bars(here / "scans", 3))
    bad = here / "scans" / "page-001.png"
    good = bad.read_bytes()
    bad.write_text("no image", encoding="utf-8")
    read_bars("scans", target="out")
    bad.write_bytes(good)
    idle, busy = FrailBars(), FrailBars()
    assert read_bars("scans", target="out", pages=idle).failed == 1
    progress = read_bars("scans", target="out", pages=busy, retry_failed=True)
    assert (idle.read, busy.read) == ([], [("scans/page-001.png", 0)])
    assert (progress.failed, progress.pages, progress.faults) == (0, 3, {})
    assert texts("out")["page-001.png", 1] == WORDS[1]


def test_failed_pages_of_a_long_document_are_read_again(here: Path):
    write_document(here / "book.pdf", ["dead" if i != 18 else None for i in range(20)])
    assert read_bars("book.pdf", target="out").failed == 1
    write_document(here / "book.pdf", ["dead"] * 20)
    assert read_bars("book.pdf", target="out", retry_failed=True).failed == 0
    assert set(texts("out").values()) == {"dead"}


def test_files_of_a_long_document_keep_the_text_of_a_page_that_cannot_be_read_this_time(here: Path):
    words = [WORDS[i % 7] for i in range(20)]
    write_document(here / "book.pdf", [None if i == 18 else word for i, word in enumerate(words)])
    read_bars("book.pdf", target="out", formats=("txt",))
    write_document(here / "book.pdf", [None if i == 16 else word for i, word in enumerate(words)])
    read_bars("book.pdf", target="out", formats=("txt",), retry_failed=True)
    assert [texts("out")["book.pdf", i + 1] for i in range(20)] == words
    assert [word for word in written(here / "out" / "files")["book.txt"].split("\n") if word.strip()] == words


def test_files_of_a_long_document_keep_the_text_of_a_part_that_cannot_be_opened_this_time(here: Path):
    words, pages = [WORDS[i % 7] for i in range(20)], FrailBars()
    book = write_document(here / "book.pdf", [None if i == 18 else word for i, word in enumerate(words)])
    content = book.read_bytes()
    read_bars("book.pdf", target="out", formats=("txt",))
    book.write_bytes(b"gone")

    def put_back(count: int) -> None:
        if count == 2:
            book.write_bytes(content)

    read_bars("book.pdf", target="out", formats=("txt",), retry_failed=True, stop=put_back, pages=pages)
    expected = [word if i != 18 else "[page 19 could not be read]" for i, word in enumerate(words)]
    assert [word for word in written(here / "out" / "files")["book.txt"].split("\n") if word.strip()] == expected


def test_what_was_read_stays_if_it_cannot_be_opened_when_others_are_read_again(here: Path):
    list(write_bars(here / "scans", 1))
    write_document(here / "scans" / "a.pdf", ["dead", None])
    read_bars("scans", target="out", formats=("txt",))
    before = written(here / "out" / "files")
    for name in ("page-000.png", "a.pdf"):
        (here / "scans" / name).write_bytes(b"gone")
    progress = read_bars("scans", target="out", formats=("txt",), retry_failed=True)
    assert texts("out") == {("page-000.png", 1): WORDS[0], ("a.pdf", 1): "dead", ("a.pdf", 2): ""}
    assert (progress.pages, progress.failed, written(here / "out" / "files")) == (3, 1, before)


def test_a_page_that_was_read_stays_if_it_cannot_be_read_when_another_is_read_again(here: Path):
    write_document(here / "a.pdf", ["dead", "cab", None])
    read_bars("a.pdf", target="out", formats=("txt",))
    before = written(here / "out" / "files")
    write_document(here / "a.pdf", ["dead", None, "bed"])
    progress = read_bars("a.pdf", target="out", formats=("txt",), retry_failed=True)
    assert texts("out") == {("a.pdf", 1): "dead", ("a.pdf", 2): "cab", ("a.pdf", 3): "bed"}
    assert (written(here / "out" / "files"), len(progress.unwritten)) == (before, 1)


def test_only_inputs_with_pages_that_failed_are_opened_again(here: Path):
    list(write_bars(here / "scans", 1))
    write_document(here / "scans" / "a.pdf", ["dead", None])
    read_bars("scans", target="out", formats=("txt",))
    pages = FrailBars()
    read_bars("scans", target="out", formats=("txt",), retry_failed=True, pages=pages)
    assert {name for name, _ in pages.read} == {"scans/a.pdf"}


@pytest.mark.parametrize("formats", [(), ("txt",), ("page",)])
def test_each_page_of_a_long_document_has_a_row_although_it_is_gone_before_they_are_read(
    formats: tuple[str, ...], here: Path
):
    book, pages = write_document(here / "book.pdf", ["dead"] * 40), FrailBars()

    def stop(count: int) -> None:
        if count == 3:
            book.unlink()
            pages.close()

    progress = read_bars("book.pdf", target="out", formats=formats, stop=stop, pages=pages)
    assert texts("out") == {("book.pdf", i): "dead" if i <= 16 else "" for i in range(1, 41)}
    assert (progress.pages, progress.failed) == (40, 24)


@pytest.mark.parametrize("formats", [(), ("txt",)])
def test_a_long_document_that_gets_shorter_has_faults_for_pages_that_are_gone(formats: tuple[str, ...], here: Path):
    pages = FrailBars()
    write_document(here / "book.pdf", ["dead"] * 40)

    def stop(count: int) -> None:
        if count == 3:
            write_document(here / "book.pdf", ["dead"] * 20)
            pages.close()

    progress = read_bars("book.pdf", target="out", formats=formats, stop=stop, pages=pages)
    assert texts("out") == {("book.pdf", i): "dead" if i <= 20 else "" for i in range(1, 41)}
    assert rows("out")[39]["fault"]["message"] == "book.pdf, page 40: the document now ends at page 20"
    assert (progress.pages, progress.failed, progress.faults["internal"]) == (40, 20, 0)


def test_a_long_document_beside_a_page_that_failed_is_read_once(here: Path):
    list(write_bars(here / "scans", 1))
    good = (here / "scans" / "page-000.png").read_bytes()
    (here / "scans" / "page-000.png").write_bytes(b"no image")
    write_document(here / "scans" / "book.pdf", ["dead"] * 20)
    with pytest.raises(Driver):
        read_bars("scans", target="out", stop=ends_after(1))
    (here / "scans" / "page-000.png").write_bytes(good)
    pages = FrailBars()
    progress = read_bars("scans", target="out", retry_failed=True, pages=pages)
    assert len(texts("out")) == progress.pages == len(pages.read) == 21
    assert (progress.failed, progress.spread_left) == (0, 0)


def test_files_that_could_not_be_written_are_named_and_written_when_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    from quillread.formats.export import FileWriter

    add = FileWriter.add

    def fail(writer: FileWriter, scan: Scan) -> None:
        if "001" in scan.page.source:
            raise DataError("no such letter")
        add(writer, scan)

    list(write_bars(here / "scans", 2))
    monkeypatch.setattr(FileWriter, "add", fail)
    progress = read_bars("scans", target="out", formats=("txt",))
    assert (progress.failed, progress.unwritten) == (0, ["scans/page-001.png: no such letter"])
    monkeypatch.undo()
    monkeypatch.chdir(here)
    pages = FrailBars()
    progress = read_bars("scans", target="out", formats=("txt",), retry_failed=True, pages=pages)
    assert (progress.faults, progress.unwritten, pages.read) == ({}, [], [("scans/page-001.png", 0)])
    assert written(here / "out" / "files")["page-001.txt"] == f"{WORDS[1]}\n"


def test_a_target_of_other_settings_is_refused_with_what_differs(here: Path):
    list(write_bars(here / "scans", 1))
    read_bars("scans", target="out")
    with pytest.raises(UsageError, match=r"formats: \[\] before, \[\"txt\"\] now") as caught:
        read_bars("scans", target="out", formats=("txt",), options=ReadOptions(lines=True, variants=3))
    assert "reading.settings.variants: 1 before, 3 now" in str(caught.value)


def test_a_target_of_another_source_is_refused(here: Path):
    list(write_bars(here / "scans", 1))
    list(write_bars(here / "others", 1))
    read_bars("scans", target="out")
    with pytest.raises(UsageError, match="source"):
        read_bars("others", target="out")


def test_an_empty_source_is_an_error(here: Path):
    (here / "scans").mkdir()
    with pytest.raises(DataError, match="scans: holds no images or PDFs"):
        read_bars("scans", target="out")


def test_a_source_that_fails_after_others_were_found_is_told_when_those_are_read(here: Path):
    list(write_bars(here / "scans", 3))
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        read_bars("scans", "nowhere", target="out")
    assert len(texts("out")) == 3


def test_an_input_named_twice_is_read_once(here: Path):
    names = [str(path.relative_to(here)) for path in write_bars(here / "scans", 3)]
    (here / "list.txt").write_text("\n".join([*names, names[0], f"./{names[1]}"]), encoding="utf-8")
    progress = read_bars("list.txt", target="out")
    assert (len(texts("out")), progress.doubles) == (3, 2)


def test_dead_addresses_of_a_table_have_rows_with_their_faults(here: Path):
    with serve() as site:
        list(write_bars(here, 1))
        site.add("/there.png", Answer((here / "page-000.png").read_bytes()))
        addresses = ["page-000.png", "nowhere.png", f"{site.address}/gone.png", f"{site.address}/there.png"]
        (here / "list.csv").write_text("path\n" + "\n".join(addresses), encoding="utf-8")
        progress = read_bars("list.csv", target="out")
    found = {row["source"]: row for row in rows("out")}
    assert (progress.pages, progress.failed) == (len(found), 2) == (4, 2)
    assert "no such file" in found["nowhere.png"]["fault"]["message"]
    assert "404" in found[addresses[2]]["fault"]["message"]
    assert [found[address]["text"] for address in addresses] == [WORDS[0], "", "", WORDS[0]]


def test_columns_of_a_table_are_carried_through(here: Path):
    list(write_bars(here, 2))
    lines = [json.dumps({"path": f"page-{i:03}.png", "id": i, "place": ["Bern", i]}) for i in range(2)]
    (here / "list.jsonl").write_text("\n".join([*lines, json.dumps({"id": 7})]), encoding="utf-8")
    read_bars("list.jsonl", target="out")
    found = {row["given_id"]: row for row in rows("out")}
    assert found["1"]["place"] == '["Bern", 1]'
    assert found["1"]["source"] == "page-001.png"
    assert found["7"]["fault"]["message"] == "list.jsonl, row 3: names no address"
    assert found["7"]["place"] is None


@pytest.mark.parametrize("format_name", ["txt", "json", "page", "pdf"])
def test_files_are_those_of_quill_read(format_name: str, here: Path, monkeypatch: pytest.MonkeyPatch):
    from fakes import bar_recognizer

    list(write_bars(here / "scans" / "deep", 2))
    write_document(here / "scans" / "book.pdf", [WORDS[i % 7] if i != 17 else None for i in range(20)])
    write_document(here / "scans" / "short.pdf", ["dead", None])
    (here / "scans" / "bad.png").write_text("no image", encoding="utf-8")
    monkeypatch.setattr("quillread.recognize.load.load", bar_recognizer)
    read_bars("scans", target="out", formats=(format_name,))
    assert main(["read", "--lines", "scans", "-f", format_name, "-o", "ref"]) == 3
    if format_name == "pdf":
        assert names(here / "out" / "files") == names(here / "ref")
    else:
        ours, theirs = written(here / "out" / "files"), written(here / "ref")
        assert ours.keys() == theirs.keys()
        assert {name for name in ours if not same(ours[name], theirs[name])} == set()


def test_a_long_document_that_is_gone_before_its_files_are_written_keeps_its_rows(here: Path):
    book, pages = write_document(here / "book.pdf", ["dead"] * 20), FrailBars()

    def stop(count: int) -> None:
        if count == 4:
            book.unlink()
            pages.close()

    progress = read_bars("book.pdf", target="out", formats=("txt",), stop=stop, pages=pages)
    assert len(texts("out")) == 20
    assert (progress.failed, progress.faults) == (0, {"image": 1})


def names(folder: Path) -> set[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if not path.name.startswith(".")}


def same(ours: str, theirs: str) -> bool:
    """Whether two files are equal but for the time when they were made."""
    lines = zip(ours.splitlines(), theirs.splitlines(), strict=True)
    return all(a == b or "<Created>" in a or "<LastChange>" in a for a, b in lines)
