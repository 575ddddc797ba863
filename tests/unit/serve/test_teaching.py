import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serve_lessons import add_lesson
from serve_pages import found_line, new_page, read_page
from sqlalchemy import select, update

from quillread.errors import ConfigError
from quillread.serve.access.actor import OWNER
from quillread.serve.archive import teaching
from quillread.serve.archive.documents import move_document
from quillread.serve.archive.home import Archive
from quillread.serve.archive.lines import save_text
from quillread.serve.archive.suggesting import Candidate, Coverage, choose_by_page, suggest_lines
from quillread.serve.archive.teaching import CURVE, Checked, checked_lines, choose_review, hold_back, taught_before
from quillread.serve.database.base import now
from quillread.serve.database.schema import Blob, Document, Line, LineVersion, Model, Page, Region


def lines_of(*counts: int) -> list[Checked]:
    """Lines of pages that have so many each."""
    return [Checked(100 * page + i, page) for page, count in enumerate(counts, 1) for i in range(count)]


def test_a_fifth_of_the_lines_is_held_back_by_page():
    lines = lines_of(*[5] * 20)
    taught, held = hold_back(lines)
    assert len(held) == 20
    assert sorted(taught + held) == lines
    assert not {line.page_id for line in taught} & {line.page_id for line in held}


def test_single_lines_are_held_back_of_one_page():
    taught, held = hold_back(lines_of(20))
    assert (len(taught), len(held)) == (16, 4)


@pytest.mark.parametrize("counts", [(1, 14), (14, 1), (30, 1, 1), (1, 1, 98)])
def test_single_lines_are_held_back_where_one_page_has_nearly_all(counts: tuple[int, ...]):
    held = hold_back(lines_of(*counts))[1]
    assert 0.1 * sum(counts) <= len(held) <= 0.3 * sum(counts)


@pytest.mark.parametrize("counts", [(1, 1), (1, 30), (30, 1), (3, 40, 2), (2,), (1, 1, 1)])
def test_some_lines_teach_and_some_measure_however_few(counts: tuple[int, ...]):
    taught, held = hold_back(lines_of(*counts))
    assert taught
    assert held
    assert len(held) <= len(taught)


def test_lines_that_were_held_back_stay_so_when_pages_are_added():
    before = {line.page_id for line in hold_back(lines_of(*[5] * 20))[1]}
    after = {line.page_id for line in hold_back(lines_of(*[5] * 22))[1]}
    assert len(before & after) >= 3


def test_pages_that_no_model_was_taught_with_are_held_back_first():
    lines = lines_of(*[5] * 10)
    taught, held = hold_back(lines)
    more = lines_of(*[5] * 20)
    assert not {line.id for line in hold_back(more, {line.id for line in taught})[1]} & {line.id for line in taught}
    again = hold_back(lines, {line.id for line in taught})[1]
    assert again == held


def fill(archive: Archive) -> int:
    """A collection of two pages with lines that were read, and one that is checked."""
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, *(found_line(text, 60.0 * i) for i, text in enumerate(["one", "two", "three"])))
        document = session.get_one(Document, page.document_id)
        second = Page(document_id=document.id, position=1, width=1000, height=1000)
        session.add(second)
        session.flush()
        read_page(session, second, found_line("four", 0.0), found_line("five and six", 60.0))
        session.add(Blob(sha256="a" * 64, size=1, media_type="image/jpeg"))
        session.flush()
        page.view = second.view = "a" * 64
        for text, rate in (("one", 0.5), ("two", 0.0), ("three", 0.1), ("four", 0.3), ("five and six", 0.01)):
            row = session.scalars(select(Line).where(Line.text == text)).one()
            version = session.get_one(LineVersion, row.current_id)
            version.reading = {**version.reading, "expected_error": rate}
        session.scalars(select(Line).where(Line.text == "two")).one().checked = True
        return document.collection_id


def ids(archive: Archive, *texts: str) -> list[int]:
    with archive.database.read() as session:
        return [session.scalars(select(Line.id).where(Line.text == text)).one() for text in texts]


def test_checked_lines_teach_unless_they_are_in_the_bin_or_empty(archive: Archive):
    collection = fill(archive)
    with archive.database.read() as session:
        assert [line.id for line in checked_lines(session, collection)] == ids(archive, "two")
        assert checked_lines(session, collection + 1) == []
    with archive.database.write() as session:
        session.scalars(select(Line).where(Line.text == "two")).one().text = " "
        session.scalars(select(Line).where(Line.text == "four")).one().checked = True
    with archive.database.read() as session:
        assert [line.id for line in checked_lines(session, collection)] == ids(archive, "four")
    with archive.database.write() as session:
        session.scalars(select(Document)).one().deleted = now()
    with archive.database.read() as session:
        assert checked_lines(session, collection) == []


