from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, insert, select

from quillread.serve.archive import purging
from quillread.serve.archive.home import Archive
from quillread.serve.database.schema import Blob, Document, Line, LineSearch, LineVersion, Model, Page

MakePage = Callable[..., int]


def make_document(client: TestClient, collection: int, name: str = "A letter") -> int:
    answer = client.post(f"/api/v1/collections/{collection}/documents", json={"name": name})
    assert answer.status_code == 201
    return int(answer.json()["id"])


def names(client: TestClient, collection: int, **parameters: object) -> list[str]:
    answer = client.get(f"/api/v1/collections/{collection}/documents", params=parameters)
    return [item["name"] for item in answer.json()["items"]]


def test_a_document_is_made_renamed_binned_and_restored(client: TestClient, collection: int):
    place = f"/api/v1/documents/{make_document(client, collection)}"
    assert client.patch(place, json={"name": "Anna to Karl"}).json()["name"] == "Anna to Karl"
    assert client.delete(place).status_code == 204
    assert names(client, collection) == []
    assert names(client, collection, deleted=True) == ["Anna to Karl"]
    assert client.patch(place, json={"name": "x"}).status_code == 404
    assert client.post(f"{place}/restore").status_code == 204
    assert names(client, collection) == ["Anna to Karl"]


def test_a_document_takes_the_place_of_another_which_moves_on(client: TestClient, collection: int):
    first, _, third = (make_document(client, collection, name) for name in "abc")
    position = client.get(f"/api/v1/documents/{first}").json()["position"]
    client.patch(f"/api/v1/documents/{third}", json={"position": position})
    assert names(client, collection) == ["c", "a", "b"]
    assert names(client, collection, limit=1, after=third) == ["a"]


def test_a_list_that_goes_on_after_what_is_gone_says_so(client: TestClient, collection: int):
    answer = client.get(f"/api/v1/collections/{collection}/documents", params={"after": 4711})
    assert answer.status_code == 400
    assert "from its start" in answer.json()["hint"]
    assert answer.json()["code"] == "list-changed"


def test_a_document_that_moves_takes_its_lines_into_the_search_of_the_other_collection(
    client: TestClient, archive: Archive, collection: int, make_page: MakePage
):
    document = make_document(client, collection)
    page = make_page(document)
    with archive.database.write() as session:
        line = Line(page_id=page, baseline=[[0, 1], [2, 1]], polygon=[[0, 0], [2, 0], [2, 1]])
        session.add(line)
        session.flush()
        session.add(LineSearch(line_id=line.id, scope="elsewhere", folded="dear anna"))
    other = client.post("/api/v1/collections", json={"name": "Others"}).json()["id"]
    moved = client.patch(f"/api/v1/documents/{document}", json={"collection_id": other}).json()
    assert moved["collection_id"] == other
    assert names(client, collection) == []
    with archive.database.read() as session:
        assert session.scalars(select(LineSearch.scope)).all() == [f"xqc{other} xqd{document}"]


def test_a_document_shows_the_counts_of_its_pages_without_those_in_the_bin(
    client: TestClient, collection: int, make_page: MakePage
):
    document = make_document(client, collection)
    make_page(document, position=2, state="read", line_count=30, checked_count=2, doubtful_count=5)
    cover = make_page(document, position=1, line_count=0)
    client.delete(f"/api/v1/pages/{make_page(document, position=0, state='failed', line_count=7)}")
    shown = client.get(f"/api/v1/documents/{document}").json()
    assert shown["cover_page_id"] == cover
    assert shown["states"] == {"new": 1, "waiting": 0, "reading": 0, "read": 1, "failed": 0}
    assert [shown[name] for name in ("page_count", "line_count", "checked_count", "doubtful_count")] == [2, 30, 2, 5]
    assert client.get(f"/api/v1/collections/{collection}").json()["page_count"] == 2


def test_pages_are_listed_in_parts_in_the_order_of_documents_and_positions(
    client: TestClient, collection: int, make_page: MakePage
):
    documents = [make_document(client, collection, name) for name in "ab"]
    pages = [make_page(document, position=position) for document in documents for position in (3, 1, 1)]
    expected = [pages[i] for i in (1, 2, 0, 4, 5, 3)]
    found, after = [], None
    while True:
        query = {"limit": 2} | ({} if after is None else {"after": after})
        answer = client.get(f"/api/v1/collections/{collection}/pages", params=query).json()
        found += [item["id"] for item in answer["items"]]
        if (after := answer["next"]) is None:
            break
    assert found == expected
    listed = client.get(f"/api/v1/documents/{documents[0]}/pages", params={"limit": 2, "after": expected[0]}).json()
    assert [item["id"] for item in listed["items"]] == expected[1:3]


def test_pages_that_wait_for_a_person_are_found(client: TestClient, collection: int, make_page: MakePage):
    document = make_document(client, collection)
    doubtful = make_page(document, state="read", line_count=2, checked_count=2, doubtful_count=1)
    unchecked = make_page(document, state="read", line_count=2, checked_count=1)
    make_page(document)
    place = f"/api/v1/collections/{collection}/pages"
    for query, expected in (({"doubtful": 1}, [doubtful]), ({"unchecked": 1}, [unchecked])):
        assert [item["id"] for item in client.get(place, params=query).json()["items"]] == expected
    assert len(client.get(place, params={"state": "read"}).json()["items"]) == 2


