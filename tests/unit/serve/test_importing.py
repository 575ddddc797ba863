"""What becomes of uploaded files, from the request to the rows."""

import errno
import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import export, line, page, scan
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import select
from webserver import Answer, WebServer, serve

from quillread.errors import ImageError, OutputError
from quillread.serve import storage
from quillread.serve.app import make_app
from quillread.serve.archive.blobs import media_type_of
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig, ServeLimits
from quillread.serve.database.schema import Blob, Document, Job, Line, LineVersion, Page, Region, Task
from quillread.serve.jobs import importing
from quillread.serve.jobs.claims import Claim, claim
from quillread.serve.jobs.metrics import Metrics
from quillread.serve.jobs.threads import RUNS, RunThread
from quillread.serve.jobs.work_state import WorkState
from quillread.types import DocumentInfo, Scan

DATA = Path(__file__).parents[2] / "data"
LETTER = DATA / "page.jpg"

Import = Callable[..., dict[str, Any]]


def picture(kind: str = "PNG", size: tuple[int, int] = (120, 160), colour: int = 200, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (colour, colour, colour)).save(file, kind, **options)
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def layout(kind: str, name: str) -> bytes:
    """PAGE or ALTO of a page of 1000 x 1400 pixels."""
    return export(kind, scan(), info=DocumentInfo(name))


def page_image() -> bytes:
    return picture(size=(1000, 1400))


def blank_pdf(pages: int) -> bytes:
    """A PDF of blank pages, small on paper."""
    kids = " ".join(f"{3 + i} 0 R" for i in range(pages))
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Count {pages}/Kids[{kids}]>>"]
    objects += ["<</Type/Page/Parent 2 0 R/MediaBox[0 0 36 48]>>"] * pages
    content, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, start=1):
        places.append(len(content))
        content += f"{number} 0 obj{text}endobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    start = len(content)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF"
    return content + end.encode()


def work_off(archive: Archive) -> int:
    """Do all imports that wait."""
    thread, count = RunThread(WorkState(archive, Metrics()), "import", RUNS["import"]), 0
    while thread.step():
        count += 1
    return count


def upload(client: TestClient, collection: int, files: dict[str, bytes], **fields: Any) -> Any:
    parts = [("file", (name, content)) for name, content in files.items()]
    return client.post(f"/api/v1/collections/{collection}/uploads", files=parts, data=fields)


@pytest.fixture
def bring(client: TestClient, archive: Archive, collection: int) -> Import:
    """Upload files and import them; gives the job."""

    def bring(files: dict[str, bytes], **fields: Any) -> dict[str, Any]:
        answer = upload(client, collection, files, **fields)
        assert answer.status_code == 202, answer.text
        work_off(archive)
        job: dict[str, Any] = client.get(f"/api/v1/jobs/{answer.json()['jobs'][0]['id']}").json()
        return job

    return bring


def pages_of(client: TestClient, document: int) -> list[dict[str, Any]]:
    return client.get(f"/api/v1/documents/{document}/pages", params={"limit": 1000}).json()["items"]


def documents_of(client: TestClient, collection: int) -> list[dict[str, Any]]:
    return client.get(f"/api/v1/collections/{collection}/documents").json()["items"]


def test_a_jpeg_becomes_a_document_whose_page_is_shown_as_the_file_itself(
    client: TestClient, archive: Archive, collection: int, bring: Import
):
    content = LETTER.read_bytes()
    job = bring({"Anna to Karl.jpg": content})
    assert (job["state"], job["result"]["pages"], job["result"]["faults"]) == ("done", 1, [])
    (document,) = documents_of(client, collection)
    assert document["name"] == "Anna to Karl"
    (shown,) = pages_of(client, document["id"])
    assert (shown["width"], shown["height"]) == Image.open(io.BytesIO(content)).size
    assert (shown["state"], shown["source_name"], shown["drawn"]) == ("waiting", "Anna to Karl.jpg", False)
    assert client.get(f"/api/v1/pages/{shown['id']}/original").content == content
    assert client.get(f"/api/v1/pages/{shown['id']}/image").content == content
    with archive.database.read() as session:
        row = session.get_one(Page, shown["id"])
        assert row.view == row.source
        kinds = session.execute(select(Job.kind, Job.state, Job.total).order_by(Job.id)).all()
    assert [tuple(row) for row in kinds] == [("import", "done", 1), ("read", "waiting", 1)]


