import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from serve_readers import TEXT, add_scans, begun, frail, picture, wait_for
from sqlalchemy import select

from quillread import types
from quillread.options import ReadOptions
from quillread.reader import Reader
from quillread.serve.access.actor import OWNER
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig, ServeLimits
from quillread.serve.database.base import now
from quillread.serve.database.schema import Event, Job, Line, LineVersion, Page, Task
from quillread.serve.jobs import queue, threads
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.reading import PageReaders, PageTask
from quillread.testing import FakeReader

RUNS = {"export": "serve_readers:run", "train": "serve_readers:wait"}


def read(archive: Archive, pages: list[Page], **facts: Any) -> int:
    with archive.database.write() as session:
        return queue.enqueue_reading(session, OWNER, pages, **facts).id


def job_of(archive: Archive, id: int) -> Job:
    with archive.database.read() as session:
        return session.get_one(Job, id)


def page_of(archive: Archive, page: Page) -> Page:
    with archive.database.read() as session:
        return session.get_one(Page, page.id)


def has_ended(archive: Archive, id: int) -> bool:
    return job_of(archive, id).finished is not None


def lines_of(archive: Archive, page: Page) -> list[Line]:
    with archive.database.read() as session:
        return list(session.scalars(select(Line).where(Line.page_id == page.id).order_by(Line.position)))


def at_once(archive: Archive) -> None:
    """Let tasks that are to be tried again later be tried now."""
    with archive.database.write() as session:
        for task in session.scalars(select(Task)):
            task.not_before = None


def test_pages_are_read_and_put_into_the_archive(archive: Archive, crew: Crew):
    pages = add_scans(archive, ["a.png", "b.png"])
    id = read(archive, pages)
    assert crew.work_off() == 2
    assert job_of(archive, id).state == "done"
    for page in pages:
        assert page_of(archive, page).state == "read"
        assert [line.text for line in lines_of(archive, page)] == TEXT.split("\n")
    with archive.database.read() as session:
        kinds = list(session.scalars(select(Event.kind).order_by(Event.id)))
    assert kinds.count("page.read") == kinds.count("page.reading") == 2
    assert kinds[-1] == "job.finished"


def test_a_damaged_page_fails_at_once_with_its_fault(archive: Archive, crew: Crew):
    pages = add_scans(archive, ["bad.png"], picture()[:60])
    id = read(archive, pages)
    assert crew.work_off() == 1
    assert job_of(archive, id).state == "failed"
    page = page_of(archive, pages[0])
    assert (page.state, page.fault["kind"]) == ("failed", "image")
    assert page.fault["message"].startswith("bad.png")


def test_a_page_without_its_original_fails_with_a_hint(archive: Archive, crew: Crew):
    pages = add_scans(archive, ["gone.png"])
    archive.storage.delete(pages[0].source)
    read(archive, pages)
    crew.work_off()
    assert "missing from the storage" in page_of(archive, pages[0]).fault["message"]


def test_an_internal_error_is_tried_again_then_parked(archive: Archive, crew: Crew):
    pages = add_scans(archive, ["bug.png"])
    with archive.database.write() as session:
        id = queue.enqueue(session, OWNER, "export", [{}], title="x", collection_id=None).id
    broken = Crew(archive, readers=frail, runs={"export": "serve_readers:fall"}, is_apart=False)
    for _ in range(3):
        assert job_of(archive, id).state in ("waiting", "running")
        assert broken.work_off() == 1
        at_once(archive)
    assert job_of(archive, id).fault["kind"] == "internal"
    assert pages


def test_pages_in_the_bin_are_not_read(archive: Archive, crew: Crew):
    pages = add_scans(archive, ["a.png"])
    id = read(archive, pages)
    with archive.database.write() as session:
        session.get_one(Page, pages[0].id).deleted = now()
    crew.work_off()
    assert job_of(archive, id).state == "done"
    assert page_of(archive, pages[0]).state == "new"


