"""A server that is killed at any moment loses nothing that it has acknowledged.

QUILLREAD_KILLS is the number of times that it is killed with each database; a few if not given.
"""

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgres import postgres_server
from serve_process import ServerProcess
from serve_readers import PATIENCE, picture

KILLS = int(os.environ.get("QUILLREAD_KILLS", "3"))


class Editor:
    """Corrects one line again and again, and remembers what the server has said of it."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.saved: str | None = None
        """The last text that the server has acknowledged."""
        self.sent: set[str] = set()
        """Texts sent since, of which nobody knows what became."""
        self.count = 0
        self._number = 0

    def act(self, client: httpx.Client) -> None:
        """Correct the line once."""
        revision = client.get(f"lines/{self.line}").raise_for_status().json()["revision"]
        self._number += 1
        text = f"correction {self._number} of line {self.line}"
        self.sent.add(text)
        answer = client.put(f"lines/{self.line}/text", json={"text": text}, headers={"If-Match": f'"{revision}"'})
        if answer.status_code == 200:
            self.saved, self.sent, self.count = text, set(), self.count + 1
        else:
            assert answer.status_code == 409, answer.text  # a reading came between
            self.sent.discard(text)

    def check(self, client: httpx.Client) -> None:
        """Look that the line has the text that was acknowledged last, or one that was sent after it."""
        now = client.get(f"lines/{self.line}").raise_for_status().json()["text"]
        assert self.saved is None or now in {self.saved, *self.sent}, f"{now!r} in place of {self.saved!r}"
        texts = {version["text"] for version in client.get(f"lines/{self.line}/versions").json()["items"]}
        assert self.saved is None or self.saved in texts
        self.saved, self.sent = (now, set()) if self.saved or now in self.sent else (None, set())


class Uploader:
    """Uploads one new picture after the other, to be read."""

    def __init__(self, collection: int, shades: random.Random) -> None:
        self.collection = collection
        self.jobs: list[int] = []
        self.files: dict[str, bytes] = {}
        self._shades = shades

    def act(self, client: httpx.Client) -> None:
        """Upload a picture."""
        content = picture(
            40 + self._shades.randrange(200), 40 + self._shades.randrange(200), self._shades.randrange(256)
        )
        name = f"{hashlib.sha256(content).hexdigest()[:12]}.png"
        place = f"collections/{self.collection}/uploads"
        answer = client.post(place, files={"file": (name, content)}).raise_for_status()
        self.files[name] = content
        self.jobs += [job["id"] for job in answer.json()["jobs"]]

    def check(self, client: httpx.Client) -> None:
        """Look that all jobs are there."""
        for job in self.jobs:
            client.get(f"jobs/{job}").raise_for_status()


class Asker:
    """Lets a document be read again and again."""

    def __init__(self, document: int) -> None:
        self.document = document
        self.jobs: list[int] = []

    def act(self, client: httpx.Client) -> None:
        """Ask once."""
        answer = client.post(f"documents/{self.document}/read", json={"layout": "find"}).raise_for_status()
        self.jobs.append(answer.json()["id"])
        time.sleep(0.05)

    check = Uploader.check


def client_of(server: ServerProcess) -> httpx.Client:
    return httpx.Client(base_url=f"{server.address}api/v1/", timeout=PATIENCE)


def wait_until_done(client: httpx.Client) -> None:
    limit = time.monotonic() + 10 * PATIENCE
    while jobs := client.get("jobs", params={"state": ["waiting", "running"]}).raise_for_status().json()["items"]:
        assert time.monotonic() < limit, jobs
        time.sleep(0.1)


def work(server: ServerProcess, act: Callable[[httpx.Client], None], faults: list[BaseException]) -> None:
    """Do something again and again until the server is gone."""
    try:
        with client_of(server) as client:
            while True:
                act(client)
    except httpx.TransportError:
        pass
    except BaseException as error:
        faults.append(error)


def set_up(server: ServerProcess) -> tuple[int, int, list[int]]:
    """Make a collection with a document that was read; its id, the document's, and those of the lines."""
    with client_of(server) as client:
        collection = client.post("collections", json={"name": "Letters"}).raise_for_status().json()["id"]
        client.post(f"collections/{collection}/uploads", files={"file": ("first.png", picture())}).raise_for_status()
        wait_until_done(client)
        (document,) = client.get(f"collections/{collection}/documents").raise_for_status().json()["items"]
        (page,) = client.get(f"documents/{document['id']}/pages").raise_for_status().json()["items"]
        lines = client.get(f"pages/{page['id']}/lines").raise_for_status().json()["lines"]
    return collection, document["id"], [line["id"] for line in lines]


def check_files(data: Path, uploaded: dict[str, bytes]) -> None:
    """Look that all files are whole and nothing is left of those that were cut off."""
    files = [path for path in (data / "files").rglob("*") if path.is_file()]
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, path
    assert {hashlib.sha256(content).hexdigest() for content in uploaded.values()} <= {path.name for path in files}
    assert list((data / "uploads").glob(".*")) == []


def all_pages(client: httpx.Client, collection: int) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    after: dict[str, int] = {}
    while True:
        part = client.get(f"collections/{collection}/pages", params={"limit": 500, **after}).raise_for_status().json()
        pages += part["items"]
        if part["next"] is None:
            return pages
        after = {"after": part["next"]}


def kill_often(data: Path, database: str | None) -> None:
    seed = int(os.environ.get("QUILLREAD_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print("QUILLREAD_SEED", seed)
    chance = random.Random(seed)
    with ServerProcess(data, database) as server:
        collection, document, lines = set_up(server)
    editors, uploader, asker = [Editor(line) for line in lines], Uploader(collection, chance), Asker(document)
    everyone: list[Any] = [*editors, uploader, asker]
    for _ in range(KILLS):
        faults: list[BaseException] = []
        with ServerProcess(data, database) as server:
            with client_of(server) as client:
                for one in everyone:
                    one.check(client)
            threads = [threading.Thread(target=work, args=(server, one.act, faults)) for one in everyone]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.1, 4.0))
            server.kill()
            for thread in threads:
                thread.join()
        assert faults == []
    with ServerProcess(data, database) as server, client_of(server) as client:
        for one in everyone:
            one.check(client)
        wait_until_done(client)
        states = {job: client.get(f"jobs/{job}").json()["state"] for job in (*uploader.jobs, *asker.jobs)}
        assert set(states.values()) <= {"done"}, states
        pages = all_pages(client, collection)
        assert {page["state"] for page in pages} == {"read"}
        names = [page["source_name"] for page in pages]
        assert uploader.files.keys() <= set(names)
        assert len(names) == len(set(names)), "a file was imported twice"
        for one in everyone:
            one.check(client)
        check_files(data, uploader.files)
    print(
        KILLS,
        "kills,",
        sum(one.count for one in editors),
        "edits,",
        len(uploader.files),
        "uploads,",
        len(asker.jobs),
        "jobs",
    )


@pytest.mark.slow
def test_a_server_with_sqlite_that_is_killed_loses_nothing(tmp_path: Path):
    kill_often(tmp_path / "data", None)


@pytest.mark.slow
def test_a_server_with_postgresql_that_is_killed_loses_nothing(tmp_path: Path):
    with postgres_server() as postgres:
        kill_often(tmp_path / "data", postgres.make_database())
