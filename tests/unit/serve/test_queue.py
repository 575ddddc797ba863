import threading
from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from quillread.errors import Fault
from quillread.serve.access.actor import OWNER
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig, ServeLimits
from quillread.serve.database.schema import Collection, Document, Event, Job, Page, Task
from quillread.serve.faults import BusyError, ConflictError
from quillread.serve.jobs import claims, queue

FAULT = Fault("crash", "it fell over")


def add_pages(archive: Archive, count: int = 3) -> list[Page]:
    with archive.database.write() as session:
        document = Document(name="Letters", collection=Collection(name="Anna"))
        document.pages = [Page(position=i, width=100, height=100) for i in range(count)]
        session.add(document)
        session.flush()
        return list(document.pages)


def add_job(archive: Archive, count: int = 3, priority: int = queue.BATCH) -> int:
    pages = add_pages(archive, count)
    with archive.database.write() as session:
        return queue.enqueue_reading(session, OWNER, pages, priority=priority).id


def take(archive: Archive, server: str = "one") -> claims.Claim | None:
    with archive.database.write() as session:
        return claims.claim(session, "read", server)


def taken(archive: Archive, server: str = "one") -> claims.Claim:
    claim = take(archive, server)
    assert claim is not None
    return claim


def job_of(archive: Archive, id: int) -> Job:
    with archive.database.read() as session:
        return session.get_one(Job, id)


def states(archive: Archive) -> list[str]:
    with archive.database.read() as session:
        return list(session.scalars(select(Page.state).order_by(Page.id)))


def test_tasks_are_claimed_by_priority_then_in_order(archive: Archive):
    batch = add_job(archive, 2)
    changed = add_job(archive, 1, queue.CHANGED)
    with archive.database.write() as session:
        last = session.scalars(select(Task).where(Task.job_id == batch).order_by(Task.id.desc())).first()
        queue.raise_priority(session, [last.page_id])
    claimed = [take(archive) for _ in range(4)]
    assert [claim and claim.job_id for claim in claimed] == [batch, changed, batch, None]
    assert claimed[0].id == last.id


def test_no_task_is_claimed_twice_by_servers_that_ask_at_once(archive: Archive):
    add_job(archive, 40)
    claimed: list[int] = []

    def work(server: str) -> None:
        misses = 0
        while misses < 5:  # one that another is just taking is skipped
            claim = take(archive, server)
            misses = 0 if claim else misses + 1
            claimed.extend([claim.id] if claim else [])

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three", "four")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 40


def test_a_job_counts_its_tasks_and_ends_with_the_last(archive: Archive):
    id = add_job(archive, 2)
    assert job_of(archive, id).state == "waiting"
    for _ in range(2):
        claim = taken(archive)
        assert job_of(archive, id).state == "running"
        with archive.database.write() as session:
            assert claims.finish(session, claim)
    job = job_of(archive, id)
    assert (job.state, job.done, job.failed, job.total) == ("done", 2, 0, 2)
    assert job.finished is not None
    with archive.database.read() as session:
        kinds = list(session.scalars(select(Event.kind).order_by(Event.id)))
    assert kinds == ["job.created", "page.reading", "job.progress", "page.reading", "job.finished"]


def test_a_job_without_tasks_is_done_at_once(archive: Archive):
    with archive.database.write() as session:
        assert queue.enqueue(session, OWNER, "export", [], title="nothing").state == "done"


def test_a_task_that_fails_waits_a_while_and_is_parked_in_the_end(archive: Archive):
    id = add_job(archive, 1)
    for became in ("waiting", "waiting", "parked"):
        claim = taken(archive)
        with archive.database.write() as session:
            assert claims.fail(session, claim, FAULT, may_retry=True) == became
        assert take(archive) is None
        with archive.database.write() as session:
            session.scalars(select(Task)).one().not_before = None
    job = job_of(archive, id)
    assert (job.state, job.failed, job.fault["message"]) == ("failed", 1, "it fell over")
    assert states(archive) == ["failed"]


def test_a_fault_that_does_not_change_parks_at_once(archive: Archive):
    add_job(archive, 1)
    claim = taken(archive)
    with archive.database.write() as session:
        assert claims.fail(session, claim, FAULT, may_retry=False) == "parked"


def test_parked_tasks_are_tried_again_when_asked(archive: Archive):
    id = add_job(archive, 1)
    with archive.database.write() as session:
        claim = claims.claim(session, "read", "one")
        claims.fail(session, claim, FAULT, may_retry=False)
    with archive.database.write() as session:
        queue.retry(session, session.get_one(Job, id))
    assert states(archive) == ["waiting"]
    claim = taken(archive)
    assert claim.attempt == 2
    with archive.database.write() as session:
        claims.finish(session, claim)
    job = job_of(archive, id)
    assert (job.state, job.done, job.failed, job.fault) == ("done", 1, 0, None)
    with archive.database.write() as session, pytest.raises(ConflictError, match="no task to try again"):
        queue.retry(session, session.get_one(Job, id))


