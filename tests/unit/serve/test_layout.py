import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from serve_pages import PROVENANCE, found_line, found_page, new_page, read_page
from sqlalchemy import select

from quillread.serve.archive.blobs import add_blobs, store
from quillread.serve.archive.checking import check
from quillread.serve.archive.geometry import ShapeError, fit_baseline, fit_polygon
from quillread.serve.archive.home import Archive
from quillread.serve.archive.layout import check_room
from quillread.serve.archive.layouts import place_of
from quillread.serve.archive.readings import apply_reading
from quillread.serve.database.schema import Event, LineSearch, Page, Task
from quillread.serve.database.schema import Line as LineRow
from quillread.serve.faults import TooLargeError
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.pages import find_task
from quillread.types import Line, Transcript


class Drawing:
    """A page whose layout is changed, with the version as it was seen last."""

    def __init__(self, archive: Archive, client: TestClient, *lines: Line) -> None:
        with archive.database.write() as session:
            page = new_page(session)
            read_page(session, page, *lines)
            self.id, self.version = page.id, page.version
        self._archive, self._client = archive, client

    def change(self, method: str, place: str, body: Any = None, **query: Any) -> Response:
        headers = {"If-Match": f'"{self.version}"'}
        answer = self._client.request(method, f"/api/v1/{place}", json=body, headers=headers, params=query)
        if answer.is_success:
            assert answer.json()["page_version"] == self.version + 1
            assert answer.headers["etag"] == f'"{self.version + 1}"'
            self.version += 1
        return answer

    @property
    def lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self._client.get(f"/api/v1/pages/{self.id}/lines").json()["lines"]
        return lines

    @property
    def texts(self) -> list[str]:
        return [line["text"] for line in self.lines]

    def save(self, line: dict[str, Any], text: str) -> None:
        tag = {"If-Match": f'"{line["revision"]}"'}
        assert self._client.put(f"/api/v1/lines/{line['id']}/text", json={"text": text}, headers=tag).is_success

    def waiting(self) -> list[list[int]]:
        with self._archive.database.read() as session:
            tasks = session.scalars(select(Task).where(Task.page_id == self.id).order_by(Task.id))
            return [task.payload["line_ids"] for task in tasks if task.priority == 10]

    def found(self) -> list[str]:
        with self._archive.database.read() as session:
            return list(session.scalars(select(LineSearch.folded).order_by(LineSearch.line_id)))

    def page(self) -> Page:
        with self._archive.database.read() as session:
            return session.get_one(Page, self.id)


def straight(y: float, x0: float = 100, x1: float = 300) -> list[list[float]]:
    return [[x0, y], [x1, y]]


