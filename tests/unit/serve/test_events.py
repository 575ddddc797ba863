import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from serve_readers import wait_for
from sqlalchemy import text

from quillread.serve.access.actor import OWNER, Actor
from quillread.serve.access.tokens import make_token
from quillread.serve.app import make_app
from quillread.serve.archive.events import tell
from quillread.serve.archive.home import Archive
from quillread.serve.database.schema import Collection, Event, Membership, User
from quillread.serve.jobs import events, queue
from quillread.serve.jobs.events import Feed, Told, Watcher, prune_events


def add(archive: Archive, *kinds: str, collection_id: int | None = None) -> None:
    with archive.database.write() as session:
        for kind in kinds:
            tell(session, kind, collection_id)
            session.flush()


def heard(watcher: Watcher) -> list[Told]:
    return [watcher._queue.get_nowait() for _ in range(watcher._queue.qsize())]


def watching(test: Callable[[], Any]) -> None:
    """Run a test in an event loop, as watchers belong to one."""
    asyncio.run(test())


def test_events_are_handed_to_those_who_watch(archive: Archive):
    async def test() -> None:
        add(archive, "old")
        feed, watcher = Feed(archive.database), Watcher(OWNER, None)
        assert [told.kind for told in feed.watch(watcher)] == ["ready"]
        add(archive, "a", "b")
        feed.poll()
        add(archive, "c")
        feed.poll()
        feed.poll()
        await asyncio.sleep(0)
        assert [told.kind for told in heard(watcher)] == ["a", "b", "c"]

    watching(test)


def test_who_comes_back_hears_what_was_missed(archive: Archive):
    async def test() -> None:
        feed, first, second = Feed(archive.database), Watcher(OWNER, None), Watcher(OWNER, None)
        (ready,) = feed.watch(first)
        feed.leave(first)
        add(archive, "a", "b")
        told = feed.watch(second, ready.id)
        assert [event.kind for event in told] == ["ready", "a", "b"]
        add(archive, "c")
        feed.poll()
        await asyncio.sleep(0)
        assert [event.kind for event in heard(second)] == ["c"]

    watching(test)


@pytest.mark.parametrize("after", [1, 10_000])
def test_who_comes_back_too_late_or_from_another_archive_is_told_to_load_all(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, after: int
):
    monkeypatch.setattr(events, "_KEPT", 2)
    add(archive, *"abcdefgh")
    prune_events(archive.database)

    async def test() -> None:
        (told,) = Feed(archive.database).watch(Watcher(OWNER, None), after)
        assert told.kind == "reset"

    watching(test)


def test_only_the_latest_events_are_kept(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "_KEPT", 3)
    monkeypatch.setattr(events, "_AT_ONCE", 2)
    add(archive, *"abcdefgh")
    prune_events(archive.database)
    with archive.database.read() as session:
        assert [event.kind for event in session.query(Event).order_by(Event.id)] == ["f", "g", "h"]


def test_watchers_hear_only_of_collections_that_they_may_see(archive: Archive):
    with archive.database.write() as session:
        user = User(name="eva", password_hash="", role="none")
        collections = [Collection(name=name) for name in "ab"]
        session.add_all([user, *collections])
        session.flush()
        session.add(Membership(user_id=user.id, collection_id=collections[0].id, role="reader"))
        eva, (mine, other) = Actor("eva", "none", user.id), [collection.id for collection in collections]

    async def test() -> None:
        feed, of_eva, of_one = Feed(archive.database), Watcher(eva, None), Watcher(OWNER, other)
        for watcher in (of_eva, of_one):
            feed.watch(watcher)
        add(archive, "all")
        add(archive, "mine", collection_id=mine)
        add(archive, "other", collection_id=other)
        feed.poll()
        await asyncio.sleep(0)
        assert [told.kind for told in heard(of_eva)] == ["all", "mine"]
        assert [told.kind for told in heard(of_one)] == ["all", "other"]

    watching(test)