@pytest.mark.parametrize(
    ("name", "content", "count", "size"),
    [
        ("a.png", picture(), 1, (120, 160)),
        ("a.webp", picture("WEBP"), 1, (120, 160)),
        ("a.tif", picture("TIFF", save_all=True, append_images=[Image.new("L", (50, 40))]), 2, (120, 160)),
        ("turned.heic", (DATA / "turned.heic").read_bytes(), 1, None),
        ("a.pdf", blank_pdf(3), 3, (150, 200)),
        ("wrong.jpg", picture(), 1, (120, 160)),
    ],
)
def test_files_of_all_kinds_become_pages(
    client: TestClient, collection: int, bring: Import, name: str, content: bytes, count: int, size: tuple[int, int]
):
    bring({name: content}, read="false")
    (document,) = documents_of(client, collection)
    pages = pages_of(client, document["id"])
    assert len(pages) == count
    assert {shown["state"] for shown in pages} == {"new"}
    if size:
        assert (pages[0]["width"], pages[0]["height"]) == size
    for shown in pages:
        image = Image.open(io.BytesIO(client.get(f"/api/v1/pages/{shown['id']}/image").content))
        assert image.size == (shown["width"], shown["height"])


def test_a_photograph_lying_on_its_side_is_shown_upright_in_the_pixels_of_its_coordinates(
    client: TestClient, collection: int, bring: Import
):
    exif = Image.Exif()
    exif[0x0112] = 6
    bring({"a.jpg": picture("JPEG", exif=exif)})
    (shown,) = pages_of(client, documents_of(client, collection)[0]["id"])
    assert (shown["width"], shown["height"]) == (160, 120)
    assert Image.open(io.BytesIO(client.get(f"/api/v1/pages/{shown['id']}/image").content)).size == (160, 120)


def test_the_same_file_twice_is_kept_once_and_makes_two_documents(
    client: TestClient, archive: Archive, collection: int, bring: Import
):
    bring({"a.png": picture(), "b.png": picture()})
    bring({"c.png": picture()})
    assert [item["name"] for item in documents_of(client, collection)] == ["a", "b", "c"]
    with archive.database.read() as session:
        assert len(set(session.scalars(select(Page.source)))) == 1
        known = set(session.scalars(select(Blob.sha256)))
    assert {stored.sha256 for stored in archive.storage.list()} == known


def test_pages_go_into_a_document_that_is_there(client: TestClient, collection: int, bring: Import):
    place = f"/api/v1/collections/{collection}/documents"
    document = client.post(place, json={"name": "Diary"}).json()["id"]
    job = bring({"2.png": picture(), "10.png": picture()}, document_id=document)
    assert job["result"]["document_ids"] == [document]
    assert [shown["source_name"] for shown in pages_of(client, document)] == ["2.png", "10.png"]


@pytest.mark.parametrize("kind", ["page", "alto"])
def test_page_and_alto_beside_images_bring_lines_regions_ids_and_text(
    client: TestClient, archive: Archive, collection: int, bring: Import, kind: str
):
    job = bring({"b.png": page_image(), "a.png": page_image(), "a.xml": layout(kind, "a.png")})
    assert job["result"]["faults"] == []
    by_name = {document["name"]: document for document in documents_of(client, collection)}
    assert by_name["b"]["line_count"] == 0
    (shown,) = pages_of(client, by_name["a"]["id"])
    assert (shown["line_count"], shown["checked_count"], shown["drawn"]) == (4, 0, True)
    with archive.database.read() as session:
        lines = session.scalars(select(Line).order_by(Line.position)).all()
        assert [row.text for row in lines][:2] == ["Dear Sir,", "I am, yours"]
        versions = session.scalars(select(LineVersion).order_by(LineVersion.id)).all()
        assert {(row.kind, row.author) for row in versions} == {("import", "a.xml")}
        regions = session.scalars(select(Region).order_by(Region.position)).all()
        assert len(regions) == 2
        assert all(row.xml_id for row in (*lines, *regions))
    assert not list(archive.config.data.glob("uploads/.import-*"))


