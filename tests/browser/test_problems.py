"""What the server refuses is told in the language of the page."""

from typing import Any

import pytest
from browsing import Served, expect


@pytest.fixture
def german(browser: Any) -> Any:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="de-DE")
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def open_made(tab: Any, served: Served, name: str) -> None:
    made: int = served.call("POST", "collections", json={"name": name})["id"]
    tab.goto(f"{served.address}/#/collection/{made}")
    tab.locator(".welcome").wait_for()
    return made


def test_a_file_that_is_refused_is_told_in_the_language_of_the_page(served: Served, german: Any):
    open_made(german, served, "Refused")
    with german.expect_file_chooser() as chooser:
        german.get_by_role("button", name="Dateien wählen").first.press("Enter")
    chooser.value.set_files({"name": "Brief.jpg", "mimeType": "image/jpeg", "buffer": b"no image"})
    expect(german.locator(".toast.error")).to_contain_text("Brief.jpg ist kein Bild, kein PDF")
    expect(german.locator(".toast.error")).not_to_contain_text("imported")


def test_a_collection_that_is_gone_is_told_in_the_language_of_the_page(served: Served, german: Any):
    german.goto(f"{served.address}/#/collection/4711")
    expect(german.locator("main.alone")).to_contain_text("oder Sie dürfen es nicht sehen")


def test_the_words_of_the_server_stand_where_the_page_has_none(served: Served, german: Any):
    open_made(german, served, "Unheard of")
    body = '{"detail": "the moon is full", "hint": "wait", "code": "of-a-later-version"}'
    german.route("**/uploads", lambda route: route.fulfill(status=422, body=body, content_type="application/json"))
    with german.expect_file_chooser() as chooser:
        german.get_by_role("button", name="Dateien wählen").first.press("Enter")
    chooser.value.set_files({"name": "Brief.jpg", "mimeType": "image/jpeg", "buffer": b"x"})
    expect(german.locator(".toast.error")).to_contain_text("the moon is full – wait")