def bounds(points: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


@pytest.fixture
def drawing(archive: Archive, client: TestClient) -> Drawing:
    return Drawing(archive, client, found_line("one two", 100), found_line("three", 200), found_line("four", 300))


def test_a_drawn_line_gets_an_outline_its_place_its_region_and_is_read(drawing: Drawing):
    answer = drawing.change("POST", f"pages/{drawing.id}/lines", {"baseline": straight(280)})
    assert answer.status_code == 201
    (line,) = answer.json()["lines"]
    assert [other["id"] for other in drawing.lines].index(line["id"]) == 2  # after the one above it
    assert line["region_id"] == drawing.lines[0]["region_id"]
    _, top, _, bottom = bounds(line["polygon"])
    assert 190 < top < 250 < 280 < bottom < 340
    assert drawing.waiting() == [[line["id"]]]
    page = drawing.page()
    assert (page.drawn, page.line_count, page.version) == (True, 4, drawing.version)


def test_lines_are_cut_out_alike_whichever_of_them_are_wanted(archive: Archive, drawing: Drawing):
    (line,) = drawing.change("POST", f"pages/{drawing.id}/lines", {"baseline": straight(280)}).json()["lines"]
    image = store(archive, b"an image", "image/png")
    with archive.database.write() as session:
        add_blobs(session, archive.storage, [image])
        session.get_one(Page, drawing.id).source = image.stored.sha256
    found: list[dict[int, Line]] = []
    for chosen in (None, [line["id"]], [line["id"], drawing.lines[0]["id"]]):
        payload = {"layout": "keep"} if chosen is None else {"line_ids": chosen}
        claim = Claim(1, 1, 1, "read", drawing.id, payload, {}, 1, None, "owner")
        with archive.database.read() as session:
            task = find_task(archive, session, claim)
        assert task and task.known and task.line_ids
        assert [one.baseline for one in task.along] == [one.baseline for one in task.known.lines]
        found.append(dict(zip(task.line_ids, task.along, strict=True)))
    whole, *parts = found
    assert [part.keys() for part in parts] == [{line["id"]}, {line["id"], drawing.lines[0]["id"]}]
    assert all(part[id] == whole[id] for part in parts for id in part)
    for one in drawing.lines:  # those that were found, along their own outlines; the other by how far lines are apart
        is_own = [list(point) for point in whole[one["id"]].polygon.points] == one["polygon"]
        assert is_own == (one["id"] != line["id"])


def read_along(archive: Archive, page_id: int, line_id: int, text: str) -> None:
    """What a reader does with a line that was drawn."""
    with archive.database.write() as session:
        page, row = session.get_one(Page, page_id), session.get_one(LineRow, line_id)
        place = replace(place_of(row), transcript=Transcript(text, 0.9))
        apply_reading(session, page, found_page(place), PROVENANCE, "one", [line_id])


def test_a_drawn_line_that_is_read_has_a_new_revision(archive: Archive, client: TestClient, drawing: Drawing):
    # Whoever has it without a text would keep that, and take it as right.
    (line,) = drawing.change("POST", f"pages/{drawing.id}/lines", {"baseline": straight(500)}).json()["lines"]
    read_along(archive, drawing.id, line["id"], "five")
    body, tag = {"text": "", "checked": True}, {"If-Match": f'"{line["revision"]}"'}
    answer = client.put(f"/api/v1/lines/{line['id']}/text", json=body, headers=tag)
    assert answer.status_code == 409
    assert answer.json()["current"]["text"] == "five"


@pytest.mark.parametrize("change", ["read", "split"])
def test_a_drawn_line_that_was_moved_never_goes_back_to_an_earlier_revision(
    archive: Archive, drawing: Drawing, change: str
):
    (line,) = drawing.change("POST", f"pages/{drawing.id}/lines", {"baseline": straight(500)}).json()["lines"]
    answer = drawing.change("PATCH", f"lines/{line['id']}/layout", {"baseline": straight(510)})
    (moved,) = answer.json()["lines"]
    if change == "read":
        read_along(archive, drawing.id, line["id"], "five")
    else:
        drawing.change("POST", f"lines/{line['id']}/split", {"x": 200})
    (after,) = (other for other in drawing.lines if other["id"] == line["id"])
    assert after["revision"] == moved["revision"] + 1


def test_a_change_is_told_and_lines_are_read_only_if_asked_for(archive: Archive, drawing: Drawing):
    drawing.change("POST", f"pages/{drawing.id}/lines", {"baseline": straight(500)}, read=False)
    assert drawing.waiting() == []
    with archive.database.read() as session:
        event = session.scalars(select(Event).order_by(Event.id.desc())).first()
        assert event is not None
        expected = {"page": drawing.id, "version": drawing.version, "by": "owner"}
        assert (event.kind, event.data) == ("layout.changed", expected)


def test_a_layout_that_another_has_changed_is_not_changed(drawing: Drawing):
    line = drawing.lines[0]["id"]
    drawing.change("DELETE", f"lines/{line}")
    drawing.version -= 1
    for method, place, body in (
        ("POST", f"pages/{drawing.id}/lines", {"baseline": straight(500)}),
        ("PATCH", f"lines/{drawing.lines[0]['id']}/layout", {"position": 3}),
        ("DELETE", f"lines/{drawing.lines[0]['id']}", None),
        ("POST", f"lines/{line}/undelete", None),
        ("POST", f"lines/{drawing.lines[0]['id']}/split", {"x": 120}),
        ("POST", f"pages/{drawing.id}/merge", {"line_ids": [1, 2]}),
        ("PUT", f"pages/{drawing.id}/order", {"line_ids": [1, 2]}),
        ("POST", f"pages/{drawing.id}/regions", {"polygon": [[0, 0], [9, 0], [9, 9]]}),
    ):
        answer = drawing.change(method, place, body)
        assert answer.status_code == 409, (method, place, answer.text)
        assert answer.json()["current"]["version"] == drawing.version + 1
    assert drawing.texts == ["three", "four"]


def test_a_change_of_a_layout_names_the_version_that_it_is_about(client: TestClient, drawing: Drawing):
    assert client.delete(f"/api/v1/lines/{drawing.lines[0]['id']}").status_code == 428


def test_a_moved_line_has_a_new_revision_and_keeps_its_text(drawing: Drawing):
    line = drawing.lines[0]
    drawing.save(line, "One Two")
    answer = drawing.change("PATCH", f"lines/{line['id']}/layout", {"baseline": straight(600)})
    (moved,) = answer.json()["lines"]
    assert (moved["text"], moved["checked"], moved["revision"]) == ("One Two", True, line["revision"] + 2)
    assert bounds(moved["polygon"])[1] > 400
    assert bounds(moved["words"][0]["polygon"])[1] > 400
    assert drawing.waiting() == [[line["id"]]]


def test_a_line_goes_to_another_place_in_the_order(drawing: Drawing):
    line = drawing.lines[2]
    drawing.change("PATCH", f"lines/{line['id']}/layout", {"position": 0})
    assert drawing.texts == ["four", "one two", "three"]
    assert drawing.lines[0]["revision"] == line["revision"]
    assert drawing.waiting() == []


def test_lines_are_put_in_order_all_of_them(drawing: Drawing):
    ids = [line["id"] for line in drawing.lines]
    assert drawing.change("PUT", f"pages/{drawing.id}/order", {"line_ids": ids[::-1]}).is_success
    assert drawing.texts == ["four", "three", "one two"]
    for wrong in (ids[:2], [*ids, ids[0]], [*ids[:2], 999], []):
        answer = drawing.change("PUT", f"pages/{drawing.id}/order", {"line_ids": wrong})
        assert answer.status_code == 400
    assert "missing" in answer.json()


def test_a_deleted_line_is_not_found_and_comes_back_with_its_text(drawing: Drawing):
    line = drawing.lines[1]
    drawing.save(line, "Three")
    drawing.change("DELETE", f"lines/{line['id']}")
    assert drawing.texts == ["one two", "four"]
    assert drawing.found() == ["one two", "four"]
    assert (drawing.page().line_count, drawing.page().checked_count) == (2, 0)
    drawing.change("POST", f"lines/{line['id']}/undelete")
    assert drawing.texts == ["one two", "Three", "four"]
    assert drawing.found() == ["one two", "three", "four"]
    assert (drawing.page().line_count, drawing.page().checked_count) == (3, 1)


def test_a_line_that_was_deleted_before_it_could_be_read_is_read_when_it_comes_back(
    archive: Archive, drawing: Drawing, crew: Crew
):
    (line,) = drawing.change("POST", f"pages/{drawing.id}/lines", {"baseline": straight(500)}).json()["lines"]
    drawing.change("DELETE", f"lines/{line['id']}")
    crew.work_off()
    drawing.change("POST", f"lines/{line['id']}/undelete")
    with archive.database.read() as session:
        waiting = session.scalars(select(Task).where(Task.page_id == drawing.id, Task.state == "waiting")).one()
        assert waiting.payload == {"line_ids": [line["id"]]}
    # One that has a text is not.
    known = drawing.lines[0]["id"]
    drawing.change("DELETE", f"lines/{known}")
    drawing.change("POST", f"lines/{known}/undelete")
    assert drawing.waiting()[-1] == [line["id"]]


def test_a_line_split_keeps_all_of_its_text(drawing: Drawing):
    line = drawing.lines[0]
    answer = drawing.change("POST", f"lines/{line['id']}/split", {"x": 135})
    first, second = answer.json()["lines"]
    assert (first["id"], first["text"], second["text"]) == (line["id"], "one", "two")
    assert (first["kind"], second["kind"]) == ("machine", "machine")
    assert bounds(first["polygon"])[2] == 135 == bounds(second["polygon"])[0]
    assert [word["text"] for word in second["words"]] == ["two"]
    assert drawing.texts == ["one", "two", "three", "four"]
    assert drawing.found() == ["one", "three", "four", "two"]
    assert drawing.waiting() == [[first["id"], second["id"]]]


def test_a_checked_line_split_where_one_says_stays_checked(drawing: Drawing):
    line = drawing.lines[0]
    drawing.save(line, "Onetwo")
    answer = drawing.change("POST", f"lines/{line['id']}/split", {"x": 135, "text_at": 3})
    assert [part["text"] for part in answer.json()["lines"]] == ["One", "two"]
    assert [part["checked"] for part in answer.json()["lines"]] == [True, True]
    assert drawing.page().checked_count == 2
    assert drawing.change("POST", f"lines/{line['id']}/split", {"x": 120, "text_at": 99}).status_code == 400


def test_a_draft_that_is_split_stays_in_doubt(drawing: Drawing):
    line = drawing.lines[0]
    tag = {"If-Match": f'"{line["revision"]}"'}
    body = {"text": f"{line['text']}x", "checked": False}
    drawing._client.put(f"/api/v1/lines/{line['id']}/text", json=body, headers=tag)
    drawing.change("POST", f"lines/{line['id']}/split", {"x": 135, "text_at": 3})
    assert [half["confidence"] for half in drawing.lines[:2]] == [line["confidence"]] * 2


def test_of_a_line_from_right_to_left_the_right_part_comes_first(archive: Archive, client: TestClient):
    drawing = Drawing(archive, client, found_line("x" * 20, 100))
    drawing.save(drawing.lines[0], "שלום רב")
    answer = drawing.change("POST", f"lines/{drawing.lines[0]['id']}/split", {"x": 170, "text_at": 4})
    first, second = answer.json()["lines"]
    assert (first["text"], second["text"]) == ("שלום", "רב")
    assert first["baseline"][0][0] == 170
    merged = drawing.change("POST", f"pages/{drawing.id}/merge", {"line_ids": [first["id"], second["id"]]})
    assert [line["text"] for line in merged.json()["lines"]] == ["שלום רב"]


@pytest.mark.parametrize("body", [{"x": 99}, {"x": 5000}, {"y": 130}, {}, {"x": 120, "y": 130}, {"x": None}])
def test_a_line_is_not_split_where_it_is_not(drawing: Drawing, body: dict[str, Any]):
    answer = drawing.change("POST", f"lines/{drawing.lines[0]['id']}/split", body)
    assert answer.status_code in (400, 422)


def test_lines_that_cannot_be_merged_are_named_by_their_place_on_the_page(archive: Archive, client: TestClient):
    drawing = Drawing(archive, client, found_line("one", 100), found_line("two", 200), found_line("three", 300))
    first, second, last = (line["id"] for line in drawing.lines)
    drawing.change("PUT", f"pages/{drawing.id}/order", {"line_ids": [last, first, second]})
    answer = drawing.change("POST", f"pages/{drawing.id}/merge", {"line_ids": [first, last]})
    assert answer.status_code == 422
    assert "lines 1 and 2 of the page stand one above the other" in answer.text


def test_lines_in_a_row_are_merged_with_their_texts(archive: Archive, client: TestClient):
    drawing = Drawing(archive, client, found_line("one", 100), found_line("two", 104, 150), found_line("four", 300))
    first, second, last = (line["id"] for line in drawing.lines)
    stacked = drawing.change("POST", f"pages/{drawing.id}/merge", {"line_ids": [first, last]})
    assert stacked.status_code == 422
    answer = drawing.change("POST", f"pages/{drawing.id}/merge", {"line_ids": [second, first]})
    (merged,) = answer.json()["lines"]
    assert (merged["id"], merged["text"], merged["kind"]) == (first, "one two", "machine")
    assert [word["text"] for word in merged["words"]] == ["one", "two"]
    assert merged["baseline"] == [[100, 130], [130, 130], [150, 134], [180, 134]]
    assert bounds(merged["polygon"]) == (100, 100, 180, 144)
    assert drawing.texts == ["one two", "four"]
    assert drawing.found() == ["one two", "four"]
    drawing.change("POST", f"lines/{second}/undelete")
    assert drawing.texts == ["one two", "two", "four"]


def test_of_merged_lines_a_corrected_one_makes_the_text_that_of_a_person(archive: Archive, client: TestClient):
    drawing = Drawing(archive, client, found_line("one", 100), found_line("two", 100, 150))
    first, second = drawing.lines
    drawing.save(first, "One")
    answer = drawing.change("POST", f"pages/{drawing.id}/merge", {"line_ids": [first["id"], second["id"]]})
    (merged,) = answer.json()["lines"]
    assert (merged["text"], merged["kind"], merged["checked"]) == ("One two", "person", False)
    assert [word["polygon"][0][0] for word in merged["words"]] == [100, 150]


@pytest.mark.parametrize("ids", [[], [1], [1, 1], [1, 999]])
def test_fewer_than_two_lines_are_not_merged(drawing: Drawing, ids: list[int]):
    line = drawing.lines[0]["id"]
    body = {"line_ids": [line if id == 1 else id for id in ids]}
    assert drawing.change("POST", f"pages/{drawing.id}/merge", body).status_code in (400, 404)


def test_more_lines_than_a_statement_holds_are_not_merged(drawing: Drawing):
    body = {"line_ids": list(range(1, 70_000))}
    assert drawing.change("POST", f"pages/{drawing.id}/merge", body).status_code == 400


def test_a_region_takes_the_lines_in_it_and_gives_them_back(client: TestClient, drawing: Drawing):
    body = {"polygon": [[50, 180], [500, 180], [500, 400], [50, 400]], "kind": "margin"}
    answer = drawing.change("POST", f"pages/{drawing.id}/regions", body)
    (region,) = answer.json()["regions"]
    assert (region["kind"], len(answer.json()["lines"])) == ("margin", 2)
    drawing.change("PATCH", f"regions/{region['id']}", {"kind": "heading", "position": 0})
    assert drawing.texts == ["three", "four", "one two"]
    shown = client.get(f"/api/v1/pages/{drawing.id}/lines").json()["regions"]
    assert [other["kind"] for other in shown] == ["heading", "text"]
    drawing.change("DELETE", f"regions/{region['id']}")
    assert {line["region_id"] for line in drawing.lines} == {shown[1]["id"], None}
    wrong = drawing.change("PATCH", f"lines/{drawing.lines[0]['id']}/layout", {"region_id": region["id"]})
    assert wrong.status_code == 404
    out = drawing.change("PATCH", f"lines/{drawing.lines[2]['id']}/layout", {"region_id": None})
    assert out.json()["lines"][0]["region_id"] is None


def test_what_lies_beyond_the_page_is_cut_off():
    size = (1000, 500)
    assert fit_baseline([[-50, 100], [1200, 100]], size) == ((0, 100), (1000, 100))
    assert fit_baseline([[10, 10], [20, 10], [20, -9]], size) == ((10, 10), (20, 10), (20, 0))
    polygon = fit_polygon([[-10, -10], [100, -10], [100, 60], [-10, 60]], size)
    assert bounds(polygon) == (0, 0, 100, 60)
    for shape in ([[2000, 100], [3000, 100]], [[-5, 600], [-9, 700]], [[10, 10], [10, 10]]):
        with pytest.raises(ShapeError, match="no length"):
            fit_baseline(shape, size)
    for shape in ([[2000, 1], [2100, 1], [2100, 60]], [[1, 1], [2, 2], [3, 3]], [[1, 1], [1, 1], [2, 2]]):
        with pytest.raises(ShapeError, match="no area"):
            fit_polygon(shape, size)


@pytest.mark.parametrize(
    "bad",
    [
        {"baseline": [[float("nan"), 1], [2, 2]]},
        {"baseline": [[1e300, 1], [2, 2]]},
        {"baseline": [[1, 2]]},
        {"baseline": []},
        {"baseline": [[1, 2, 3], [4, 5, 6]]},
        {"baseline": "1,2 3,4"},
        {"baseline": [[5000, 5000], [6000, 5000]]},
        {"baseline": [[x % 50 * 20, x % 2 * 900] for x in range(1001)]},
        {"baseline": [[100, 100], [300, 300], [300, 100], [100, 300]]},
        {"baseline": [[100, 100], [300, 100]], "polygon": [[100, 80], [300, 110], [300, 80], [100, 110]]},
        {"baseline": [[100, 100], [300, 100]], "polygon": [[2000, 80], [2300, 80], [2300, 110]]},
        {"baseline": [[100, 100], [300, 100]], "region_id": 10**30},
        {"baseline": [[100, 100], [300, 100]], "position": 10**30},
    ],
)
def test_shapes_that_cannot_be_are_refused(client: TestClient, drawing: Drawing, bad: dict[str, Any]):
    headers = {"If-Match": f'"{drawing.version}"', "Content-Type": "application/json"}
    answer = client.post(f"/api/v1/pages/{drawing.id}/lines", content=json.dumps(bad), headers=headers)
    assert answer.status_code == 422
    assert drawing.page().line_count == 3


def test_a_polygon_that_crosses_itself_is_refused_with_the_point(drawing: Drawing):
    body = {"polygon": [[100, 80], [300, 120], [300, 80], [100, 120]]}
    answer = drawing.change("PATCH", f"lines/{drawing.lines[0]['id']}/layout", body)
    assert answer.status_code == 422
    assert answer.json()["point"] == [200, 100]


def test_a_page_has_no_more_lines_than_it_may(archive: Archive, client: TestClient, drawing: Drawing):
    with archive.database.write() as session:
        session.get_one(Page, drawing.id).line_count = session.info["limits"].page_lines
    answer = drawing.change("POST", f"pages/{drawing.id}/lines", {"baseline": straight(500)})
    assert answer.status_code == 413


def test_two_thousand_lines_are_shown_and_put_in_order(archive: Archive, client: TestClient):
    lines = [found_line(f"l{i}", 40.0 * (i % 25), 10.0 + 12 * (i // 25), step=5) for i in range(2000)]
    drawing = Drawing(archive, client, *lines)
    ids = [line["id"] for line in drawing.lines]
    assert len(ids) == 2000
    assert drawing.change("PUT", f"pages/{drawing.id}/order", {"line_ids": ids[::-1]}).is_success
    assert [line["id"] for line in drawing.lines] == ids[::-1]


def area(top: float, bottom: float) -> list[list[float]]:
    return [[50, top], [950, top], [950, bottom], [50, bottom]]


def test_lines_outside_a_picture_leave_it_when_it_is_drawn_anew_and_come_back_with_it(drawing: Drawing):
    place = f"regions/{drawing.lines[0]['region_id']}"
    outer = drawing.change("POST", f"pages/{drawing.id}/regions", {"polygon": area(180, 260), "kind": "margin"})
    (region,) = outer.json()["regions"]
    drawing.change("PATCH", f"lines/{drawing.lines[1]['id']}/layout", {"region_id": drawing.lines[0]["region_id"]})
    picture = drawing.lines[0]["region_id"]
    assert drawing.change("PATCH", place, {"kind": "picture"}).json()["lines"] == []
    moved = drawing.change("PATCH", place, {"polygon": area(90, 160)}).json()["lines"]
    assert [line["text"] for line in moved] == ["three", "four"]
    assert [line["region_id"] for line in drawing.lines] == [picture, region["id"], None]
    drawing.change("PATCH", place, {"polygon": area(0, 1000)})
    assert [line["region_id"] for line in drawing.lines] == [picture, region["id"], picture]


def test_lines_outside_a_region_leave_it_when_it_becomes_a_picture(drawing: Drawing):
    region = drawing.lines[0]["region_id"]
    drawing.change("PATCH", f"regions/{region}", {"polygon": area(90, 160)})
    assert [line["region_id"] for line in drawing.lines] == [region, region, region]
    moved = drawing.change("PATCH", f"regions/{region}", {"kind": "ignore"}).json()["lines"]
    assert [line["text"] for line in moved] == ["three", "four"]
    assert [line["region_id"] for line in drawing.lines] == [region, None, None]


def test_lines_in_a_picture_are_not_counted(archive: Archive, drawing: Drawing):
    def counts() -> tuple[int, int, int]:
        page = drawing.page()
        return page.line_count, page.checked_count, page.doubtful_count

    body = {"polygon": area(180, 260), "kind": "picture"}
    (region,) = drawing.change("POST", f"pages/{drawing.id}/regions", body).json()["regions"]
    one, hidden, four = drawing.lines
    for line in (one, hidden, four):
        drawing.save(line, line["text"])
    assert counts() == (2, 2, 0)
    assert not list(check(archive))
    with archive.database.write() as session:
        session.info["limits"] = replace(session.info["limits"], page_lines=3)
        page = session.get_one(Page, drawing.id)
        with pytest.raises(TooLargeError, match="3 lines"):
            check_room(session, page)
    drawing.change("PATCH", f"regions/{region['id']}", {"kind": "text"})
    assert counts() == (3, 3, 0)


@pytest.mark.parametrize("way", ["kind", "outline", "delete", "around", "move"])
def test_a_line_drawn_in_a_picture_is_read_when_it_becomes_text(drawing: Drawing, way: str):
    body = {"polygon": area(480, 800), "kind": "picture"}
    (region,) = drawing.change("POST", f"pages/{drawing.id}/regions", body).json()["regions"]
    place, lines = f"regions/{region['id']}", f"pages/{drawing.id}/lines"
    # what is asked for at once finds the line in a picture, and reads nothing
    (line,) = drawing.change("POST", lines, {"baseline": straight(600)}, read=False).json()["lines"]
    drawing.change("PATCH", place, {"kind": "ignore"})
    assert drawing.waiting() == []
    if way == "kind":
        drawing.change("PATCH", place, {"kind": "text"})
    elif way == "outline":
        drawing.change("PATCH", place, {"polygon": area(650, 800)})
    elif way == "delete":
        drawing.change("DELETE", place)
    elif way == "around":
        drawing.change("POST", f"pages/{drawing.id}/regions", {"polygon": area(550, 650)})
    else:
        drawing.change("PATCH", f"lines/{line['id']}/layout", {"region_id": None})
    assert drawing.waiting() == [[line["id"]]]
