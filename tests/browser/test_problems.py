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


def open_made(tab: Any, served: Served, name: str) -> int:
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


JOB = {
    "id": 1,
    "kind": "import",
    "state": "failed",
    "title": "Brief.jpg",
    "files": 3,
    "collection_id": None,
    "user_name": "owner",
    "total": 3,
    "done": 2,
    "failed": 1,
    "cancelled": False,
    "fault": {"kind": "image", "message": "Brief.jpg: is cut off", "hint": "copy it again"},
    "result": None,
    "seconds_left": None,
}


def test_a_job_that_failed_is_told_in_the_language_of_the_page(served: Served, german: Any):
    jobs = [JOB, {**JOB, "id": 2, "state": "cancelled", "cancelled": True}]
    german.route("**/api/v1/jobs?*", lambda route: route.fulfill(json={"items": jobs, "next": None}))
    german.goto(served.address)
    german.get_by_role("button", name="Vorgänge").press("Enter")
    expect(german.locator(".job.failed .fault")).to_have_text(
        "Das Bild lässt sich nicht lesen. Brief.jpg: is cut off – copy it again"
    )
    expect(german.locator(".job.failed strong")).to_have_text("Brief.jpg und 2 weitere Dateien")
    expect(german.locator(".job.failed [data-key='1-retry']")).to_have_count(1)
    # What was stopped cannot be tried again.
    expect(german.locator(".job.cancelled [data-key='2-retry']")).to_have_count(0)


def test_a_page_that_could_not_be_read_is_told_in_the_language_of_the_page(served: Served, german: Any):
    page = served.new_page()
    body = served.call("GET", f"pages/{page}") | {
        "state": "failed",
        "fault": {"kind": "memory", "message": "too large"},
    }
    german.route(f"**/api/v1/pages/{page}", lambda route: route.fulfill(json=body))
    german.goto(f"{served.address}/#/page/{page}")
    status = german.locator(".page-status .banner")
    expect(status).to_contain_text("Der Arbeitsspeicher des Servers hat nicht gereicht. too large")


def test_a_request_of_another_form_is_told_in_the_language_of_the_page(served: Served, german: Any):
    made = open_made(german, served, "Misshapen")
    german.goto(f"{served.address}/#/collection/{made}0000000000000000000000")
    expect(german.locator("main.alone")).to_contain_text("Bitte die Seite neu laden")


DELETE = """async ([base, pages]) => {
  const { deletePages } = await import(new URL("views/bulk.js", base).href);
  await deletePages(pages, async () => {});
}"""


def test_more_pages_than_one_request_takes_are_changed_in_parts_of_whole_documents(served: Served, german: Any):
    sizes: list[int] = []

    def answer(route: Any) -> None:
        sizes.append(len(route.request.post_data_json["page_ids"]))
        route.fulfill(status=204)

    german.route("**/api/v1/pages", answer)
    german.goto(served.address)
    german.get_by_role("button", name="Vorgänge").wait_for()
    base = german.evaluate("document.querySelector('script').src")
    pages = [{"id": i, "document_id": i // 3000} for i in range(12_001)]
    german.evaluate(DELETE, [base, pages])
    pages = [{"id": i, "document_id": 1} for i in range(10_001)]
    german.evaluate(DELETE, [base, pages])
    assert sizes == [9000, 3001, 10_000, 1]