class TestLayouts:
    """Lines that are there are read along if a person had to do with them."""

    @pytest.fixture
    def page(self, archive: Archive, crew: Crew) -> Page:
        pages = add_scans(archive, ["a.png"])
        read(archive, pages)
        crew.work_off()
        return pages[0]

    def correct(self, archive: Archive, page: Page) -> Line:
        line = lines_of(archive, page)[0]
        with archive.database.write() as session:
            made = LineVersion(line_id=line.id, number=2, kind="person", text="Dear Sir")
            session.add(made)
            session.flush()
            row = session.get_one(Line, line.id)
            row.text, row.current_id, row.checked = "Dear Sir", made.id, True
        return line

    def test_a_corrected_line_keeps_its_text_and_place_and_gets_a_version_below(self, archive, crew, page):
        line = self.correct(archive, page)
        read(archive, [page], options={"correct": True})
        crew.work_off()
        after = lines_of(archive, page)[0]
        assert (after.id, after.text, after.checked) == (line.id, "Dear Sir", True)
        assert page_of(archive, page).provenance["layout"] == "kept"

    def test_lines_are_found_anew_when_asked(self, archive, crew, page):
        self.correct(archive, page)
        read(archive, [page], layout="find")
        crew.work_off()
        assert "layout" not in page_of(archive, page).provenance

    def test_lines_that_nobody_touched_are_found_anew(self, archive, crew, page):
        read(archive, [page])
        crew.work_off()
        assert "layout" not in page_of(archive, page).provenance

    def test_single_lines_are_read_and_others_left(self, archive, crew, page):
        first, second = lines_of(archive, page)
        with archive.database.write() as session:
            queue.enqueue_lines(session, OWNER, page, [second.id])
        crew.work_off()
        assert lines_of(archive, page)[0].revision == first.revision
        assert page_of(archive, page).state == "read"

    def test_lines_that_are_gone_are_nothing_to_read(self, archive, crew, page):
        with archive.database.write() as session:
            id = queue.enqueue_lines(session, OWNER, page, [99_999]).id
        crew.work_off()
        assert job_of(archive, id).state == "done"

    def test_coordinates_are_those_of_the_archive_whatever_size_the_image_has(self, archive, crew, page):
        with archive.database.write() as session:
            row = session.get_one(Page, page.id)
            row.width, row.height = 120, 160
        read(archive, [page], layout="find")
        crew.work_off()
        assert max(x for line in lines_of(archive, page) for x, _ in line.polygon) == 120
        assert max(y for line in lines_of(archive, page) for _, y in line.polygon) == 160


def test_lines_known_in_another_size_are_read_where_they_are_on_the_image():
    from quillread.serve.jobs.reading import _scaled

    outline = types.Polygon(((0.0, 0.0), (10.0, 0.0), (10.0, 10.0)))
    region = types.Region(outline, (types.Line(((0.0, 8.0), (10.0, 8.0)), outline),))
    (scaled,) = _scaled((region,), (10, 10), (30, 20))
    assert scaled.lines[0].baseline == ((0.0, 16.0), (30.0, 16.0))
    assert _scaled((region,), (10, 10), (10, 10)) == (region,)


def test_other_jobs_have_progress_and_a_result(archive: Archive):
    with archive.database.write() as session:
        id = queue.enqueue(session, OWNER, "export", [{"name": "x.zip"}], title="x").id
    Crew(archive, readers=frail, runs=RUNS, is_apart=False).work_off()
    job = job_of(archive, id)
    assert (job.state, job.result) == ("done", {"name": "x.zip"})
    with archive.database.read() as session:
        data = session.scalars(select(Event.data).where(Event.kind == "job.progress")).one()
    assert data["progress"] == {"step": 1}