@pytest.mark.parametrize("kind", ["ignore", "picture"])
def test_lines_in_a_region_that_is_not_text_neither_teach_nor_are_proofread(archive: Archive, kind: str):
    collection = fill(archive)
    with archive.database.write() as session:
        session.execute(update(Region).values(kind=kind))
        assert checked_lines(session, collection) == []
        assert choose_review(session, collection, 0.0).line_ids == []


def test_lines_that_models_were_taught_with_are_known(archive: Archive):
    collection = fill(archive)
    with archive.database.write() as session:
        for number, taught in enumerate(([1, 2], [2, 3]), 1):
            card = {"_taught": taught}
            session.add(Model(name=str(number), blob="a" * 64, family="compact", collection_id=collection, card=card))
        session.add(Model(name="other", blob="a" * 64, family="compact", card={"_taught": [9]}))
    with archive.database.read() as session:
        assert taught_before(session, collection) == {1, 2, 3}


def test_lines_that_the_model_of_another_collection_was_taught_with_are_known_once_they_move(archive: Archive):
    there = fill(archive)
    with archive.database.write() as session:
        here = new_page(session, "Diaries").document.collection_id
        card = {"_taught": [1, 2]}
        session.add(Model(name="letters", blob="a" * 64, family="compact", collection_id=there, card=card))
        move_document(session, OWNER, session.get_one(Page, 1).document, here)
    with archive.database.read() as session:
        assert taught_before(session, here) == {1, 2}
        assert taught_before(session, there) == set()


def test_the_fewest_lines_are_proofread_for_a_target(archive: Archive):
    collection = fill(archive)
    with archive.database.read() as session:
        chosen = choose_review(session, collection, 0.05)
        assert chosen.line_ids == ids(archive, "one", "four")
        assert chosen.before == pytest.approx((3 * 0.5 + 5 * 0.1 + 4 * 0.3 + 12 * 0.01) / 24, abs=1e-5)
        assert chosen.after == pytest.approx((5 * 0.1 + 12 * 0.01) / 17, abs=1e-5)
        assert choose_review(session, collection, 1.0).line_ids == []
        nothing = choose_review(session, collection + 1, 0.05)
        assert (nothing.line_ids, nothing.before, nothing.after) == ([], 0.0, 0.0)
        with pytest.raises(ConfigError, match="lies in 0 to 1"):
            choose_review(session, collection, 2.0)


def test_a_draft_is_proofread_and_suggested_until_it_is_checked(archive: Archive):
    collection = fill(archive)
    with archive.database.write() as session:
        row = session.scalars(select(Line).where(Line.text == "one")).one()
        save_text(session, OWNER, row.id, "onc", row.revision, checked=False)
        found = choose_review(session, collection, 0.05)
        assert found.line_ids == [row.id, *ids(archive, "four")]
        assert found.before == pytest.approx((3 * 0.5 + 5 * 0.1 + 4 * 0.3 + 12 * 0.01) / 24, abs=1e-5)
        assert row.id in {line.id for line in suggest_lines(session, collection, 10)}


def test_lines_whose_error_rate_is_not_known_are_proofread(archive: Archive):
    collection = fill(archive)
    with archive.database.write() as session:
        row = session.scalars(select(Line).where(Line.text == "five and six")).one()
        session.get_one(LineVersion, row.current_id).reading = {}
    with archive.database.read() as session:
        assert ids(archive, "five and six")[0] in choose_review(session, collection, 0.05).line_ids


def candidate(id: int, text: str, error: float = 0.1, page: int = 1) -> Candidate:
    return Candidate(id, page, text, error)


def chosen(lines: Sequence[Candidate], taught: Iterable[str], count: int) -> list[int]:
    """Ids of lines that are chosen where each is a page of its own."""
    alone = [replace(line, page_id=line.id) for line in lines]
    return [line.id for line in choose_by_page(alone, taught, count)]


def test_of_equal_lines_that_with_more_errors_teaches_more():
    assert chosen([candidate(1, "abc", 0.05), candidate(2, "abc", 0.2)], [], 1) == [2]


def test_of_lines_as_doubtful_that_unlike_what_was_taught_teaches_more():
    lines = [candidate(1, "the same words"), candidate(2, "quite othr text")]
    assert chosen(lines, ["the same words"] * 3, 1) == [2]


def test_a_letter_that_was_rarely_taught_counts():
    lines = [candidate(1, "abcabd"), candidate(2, "abcabß")]
    assert chosen(lines, ["abcabdabd"] * 5, 1) == [2]


def test_lines_that_are_chosen_differ():
    lines = [candidate(1, "abc def"), candidate(2, "abc def"), candidate(3, "ghi jk", 0.09)]
    assert set(chosen(lines, [], 2)) in ({1, 3}, {2, 3})


def test_the_lazy_choice_is_that_of_looking_at_all():
    texts = ["abc", "abd", "bcd xyz", "x", "zzz abc", "the", "then the", "lorem", "ipsum lorem", "dolor"]
    lines = [candidate(i, text, 0.05 + i % 3 / 10) for i, text in enumerate(texts)]
    coverage, rest, wanted = Coverage(lines), list(lines), []
    for _ in range(6):
        best = max(rest, key=coverage.gain)
        rest.remove(best)
        coverage.add(best.text)
        wanted.append(best.id)
    assert chosen(lines, [], 6) == wanted