def test_a_file_about_one_page_of_a_document_brings_its_lines_to_that_page_alone(
    client: TestClient, collection: int, bring: Import
):
    pages = [Image.new("RGB", (1000, 1400), "white") for _ in range(3)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    job = bring({"book.tif": file.getvalue(), "book-0002.xml": layout("page", "book.tif")})
    assert job["result"]["faults"] == []
    (document,) = documents_of(client, collection)
    assert [shown["line_count"] for shown in pages_of(client, document["id"])] == [0, 4, 0]


def test_a_zip_of_transkribus_becomes_a_document_a_folder_without_mets(
    client: TestClient, archive: Archive, collection: int, bring: Import
):
    files = {}
    for title in ("Anna", "Karl"):
        for name in ("0002", "0001"):
            files[f"export/77/{title}/{name}_p.png"] = page_image()
            files[f"export/77/{title}/page/{name}_p.xml"] = layout("page", f"{name}_p.png")
        files[f"export/77/{title}/mets.xml"] = b"<mets/>"
    files["export/readme.txt"] = b"hello"
    files["__MACOSX/export/77/Anna/._0001_p.png"] = b"x"
    job = bring({"export_job_7.zip": zipped(files)})
    assert job["result"]["faults"] == []
    documents = documents_of(client, collection)
    assert [(item["name"], item["page_count"], item["line_count"]) for item in documents] == [
        ("Anna", 2, 8),
        ("Karl", 2, 8),
    ]
    assert [shown["source_name"][-10:] for shown in pages_of(client, documents[0]["id"])] == [
        "0001_p.png",
        "0002_p.png",
    ]
    with archive.database.read() as session:
        assert set(session.scalars(select(Blob.media_type))) == {"image/png", "image/jpeg"}


def test_a_flat_zip_is_named_as_its_file_and_xml_without_image_is_told(
    client: TestClient, collection: int, bring: Import
):
    files = {"p1.png": page_image(), "p1.xml": layout("alto", "p1.png"), "p9.xml": layout("page", "p9.png")}
    job = bring({"Diary 1884.zip": zipped(files)})
    (document,) = documents_of(client, collection)
    assert (document["name"], document["line_count"]) == ("Diary 1884", 4)
    (fault,) = job["result"]["faults"]
    assert "p9" in fault["message"]
    assert "/" not in fault["message"].replace("'p9.png'", "")


def test_lines_of_an_image_of_another_size_are_told_with_the_page(client: TestClient, collection: int, bring: Import):
    job = bring({"a.png": picture(size=(500, 700)), "a.xml": layout("page", "a.png")})
    (shown,) = pages_of(client, documents_of(client, collection)[0]["id"])
    assert shown["line_count"] == 0
    assert "1000 x 1400" in shown["notes"][0]
    assert len(job["result"]["faults"]) == 1


def test_a_damaged_file_is_a_page_that_says_so_beside_the_others(client: TestClient, collection: int, bring: Import):
    whole = picture("JPEG", size=(400, 400))
    job = bring({"book.zip": zipped({"1.jpg": picture("JPEG"), "2.jpg": whole[:600], "3.png": b"no image"})})
    (document,) = documents_of(client, collection)
    first, second, third = pages_of(client, document["id"])
    assert (first["state"], second["state"], third["state"]) == ("waiting", "failed", "failed")
    assert "2.jpg" in second["fault"]["message"]
    assert client.get(f"/api/v1/pages/{second['id']}/original").content == whole[:600]
    assert len(job["result"]["faults"]) == 2


def test_an_encrypted_pdf_says_so(client: TestClient, collection: int, bring: Import):
    bring({"secret.pdf": (DATA / "encrypted.pdf").read_bytes()})
    (shown,) = pages_of(client, documents_of(client, collection)[0]["id"])
    assert "is encrypted" in shown["fault"]["message"]


def test_a_pdf_of_too_many_pages_is_not_imported(client: TestClient, archive: Archive, collection: int, bring: Import):
    limits = ServeLimits(pages=4)
    object.__setattr__(archive.config, "limits", limits)
    bring({"a.pdf": blank_pdf(5)})
    (shown,) = pages_of(client, documents_of(client, collection)[0]["id"])
    assert "has 5 pages, more than the limit of 4" in shown["fault"]["message"]


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>.png", "a" * 500 + ".png", "é ü 漢字.png", "con:nul?*.png", ".png", "a\tb.png"]
)
def test_names_of_files_are_kept_as_text(client: TestClient, collection: int, bring: Import, name: str):
    bring({name: picture(), "other.xml": layout("page", name)})
    (document,) = documents_of(client, collection)
    (shown,) = pages_of(client, document["id"])
    assert shown["source_name"].endswith(".png")
    assert 0 < len(document["name"]) <= 500
    answer = client.get(f"/api/v1/pages/{shown['id']}/original")
    assert answer.headers["content-disposition"].isascii()
    assert "<" not in answer.headers["content-disposition"]


