"""A real server and a real Chromium for the tests of the page. Without a Chromium they are skipped, unless required."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsing import LETTER, EditorDriver, Served, add_accounts, seed

from quillread import types
from quillread.options import ReadOptions
from quillread.reader import Reader

REQUIRED = "QUILLREAD_REQUIRES_CHROMIUM"
"""Environment variable that turns a browser that is missing from a skip into a failure."""
_PAGES = 200
LARGE = (700, 5000)
"""Lines of the two pages after these."""
MANY = 10_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    missing = "Chromium (apt-get install chromium)" if found is None else ""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        missing = "Playwright (pip install playwright)"
    if missing:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"{missing} is not installed")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def reading() -> types.Page:
    """The letter as the built-in model reads it, once for all tests; with doubts about each line, so that all may be
    proofread, however good the model."""
    page = Reader(ReadOptions().changed(generate={"alternatives": 5})).read_page(LETTER)
    return replace(page, regions=tuple(replace(r, lines=tuple(map(_doubted, r.lines))) for r in page.regions))


def _doubted(line: types.Line) -> types.Line:
    read = line.transcript
    return replace(line, transcript=read and replace(read, expected_error=(read.expected_error or 0) + 0.1))


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory, browser: Any, reading: types.Page) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("archive") / "data")
    seed(served.data, reading, _PAGES, LARGE, MANY)
    served.pages = iter(range(1, _PAGES + 1))
    served.large = dict(zip(LARGE, (_PAGES + 1, _PAGES + 2), strict=True))
    served.start()
    yield served
    served.stop()


@pytest.fixture(scope="package")
def team(tmp_path_factory: pytest.TempPathFactory, browser: Any, reading: types.Page) -> Iterator[Served]:
    """A server with accounts: collection 1 has pages, 2 has one page that is not read."""
    served = Served(tmp_path_factory.mktemp("team") / "data")
    seed(served.data, reading, 3, many=100)
    served.headers = {"Authorization": f"Bearer {add_accounts(served.data)}"}
    served.start()
    yield served
    served.stop()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def tab(context: Any) -> Iterator[Any]:
    """A tab; an error in its console fails the test."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
    yield page
    assert not faults


def _is_fault(message: Any) -> bool:
    # What the network does is the subject of some tests.
    return message.type == "error" and not re.search(r"Failed to load resource|net::ERR", message.text)


@pytest.fixture
def editor(tab: Any, served: Served) -> EditorDriver:
    return EditorDriver(tab, served, served.new_page())
