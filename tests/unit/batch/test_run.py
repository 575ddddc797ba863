import logging
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from fakes import bar_line, bar_recognizer, png
from PIL import Image

from quillread.batch.executors import Outcomes, PageJob, PageResult, PageWorker, ProcessExecutor, SerialExecutor
from quillread.batch.inputs import Input
from quillread.batch.outputs import Tee
from quillread.batch.run import InputResult, Run
from quillread.errors import Fault, OutputError, QuillreadError, WorkerDiedError
from quillread.options import ReadOptions
from quillread.reader import Reader
from quillread.types import DocumentInfo, Page, Scan
from quillread.worker import Outcome

LOST = object()
"""A page that its process is lost with."""
KILLED = "the worker process was killed"


class FakeExecutor:
    """Takes jobs ahead as processes do, and knows what is on each page.

    Args:
        documents: The pages of each, by its name: a text, a fault of the input, or `LOST`.
        ahead: Jobs that are taken beyond the oldest.
    """

    def __init__(self, documents: dict[str, list[object]], ahead: int = 0) -> None:
        self._documents = documents
        self._ahead = ahead
        self.done: list[tuple[str, int | None]] = []
        self.is_closed = False

    def run(self, jobs: Iterable[PageJob | None]) -> Outcomes:
        waiting: deque[PageJob] = deque()
        source = iter(jobs)
        try:
            while True:
                while len(waiting) <= self._ahead and (job := next(source, None)) is not None:
                    waiting.append(job)
                if not waiting:
                    return
                job = waiting.popleft()
                self.done.append((job.name, job.index))
                yield self.do(job)
        finally:
            self.is_closed = True

    def do(self, job: PageJob) -> Outcome[PageJob, PageResult]:
        pages = self._documents[job.name]
        if job.index is None:
            return Outcome(job, PageResult(len(pages)))
        content = pages[job.index]
        if content is LOST:
            return Outcome(job, error=WorkerDiedError(KILLED))
        if isinstance(content, Fault):
            return Outcome(job, PageResult(0, fault=content))
        page = job.known or Page(job.name, job.index + 1, 1, 1, fault=Fault("image", str(content)))
        records = [vars(logging.makeLogRecord({"name": "quillread.x", "levelno": 30, "msg": f"{job.name} {content}"}))]
        return Outcome(job, PageResult(len(pages), page), records=records)

    def close(self) -> None:
        pass


