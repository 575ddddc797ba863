"""Teaching with the keyboard: what is told of it, and what its card offers.

What a training makes is put in its place, since one takes minutes; `tests/unit/serve/test_training.py` has a real one.
"""

import io
import zipfile
from typing import Any

import pytest
from browsing import Served, expect

from quillread.models.catalog import resolve

CARD = {
    "lines": 80,
    "held_back": 20,
    "better": True,
    "cer_before": 0.2,
    "cer_after": 0.1,
    "difference": -0.1,
    "ci95_before": [0.18, 0.22],
    "ci95_after": [0.08, 0.12],
    "ci95": [-0.14, -0.06],
    "examples": [{"truth": "a hand", "before": "a band", "after": "a hand"}],
}


def show_training(tab: Any, served: Served, collection: int, **facts: Any) -> None:
    """Open the screen as it is with one training."""
    job = {"id": 1, "kind": "train", "title": "", "collection_id": collection, "document_id": None, "user_name": ""}
    job |= {"total": 1, "done": 0, "failed": 0, "cancelled": False, "fault": None, "result": None, "progress": None}
    job |= {"created": "2026-01-01T00:00:00", "seconds_left": None, **facts}
    tab.route("**/api/v1/jobs?*", lambda route: route.fulfill(json={"items": [job], "next": None}))
    tab.goto(f"{served.address}/#/collection/{collection}/teach")


@pytest.fixture(scope="module")
def model(served: Served) -> str:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in resolve("builtin").iterdir():
            archive.writestr(path.name, path.read_bytes())
    files = {"file": ("model.zip", content.getvalue())}
    name: str = served.call("POST", "models", data={"name": "Aunt"}, files=files)["name"]
    return name


def test_the_card_has_the_interval_of_each_figure_and_the_name_alone(served: Served, tab: Any, model: str):
    collection = served.new_collection("Carded", 1)
    show_training(tab, served, collection, state="done", result={"name": model, "card": CARD})
    expect(tab.locator(".card-panel h2")).to_have_text("Taught: Aunt")
    expect(tab.locator(".card-panel .range")).to_have_text(["18% – 22%", "8% – 12%"])


def test_one_key_uses_the_new_model_and_reads_the_unchecked_pages_again(served: Served, tab: Any, model: str):
    collection = served.new_collection("Read again", 2)
    show_training(tab, served, collection, state="done", result={"name": model, "card": CARD})
    tab.get_by_role("button", name="Use it and read the unchecked pages again").press("Enter")
    tab.locator("#teach-reread").wait_for()  # for another time
    assert served.call("GET", f"collections/{collection}")["settings"]["options"]["models"] == [model]
    jobs = served.call("GET", f"jobs?collection_id={collection}")["items"]
    assert [(job["kind"], job["total"]) for job in jobs] == [("read", 2)]


def test_a_collection_is_read_with_another_model_that_ships(served: Served, tab: Any):
    collection = served.new_collection("Psalter", 1)
    tab.goto(f"{served.address}/#/collection/{collection}/teach")
    row = tab.get_by_role("listitem").filter(has=tab.get_by_text("medieval", exact=True))
    expect(row).to_contain_text("Manuscripts of the 9th to 16th century")
    row.get_by_role("button", name="Use").press("Enter")
    expect(row).to_contain_text("In use")
    assert served.call("GET", f"collections/{collection}")["settings"]["options"]["models"] == ["medieval"]
    row = tab.get_by_role("listitem").filter(has=tab.get_by_text("Built-in model", exact=True))
    row.get_by_role("button", name="Use").press("Enter")
    expect(row).to_contain_text("In use")
    assert "models" not in served.call("GET", f"collections/{collection}")["settings"]["options"]


def test_a_training_that_is_done_says_that_it_is_measured(served: Served, tab: Any):
    progress = {
        "step": 8,
        "steps": 8,
        "seconds_left": 0,
        "cer_before": 0.2,
        "cer": 0.1,
        "history": [],
        "measuring": True,
    }
    show_training(tab, served, served.collection, state="running", progress=progress)
    tab.get_by_role("heading", name="Measuring").wait_for()
    expect(tab.locator(".panel [role=status]")).not_to_contain_text("8")


def test_teaching_waits_for_as_many_lines_as_the_server_wants(served: Served, tab: Any):
    collection = served.new_collection("Few", 1)

    def lesson(route: Any) -> None:
        route.fulfill(json={**served.call("GET", f"collections/{collection}/teach"), "can_train": True})

    tab.route(f"**/api/v1/collections/{collection}/teach", lesson)
    page = served.call("GET", f"collections/{collection}/pages")["items"][0]["id"]
    lines = served.lines(page)
    check(served, lines[:9])
    tab.goto(f"{served.address}/#/collection/{collection}/teach")
    expect(tab.locator(".doubts")).to_have_text("1 more checked line is needed to teach.")
    expect(tab.locator("#teach-begin")).to_be_disabled()
    check(served, lines[9:10])
    tab.reload()
    expect(tab.locator("#teach-begin")).to_be_enabled()


def check(served: Served, lines: list[dict[str, Any]]) -> None:
    for line in lines:
        headers = {"If-Match": f'"{line["revision"]}"'}
        served.call("PUT", f"lines/{line['id']}/text", json={"text": line["text"], "checked": True}, headers=headers)