class TestAtWork:
    """With threads and worker processes."""

    @pytest.fixture
    def config(self, config: ServeConfig) -> ServeConfig:
        return ServeConfig(config.data, database=config.database, workers=2, limits=ServeLimits(attempts=2))

    def test_a_page_that_crashes_its_process_is_parked_and_the_others_are_read(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("quillread.serve.jobs.claims._DELAYS", (timedelta(0),))
        pages = add_scans(archive, ["crash.png", "a.png", "b.png"])
        id = read(archive, pages)
        with Crew(archive, readers=frail) as crew:
            wait_for(lambda: has_ended(archive, id))
            assert crew.is_at_work
        assert [page_of(archive, page).state for page in pages] == ["failed", "read", "read"]
        assert "killed" in page_of(archive, pages[0]).fault["message"]
        assert crew.metrics.registry.get_sample_value("quillread_worker_starts_total") >= 2

    def test_a_process_that_crashes_at_its_first_page_counts_as_one_that_was_started(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("quillread.serve.jobs.claims._DELAYS", (timedelta(0),))
        read(archive, add_scans(archive, ["crash.png"]))
        crew = Crew(archive, readers=frail)
        assert crew.work_off() == 2
        assert crew.metrics.registry.get_sample_value("quillread_worker_starts_total") == 2

    def test_a_page_that_crashes_once_is_read_in_the_end(
        self, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("TMPDIR_OF_TEST", str(tmp_path))
        monkeypatch.setattr("quillread.serve.jobs.claims._DELAYS", (timedelta(0),))
        pages = add_scans(archive, ["crash-once-at-a.png"])
        id = read(archive, pages)
        with Crew(archive, readers=frail):
            wait_for(lambda: has_ended(archive, id))
        assert page_of(archive, pages[0]).state == "read"

    def test_a_server_that_stops_gives_its_tasks_back(self, archive: Archive):
        pages = add_scans(archive, ["slow.png"])
        read(archive, pages)
        crew = Crew(archive, readers=frail)
        crew.start()
        wait_for(lambda: page_of(archive, pages[0]).state == "reading")
        crew.stop(0.2)
        assert not crew.is_at_work
        assert page_of(archive, pages[0]).state == "waiting"
        with archive.database.read() as session:
            assert session.scalars(select(Task.failures)).one() == 0

    def test_a_long_task_hears_that_its_job_was_cancelled(self, archive: Archive):
        begun.clear()
        with archive.database.write() as session:
            id = queue.enqueue(session, OWNER, "train", [{}], title="x").id
        with Crew(archive, readers=frail, runs=RUNS) as crew:
            assert begun.wait(60)
            with archive.database.write() as session:
                queue.cancel(session, session.get_one(Job, id))
            wait_for(lambda: not crew._state.in_hand())
        assert job_of(archive, id).state == "cancelled"

    def test_two_crews_share_a_queue_and_read_each_page_once(self, archive: Archive):
        pages = add_scans(archive, [f"{i}.png" for i in range(30)])
        crews = [Crew(archive, readers=frail, is_apart=False) for _ in range(2)]
        for crew in crews:
            crew.start()
        id = read(archive, pages)
        wait_for(lambda: has_ended(archive, id))
        for crew in crews:
            crew.stop()
        with archive.database.read() as session:
            assert set(session.scalars(select(Task.attempts))) == {1}
            assert len(list(session.scalars(select(LineVersion.id)))) == 60


def test_kinds_of_jobs_have_what_does_them():
    for place in threads.RUNS.values():
        assert place.startswith("quillread.serve.jobs.")


def test_a_clock_that_jumps_to_and_fro_loses_and_doubles_nothing(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    if not archive.database.is_sqlite:
        pytest.skip("the clock of PostgreSQL is its own")
    jumps = itertools.cycle([timedelta(days=-400), timedelta(0), timedelta(days=400)])
    monkeypatch.setattr(queue, "now", lambda: now() + next(jumps))
    pages = add_scans(archive, ["a.png", "b.png", "c.png", "d.png"])
    id = read(archive, pages)
    with Crew(archive, readers=frail, is_apart=False) as crew:
        for _ in range(10):
            crew._recover()
        wait_for(lambda: has_ended(archive, id))
    with archive.database.read() as session:
        assert set(session.scalars(select(Task.attempts))) == {1}
    assert [page_of(archive, page).state for page in pages] == ["read"] * 4


def test_watchers_are_told_of_the_progress_of_a_job_only_now_and_then(
    archive: Archive, crew: Crew, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("quillread.serve.jobs.work_state._TOLD_SECONDS", float("inf"))
    read(archive, add_scans(archive, ["a.png", "b.png", "c.png", "d.png"]))
    crew.work_off()
    with archive.database.read() as session:
        kinds = list(session.scalars(select(Event.kind).where(Event.kind.like("job.%")).order_by(Event.id)))
    assert kinds in (["job.created", "job.finished"], ["job.created", "job.progress", "job.finished"])


def test_readers_of_the_last_options_stay(tmp_path: Path):
    made: list[ReadOptions] = []

    def make(options: ReadOptions) -> FakeReader:
        made.append(options)
        return FakeReader(["x"], options)

    readers, options = PageReaders(make), [ReadOptions(variants=n) for n in (1, 2, 3)]
    first = readers.reader(options[0])
    assert readers.reader(options[1]) is not first
    assert readers.reader(options[0]) is first
    readers.reader(options[2])
    readers.reader(options[0])
    readers.reader(options[1])
    assert made == [*options, options[1]]


def test_a_model_of_the_archive_has_its_name_in_the_provenance(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture())
    task = PageTask(tmp_path / "a.png", "a.png", 0, (60, 80), ReadOptions(), names={"fake": "archive:anna"})
    assert PageReaders(frail).read(task).provenance["model"] == "archive:anna"


class TestRecycled:
    """Worker processes are replaced after some pages, against libraries that leak."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> ServeConfig:
        return ServeConfig(tmp_path / "data", workers=1, limits=ServeLimits(recycle_pages=1))

    def test_a_worker_process_is_replaced_after_some_pages(self, archive: Archive):
        id = read(archive, add_scans(archive, ["a.png", "b.png"]))
        with Crew(archive, readers=frail) as crew:
            wait_for(lambda: has_ended(archive, id))
        assert crew.metrics.registry.get_sample_value("quillread_worker_starts_total") == 2


@pytest.mark.slow
def test_jobs_read_the_text_that_the_command_reads(tmp_path: Path):
    content = Path("examples/letter.jpg").read_bytes()
    with Archive(ServeConfig(tmp_path / "data", workers=1)) as archive:
        (page,) = add_scans(archive, ["letter.jpg"], content)
        with archive.database.write() as session:
            row = session.get_one(Page, page.id)
            row.width = row.height = 0
        id = read(archive, [page])
        with Crew(archive, runs={}):
            wait_for(lambda: has_ended(archive, id))
        lines, row = lines_of(archive, page), page_of(archive, page)
    with Reader() as reader:
        known = reader.read(content).pages[0]
    assert [line.text for line in lines] == [line.transcript.text for line in known.lines]
    assert (row.width, row.height) == (known.width, known.height)
    assert row.provenance["model"] == "builtin"
