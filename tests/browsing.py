"""What the tests of the page in the browser use: a server of their own, pages that are read, and the editor."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from quillread import types
from quillread.serve.access import accounts
from quillread.serve.access.actor import Actor, Role
from quillread.serve.access.tokens import make_token
from quillread.serve.archive.blobs import add_blobs, store
from quillread.serve.archive.home import Archive
from quillread.serve.archive.readings import apply_reading
from quillread.serve.archive.views import make_view
from quillread.serve.config import ServeConfig
from quillread.serve.database.schema import Collection, Document, Page

ROOT = Path(__file__).parents[1]
LETTER = ROOT / "examples" / "letter.jpg"
SHOTS = Path(__file__).parent / "browser" / "shots"
"""Screenshots, for people to look at; git ignores them."""

AXE = Path(__file__).parent / "browser" / "vendor" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

PROVENANCE = {"software": "quillread", "model": "builtin"}


def expect(what: Any) -> Any:
    """What Playwright waits for; late, because the tests are collected where there is no Playwright too."""
    from playwright.sync_api import expect

    return expect(what)


def findings(tab: Any) -> list[str]:
    """What axe has to say of the page as it is now."""
    tab.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    found = tab.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", RULES)
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"][:3]]


@dataclass
class Served:
    """A server of its own, with a collection of pages that were read."""

    data: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    address: str = ""
    pages: Iterator[int] = field(default_factory=lambda: count(1))
    collection: int = 1
    crowd: int = 2
    """The collection of many pages."""
    settings: Sequence[str] = ()
    """Of the server, as `--set` takes them."""
    large: dict[int, int] = field(default_factory=dict)
    """Number of lines -> page."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of calls, where a login is needed."""

    def start(self) -> None:
        command = [sys.executable, "-m", "quillread.cli.main", "serve", "--data", str(self.data), "--workers", "1"]
        command += ["--port", str(self.port), *(f"--set={setting}" for setting in self.settings)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
        log = self.data.parent / "server.log"
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        ends = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < ends:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(encoding="utf-8")):
                self.port = int(found[1])
                self.address = f"http://127.0.0.1:{self.port}"
                return
            time.sleep(0.1)
        raise AssertionError("the server did not start: " + log.read_text(encoding="utf-8"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def call(self, method: str, path: str, **facts: Any) -> Any:
        headers = self.headers | facts.pop("headers", {})
        answer = httpx.request(method, f"{self.address}/api/v1/{path}", timeout=30, headers=headers, **facts)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content and "json" in answer.headers["content-type"] else None

    def lines(self, page: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"pages/{page}/lines")["lines"]
        return found

    def new_collection(self, name: str, pages: int) -> int:
        """A collection with a document of pages that no other test has; both have the name."""
        made: int = self.call("POST", "collections", json={"name": name})["id"]
        document = self.call("POST", f"collections/{made}/documents", json={"name": name})["id"]
        for _ in range(pages):
            self.call("PATCH", f"pages/{self.new_page()}", json={"document_id": document})
        return made

    def new_page(self) -> int:
        """A page that no other test has."""
        page = next(self.pages, None)
        assert page is not None, "there are more tests than pages: seed more of them"
        return page


def seed(data: Path, read: types.Page, pages: int, large: Sequence[int] = (), many: int = 0) -> None:
    """Make an archive with a collection of pages that are read, as uploads and jobs make them.

    Args:
        data: Its folder.
        read: What each page has.
        pages: In the first document.
        large: Pages with so many lines each, in a second one, after those.
        many: Pages that are not read, in a second collection.
    """
    raw = LETTER.read_bytes()
    with Archive(ServeConfig(data=data)) as archive:
        with Image.open(LETTER) as image:
            view = make_view(np.asarray(image.convert("RGB")), raw)
        files = [store(archive, content, "image/jpeg") for content in (raw, view.jpeg, view.thumbnail)]
        source, shown, thumbnail = (file.stored.sha256 for file in files)

        def new_page(session: Session, document: int, position: int) -> Page:
            page = Page(document_id=document, position=position, source=source, view=shown, thumbnail=thumbnail)
            page.width, page.height, page.source_name = view.width, view.height, LETTER.name
            session.add(page)
            return page

        with archive.database.write() as session:
            add_blobs(session, archive.storage, files)
            collection, crowd = Collection(name="Letters of an aunt"), Collection(name="Registers")
            session.add_all([collection, crowd])
            session.flush()
            box, book = (Document(collection_id=collection.id, name=name) for name in ("Box 1", "Large"))
            registers = [Document(collection_id=crowd.id, name=f"Register {i}") for i in range(many // 100)]
            session.add_all([box, book, *registers])
            session.flush()
            for position in range(pages):
                page = new_page(session, box.id, position)
                session.flush()
                apply_reading(session, page, read, PROVENANCE, "builtin")
                page.state = "read"
            for position, count in enumerate(large):
                page = new_page(session, book.id, position)
                session.flush()
                apply_reading(session, page, with_lines(read, count), PROVENANCE, "builtin")
                page.state = "read"
            for document in registers:
                for position in range(100):
                    new_page(session, document.id, position)


PASSWORD = "correct horse battery"


def add_accounts(data: Path) -> str:
    """Give an archive accounts named as their roles, whose password is `PASSWORD`; a token of the admin."""
    with Archive(ServeConfig(data=data)) as archive, archive.database.write() as session:
        for role in ("admin", "editor", "reader", "none"):
            hashed = accounts.make_hash(role, PASSWORD)
            user = accounts.add_user(session, role, cast(Role, role), hashed)
            if role == "admin":
                actor = Actor(user.name, "admin", user.id)
        return make_token(session, actor, "tests", "admin", None, 1)[1]


def with_lines(read: types.Page, count: int) -> types.Page:
    """A page that has its lines over and over, one below the other."""
    lines = [line for region in read.regions for line in region.lines]
    step = read.height / count
    moved = []
    for i in range(count):
        line = lines[i % len(lines)]
        shift = i * step - line.baseline[0][1]
        baseline = tuple((x, y + shift) for x, y in line.baseline)
        polygon = types.Polygon(tuple((x, y + shift) for x, y in line.polygon.points))
        moved.append(replace(line, baseline=baseline, polygon=polygon))
    region = types.Region(read.regions[0].polygon, tuple(moved))
    return replace(read, regions=(region,))


def change(served: Served, line: dict[str, Any], text: str) -> None:
    """Edit a line as another person."""
    headers = {"If-Match": f'"{line["revision"]}"'}
    served.call("PUT", f"lines/{line['id']}/text", json={"text": text, "checked": True}, headers=headers)


class EditorDriver:
    """The editor of one page, used by the keyboard alone."""

    def __init__(self, tab: Any, served: Served, page: int) -> None:
        self.tab, self.served, self.page = tab, served, page

    def open(self, query: str = "") -> "EditorDriver":
        self.tab.goto(f"{self.served.address}/#/page/{self.page}{query}")
        # The page before has a field too, until this one is there.
        for line in self.served.lines(self.page)[:1]:
            self.tab.locator(f'li.line[data-id="{line["id"]}"]').wait_for(state="attached")
        self.tab.locator("textarea.field").wait_for()
        return self

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def type(self, text: str) -> None:
        self.tab.keyboard.type(text)

    @property
    def value(self) -> str:
        value: str = self.tab.locator("textarea.field").input_value()
        return value

    @property
    def place(self) -> int:
        """Of the line being edited, from 0."""
        place: int = self.tab.evaluate("[...document.querySelectorAll('li.line')].findIndex(l => l.matches('.active'))")
        return place

    def wait_for_lines(self, number: int) -> None:
        expect(self.tab.locator("li.line")).to_have_count(number)

    def wait_until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for what the server is to have."""
        ends = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends, "it did not come to pass"
            self.tab.wait_for_timeout(100)

    def saved(self) -> list[dict[str, Any]]:
        """Wait until all is saved; the lines as the server has them."""
        self.tab.locator(".save-state[data-state=saved]").wait_for()
        return self.served.lines(self.page)
