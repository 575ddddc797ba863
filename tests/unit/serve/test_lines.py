import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image
from serve_pages import found_line, new_page, read_page
from sqlalchemy import select, update

from quillread.serve.archive.home import Archive
from quillread.serve.archive.words import place_words
from quillread.serve.database.base import now
from quillread.serve.database.schema import Event, Line, LineSearch, LineVersion, Page


def fill(archive: Archive, *texts: str, sure: float = 0.9, others: tuple[str, ...] = ()) -> int:
    """A page with these lines; its id."""
    with archive.database.write() as session:
        page = new_page(session)
        lines = [found_line(text, 100.0 * (i + 1), sure=sure, others=others) for i, text in enumerate(texts)]
        read_page(session, page, *lines)
        return page.id


def lines_of(client: TestClient, page_id: int) -> list[dict[str, Any]]:
    return client.get(f"/api/v1/pages/{page_id}/lines").json()["lines"]


def save(client: TestClient, line: dict[str, Any], text: str, **more: Any) -> Response:
    headers = {"If-Match": f'"{line["revision"]}"'}
    return client.put(f"/api/v1/lines/{line['id']}/text", json={"text": text, **more}, headers=headers)


def counts(archive: Archive, page_id: int) -> tuple[int, int, int]:
    with archive.database.read() as session:
        page = session.get_one(Page, page_id)
        return page.line_count, page.checked_count, page.doubtful_count