def test_a_link_hears_of_the_jobs_that_it_began_and_of_no_others(archive: Archive):
    with archive.database.write() as session:
        collection = Collection(name="a")
        session.add(collection)
        session.flush()
        token, _ = make_token(session, OWNER, "readers", "reader", collection.id, 1, is_link=True)
        link = Actor("link", "reader", limit="reader", collection_id=collection.id, token_id=token.id, is_link=True)

    async def test() -> None:
        feed, watcher = Feed(archive.database), Watcher(link, None)
        (ready,) = feed.watch(watcher)
        with archive.database.write() as session:
            queue.enqueue(session, OWNER, "read", [{}], title="", collection_id=collection.id)
            own = queue.enqueue(session, link, "export", [{}], title="", collection_id=collection.id).id
            tell(session, "page.read", collection.id, page=1)
        feed.poll()
        await asyncio.sleep(0)
        told = [(event.kind, event.data.get("job")) for event in heard(watcher)]
        assert told == [("job.created", own), ("page.read", None)]
        feed.leave(watcher)
        assert [event.data.get("job") for event in feed.watch(watcher, ready.id)] == [None, own, None]

    watching(test)


def test_an_event_that_commits_after_a_later_one_is_told_and_nobody_resumes_behind_it(archive: Archive):
    if archive.database.is_sqlite:
        pytest.skip("SQLite has one writer: events commit in the order of their ids")

    async def test() -> None:
        feed, watcher = Feed(archive.database), Watcher(OWNER, None)
        (ready,) = feed.watch(watcher)
        with archive.database.write() as slow:
            tell(slow, "early id", None)
            slow.flush()
            add(archive, "late id")
            feed.poll()
        feed.poll()
        await asyncio.sleep(0)
        told = heard(watcher)
        assert [event.kind for event in told] == ["late id", "early id"]
        assert told[0].id == ready.id
        assert told[1].id == ready.id + 2

    watching(test)


def test_an_id_of_a_change_that_was_undone_is_not_waited_for_for_ever(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
):
    async def test() -> None:
        feed, watcher = Feed(archive.database), Watcher(OWNER, None)
        (ready,) = feed.watch(watcher)
        with pytest.raises(ZeroDivisionError), archive.database.write() as session:
            tell(session, "undone", None)
            session.flush()
            raise ZeroDivisionError
        add(archive, "a")
        feed.poll()
        monkeypatch.setattr(events, "_MISSING_SECONDS", -1.0)
        add(archive, "b")
        feed.poll()
        await asyncio.sleep(0)
        assert heard(watcher)[-1].id >= ready.id + 2

    watching(test)


def test_a_watcher_that_takes_nothing_is_dropped(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "_QUEUED", 3)

    async def test() -> None:
        feed, watcher = Feed(archive.database), Watcher(OWNER, None)
        feed.watch(watcher)
        add(archive, *"abcdef")
        feed.poll()
        await asyncio.sleep(0)
        assert watcher.is_dropped
        add(archive, "g")
        feed.poll()
        assert len(feed) == 0

    watching(test)


def test_a_watcher_leaves_even_while_the_database_is_waited_for(archive: Archive):
    async def test() -> None:
        feed, watcher = Feed(archive.database), Watcher(OWNER, None)
        feed.watch(watcher)
        with feed._lock:  # as a poll holds it that waits
            await asyncio.wait_for(asyncio.to_thread(feed.leave, watcher), 5)
        assert len(feed) == 0

    watching(test)