def test_a_zip_of_names_of_500_letters_is_imported_with_its_lines(client: TestClient, collection: int, bring: Import):
    long = "x" * 500
    bring({"a.zip": zipped({f"{long}/{long}.png": page_image(), f"{long}/{long}.xml": layout("page", "other")})})
    (document,) = documents_of(client, collection)
    assert document["line_count"] == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", b"This is a text, whatever it is called."),
        ("a.html", b"<!DOCTYPE html><script>alert(1)</script>"),
        ("a.svg", b"\xff\xff\xff"),
        ("empty.png", b""),
        ("cut.zip", zipped({"a.png": picture()})[:-10]),
        ("zip.zip", b"PK\x03\x04 and nothing else"),
        ("up.zip", zipped({"../../a.png": picture()})),
        ("root.zip", zipped({"/etc/a.png": picture()})),
        ("drive.zip", zipped({"C:/a.png": picture()})),
        ("windows.zip", zipped({"..\\a.png": picture()})),
        ("nested.zip", zipped({"a.png": picture(), "b.zip": zipped({})})),
        ("control.zip", zipped({"a\x07.png": picture()})),
        ("deep.zip", zipped({"a/" * 2000 + "a.png": picture()})),
    ],
)
def test_what_cannot_be_imported_is_refused_at_once_and_not_kept(
    client: TestClient, archive: Archive, collection: int, name: str, content: bytes
):
    answer = upload(client, collection, {name: content})
    assert answer.status_code == 400
    assert answer.json()["hint"]
    assert list(archive.storage.list()) == []
    assert [path.name for path in (archive.config.data / "uploads").iterdir()] == ["resumable"]