def test_a_cancelled_job_ends_at_once_and_drops_late_results(archive: Archive):
    id = add_job(archive, 3)
    claim = taken(archive)
    with archive.database.write() as session:
        queue.cancel(session, session.get_one(Job, id))
    assert job_of(archive, id).state == "cancelled"
    assert states(archive) == ["new"] * 3
    with archive.database.write() as session:
        assert not claims.finish(session, claim)
        assert claims.held_by(session, "one") == set()
        assert claims.claim(session, "read", "one") is None
    with archive.database.write() as session, pytest.raises(ConflictError, match="has ended"):
        queue.cancel(session, session.get_one(Job, id))


def test_a_page_that_another_job_reads_too_still_waits_after_a_cancel(archive: Archive):
    pages = add_pages(archive, 1)
    with archive.database.write() as session:
        first = queue.enqueue_reading(session, OWNER, pages)
        queue.enqueue_reading(session, OWNER, pages)
        queue.cancel(session, first)
    assert states(archive) == ["waiting"]


def test_tasks_of_a_dead_server_wait_again_and_its_late_results_are_dropped(archive: Archive):
    add_job(archive, 1)
    late = taken(archive, "dead")
    with archive.database.write() as session:
        assert claims.recover(session, "alive", []) == 0
        assert claims.recover(session, "alive", [], is_alone=True) == 1
    claim = taken(archive, "alive")
    with archive.database.write() as session:
        assert not claims.finish(session, late)
        assert not claims.fail(session, late, FAULT, may_retry=True)
        assert claims.finish(session, claim)


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1)], ids=["ran out", "clock put back"])
def test_a_lease_that_ran_out_frees_the_task(archive: Archive, jump: timedelta):
    add_job(archive, 1)
    taken(archive, "dead")
    with archive.database.write() as session:
        session.scalars(select(Task)).one().lease += jump
    with archive.database.write() as session:
        assert claims.recover(session, "alive", []) == 1
    assert states(archive) == ["waiting"]


def test_a_server_keeps_the_tasks_in_its_hands_whatever_the_clock_says(archive: Archive):
    add_job(archive, 1)
    claim = taken(archive)
    with archive.database.write() as session:
        session.scalars(select(Task)).one().lease -= timedelta(hours=1)
    with archive.database.write() as session:
        claims.renew(session, "one", [claim.id])
        assert claims.recover(session, "one", [claim.id], is_alone=True) == 0


def test_a_delay_from_before_the_clock_was_put_back_does_not_hold_a_task(archive: Archive):
    add_job(archive, 1)
    with archive.database.write() as session:
        session.scalars(select(Task)).one().not_before = queue.read_clock(session) + timedelta(days=1)
    assert take(archive) is not None


def test_a_task_that_always_ends_its_server_is_parked(archive: Archive):
    id = add_job(archive, 1)
    for _ in range(30):
        assert take(archive, "dead")
        with archive.database.write() as session:
            claims.recover(session, "alive", [], is_alone=True)
    assert take(archive) is None
    assert "30 times" in job_of(archive, id).fault["message"]


def test_a_task_given_back_is_not_counted_as_failed(archive: Archive):
    add_job(archive, 1)
    for _ in range(5):
        claim = taken(archive)
        with archive.database.write() as session:
            assert claims.release(session, claim)
    assert states(archive) == ["waiting"]


def test_lines_of_a_page_that_wait_are_read_together(archive: Archive):
    (page,) = add_pages(archive, 1)
    with archive.database.write() as session:
        first = queue.enqueue_lines(session, OWNER, page, [1, 2])
        assert queue.enqueue_lines(session, OWNER, page, [2, 3]) is first
    claim = taken(archive)
    assert claim.payload == {"line_ids": [1, 2, 3]}
    with archive.database.write() as session:
        assert queue.enqueue_lines(session, OWNER, page, [4]).id != first.id
    assert states(archive) == ["new"]


def test_a_job_whose_pages_were_deleted_for_good_ends(archive: Archive):
    id = add_job(archive, 3)
    claim = taken(archive)
    with archive.database.write() as session:
        claims.finish(session, claim)
    other = add_job(archive, 1)
    with archive.database.write() as session:
        left = select(Task.page_id).where(Task.job_id == id, Task.state == "waiting")
        session.execute(delete(Page).where(Page.id.in_(left)))
    with archive.database.write() as session:
        claims.end_stranded(session)
    job = job_of(archive, id)
    assert (job.state, job.done, job.total) == ("done", 1, 1)
    assert job_of(archive, other).state == "waiting"


class TestFull:
    @pytest.fixture
    def config(self, config: ServeConfig) -> ServeConfig:
        return ServeConfig(config.data, database=config.database, limits=ServeLimits(queued_jobs=2))

    def test_more_jobs_than_may_wait_are_refused(self, archive: Archive):
        pages = add_pages(archive, 1)
        with archive.database.write() as session:
            queue.enqueue_reading(session, OWNER, pages)
            queue.enqueue_reading(session, OWNER, pages)
            with pytest.raises(BusyError) as caught:
                queue.enqueue_reading(session, OWNER, pages)
        assert caught.value.retry_after > 0
