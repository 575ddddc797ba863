"""Teaching through the page: lines of a real hand are corrected, taught, measured, and the rest is read better."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import LETTER, SHOTS, EditorDriver, Served, expect, seed

from quillread import types

MINUTES = 0.5
"""Of training, in place of the four that the page asks for."""
PATIENCE = 300_000
"""Milliseconds; a training has what time it is given, yet starting, measuring and saving take what they take."""


@pytest.fixture
def taught(tmp_path: Path, browser: Any, reading: types.Page) -> Iterator[Served]:
    """A server of the test's own with four pages of a hand."""
    served = Served(tmp_path / "archive" / "data")
    served.data.parent.mkdir()
    seed(served.data, reading, 4)
    served.start()
    yield served
    served.stop()


def truth() -> list[str]:
    """What the letter says, in the order of its lines: the one at the top of the page is the last of the file."""
    *lines, top = LETTER.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    return [top, *lines]


def correct(served: Served, page: int) -> None:
    """Correct a page as another person."""
    for line, text in zip(served.lines(page), truth(), strict=True):
        headers = {"If-Match": f'"{line["revision"]}"'}
        served.call("PUT", f"lines/{line['id']}/text", json={"text": text, "checked": True}, headers=headers)


def jobs(served: Served, kind: str) -> list[str]:
    """The states of the jobs of a kind."""
    return [job["state"] for job in served.call("GET", "jobs")["items"] if job["kind"] == kind]


def shorten(tab: Any) -> None:
    """Have the page ask for a short training."""
    short = json.dumps({"minutes": MINUTES})
    tab.route("**/teach", lambda r: r.continue_(post_data=short) if r.request.method == "POST" else r.continue_())


def test_a_hand_is_corrected_and_taught_and_the_rest_read_better_by_keys(taught: Served, tab: Any):
    editor = EditorDriver(tab, taught, 1).open()
    for text in truth():
        editor.press("Control+a")
        tab.keyboard.insert_text(text)
        editor.press("Enter")
    editor.wait_until(lambda: all(line["checked"] for line in taught.lines(1)))
    for page in (2, 3):
        correct(taught, page)
    shorten(tab)

    tab.goto(f"{taught.address}/#/collection/1/teach")
    expect(tab.locator(".numbers")).to_contain_text("72")
    tab.locator("#teach-begin").press("Enter")
    status = tab.locator(".panel [role=status]")
    expect(status).to_contain_text("left", timeout=PATIENCE)
    tab.locator(".chart.live").wait_for(timeout=PATIENCE)
    tab.screenshot(path=SHOTS / "teach-live.png")

    tab.locator("#teach-stop").press("Enter")
    go_on = tab.get_by_role("button", name="Go on")
    go_on.wait_for(timeout=PATIENCE)
    go_on.press("Enter")
    expect(status).to_contain_text("left", timeout=PATIENCE)

    taught.kill()
    taught.start()
    card = tab.locator(".card-panel")
    card.wait_for(timeout=PATIENCE)
    tab.screenshot(path=SHOTS / "teach-card.png", full_page=True)
    was, now = (float(text.rstrip("%")) for text in card.locator(".before-after strong").all_inner_texts())
    assert now < was
    expect(card).to_contain_text(re.compile(r"Change of the error: -[\d.]+% \(95 %: -[\d.]+% …"))
    expect(card.locator("tbody tr")).to_have_count(3)

    tab.locator("#teach-use").press("Enter")
    tab.locator("#teach-reread").press("Enter")
    editor.wait_until(lambda: jobs(taught, "read") == ["done"], seconds=120)
    assert any("Letters of an aunt" in line["author"] for line in taught.lines(4))
    assert all(line["checked"] for line in taught.lines(1))  # what a person has checked stays


def test_a_teaching_that_cannot_be_says_what_to_install(served: Served, tab: Any):
    hint = "pip install 'quillread[train]'"

    def without(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"can_train": False, "hint": hint})

    tab.route("**/teach", without)
    tab.goto(f"{served.address}/#/collection/1/teach")
    expect(tab.locator(".panel code")).to_have_text(hint)
    expect(tab.locator("#teach-begin")).to_have_count(0)