def test_lines_are_suggested_page_by_page_in_reading_order():
    lines = [
        candidate(10 * page + i, f"{page} {i} {'abcdef'[i:]}", 0.1 * page, page) for page in (1, 2) for i in range(3)
    ]
    assert [line.id for line in choose_by_page(lines, [], 5)] == [20, 21, 22, 10, 11]


def test_suggestions_are_lines_that_nobody_has_checked(archive: Archive):
    collection = fill(archive)
    with archive.database.read() as session:
        found = suggest_lines(session, collection, 10)
        assert {line.id for line in found} == set(ids(archive, "one", "three", "four", "five and six"))
        assert [line.page_id for line in found] == sorted((line.page_id for line in found), key=found[0].page_id.__ne__)
        assert len(suggest_lines(session, collection, 2)) == 2
        assert suggest_lines(session, collection + 1, 10) == []


def test_the_api_tells_what_can_be_taught(archive: Archive, client: TestClient):
    collection = fill(archive)
    shown = client.get(f"/api/v1/collections/{collection}/teach").json()
    assert (shown["checked_lines"], shown["held_back"], shown["running_job"]) == (1, 0, None)
    assert shown["model"] == "builtin"
    assert shown["fewest"] == teaching.FEWEST
    assert shown["curve"][0] == {"lines": 0, "cer_factor": 1.0}
    factors = [point["cer_factor"] for point in shown["curve"]]
    assert factors == sorted(factors, reverse=True)


def test_the_curve_is_that_which_was_measured():
    results = Path(__file__).parents[3] / "benchmarks" / "results" / "personal.json"
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"]
    measured = [(row["lines"], round(row["cer_spacing"] / rows[0]["cer_spacing"], 2)) for row in rows]
    assert list(CURVE) == measured


def test_a_collection_is_taught_by_one_job_at_a_time(archive: Archive, client: TestClient):
    collection = add_lesson(archive)
    place = f"/api/v1/collections/{collection}/teach"
    job = client.post(place, json={"minutes": 2})
    assert (job.status_code, job.json()["kind"], job.json()["state"]) == (202, "train", "waiting")
    again = client.post(place)
    assert (again.status_code, again.json()["job_id"]) == (409, job.json()["id"])
    assert client.get(place).json()["running_job"] == job.json()["id"]
    client.post(f"/api/v1/jobs/{job.json()['id']}/cancel")
    assert client.post(place).status_code == 202


@pytest.mark.parametrize("body", [{"minutes": 0}, {"minutes": 1e9}, {"minutes": "x"}, []])
def test_a_lesson_of_another_form_is_refused(archive: Archive, client: TestClient, body: object):
    place = f"/api/v1/collections/{add_lesson(archive)}/teach"
    assert client.post(place, json=body).status_code == 422


def test_a_collection_whose_model_is_chosen_page_by_page_is_not_taught(archive: Archive, client: TestClient):
    place = f"/api/v1/collections/{add_lesson(archive)}"
    settings = {"options": {"models": ["auto"]}}
    assert client.patch(place, json={"settings": settings}).status_code == 200
    answer = client.post(f"{place}/teach")
    assert (answer.status_code, answer.json()["detail"]) == (422, "for each page of the collection a model is chosen")


def test_what_cannot_be_taught_says_why(archive: Archive, client: TestClient, monkeypatch: pytest.MonkeyPatch):
    few = client.post(f"/api/v1/collections/{fill(archive)}/teach")
    assert (few.status_code, few.json()["detail"]) == (422, "1 lines are checked, and teaching needs 10")
    monkeypatch.setattr(teaching, "_PACKAGES", ("no_such_package",))
    place = f"/api/v1/collections/{add_lesson(archive)}/teach"
    shown = client.get(place).json()
    assert (shown["can_train"], "quillread[train]" in shown["hint"]) == (False, True)
    assert "quillread[train]" in client.post(place).json()["hint"]


def test_the_api_suggests_lines_and_chooses_those_to_proofread(archive: Archive, client: TestClient):
    collection = fill(archive)
    place = f"/api/v1/collections/{collection}"
    items = client.get(f"{place}/suggest", params={"limit": 3}).json()["items"]
    assert len(items) == 3
    assert items[0].keys() == {"line_id", "page_id", "document_id", "document_name", "text", "expected_error"}
    shown = client.get(f"{place}/review", params={"target": 0.05}).json()
    assert shown["lines"] == ids(archive, "one", "four")
    assert shown["expected_error_after"] <= 0.05 < shown["expected_error_before"]
    for wrong in (-1, 2, "nan", "x"):
        assert client.get(f"{place}/review", params={"target": wrong}).status_code == 422
    for name in ("teach", "suggest", "review"):
        assert client.get(f"/api/v1/collections/999/{name}").status_code == 404