@pytest.fixture
def address(archive: Archive) -> Iterator[str]:
    """The address of a server in a thread, as streams need a real one."""
    listening = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(make_app(archive), log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield f"http://{host}/api/v1/events"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def take(lines: Iterator[str]) -> tuple[str, str, Any]:
    """The next event of a stream: id, kind, data."""
    facts: dict[str, str] = {}
    for line in lines:
        if not line and "event" in facts:
            return facts["id"], facts["event"], json.loads(facts["data"])
        name, _, value = line.partition(": ")
        facts[name] = value
    raise AssertionError("the stream has ended")


def test_a_stream_tells_what_happens_and_resumes(archive: Archive, address: str):
    with httpx.stream("GET", address, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        id, kind, _ = take(lines)
        assert kind == "ready"
        add(archive, "a")
        assert take(lines)[1] == "a"
    add(archive, "b")
    with httpx.stream("GET", address, timeout=30, headers={"Last-Event-ID": id}) as answer:
        lines = answer.iter_lines()
        assert [take(lines)[1] for _ in range(3)] == ["ready", "a", "b"]


@pytest.mark.parametrize("id", ["", "x", "-1", "9" * 40, "1.5", "²"])
def test_a_last_id_that_is_none_begins_anew(archive: Archive, address: str, id: str):
    with httpx.stream("GET", address, timeout=30, headers={"Last-Event-ID": id.encode()}) as answer:
        assert take(answer.iter_lines())[1] == "ready"


def test_a_browser_that_never_reads_its_events_is_dropped(
    archive: Archive, address: str, monkeypatch: pytest.MonkeyPatch, client: TestClient
):
    monkeypatch.setattr("quillread.serve.api.events._SEND_SECONDS", 0.2)
    monkeypatch.setattr(events, "_QUEUED", 5)
    host, port = address.split("/")[2].split(":")
    with socket.socket() as browser:
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        browser.connect((host, int(port)))
        browser.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        browser.recv(1000)

        def is_dropped() -> bool:
            with archive.database.write() as session:
                session.execute(text("SELECT 1"))
                for _ in range(20):
                    tell(session, "much", None, padding="x" * 20_000)
            return "quillread_watchers 0" in httpx.get(address.replace("/api/v1/events", "/metrics")).text

        wait_for(is_dropped)


@pytest.mark.parametrize("how", ["link withdrawn", "token deleted", "logged out", "disabled"])
def test_a_stream_ends_as_soon_as_whoever_watches_may_no_longer(
    archive: Archive, address: str, log_in: Callable[[str], TestClient], users: dict[str, int], how: str
):
    admin, reader = log_in("admin"), log_in("reader")
    collection = admin.post("/api/v1/collections", json={"name": "Letters"}).json()["id"]
    links = f"/api/v1/collections/{collection}/links"
    link = admin.post(links, json={"name": "Readers"}).json()
    token = reader.post("/api/v1/tokens", json={"name": "script", "role": "reader"}).json()
    login = {"Cookie": f"quill={reader.cookies['quill']}"}
    headers = {
        "link withdrawn": {"Cookie": f"quill-link={link['token']}"},
        "token deleted": {"Authorization": f"Bearer {token['token']}"},
    }.get(how, login)
    with httpx.stream("GET", address, timeout=30, headers=headers) as answer:
        lines = answer.iter_lines()
        assert take(lines)[1] == "ready"
        if how == "link withdrawn":
            ended = admin.delete(f"{links}/{link['id']}")
        elif how == "token deleted":
            ended = reader.delete(f"/api/v1/tokens/{token['id']}")
        elif how == "logged out":
            ended = reader.post("/api/v1/logout")
        else:
            ended = admin.patch(f"/api/v1/users/{users['reader']}", json={"disabled": True})
        assert ended.is_success
        assert len(list(islice(lines, 10))) < 10, "it goes on: a sign of life comes every 15 seconds"
    assert httpx.get(address, headers=headers).status_code == 401


def test_who_may_see_a_collection_no_longer_hears_nothing_of_it(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "_CHECK_SECONDS", 0.0)
    with archive.database.write() as session:
        collection = Collection(name="a")
        session.add(collection)
        session.flush()
        id = collection.id
    actors = iter([Actor("eva", "reader", None), Actor("eva", "none", None)])

    async def test() -> None:
        feed, watcher = Feed(archive.database), Watcher(OWNER, None, lambda session, before: next(actors))
        feed.watch(watcher)
        for kind in ("a", "b"):
            add(archive, kind, collection_id=id)
            feed.poll()
        await asyncio.sleep(0)
        assert [told.kind for told in heard(watcher)] == ["a"]

    watching(test)


def test_events_of_a_collection_that_does_not_exist_are_not_found(client: TestClient):
    assert client.get("/api/v1/events", params={"collection_id": 99}).status_code == 404