class Pages:
    """A writer that notes all that comes, one word for each."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def begin(self, info: DocumentInfo) -> None:
        self.source = info.source
        self.seen.append(f"{info.source} {info.page_count}")

    def add(self, scan: Scan) -> None:
        self.seen.append(f"{scan.page.number} {scan.page.fault.message if scan.page.fault else 'known'}")

    def close(self, fault: Fault | None) -> None:
        self.seen.append(fault.message if fault else "end")

    def abort(self) -> None:
        pass


class Known(Pages):
    """What an earlier run has read."""

    def __init__(self, pages: dict[int, Page], began: datetime | None = None) -> None:
        super().__init__()
        self.page = pages.get
        self.began = began


def inputs(*names: str) -> list[Input]:
    return [Input(name, Path(name)) for name in names]


def run(
    executor: object, *entries: Input, pages: str | None = None, writer: Pages | None = None
) -> tuple[list[InputResult], list[str]]:
    writer = writer or Pages()
    read = Run(ReadOptions(pages=pages), {}, executor)  # type: ignore[arg-type]
    return list(read(entries, lambda *_: Tee([writer]))), writer.seen


def words(name: str, count: int) -> list[str]:
    return [f"{name} {count}", *(f"{i + 1} p{i}" for i in range(count))]


MANY = {"a": 1, "book": 7, "b": 1, "c": 2, "d": 1, "long": 12, "e": 1}


@pytest.mark.parametrize("ahead", [0, 1, 4, 17, 100])
def test_inputs_and_pages_are_written_in_order_however_far_ahead_jobs_are_taken(ahead: int):
    # No text comes out: what a page says is in its fault.
    executor = FakeExecutor({name: [f"p{i}" for i in range(count)] for name, count in MANY.items()}, ahead)
    results, seen = run(executor, *inputs(*MANY))
    expected = []
    for name, count in MANY.items():
        end = "p0" if count == 1 else f"{name}: none of its {count} pages could be read"
        expected += [*(words(name, count) if count > 1 else [f"{name} 1"]), end]
    assert seen == expected
    assert [(r.entry.name, r.pages, r.last) for r in results] == [(n, c, c) for n, c in MANY.items()]
    assert len(executor.done) == len(set(executor.done)) == sum(MANY.values())


def test_pages_of_a_document_come_before_the_next_inputs():
    executor = FakeExecutor({"book": ["x"] * 6, "a": ["x"], "b": ["x"], "c": ["x"]}, ahead=1)
    run(executor, *inputs("book", "a", "b", "c"))
    first = [("book", 0), ("a", 0)]  # nobody knows yet how many pages there are
    assert executor.done == [*first, *(("book", i) for i in range(1, 6)), ("b", 0), ("c", 0)]


def test_inputs_are_not_taken_before_they_are_needed():
    taken = []

    def many() -> Iterator[Input]:
        for i in range(1000):
            taken.append(i)
            yield Input(f"{i}", Path(f"{i}"))

    executor = FakeExecutor({f"{i}": ["x"] for i in range(1000)}, ahead=4)
    results = Run(ReadOptions(), {}, executor)(many(), lambda *_: Tee([Pages()]))
    for number in range(1, 20):
        next(results)
        assert len(taken) <= number + 5
    results.close()


@pytest.mark.parametrize("sizes", [[60], [1] * 40, [2, 30, 1, 1, 1, 20, 5]])
def test_few_pages_are_held_at_a_time(sizes: list[int]):
    alive: set[int] = set()
    most = 0

    class Imaging(FakeExecutor):
        def do(self, job: PageJob) -> Outcome[PageJob, PageResult]:
            image = np.zeros((1, 1, 3), np.uint8)
            alive.add(id(image))
            weakref.finalize(image, alive.discard, id(image))
            return Outcome(job, PageResult(sizes[job.document], Page(job.name, 1, 1, 1), image))

    class Counting(Pages):
        def add(self, scan: Scan) -> None:
            nonlocal most
            most = max(most, len(alive))

    names = [f"{i}" for i in range(len(sizes))]
    run(Imaging({}, ahead=4), *inputs(*names), writer=Counting())
    assert 0 < most <= 6
    assert not alive


@pytest.mark.parametrize("ahead", [0, 4])
def test_only_the_pages_that_are_asked_for_are_read(ahead: int):
    executor = FakeExecutor({"book": [f"p{i}" for i in range(9)], "c": ["p0", "p1", "p2"]}, ahead)
    results, _ = run(executor, *inputs("book", "c"), pages="8-,2,4-5")
    assert sorted(executor.done) == [*(("book", i) for i in (1, 3, 4, 7, 8)), ("c", 1)]
    assert [(r.pages, r.last) for r in results] == [(9, 9), (3, 2)]


def test_pages_that_are_known_are_handed_to_whoever_reads():
    known = {2: Page("book", 2, 5, 5)}
    writer = Pages()
    executor = FakeExecutor({"book": ["p0", "p1", "p2"], "a": ["x"]})
    read = Run(ReadOptions(), {}, executor)
    list(
        read(inputs("book", "a"), lambda *_: Tee([writer]), lambda entry: Known(known if entry.name == "book" else {}))
    )
    assert writer.seen == ["book 3", "1 p0", "2 known", "3 p2", "end", "a 1", "x"]


def test_what_is_known_takes_what_is_read_now():
    known = Known({2: Page("book", 2, 5, 5)})
    made = iter([known])
    read = Run(ReadOptions(), {}, FakeExecutor({"book": ["p0", "p1"]}))
    list(read(inputs("book"), lambda _, journal: Tee([], journal), lambda _: next(made)))
    assert known.seen == ["book 2", "1 p0", "2 known", "end"]


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("places", [[0], [1], [2], [0, 1, 2], [0, 2]])
def test_an_input_that_is_a_fault_has_its_place_among_the_others(places: list[int], ahead: int):
    names = ["a", "b", "c"]
    bad = {names[place] for place in places}
    entries = [
        Input(n, Path(n), Fault("input", f"{n}: no such file")) if n in bad else Input(n, Path(n)) for n in names
    ]
    executor = FakeExecutor({name: ["x", "y"] for name in names}, ahead)
    results, seen = run(executor, *entries)
    assert [r.entry.name for r in results] == names
    assert [word for word in seen if word[0] in names] == [
        word
        for n in names
        for word in (
            [f"{n} 0", f"{n}: no such file"] if n in bad else [f"{n} 2", f"{n}: none of its 2 pages could be read"]
        )
    ]
    assert {name for name, _ in executor.done} == set(names) - bad


@pytest.mark.parametrize("ahead", [0, 4])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_page_that_is_lost_is_named_and_the_others_are_read(lost: int, ahead: int):
    pages: list[object] = ["p0", "p1", "p2"]
    pages[lost] = LOST
    (result, _), seen = run(FakeExecutor({"book": pages, "a": ["x"]}, ahead), *inputs("book", "a"))
    message = f"book, page {lost + 1}: {KILLED}"
    expected = [f"{i + 1} {message if i == lost else f'p{i}'}" for i in range(3)]
    assert seen[:4] == ["book 3", *expected]
    assert ("crash", message) in [(fault.kind, fault.message) for fault in result.faults]


def test_all_pages_may_be_lost():
    (result,), seen = run(FakeExecutor({"book": [LOST] * 3}, 4), *inputs("book"))
    assert len(seen) == 5
    assert result.faults[0] == Fault("crash", "book: none of its 3 pages could be read")
    assert result.pages == 3


@pytest.mark.parametrize("ahead", [0, 4])
def test_an_only_page_that_is_lost_is_a_fault_of_its_input(ahead: int):
    (first, _), seen = run(FakeExecutor({"a": [LOST], "b": ["x"]}, ahead), *inputs("a", "b"))
    assert seen == ["a 1", f"a: {KILLED}", "b 1", "x"]
    assert [(fault.kind, fault.message) for fault in first.faults] == [("crash", f"a: {KILLED}")]


def test_an_input_whose_pages_cannot_even_be_counted_is_lost_alone():
    class Crashing(FakeExecutor):
        def do(self, job: PageJob) -> Outcome[PageJob, PageResult]:
            return Outcome(job, error=WorkerDiedError(KILLED)) if job.name == "a" else super().do(job)

    executor = Crashing({"a": [], "b": ["x"]}, 2)
    _, seen = run(executor, *inputs("a", "b"))
    assert seen == ["a 0", f"a: {KILLED}", "b 1", "x"]
    assert [index for name, index in executor.done if name == "a"] == [0, None]


def test_a_page_that_is_lost_keeps_the_text_that_is_known():
    writer = Pages()
    read = Run(ReadOptions(), {}, FakeExecutor({"book": ["p0", LOST]}))
    (result,) = read(inputs("book"), lambda *_: Tee([writer]), lambda _: Known({2: Page("book", 2, 5, 5)}))
    assert writer.seen == ["book 2", "1 p0", "2 known", "end"]
    assert result.faults[-1] == Fault("crash", f"book, page 2: {KILLED}", "its text was read before and is kept")


@pytest.mark.parametrize("ahead", [0, 4])
def test_an_input_that_is_gone_in_the_middle_loses_the_pages_from_there(ahead: int):
    gone = Fault("image", "book: no such file", "check the path")
    (result,), seen = run(FakeExecutor({"book": ["p0", gone, gone]}, ahead), *inputs("book"))
    assert seen[:4] == ["book 3", "1 p0", "2 book, page 2: no such file", "3 book, page 3: no such file"]
    assert Fault("image", "book, page 2: no such file", "check the path") in result.faults


def test_what_a_page_logs_is_told_where_it_is_written(caplog: pytest.LogCaptureFixture):
    told = []

    class Telling(Pages):
        def begin(self, info: DocumentInfo) -> None:
            super().begin(info)
            told.append(info.source)

        def add(self, scan: Scan) -> None:
            told.extend(record.getMessage() for record in caplog.records)
            caplog.clear()

    run(FakeExecutor({"a": ["x", "y"], "b": ["x", "y"]}, 4), *inputs("a", "b"), writer=Telling())
    assert told == ["a", "a x", "a y", "b", "b x", "b y"]


def test_a_run_tells_how_many_pages_are_done_and_known_of():
    told: list[tuple[int, int]] = []
    executor = FakeExecutor({"a": ["x"], "book": ["x"] * 3})
    list(
        Run(ReadOptions(), {}, executor, on_page=lambda *n: told.append(n))(
            inputs("a", "book"), lambda *_: Tee([Pages()])
        )
    )
    assert told == [(1, 1), (2, 4), (3, 4), (4, 4)]


class Full(Pages):
    """Raises an error at the first page."""

    error: Exception = OutputError("the disk is full")

    def add(self, scan: Scan) -> None:
        raise self.error

    def abort(self) -> None:
        self.seen.append("abort")


@pytest.mark.parametrize("error", [OutputError("the disk is full"), KeyError(11), MemoryError()], ids=repr)
def test_what_cannot_be_written_is_a_fault_of_its_input_and_the_rest_is_read(error: Exception):
    full, other = Full(), Pages()
    full.error = error
    executor = FakeExecutor({"book": ["x"] * 3, "b": ["x"] * 2})
    first, second = Run(ReadOptions(), {}, executor)(inputs("book", "b"), lambda *_: Tee([full, other]))
    assert full.seen == ["book 3", "abort", "b 2", "abort"]
    assert [word for word in other.seen if word[0].isdigit()] == ["1 x", "2 x", "3 x", "1 x", "2 x"]
    assert [fault.message.split(":")[0] for fault in (first.faults[-1], second.faults[-1])] == ["book", "b"]
    assert len(executor.done) == 5


def test_a_stdout_that_takes_no_more_ends_the_run():
    writer = Full()
    writer.error = BrokenPipeError()
    executor = FakeExecutor({"book": ["x"] * 3})
    with pytest.raises(BrokenPipeError):
        run(executor, *inputs("book"), writer=writer)
    assert writer.seen == ["book 3", "abort"]
    assert len(executor.done) == 1


def test_what_is_taken_up_has_the_time_at_which_it_was_begun():
    told = []

    class Telling(Pages):
        def begin(self, info: DocumentInfo) -> None:
            told.append(info.began)

    now, before = datetime(2026, 1, 2, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
    read = Run(ReadOptions(), {}, FakeExecutor({"book": ["x"] * 3, "b": ["x"] * 2}), began=now)
    list(read(inputs("book", "b"), lambda *_: Tee([Telling()]), lambda e: Known({}, before if e.name == "b" else None)))
    assert told == [now, before]


def test_an_executor_that_ends_early_is_an_error_and_no_endless_wait():
    class Leaving(FakeExecutor):
        def run(self, jobs: Iterable[PageJob | None]) -> Outcomes:
            yield next(super().run(jobs))

    with pytest.raises(QuillreadError, match="ended before it had done all jobs"):
        run(Leaving({"book": ["x"] * 3}), *inputs("book"))


def test_no_inputs_have_no_results():
    assert run(FakeExecutor({})) == ([], [])


@pytest.fixture
def reader() -> Reader:
    return Reader(ReadOptions(lines=True), recognizer=bar_recognizer())


@pytest.fixture
def book(tmp_path: Path) -> Path:
    first, *others = (Image.fromarray(bar_line(text)) for text in ("abc", "de", "cab"))
    first.save(tmp_path / "book.tif", save_all=True, append_images=others)
    return tmp_path / "book.tif"


def job(path: Path, index: int | None, **changes: object) -> PageJob:
    return PageJob(0, path.name, path, index, **changes)  # type: ignore[arg-type]


def test_a_worker_reads_a_page(reader: Reader, book: Path):
    result = PageWorker(reader)(job(book, 1))
    assert (result.count, result.fault, result.image, result.jpeg) == (3, None, None, None)
    assert result.page is not None
    assert (result.page.source, result.page.number, result.page.text) == ("book.tif", 2, "de")


def test_a_worker_gives_the_image_where_it_is_asked_for(reader: Reader, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(bar_line("abc")))
    Image.fromarray(bar_line("abc")).save(tmp_path / "a.jpg")
    worker = PageWorker(reader)
    np.testing.assert_array_equal(worker(job(tmp_path / "a.png", 0, with_image=True)).image, bar_line("abc"))
    assert worker(job(tmp_path / "a.jpg", 0, with_image=True)).jpeg == (tmp_path / "a.jpg").read_bytes()


def test_a_worker_counts_pages(reader: Reader, book: Path):
    assert PageWorker(reader)(job(book, None)) == PageResult(3)


def test_a_worker_does_not_read_what_is_known(reader: Reader, book: Path):
    known = Page("x", 9, 5, 5)
    result = PageWorker(reader)(job(book, 1, known=known))
    assert result.page == Page("book.tif", 2, 5, 5)


def test_a_worker_opens_a_document_once_for_all_of_its_pages(reader: Reader, book: Path, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(bar_line("abc")))
    worker, opened = PageWorker(reader), []
    original = reader.open
    reader.open = lambda source, **names: opened.append(source) or original(source, **names)  # type: ignore
    for path, index in ((book, 0), (book, 1), (tmp_path / "a.png", 0), (book, 2)):
        worker(job(path, index))
    assert opened == [book, tmp_path / "a.png", book]


def test_a_worker_tells_apart_what_came_from_stdin(reader: Reader):
    worker = PageWorker(reader)
    jobs = [PageJob(i, "-", png(bar_line(text)), 0) for i, text in enumerate(("abc", "de"))]
    assert [worker(job).page.text for job in jobs] == ["abc", "de"]  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "kind"), [("none.tif", "image"), ("bad.tif", "image")])
def test_an_input_that_cannot_be_opened_is_a_fault(name: str, kind: str, reader: Reader, tmp_path: Path):
    (tmp_path / "bad.tif").write_text("no image", encoding="utf-8")
    result = PageWorker(reader)(job(tmp_path / name, 0))
    assert result.fault is not None
    assert (result.fault.kind, result.fault.message.partition(":")[0]) == (kind, name)


def test_an_input_without_the_pages_that_are_asked_for_is_a_fault(book: Path, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(bar_line("abc")))
    options = ReadOptions(lines=True, pages="2-")
    executor = SerialExecutor(Reader(options, recognizer=bar_recognizer()))
    entries = [Input(str(path), Path("x")) for path in (tmp_path / "a.png", book)]
    first, second = Run(options, {}, executor)(entries, lambda *_: Tee([Pages()]))
    assert "none of those asked for: 2-" in first.faults[0].message
    assert (second.pages, second.last, second.faults) == (3, 3, ())


@pytest.mark.parametrize(("threads", "expected"), [(0, 1), (3, 3)])
def test_processes_load_the_same_revision_and_have_one_thread_each_unless_told(
    threads: int, expected: int, monkeypatch: pytest.MonkeyPatch
):
    pools = []
    monkeypatch.setattr("quillread.batch.executors.pin", lambda name: f"{name}@1")
    monkeypatch.setattr(
        "quillread.processes.WorkerPool", lambda make, *rest, **named: pools.append((make, rest, named))
    )
    ProcessExecutor(ReadOptions(models=("my/model", "other/model"), threads=threads), 2)
    ((make, (_, processes), named),) = pools
    assert make.args == (ReadOptions(models=("my/model@1", "other/model@1"), threads=expected),)
    assert (processes, named) == (2, {"threads": expected})
