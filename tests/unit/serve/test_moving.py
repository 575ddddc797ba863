"""Pages that move to another collection, and back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from fastapi.testclient import TestClient
from serve_pages import found_line, read_page
from serve_readers import add_scans
from sqlalchemy import select, update

from quillread.serve.archive.home import Archive
from quillread.serve.database.schema import Blob, Event, Page
from quillread.serve.jobs.crew import Crew

MakePage = Callable[..., int]
LogIn = Callable[[str], TestClient]


def make_collection(client: TestClient, name: str) -> int:
    return int(client.post("/api/v1/collections", json={"name": name}).json()["id"])


def make_document(client: TestClient, collection: int, name: str) -> int:
    return int(client.post(f"/api/v1/collections/{collection}/documents", json={"name": name}).json()["id"])


def contents(client: TestClient, collection: int) -> list[tuple[str, list[int]]]:
    """Documents of a collection with their pages, in their order."""
    found = []
    for document in client.get(f"/api/v1/collections/{collection}/documents").json()["items"]:
        pages = client.get(f"/api/v1/documents/{document['id']}/pages").json()["items"]
        found.append((document["name"], [page["id"] for page in pages]))
    return found


def test_pages_move_to_another_collection_in_their_documents_and_in_their_order(
    client: TestClient, collection: int, make_page: MakePage
):
    first, second, third = (make_document(client, collection, name) for name in "abc")
    pages = {document: [make_page(document, position=i) for i in (1, 2, 3)] for document in (first, second, third)}
    other = make_collection(client, "Others")
    make_page(make_document(client, other, "z"))
    chosen = [pages[third][2], *reversed(pages[second]), pages[third][0]]
    answer = client.post(f"/api/v1/collections/{other}/pages", json={"page_ids": chosen})
    assert answer.status_code == 200
    assert contents(client, collection) == [("a", pages[first]), ("c", pages[third][1:2])]
    assert contents(client, other)[1:] == [("b", pages[second]), ("c", [pages[third][0], pages[third][2]])]
    moved = {item["from_id"]: item["document_id"] for item in answer.json()["items"]}
    assert moved[second] == second
    assert moved[third] not in (first, second, third)
    again = client.post(f"/api/v1/collections/{other}/pages", json={"page_ids": chosen})
    assert again.json()["items"] == []


def test_pages_move_to_another_collection_all_or_none(client: TestClient, collection: int, make_page: MakePage):
    document = make_document(client, collection, "a")
    pages = [make_page(document, position=i) for i in (1, 2)]
    other = make_collection(client, "Others")
    for path, ids in ((other, [pages[0], 999]), (4711, pages[:1])):
        assert client.post(f"/api/v1/collections/{path}/pages", json={"page_ids": ids}).status_code == 404
    client.delete(f"/api/v1/pages/{pages[1]}")
    assert client.post(f"/api/v1/collections/{other}/pages", json={"page_ids": pages}).status_code == 404
    assert contents(client, collection) == [("a", pages[:1])]
    assert contents(client, other) == []


def test_a_document_that_moves_as_a_whole_takes_its_pages_in_the_bin_along(
    client: TestClient, collection: int, make_page: MakePage
):
    document = make_document(client, collection, "a")
    kept, binned = (make_page(document, position=i) for i in (1, 2))
    client.delete(f"/api/v1/pages/{binned}")
    other = make_collection(client, "Others")
    client.post(f"/api/v1/collections/{other}/pages", json={"page_ids": [kept]})
    client.post(f"/api/v1/pages/{binned}/restore")
    assert contents(client, other) == [("a", [kept, binned])]


def test_pages_go_back_to_the_places_that_they_had(client: TestClient, collection: int, make_page: MakePage):
    document, there = (make_document(client, collection, name) for name in "ab")
    pages = [make_page(document, position=i) for i in (1, 2, 2, 9)]
    body = {"page_ids": [pages[1], pages[0]]}
    assert client.patch("/api/v1/pages", json=body | {"document_id": there}).status_code == 204
    back = body | {"document_id": document, "positions": [2, 1]}
    assert client.patch("/api/v1/pages", json=back).status_code == 204
    assert contents(client, collection) == [("a", pages), ("b", [])]
    for wrong in ({"positions": [1, 2]}, {"positions": [1], "document_id": there}):
        assert client.patch("/api/v1/pages", json=body | wrong).status_code == 422


def test_whoever_moves_pages_is_an_editor_of_both_collections(
    make_page: MakePage, log_in: LogIn, users: dict[str, int]
):
    admin = log_in("admin")
    mine, theirs = (make_collection(admin, name) for name in ("mine", "theirs"))
    page = make_page(make_document(admin, mine, "a"))
    body = {"page_ids": [page]}
    assert log_in("reader").post(f"/api/v1/collections/{theirs}/pages", json=body).status_code == 403
    editor = log_in("editor")
    for hidden in (theirs, mine):
        admin.put(f"/api/v1/collections/{hidden}/members/{users['editor']}", json={"role": "none"})
        assert editor.post(f"/api/v1/collections/{theirs}/pages", json=body).status_code == 404
        admin.put(f"/api/v1/collections/{hidden}/members/{users['editor']}", json={"role": "editor"})
    admin.put(f"/api/v1/collections/{theirs}/members/{users['editor']}", json={"role": "reader"})
    assert editor.post(f"/api/v1/collections/{theirs}/pages", json=body).status_code == 403
    admin.put(f"/api/v1/collections/{theirs}/members/{users['editor']}", json={"role": "editor"})
    assert editor.post(f"/api/v1/collections/{theirs}/pages", json=body).status_code == 200


def test_texts_history_originals_and_search_go_with_the_pages(archive: Archive, client: TestClient, crew: Crew):
    pages = [page.id for page in add_scans(archive, ["a.png", "b.png"])]
    client.post("/api/v1/pages/read", json={"page_ids": pages})
    crew.work_off()
    line = client.get(f"/api/v1/pages/{pages[0]}/lines").json()["lines"][0]
    headers = {"If-Match": f'"{line["revision"]}"'}
    client.put(f"/api/v1/lines/{line['id']}/text", json={"text": "Zwiebelfisch", "checked": True}, headers=headers)
    original = client.get(f"/api/v1/pages/{pages[0]}/original").content
    other = make_collection(client, "Others")
    client.post(f"/api/v1/collections/{other}/pages", json={"page_ids": pages[:1]})
    (hit,) = client.get("/api/v1/search", params={"q": "zwiebelfisch", "collection_id": other}).json()["items"]
    assert hit["line_id"] == line["id"]
    versions = client.get(f"/api/v1/lines/{line['id']}/versions").json()["items"]
    assert [version["kind"] for version in versions] == ["machine", "person"]
    assert client.get(f"/api/v1/pages/{pages[0]}/original").content == original


def make_book(archive: Archive, make_page: MakePage, document: int) -> list[int]:
    """Three pages of one PDF."""
    pages = [make_page(document, position=i, source_index=i) for i in range(3)]
    with archive.database.write() as session:
        source = session.get_one(Page, pages[0]).source
        session.execute(update(Page).where(Page.id.in_(pages)).values(source=source))
        session.execute(update(Blob).where(Blob.sha256 == source).values(media_type="application/pdf"))
    return pages


def test_the_original_of_a_moved_page_gives_nobody_the_pages_that_they_may_not_see(
    archive: Archive, log_in: LogIn, users: dict[str, int], make_page: MakePage
):
    admin, reader = log_in("admin"), log_in("reader")
    here, there = (make_collection(admin, name) for name in ("Here", "There"))
    moved, *_ = make_book(archive, make_page, make_document(admin, here, "a"))
    admin.post(f"/api/v1/collections/{there}/pages", json={"page_ids": [moved]})
    original = f"/api/v1/pages/{moved}/original"
    assert reader.get(original).status_code == 200
    admin.put(f"/api/v1/collections/{here}/members/{users['reader']}", json={"role": "none"})
    assert (reader.get(original).status_code, admin.get(original).status_code) == (404, 200)
    assert reader.get(f"/api/v1/pages/{moved}/image").status_code == 200
    # Whoever has been given the same file of their own sees all of it there.
    make_book(archive, make_page, make_document(admin, there, "b"))
    assert reader.get(original).status_code == 200


def test_the_original_of_pages_in_the_bin_is_for_editors(
    archive: Archive, log_in: LogIn, users: dict[str, int], make_page: MakePage
):
    admin, reader = log_in("admin"), log_in("reader")
    kept, binned, _ = make_book(archive, make_page, make_document(admin, make_collection(admin, "Here"), "a"))
    admin.delete(f"/api/v1/pages/{binned}")
    for client, status in ((reader, 404), (log_in("editor"), 200), (admin, 200)):
        assert client.get(f"/api/v1/pages/{kept}/original").status_code == status
    admin.post(f"/api/v1/pages/{binned}/restore")
    assert reader.get(f"/api/v1/pages/{kept}/original").status_code == 200


def test_what_is_in_the_bin_is_for_editors(archive: Archive, log_in: LogIn, users: dict[str, int], make_page: MakePage):
    admin, reader, editor = log_in("admin"), log_in("reader"), log_in("editor")
    collection = make_collection(admin, "Here")
    document = make_document(admin, collection, "a")
    page = make_page(document)
    of_page = [f"pages/{page}", *(f"pages/{page}/{what}" for what in ("image", "thumbnail")), f"iiif/{page}/info.json"]
    of_document = [*of_page, f"documents/{document}", f"documents/{document}/pages"]
    of_collection = [*of_document, f"collections/{collection}", f"collections/{collection}/documents"]

    def check(paths: list[str], status: int) -> None:
        assert {path: reader.get(f"/api/v1/{path}").status_code for path in paths} == dict.fromkeys(paths, status)
        assert {path: editor.get(f"/api/v1/{path}").status_code for path in paths} == dict.fromkeys(paths, 200)

    check(of_collection, 200)
    for binned, paths in ((f"pages/{page}", of_page), (f"documents/{document}", of_document)):
        admin.delete(f"/api/v1/{binned}")
        check(paths, 404)
        admin.post(f"/api/v1/{binned}/restore")
        check(paths, 200)
    admin.delete(f"/api/v1/collections/{collection}")
    check(of_collection, 404)
    listed = [client.get("/api/v1/collections?deleted=true").json()["items"] for client in (reader, editor, admin)]
    assert [[one["id"] for one in items] for items in listed] == [[], [collection], [collection]]


def test_a_job_reads_pages_that_were_moved_meanwhile_and_tells_where_they_are(
    archive: Archive, client: TestClient, crew: Crew
):
    pages = [page.id for page in add_scans(archive, ["a.png", "b.png"])]
    job = client.post("/api/v1/pages/read", json={"page_ids": pages}).json()
    other = make_collection(client, "Others")
    client.post(f"/api/v1/collections/{other}/pages", json={"page_ids": pages[1:]})
    crew.work_off()
    assert client.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "done"
    with archive.database.read() as session:
        assert set(session.scalars(select(Page.state))) == {"read"}
        told = session.execute(select(Event.collection_id, Event.data).where(Event.kind == "page.read")).all()
    assert {data["page"]: where for where, data in told} == {pages[0]: job["collection_id"], pages[1]: other}


def test_lines_that_are_read_while_their_document_moves_are_found_where_it_is(archive: Archive, client: TestClient):
    (page,) = add_scans(archive, ["a.png"])
    other = make_collection(client, "Others")
    with ThreadPoolExecutor(1) as pool:
        with archive.database.write() as session:
            read_page(session, session.get_one(Page, page.id), found_line("Zwiebelfisch", 0.0))
            address, body = f"/api/v1/documents/{page.document_id}", {"collection_id": other}
            moving = pool.submit(client.patch, address, json=body)
            wait([moving], timeout=1)
        assert moving.result(timeout=30).status_code == 200
    (hit,) = client.get("/api/v1/search", params={"q": "zwiebelfisch", "collection_id": other}).json()["items"]
    assert hit["page_id"] == page.id