def test_a_page_knows_those_before_and_after_it(client: TestClient, collection: int, make_page: MakePage):
    document = make_document(client, collection)
    first, second, third = (make_page(document, position=1) for _ in range(3))
    client.delete(f"/api/v1/pages/{second}")
    shown = client.get(f"/api/v1/pages/{first}").json()
    assert (shown["previous_id"], shown["next_id"]) == (None, third)
    assert [client.get(f"/api/v1/pages/{page}").json()["number"] for page in (first, third)] == [1, 2]
    client.patch(f"/api/v1/pages/{third}", json={"position": 1, "label": "12r"})
    shown = client.get(f"/api/v1/pages/{third}").json()
    assert (shown["previous_id"], shown["next_id"], shown["label"]) == (None, first, "12r")


def test_the_pages_of_a_collection_follow_each_other_over_documents(
    client: TestClient, collection: int, make_page: MakePage
):
    first, empty, binned, last = (make_document(client, collection, name) for name in "abcd")
    one, two, gone, three = (make_page(document, position=1) for document in (first, first, binned, last))
    assert empty
    client.delete(f"/api/v1/documents/{binned}")
    other = make_page(make_document(client, client.post("/api/v1/collections", json={"name": "x"}).json()["id"]))
    found = {page: client.get(f"/api/v1/pages/{page}").json() for page in (one, two, three, other, gone)}
    around = {page: (shown["previous_id"], shown["next_id"]) for page, shown in found.items()}
    assert around == {
        one: (None, two),
        two: (one, three),
        three: (two, None),
        other: (None, None),
        gone: (two, three),
    }


def test_a_page_moves_to_another_document(client: TestClient, collection: int, make_page: MakePage):
    first, second = (make_document(client, collection, name) for name in "ab")
    page = make_page(first)
    assert client.patch(f"/api/v1/pages/{page}", json={"document_id": second}).json()["document_id"] == second
    assert client.get(f"/api/v1/documents/{first}").json()["page_count"] == 0
    assert client.patch(f"/api/v1/pages/{page}", json={"document_id": 4711}).status_code == 404


def test_several_pages_are_binned_restored_and_moved_together_or_not_at_all(
    client: TestClient, collection: int, make_page: MakePage
):
    here, there = (make_document(client, collection, name) for name in "ab")
    pages = [make_page(here, position=position) for position in (1, 2, 3)]

    def listed(document: int) -> list[int]:
        return [page["id"] for page in client.get(f"/api/v1/documents/{document}/pages").json()["items"]]

    assert client.patch("/api/v1/pages", json={"page_ids": pages[:2], "deleted": True}).status_code == 204
    assert listed(here) == pages[2:]
    assert client.patch("/api/v1/pages", json={"page_ids": pages[:2], "deleted": False}).status_code == 204
    assert client.patch("/api/v1/pages", json={"page_ids": [*pages, 999], "deleted": True}).status_code == 404
    assert listed(here) == pages
    moved = client.patch("/api/v1/pages", json={"page_ids": [pages[2], pages[0]], "document_id": there})
    assert moved.status_code == 204
    assert (listed(here), listed(there)) == ([pages[1]], [pages[2], pages[0]])


def test_several_pages_are_read_as_one_job(client: TestClient, collection: int, make_page: MakePage):
    document = make_document(client, collection)
    pages = [make_page(document, position=position) for position in (1, 2, 3)]
    job = client.post("/api/v1/pages/read", json={"page_ids": pages[1:]})
    assert (job.status_code, job.json()["total"]) == (202, 2)
    assert client.post("/api/v1/pages/read", json={"page_ids": [pages[0], 999]}).status_code == 404
    empty = client.post("/api/v1/pages/read", json={"page_ids": []})
    assert (empty.status_code, empty.json()["code"]) == (422, "invalid")


def test_documents_without_pages_are_not_counted(client: TestClient, collection: int, make_page: MakePage):
    full, emptied, _ = (make_document(client, collection) for _ in range(3))
    make_page(full)
    page = make_page(emptied)
    place = f"/api/v1/collections/{collection}"
    assert client.get(place).json()["document_count"] == 2
    client.patch("/api/v1/pages", json={"page_ids": [page], "document_id": full})
    shown = client.get(place).json()
    assert (shown["document_count"], shown["page_count"]) == (1, 2)