def test_links_in_a_zip_are_refused(client: TestClient, collection: int):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("a.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    answer = upload(client, collection, {"a.zip": file.getvalue()})
    assert answer.status_code == 400
    assert "is a link" in answer.json()["detail"]


def test_encrypted_zips_are_refused(client: TestClient, collection: int):
    content = bytearray(zipped({"a.png": picture()}))
    for head, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(head) + at
        struct.pack_into("<H", content, place, 1)
    answer = upload(client, collection, {"a.zip": bytes(content)})
    assert answer.status_code == 400
    assert "encrypted" in answer.json()["detail"]


def test_bombs_are_refused_before_they_are_unpacked(
    client: TestClient, archive: Archive, collection: int, monkeypatch: pytest.MonkeyPatch
):
    object.__setattr__(archive.config, "limits", ServeLimits(archive_bytes=1_000_000, archive_files=3))
    large = zipped({"a.png": bytes(2_000_000)})
    many = zipped({f"{number}.png": b"" for number in range(4)})
    for content in (large, many):
        assert upload(client, collection, {"a.zip": content}).status_code == 413
    object.__setattr__(archive.config, "limits", ServeLimits())
    monkeypatch.setattr("quillread.serve.archive.unpacking._LARGE", 1_000_000)
    assert upload(client, collection, {"a.zip": large}).status_code == 413
    # A list of files that claims to be of any length is not read.
    claimed = bytearray(many)
    struct.pack_into("<HHI", claimed, claimed.rfind(b"PK\x05\x06") + 8, 0xFFF0, 0xFFF0, 0xFFFFFFF0)
    assert upload(client, collection, {"a.zip": bytes(claimed)}).status_code in (400, 413)


@pytest.mark.parametrize("place", [10**9, 2**63 - 1, 2**64 - 1])
def test_a_zip_whose_end_lies_behind_it_is_damaged(client: TestClient, collection: int, place: int):
    content = zipped({"a.png": picture()})
    at = content.rfind(b"PK\x05\x06")
    answer = upload(
        client, collection, {"a.zip": content[:at] + struct.pack("<4sIQI", b"PK\x06\x07", 0, place, 1) + content[at:]}
    )
    assert answer.status_code == 400
    assert "its end is not where it says" in answer.json()["detail"]


def test_a_zip_without_images_fails_and_says_so(client: TestClient, collection: int, bring: Import):
    job = bring({"a.zip": zipped({"a.xml": layout("page", "a.png"), "b.txt": b"text"})})
    assert job["state"] == "failed"
    assert "holds no image" in job["fault"]["message"]


def test_xml_that_is_not_looked_for_by_its_name_is_told(bring: Import):
    (fault,) = bring({"a.svg": b"<svg/>"})["result"]["faults"]
    assert "a.svg: is XML, and not named .xml" in fault["message"]


def test_hostile_xml_costs_its_lines_only(client: TestClient, collection: int, bring: Import):
    bomb = b'<!DOCTYPE PcGts [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><PcGts>&b;</PcGts>'
    job = bring({"a.png": picture(), "a.xml": bomb})
    (document,) = documents_of(client, collection)
    assert document["page_count"] == 1
    assert "document type" in job["result"]["faults"][0]["message"]


def test_a_line_of_too_much_text_is_not_imported(client: TestClient, archive: Archive, collection: int, bring: Import):
    object.__setattr__(archive.config, "limits", ServeLimits(text_characters=5))
    bring({"a.png": page_image(), "a.xml": layout("page", "a.png")})
    (shown,) = pages_of(client, documents_of(client, collection)[0]["id"])
    assert shown["line_count"] == 0
    assert "more than the limit of 5" in shown["notes"][0]


def test_a_task_that_is_cut_off_and_run_again_makes_nothing_twice(
    client: TestClient, archive: Archive, collection: int
):
    files = {"a.zip": zipped({f"{number}.png": picture(colour=number) for number in range(4)}), "b.png": picture()}
    upload(client, collection, files)
    with archive.database.write() as session:
        claimed = claim(session, "import", "test")
    assert isinstance(claimed, Claim)
    asked = iter([False] * 5)
    assert importing.run_import(archive, claimed, lambda _: None, lambda: next(asked, True)) is None
    with archive.database.read() as session:
        made = len(session.scalars(select(Page.id)).all())
    assert 0 < made < 5
    result = importing.run_import(archive, claimed, lambda _: None, lambda: False)
    assert result is not None and result["pages"] == 5
    with archive.database.read() as session:
        origins = session.scalars(select(Page.origin)).all()
        again = session.get_one(Task, claimed.id).payload
        assert len(session.scalars(select(Document.id)).all()) == 2
        assert session.scalars(select(Job.total).where(Job.kind == "read").order_by(Job.id)).all() == [4, 1]
    assert len(origins) == len(set(origins)) == 5
    # The zip is gone by now; a third run finds the result.
    from dataclasses import replace

    assert importing.run_import(archive, replace(claimed, payload=again), lambda _: None, lambda: False) == result


def test_an_import_on_a_full_disk_goes_on_when_there_is_space(
    client: TestClient, archive: Archive, collection: int, monkeypatch: pytest.MonkeyPatch
):
    upload(client, collection, {"a.zip": zipped({f"{n}.png": picture(colour=n) for n in range(3)})})
    write, written = storage._write_here, []

    def fill(place: Path, *given: Any) -> None:
        written.append(place)
        if len(written) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(place, *given)

    with archive.database.write() as session:
        claimed = claim(session, "import", "test")
    assert isinstance(claimed, Claim)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_write_here", fill)
        with pytest.raises(OutputError, match="No space left"):
            importing.run_import(archive, claimed, lambda _: None, lambda: False)
    (document,) = documents_of(client, collection)
    assert [shown["state"] for shown in pages_of(client, document["id"])] == ["new"]
    importing.run_import(archive, claimed, lambda _: None, lambda: False)
    (document,) = documents_of(client, collection)
    assert document["page_count"] == 3


class TestFull:
    @pytest.fixture
    def config(self, config: ServeConfig) -> ServeConfig:
        return ServeConfig(config.data, database=config.database, limits=ServeLimits(queued_jobs=3))

    def test_as_many_imports_as_may_wait_come_to_their_end(
        self, client: TestClient, archive: Archive, collection: int, monkeypatch: pytest.MonkeyPatch
    ):
        def wait(seconds: float) -> None:
            raise AssertionError("it waits for imports that wait for it")

        monkeypatch.setattr(importing.time, "sleep", wait)
        for colour in (10, 20, 30):
            assert upload(client, collection, {"a.png": picture(colour=colour)}).status_code == 202
        assert upload(client, collection, {"a.png": picture(colour=40)}).status_code == 429
        assert work_off(archive) == 3
        jobs = client.get("/api/v1/jobs").json()["items"]
        states = sorted((job["kind"], job["state"]) for job in jobs)
        assert states == [("import", "done")] * 3 + [("read", "waiting")] * 3
        assert upload(client, collection, {"a.png": picture(colour=40)}).status_code == 429


def test_pages_whose_reading_is_cancelled_while_the_import_goes_on_stay_unread(
    client: TestClient, archive: Archive, collection: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importing, "_READ_AFTER", 2)
    upload(client, collection, {"a.zip": zipped({f"{number}.png": picture(colour=number) for number in range(5)})})
    cancelled: list[int] = []

    def cancel(_told: Any) -> None:
        reading = [job for job in client.get("/api/v1/jobs").json()["items"] if job["kind"] == "read"]
        if reading and not cancelled:
            cancelled.append(reading[0]["id"])
            assert client.post(f"/api/v1/jobs/{reading[0]['id']}/cancel").status_code == 200

    with archive.database.write() as session:
        claimed = claim(session, "import", "test")
    assert isinstance(claimed, Claim)
    importing.run_import(archive, claimed, cancel, lambda: False)
    with archive.database.read() as session:
        states = list(session.scalars(select(Page.state).order_by(Page.position)))
    assert cancelled
    assert states == ["new", "new", "waiting", "waiting", "waiting"]


def test_a_page_of_which_a_line_was_read_while_the_import_goes_on_is_read(
    client: TestClient, archive: Archive, collection: int
):
    upload(client, collection, {"a.zip": zipped({f"{number}.png": picture(colour=number) for number in range(3)})})
    drawn: list[int] = []

    def draw(_told: Any) -> None:
        pages = client.get(f"/api/v1/collections/{collection}/pages").json()["items"]
        if pages and not drawn:
            drawn.append(pages[0]["id"])
            tag = client.get(f"/api/v1/pages/{drawn[0]}/lines").headers["etag"]
            line = {"baseline": [[20, 80], [100, 80]]}
            made = client.post(f"/api/v1/pages/{drawn[0]}/lines", json=line, headers={"If-Match": tag})
            assert made.is_success and client.get(f"/api/v1/pages/{drawn[0]}").json()["state"] == "new"

    with archive.database.write() as session:
        claimed = claim(session, "import", "test")
    assert isinstance(claimed, Claim)
    importing.run_import(archive, claimed, draw, lambda: False)
    with archive.database.read() as session:
        assert drawn and set(session.scalars(select(Page.state))) == {"waiting"}


def test_pages_that_are_moved_while_their_document_is_imported_are_read(
    client: TestClient, archive: Archive, collection: int
):
    upload(client, collection, {"a.zip": zipped({f"{number}.png": picture(colour=number) for number in range(4)})})
    other = client.post("/api/v1/collections", json={"name": "Others"}).json()["id"]
    moved: list[int] = []

    def move_two(_told: Any) -> None:
        (document,) = documents_of(client, collection)
        if document["page_count"] == 3 and not moved:
            moved.extend(page["id"] for page in pages_of(client, document["id"])[:2])
            assert client.post(f"/api/v1/collections/{other}/pages", json={"page_ids": moved}).status_code == 200

    with archive.database.write() as session:
        claimed = claim(session, "import", "test")
    assert isinstance(claimed, Claim)
    importing.run_import(archive, claimed, move_two, lambda: False)
    with archive.database.read() as session:
        jobs = session.execute(select(Job.collection_id, Job.total).where(Job.kind == "read")).all()
        assert set(session.scalars(select(Page.state))) == {"waiting"}
    assert sorted(tuple(job) for job in jobs) == sorted([(collection, 2), (other, 2)])


def test_a_document_that_is_deleted_for_good_ends_its_import(client: TestClient, archive: Archive, collection: int):
    document = client.post(f"/api/v1/collections/{collection}/documents", json={"name": "a"}).json()["id"]
    answer = upload(client, collection, {"b.png": picture()}, document_id=document)
    client.delete(f"/api/v1/documents/{document}")
    client.delete(f"/api/v1/documents/{document}", params={"purge": True})
    work_off(archive)
    job = client.get(f"/api/v1/jobs/{answer.json()['jobs'][0]['id']}").json()
    assert job["state"] == "failed"
    assert "was deleted" in job["fault"]["message"]


def test_files_that_wait_for_their_import_are_not_purged(client: TestClient, archive: Archive, collection: int):
    for name in ("first.png", "second.png"):
        upload(client, collection, {name: picture()}, read="false")
        if name == "first.png":
            work_off(archive)
    (document,) = documents_of(client, collection)
    client.delete(f"/api/v1/documents/{document['id']}")
    assert client.delete(f"/api/v1/documents/{document['id']}", params={"purge": True}).json()["files"] == 2
    work_off(archive)
    (document,) = documents_of(client, collection)
    assert (document["name"], document["states"]["new"]) == ("second", 1)


@pytest.mark.slow
def test_a_pdf_of_3000_pages_is_imported_and_listed(client: TestClient, collection: int, bring: Import):
    job = bring({"a.pdf": blank_pdf(3000)}, read="false")
    assert job["result"]["pages"] == 3000
    (document,) = documents_of(client, collection)
    assert document["states"]["new"] == 3000
    assert [len(pages_of(client, document["id"])), document["cover_page_id"] is None] == [1000, False]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    with serve() as server:
        yield server


def test_a_manifest_of_the_web_becomes_a_document_with_labels_and_originals(
    client: TestClient, archive: Archive, collection: int, site: WebServer
):
    jpeg, png = picture("JPEG"), picture("PNG", colour=90)
    addresses = [site.add("/1.jpg", Answer(jpeg)), site.add("/2.png", Answer(png))]
    canvases = [
        {"label": label, "images": [{"resource": {"@id": address}}]}
        for label, address in zip(("1r", "1v"), addresses, strict=True)
    ]
    manifest = {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "label": "Letters, 1884",
        "sequences": [{"canvases": canvases}],
    }
    address = site.add("/book/manifest.json", Answer(json.dumps(manifest).encode()))
    answer = client.post(f"/api/v1/collections/{collection}/imports", json={"address": address})
    assert answer.status_code == 202
    work_off(archive)
    (document,) = documents_of(client, collection)
    assert document["name"] == "Letters, 1884"
    pages = pages_of(client, document["id"])
    assert [shown["label"] for shown in pages] == ["1r", "1v"]
    originals = [client.get(f"/api/v1/pages/{shown['id']}/original").content for shown in pages]
    assert originals == [jpeg, png]
    assert client.get(f"/api/v1/pages/{pages[0]['id']}/image").content == jpeg


def test_names_in_a_manifest_lose_what_does_not_show(
    client: TestClient, archive: Archive, collection: int, site: WebServer
):
    address = site.add("/1.jpg", Answer(picture("JPEG")))
    canvas = {"label": "1\0r", "images": [{"resource": {"@id": address}}]}
    manifest = {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "label": "Letters\0\ud800",
        "sequences": [{"canvases": [canvas]}],
    }
    address = site.add("/book/manifest.json", Answer(json.dumps(manifest).encode()))
    client.post(f"/api/v1/collections/{collection}/imports", json={"address": address})
    work_off(archive)
    (document,) = documents_of(client, collection)
    assert document["name"] == "Letters"
    assert [page["label"] for page in pages_of(client, document["id"])] == ["1 r"]


def test_an_address_that_does_not_answer_fails_without_a_document(
    client: TestClient, archive: Archive, collection: int, site: WebServer
):
    address = site.address + "/missing.jpg"
    answer = client.post(f"/api/v1/collections/{collection}/imports", json={"address": address})
    work_off(archive)
    job = client.get(f"/api/v1/jobs/{answer.json()['id']}").json()
    assert job["state"] == "failed"
    assert documents_of(client, collection) == []


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://a/b", "nothing", "http://user:x@host/a", "http://"])
def test_what_is_no_address_of_the_web_is_refused(client: TestClient, collection: int, address: str):
    answer = client.post(f"/api/v1/collections/{collection}/imports", json={"address": address})
    assert answer.status_code == 422


def test_a_server_that_strangers_can_reach_asks_nothing_of_its_own_network(site: WebServer):
    from quillread.images.document import ReadConfig
    from quillread.images.read import open_document
    from quillread.images.web import WebConfig

    address = site.add("/1.jpg", Answer(picture("JPEG")))
    assert len(open_document(address)) == 1
    with pytest.raises(ImageError, match="private network"):
        open_document(address, ReadConfig(web=WebConfig(private=False)))


def test_an_editor_cannot_look_around_in_the_network_of_the_server(
    archive: Archive, log_in: Callable[[str], TestClient], site: WebServer
):
    address, client = site.add("/1.jpg", Answer(picture("JPEG"))), log_in("admin")
    collection = client.post("/api/v1/collections", json={"name": "Letters"}).json()["id"]
    job = client.post(f"/api/v1/collections/{collection}/imports", json={"address": address}).json()
    work_off(archive)
    shown = client.get(f"/api/v1/jobs/{job['id']}").json()
    assert shown["state"] == "failed"
    assert "private network" in shown["fault"]["message"]
    assert "web.allow=any" in shown["fault"]["hint"] and "read.web" not in shown["fault"]["hint"]
    assert documents_of(client, collection) == []


def test_a_manifest_in_a_file_says_which_setting_of_the_server_lets_its_images_be_fetched(
    client: TestClient, archive: Archive, collection: int, bring: Import
):
    canvas = {"label": "1", "images": [{"resource": {"@id": "https://example.org/1.jpg"}}]}
    manifest = {"@context": "http://iiif.io/api/presentation/2/context.json", "sequences": [{"canvases": [canvas]}]}
    bring({"manifest.json": json.dumps(manifest).encode()})
    (document,) = documents_of(client, collection)
    (page,) = pages_of(client, document["id"])
    assert "--set web.allow=named" in page["fault"]["hint"]


def test_a_server_without_the_web_says_so(config: ServeConfig, tmp_path: Path):
    from dataclasses import replace

    from quillread.images.web import WebConfig

    config = replace(config, data=tmp_path / "other", web=WebConfig(allow="off"))
    with Archive(config) as archive, TestClient(make_app(archive), base_url="http://127.0.0.1:8765") as client:
        collection = client.post("/api/v1/collections", json={"name": "a"}).json()["id"]
        place = f"/api/v1/collections/{collection}/imports"
        assert client.post(place, json={"address": "https://example.org/manifest"}).status_code == 403


def test_files_are_known_by_their_beginning():
    assert media_type_of(b"\xff\xfe<\x00?\x00x\x00m\x00l\x00") == "application/xml"
    assert media_type_of(b"  <PcGts>") == "application/xml"
    assert media_type_of(b'\xef\xbb\xbf{"@context"') == "application/json"
    assert media_type_of(b"junk before %PDF-1.4") == "application/pdf"
    for head in (b"", b"<html>", b"hello", b"GIF", bytes(20), np.arange(200, dtype=np.uint8).tobytes()):
        assert media_type_of(head) is None


def test_layouts_of_lines_alone_do(client: TestClient, collection: int, bring: Import):
    read = page()
    regions = read.regions[:1]
    alone = Scan(type(read)(read.source, 1, 1000, 1400, (type(regions[0])(regions[0].polygon, (line("Anna", 50),)),)))
    bring({"a.png": page_image(), "a.xml": export("page", alone, info=DocumentInfo("a.png"))})
    assert documents_of(client, collection)[0]["line_count"] == 1