def test_a_page_is_shown_with_its_lines_and_words(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sir", "I am")
    answer = client.get(f"/api/v1/pages/{page_id}/lines")
    body = answer.json()
    assert answer.headers["etag"] == f'"{body["page"]["version"]}"'
    assert [line["text"] for line in body["lines"]] == ["Dear Sir", "I am"]
    assert body["lines"][0]["region_id"] == body["regions"][0]["id"]
    word = body["lines"][0]["words"][1]
    assert (word["text"], word["start"], word["end"]) == ("Sir", 5, 8)
    assert word["polygon"] == [[150, 100], [180, 100], [180, 140], [150, 140]]
    assert client.get(f"/api/v1/pages/{page_id}/text").text == "Dear Sir\nI am\n"


def test_a_saved_text_is_checked_counted_found_and_told(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sit", sure=0.3)
    assert counts(archive, page_id) == (1, 0, 1)
    (line,) = lines_of(client, page_id)
    answer = save(client, line, "Dear Sir")
    assert answer.headers["etag"] == '"2"'
    assert (answer.json()["text"], answer.json()["checked"], answer.json()["kind"]) == ("Dear Sir", True, "person")
    assert lines_of(client, page_id) == [answer.json()]
    assert counts(archive, page_id) == (1, 1, 0)
    with archive.database.read() as session:
        assert session.scalars(select(LineSearch.folded)).all() == ["dear sir"]
        event = session.scalars(select(Event).order_by(Event.id.desc())).first()
        assert event is not None
        assert (event.kind, event.data["line"], event.data["revision"]) == ("line.changed", line["id"], 2)
        assert "Dear" not in str(event.data)


def test_words_of_a_corrected_text_stand_where_they_were_read(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear Sit and Madam"))
    words = save(client, line, "Dear Sir and dear Madam").json()["words"]
    boxes = {word["text"]: (word["polygon"][0][0], word["polygon"][1][0]) for word in words}
    assert boxes["Dear"] == (100, 140)
    assert boxes["Sir"] == (150, 180)
    assert boxes["Madam"][1] == 280
    assert 220 <= boxes["dear"][0] < boxes["dear"][1] <= 260
    assert {word["confidence"] for word in words} == {1}


def test_words_of_a_draft_that_nobody_has_touched_stay_in_doubt(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear Sit and Madam"))
    sure = {word["text"]: word["confidence"] for word in line["words"]}
    assert max(sure.values()) < 1
    draft = save(client, line, "Dear old Sir and Madam", checked=False).json()
    known = {**sure, "old": 1, "Sir": 1}
    assert [word["confidence"] for word in draft["words"]] == [known[word["text"]] for word in draft["words"]]
    assert draft["read_text"] == "Dear Sit and Madam"
    checked = save(client, draft, "Dear old Sir and Madam").json()
    assert {word["confidence"] for word in checked["words"]} == {1}


def test_a_line_that_is_half_corrected_stays_in_doubt(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sit", sure=0.3)
    (line,) = lines_of(client, page_id)
    draft = save(client, line, "Dear Si", checked=False).json()
    assert draft["confidence"] == 0.3
    assert counts(archive, page_id) == (1, 0, 1)


def texts_of(client: TestClient, line: dict[str, Any]) -> list[str]:
    return [version["text"] for version in client.get(f"/api/v1/lines/{line['id']}/versions").json()["items"]]


def test_a_text_that_is_being_typed_is_one_version(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear Sit"))
    for text in ("Dear", "Dear S", "Dear Sir"):
        line = save(client, line, text, checked=False).json()
    assert texts_of(client, line) == ["Dear Sit", "Dear Sir"]
    line = save(client, line, "Dear Sir,").json()
    assert texts_of(client, line) == ["Dear Sit", "Dear Sir,"]
    save(client, line, "Dear Sirs", checked=False)
    assert texts_of(client, line) == ["Dear Sit", "Dear Sir,", "Dear Sirs"]


def test_an_older_draft_is_kept_when_it_is_written_anew(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear Sit"))
    line = save(client, line, "Dear Si", checked=False).json()
    with archive.database.write() as session:
        session.execute(update(LineVersion).values(created=now() - timedelta(hours=1)))
    save(client, line, "Dear Sir", checked=False)
    assert texts_of(client, line) == ["Dear Sit", "Dear Si", "Dear Sir"]


def test_a_draft_is_kept_when_an_earlier_version_is_restored(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear Sit"))
    line = save(client, line, "Dear Si", checked=False).json()
    tag = {"If-Match": f'"{line["revision"]}"'}
    client.post(f"/api/v1/lines/{line['id']}/restore", json={"number": 1}, headers=tag)
    assert texts_of(client, line) == ["Dear Sit", "Dear Si", "Dear Sit"]


@pytest.mark.parametrize("text", ["שלום רב", "a", "one two three four five six seven eight nine ten"])
def test_words_without_a_reading_lie_along_the_baseline(text: str):
    line = found_line("x" * 40, 100)
    words = place_words(text, line, None)
    assert [word.text for word in words] == text.split()
    for word in words:
        box = word.polygon.bounds
        assert 99 <= box.x0 < box.x1 <= 501
        assert 95 <= box.y0 < box.y1 <= 145
    if text.startswith("ש"):
        assert words[0].polygon.bounds.x0 > words[1].polygon.bounds.x1


def test_the_same_text_checked_says_that_it_is_right(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sir", sure=0.4)
    (line,) = lines_of(client, page_id)
    checked = save(client, line, "Dear Sir").json()
    assert (checked["checked"], checked["kind"], checked["confidence"]) == (True, "person", 1)
    assert counts(archive, page_id) == (1, 1, 0)
    again = save(client, checked, "Dear Sir").json()
    assert again["revision"] == checked["revision"]
    draft = save(client, checked, "Dear Sir", checked=False).json()
    assert (draft["checked"], draft["confidence"]) == (False, 0.4)
    assert counts(archive, page_id) == (1, 0, 1)
    assert len(client.get(f"/api/v1/lines/{line['id']}/versions").json()["items"]) == 2


def test_of_two_editors_the_second_gets_the_text_of_the_first(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear Sit"))
    save(client, line, "Dear Sir")
    answer = save(client, line, "Dear Sire")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    current = answer.json()["current"]
    assert (current["text"], current["revision"]) == ("Dear Sir", 2)
    assert save(client, current, "Dear Sire").json()["text"] == "Dear Sire"


def test_a_change_names_the_revision_that_it_is_about(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear"))
    place = f"/api/v1/lines/{line['id']}/text"
    assert client.put(place, json={"text": "a"}).status_code == 428
    for tag in ("x", '"-1"', "*", '"99999999999"'):
        assert client.put(place, json={"text": "a"}, headers={"If-Match": tag}).status_code == 400
    assert client.put(place, json={"text": "a"}, headers={"If-Match": 'W/"1"'}).status_code == 200


def test_an_earlier_version_is_restored_as_a_new_one(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sit")
    (line,) = lines_of(client, page_id)
    line = save(client, line, "Dear Sir").json()
    line = save(client, line, "nonsense").json()
    place = f"/api/v1/lines/{line['id']}"
    restored = client.post(f"{place}/restore", json={"number": 2}, headers={"If-Match": f'"{line["revision"]}"'})
    assert (restored.json()["text"], restored.json()["checked"]) == ("Dear Sir", True)
    first = client.post(f"{place}/restore", json={"number": 1}, headers={"If-Match": restored.headers["etag"]})
    assert (first.json()["text"], first.json()["checked"]) == ("Dear Sit", False)
    versions = client.get(f"{place}/versions").json()["items"]
    assert [version["text"] for version in versions] == ["Dear Sit", "Dear Sir", "nonsense", "Dear Sir", "Dear Sit"]
    assert [version["is_current"] for version in versions] == [False, False, False, False, True]
    missing = client.post(f"{place}/restore", json={"number": 9}, headers={"If-Match": first.headers["etag"]})
    assert missing.status_code == 404
    stale = client.post(f"{place}/restore", json={"number": 1}, headers={"If-Match": '"1"'})
    assert stale.status_code == 409
    assert counts(archive, page_id) == (1, 0, 0)


def test_a_reading_is_restored_as_one_on_wish(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sit", sure=0.4)
    (before,) = lines_of(client, page_id)
    line = save(client, before, "nonsense").json()
    place = f"/api/v1/lines/{line['id']}"
    given = {"number": 1, "as_read": True}
    answer = client.post(f"{place}/restore", json=given, headers={"If-Match": f'"{line["revision"]}"'})
    again = answer.json()
    assert {name: again[name] for name in before if name not in ("revision", "created")} == {
        name: before[name] for name in before if name not in ("revision", "created")
    }
    assert again["kind"] == "machine"
    assert counts(archive, page_id) == (1, 0, 1)
    # What a person has written stays theirs.
    person = client.post(f"{place}/restore", json={**given, "number": 2}, headers={"If-Match": answer.headers["etag"]})
    assert (person.json()["kind"], person.json()["checked"]) == ("person", True)


def test_a_later_reading_takes_the_place_of_one_that_was_restored(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sit")
    (line,) = lines_of(client, page_id)
    line = save(client, line, "nonsense").json()
    place, tag = f"/api/v1/lines/{line['id']}", {"If-Match": f'"{line["revision"]}"'}
    assert client.post(f"{place}/restore", json={"number": 1, "as_read": True}, headers=tag).is_success
    with archive.database.write() as session:
        read_page(session, session.get_one(Page, page_id), found_line("Dear Sir", 100), fingerprint="two")
    (after,) = lines_of(client, page_id)
    assert (after["text"], after["kind"], after["read_text"]) == ("Dear Sir", "machine", None)
    # What was written stays: with the line, when that is found no more.
    with archive.database.write() as session:
        read_page(session, session.get_one(Page, page_id), found_line("other", 500), fingerprint="three")
    assert "nonsense" in [version["text"] for version in client.get(f"{place}/versions").json()["items"]]


def test_a_reading_after_a_correction_is_a_version_below_it(archive: Archive, client: TestClient):
    page_id = fill(archive, "Dear Sit")
    (line,) = lines_of(client, page_id)
    line = save(client, line, "Dear Sir").json()
    with archive.database.write() as session:
        read_page(session, session.get_one(Page, page_id), found_line("Bear Sip", 100), fingerprint="two")
    (after,) = lines_of(client, page_id)
    assert (after["text"], after["checked"], after["revision"]) == ("Dear Sir", True, line["revision"])
    versions = client.get(f"/api/v1/lines/{line['id']}/versions").json()["items"]
    assert [(version["kind"], version["is_current"]) for version in versions] == [
        ("machine", False),
        ("person", True),
        ("machine", False),
    ]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Cafe\u0301", "Café"),
        ("one\r\ntwo\nthree\u2028four", "one two three four"),
        ("tab\there ", "tab here"),
        ("שלום עולם\u200f", "שלום עולם"),
        ("👩\u200d🔬 ſo 𝔉", "👩\u200d🔬 ſo 𝔉"),
        ("", ""),
    ],
)
def test_texts_are_held_as_lines_are(archive: Archive, client: TestClient, given: str, kept: str):
    (line,) = lines_of(client, fill(archive, "Dear"))
    assert save(client, line, given).json()["text"] == kept
    assert client.get(f"/api/v1/lines/{line['id']}").json()["text"] == kept


@pytest.mark.parametrize("text", ["a\x00b", "a\x07", "\x9b", "\x7f"])
def test_control_characters_are_refused(archive: Archive, client: TestClient, text: str):
    (line,) = lines_of(client, fill(archive, "Dear"))
    answer = save(client, line, text)
    assert answer.status_code == 400
    assert "U+00" in answer.json()["detail"]


def test_halves_of_surrogate_pairs_are_refused(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear"))
    place, tag = f"/api/v1/lines/{line['id']}/text", {"If-Match": '"1"', "Content-Type": "application/json"}
    answer = client.put(place, content=b'{"text": "\\ud800"}', headers=tag)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("length", [10_001, 1_000_000])
def test_a_text_of_a_megabyte_is_refused(archive: Archive, client: TestClient, length: int):
    (line,) = lines_of(client, fill(archive, "Dear"))
    assert save(client, line, "x" * length).status_code == 413


def test_lines_that_do_not_exist_are_not_found(archive: Archive, client: TestClient):
    fill(archive, "Dear")
    for id in (999, 0, -1, 1 << 70):
        assert client.get(f"/api/v1/lines/{id}").status_code == 404
        assert client.get(f"/api/v1/pages/{id}/lines").status_code == 404
        assert client.put(f"/api/v1/lines/{id}/text", json={"text": "a"}, headers={"If-Match": "1"}).status_code == 404


def test_a_line_is_shown_cut_out_of_its_page(archive: Archive, client: TestClient, make_page: Callable[..., int]):
    with archive.database.write() as session:
        document_id = new_page(session).document_id
    page_id = make_page(document_id, np.full((1000, 1000, 3), 200, np.uint8))
    with archive.database.write() as session:
        read_page(session, session.get_one(Page, page_id), found_line("Dear Sir", 100), found_line("I am", 960))
    for line in lines_of(client, page_id):
        picture = client.get(f"/api/v1/lines/{line['id']}/image", params={"height": 60})
        assert picture.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(picture.content)).height == 60


def test_the_picture_of_a_line_is_asked_for_again_only_when_its_place_changes(
    archive: Archive, client: TestClient, make_page: Callable[..., int]
):
    with archive.database.write() as session:
        document_id = new_page(session).document_id
    page_id = make_page(document_id, np.full((1000, 1000, 3), 200, np.uint8))
    with archive.database.write() as session:
        read_page(session, session.get_one(Page, page_id), found_line("Dear Sir", 100))
    (line,) = lines_of(client, page_id)
    place = f"/api/v1/lines/{line['id']}/image"
    known = {"If-None-Match": client.get(place).headers["etag"]}
    save(client, line, "Dear Sirs")
    assert client.get(place, headers=known).status_code == 304
    assert client.get(place, params={"height": 60}, headers=known).status_code == 200
    with archive.database.write() as session:
        session.get_one(Line, line["id"]).baseline = [[100, 150], [300, 150]]
    assert client.get(place, headers=known).status_code == 200


def test_a_line_of_a_page_without_image_has_none(archive: Archive, client: TestClient):
    (line,) = lines_of(client, fill(archive, "Dear"))
    assert client.get(f"/api/v1/lines/{line['id']}/image").status_code == 404