def test_a_listing_of_many_documents_takes_few_statements(client: TestClient, archive: Archive, collection: int):
    from sqlalchemy import event

    with archive.database.write() as session:
        session.execute(
            insert(Document), [{"collection_id": collection, "name": str(i), "position": i} for i in range(300)]
        )
        ids = session.scalars(select(Document.id)).all()
        session.execute(insert(Page), [{"document_id": id, "position": 1} for id in ids])
    statements: list[str] = []
    event.listen(archive.database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert len(names(client, collection, limit=1000)) == 300
    assert len(statements) < 8


def test_only_what_is_in_the_bin_is_purged(client: TestClient, collection: int, make_page: MakePage):
    document = make_document(client, collection)
    make_page(document)
    answer = client.delete(f"/api/v1/documents/{document}", params={"purge": True})
    assert answer.status_code == 400
    assert client.get(f"/api/v1/documents/{document}").json()["page_count"] == 1


def test_purging_deletes_files_that_nothing_else_refers_to(
    client: TestClient, archive: Archive, collection: int, make_page: MakePage
):
    kept, purged = (make_document(client, collection, name) for name in "ab")
    make_page(kept)
    make_page(purged)  # the same image: one file
    page = make_page(purged, image=_grey(10))
    with archive.database.write() as session:
        line = Line(page_id=page, baseline=[[0, 1], [2, 1]], polygon=[[0, 0], [2, 0], [2, 1]])
        session.add(line)
        session.flush()
        session.add(LineVersion(line_id=line.id, number=1, kind="person", text="secret"))
        session.add(LineSearch(line_id=line.id, scope="here", folded="secret"))
    client.delete(f"/api/v1/documents/{purged}")
    answer = client.delete(f"/api/v1/documents/{purged}", params={"purge": True}).json()
    assert answer["files"] == 2
    assert "Backups" in answer["note"]
    with archive.database.read() as session:
        for table in (Line, LineVersion, LineSearch):
            assert session.scalar(select(func.count()).select_from(table)) == 0
        known = set(session.scalars(select(Blob.sha256)))
    assert {stored.sha256 for stored in archive.storage.list()} == known
    assert len(known) == 2
    assert client.get(f"/api/v1/documents/{purged}").status_code == 404


def test_purging_a_collection_deletes_the_models_taught_from_it(
    client: TestClient, archive: Archive, collection: int, make_page: MakePage
):
    make_page(make_document(client, collection))
    model = archive.storage.add(b"a model")
    (archive.config.data / "models" / model.sha256).mkdir()
    with archive.database.write() as session:
        session.add(Blob(sha256=model.sha256, size=model.size, media_type="application/zip"))
        session.flush()
        session.add(Model(name="anna", blob=model.sha256, family="compact", collection_id=collection))
    place = f"/api/v1/collections/{collection}"
    client.delete(place)
    answer = client.delete(place, params={"purge": True}).json()
    assert answer["models"] == ["anna"]
    assert list(archive.storage.list()) == []
    assert list((archive.config.data / "models").iterdir()) == []
    assert client.get(place).status_code == 404


def test_what_is_restored_while_it_is_purged_is_not_lost(
    client: TestClient, collection: int, make_page: MakePage, monkeypatch: pytest.MonkeyPatch
):
    document = make_document(client, collection)
    pages = [make_page(document) for _ in range(3)]
    client.delete(f"/api/v1/documents/{document}")
    monkeypatch.setattr(purging, "_PAGES_AT_A_TIME", 1)

    def restore(*_: object) -> None:
        client.post(f"/api/v1/documents/{document}/restore")

    monkeypatch.setattr(purging, "sweep", restore)
    assert client.delete(f"/api/v1/documents/{document}", params={"purge": True}).status_code == 409
    left = client.get(f"/api/v1/documents/{document}/pages").json()["items"]
    assert [page["id"] for page in left] == pages[1:]


def test_a_page_of_the_bin_is_purged(client: TestClient, archive: Archive, collection: int, make_page: MakePage):
    page = make_page(make_document(client, collection))
    client.delete(f"/api/v1/pages/{page}")
    assert client.delete(f"/api/v1/pages/{page}", params={"purge": True}).json()["files"] == 2
    assert list(archive.storage.list()) == []


def test_disk_use_counts_a_file_once_a_collection(client: TestClient, collection: int, make_page: MakePage):
    document = make_document(client, collection)
    make_page(document)
    make_page(document)
    other = client.post("/api/v1/collections", json={"name": "Empty"}).json()["id"]
    usage = client.get("/api/v1/usage").json()
    assert [(item["collection_id"], item["files"]) for item in usage["items"]] == [(collection, 2), (other, 0)]
    assert usage["items"][0]["bytes"] > 0
    assert usage["free"] > 0


def test_ids_beyond_those_of_databases_are_not_found(client: TestClient):
    for place in ("documents", "pages", "collections"):
        assert client.get(f"/api/v1/{place}/{1 << 70}").status_code == 404
        assert client.get(f"/api/v1/{place}/-1").status_code == 404


def test_names_are_bounded_and_hold_no_control_characters(client: TestClient, collection: int):
    place = f"/api/v1/collections/{collection}/documents"
    for name in ("", "   ", "a\x00b", "x" * 501, None, 7):
        assert client.post(place, json={"name": name}).status_code == 422
    assert client.post(place, json={"name": "x" * 500}).status_code == 201


def _grey(value: int):
    import numpy as np

    return np.full((300, 200, 3), value, np.uint8)
