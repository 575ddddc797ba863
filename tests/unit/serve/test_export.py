import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import docx
import numpy as np
import pyarrow.parquet
import pypdf
import pytest
from fastapi.testclient import TestClient
from serve_pages import box, found_line, new_page, read_page
from sqlalchemy import select, update

from quillread import types
from quillread.data.spec import open_source, parse_spec
from quillread.formats.pagexml import read_page_xml
from quillread.serve.access.actor import OWNER
from quillread.serve.archive.exporting import ALL_FORMATS, Selection, export, safe_name
from quillread.serve.archive.home import Archive
from quillread.serve.archive.readings import add_import
from quillread.serve.database.readings import pack_points
from quillread.serve.database.schema import Collection, Document, Line, Page, Region

MakePage = Callable[..., int]


@pytest.fixture
def letter(archive: Archive, client: TestClient, make_page: MakePage) -> Document:
    """A document of two pages: one read, of which a line is checked, and one imported with ids."""
    with archive.database.write() as session:
        session.delete(page := new_page(session, document="Letter: to/Anna"))
        document = session.get_one(Document, page.document_id)
    image = np.random.default_rng(0).integers(150, 250, (1000, 1000, 3), np.uint8)
    first = make_page(document.id, image, position=0, source_name="one.jpg")
    second = make_page(document.id, image[::-1].copy(), position=1, source_name="two.jpg")
    with archive.database.write() as session:
        read_page(session, session.get_one(Page, first), found_line("Dear Sit", 100), found_line("I am", 200))
        line = found_line("Yours, Zoë 👩\u200d🔬", 300)
        region = types.Region(box(50, 50, 900, 900), (replace(line, id="tl_7"),), "r_main")
        add_import(session, session.get_one(Page, second), types.Page("two.jpg", 1, 1000, 1000, (region,)), "two.xml")
    (row, _) = client.get(f"/api/v1/pages/{first}/lines").json()["lines"]
    tag = {"If-Match": f'"{row["revision"]}"'}
    client.put(f"/api/v1/lines/{row['id']}/text", json={"text": "Dear Sir"}, headers=tag)
    return document


def fetch(client: TestClient, place: str, **query: Any) -> bytes:
    answer = client.get(f"/api/v1/{place}/export", params=query)
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    return answer.content


def unpack(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_everything_is_exported_in_every_format(archive: Archive, client: TestClient, letter: Document, name: str):
    page = client.get(f"/api/v1/documents/{letter.id}/pages").json()["items"][0]["id"]
    for place in (f"pages/{page}", f"documents/{letter.id}", f"collections/{letter.collection_id}"):
        assert len(fetch(client, place, format=name)) > 10
    answer = client.get(f"/api/v1/documents/{letter.id}/export", params={"format": name})
    assert "Letter_%20to_Anna" in answer.headers["content-disposition"]


def test_the_text_is_that_which_counts_in_reading_order(client: TestClient, letter: Document):
    assert fetch(client, f"documents/{letter.id}", format="txt").decode() == "Dear Sir\nI am\n\nYours, Zoë 👩\u200d🔬\n"
    assert fetch(client, f"documents/{letter.id}", format="txt", checked=True).decode() == "Dear Sir\n"


def test_page_files_keep_ids_and_the_words_of_corrections(client: TestClient, letter: Document, tmp_path: Path):
    files = unpack(fetch(client, f"documents/{letter.id}", format="page"))
    assert list(files) == ["Letter_ to_Anna-0001.page.xml", "Letter_ to_Anna-0002.page.xml"]
    (tmp_path / "a.xml").write_bytes(files["Letter_ to_Anna-0002.page.xml"])
    page = read_page_xml(tmp_path / "a.xml")
    assert (page.source, page.regions[0].id, page.lines[0].id) == ("two.jpg", "r_main", "tl_7")
    assert page.text == "Yours, Zoë 👩\u200d🔬"
    first = files["Letter_ to_Anna-0001.page.xml"].decode()
    assert '<Coords points="150,100 180,100 180,140 150,140"' in first
    assert "<Unicode>Sir</Unicode>" in first


def test_json_says_how_sure_the_words_are(client: TestClient, letter: Document):
    data = json.loads(fetch(client, f"documents/{letter.id}", format="json"))
    checked, read = data["pages"][0]["lines"]
    assert [word["confidence"] for word in checked["words"]] == [1, 1]
    assert [word["confidence"] for word in read["words"]] == [0.9, 0.9]
    assert data["source"] == "Letter: to/Anna"


def test_a_draft_is_exported_as_sure_as_the_machine_was(client: TestClient, letter: Document):
    page = client.get(f"/api/v1/documents/{letter.id}/pages").json()["items"][0]["id"]
    (_, row) = client.get(f"/api/v1/pages/{page}/lines").json()["lines"]
    body, tag = {"text": "I was", "checked": False}, {"If-Match": f'"{row["revision"]}"'}
    client.put(f"/api/v1/lines/{row['id']}/text", json=body, headers=tag)
    data = json.loads(fetch(client, f"documents/{letter.id}", format="json"))
    _, draft = data["pages"][0]["lines"]
    assert (draft["text"], draft["confidence"]) == ("I was", row["confidence"])
    assert [word["confidence"] for word in draft["words"]] == [0.9, 1]


def test_regions_are_exported_as_what_they_are_and_those_to_ignore_not_at_all(
    archive: Archive, client: TestClient, letter: Document
):
    with archive.database.write() as session:
        first, second = session.scalars(select(Region).order_by(Region.id))
        first.kind, second.kind = "ignore", "heading"
    assert fetch(client, f"documents/{letter.id}", format="txt").decode() == "Yours, Zoë 👩\u200d🔬\n"
    files = unpack(fetch(client, f"documents/{letter.id}", format="page"))
    assert 'type="heading"' in files["Letter_ to_Anna-0002.page.xml"].decode()
    assert "### Yours" in fetch(client, f"documents/{letter.id}", format="md").decode()
    word = docx.Document(io.BytesIO(fetch(client, f"documents/{letter.id}", format="docx")))
    assert "Heading 2" in {paragraph.style.name for paragraph in word.paragraphs if paragraph.style}


def test_pictures_are_exported_without_the_lines_in_them(archive: Archive, client: TestClient, letter: Document):
    with archive.database.write() as session:
        session.scalars(select(Region).order_by(Region.id)).first().kind = "picture"
    assert fetch(client, f"documents/{letter.id}", format="txt").decode() == "Yours, Zoë 👩\u200d🔬\n"
    for format, name in (("page", "ImageRegion"), ("alto", "Illustration"), ("hocr", "ocr_photo")):
        content = fetch(client, f"documents/{letter.id}", format=format)
        if format != "hocr":
            content = unpack(content)[f"Letter_ to_Anna-0001.{format}.xml"]
        assert name in content.decode()
        assert "Dear" not in content.decode()


def test_a_searchable_pdf_shows_the_pages(client: TestClient, letter: Document):
    pdf = pypdf.PdfReader(io.BytesIO(fetch(client, f"documents/{letter.id}", format="pdf")))
    assert len(pdf.pages) == 2
    assert "Dear Sir" in pdf.pages[0].extract_text()
    assert len(pdf.pages[0].images) == 1


def test_ground_truth_pages_are_read_back(client: TestClient, letter: Document, tmp_path: Path):
    content = fetch(client, f"collections/{letter.collection_id}", format="page-zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path)
    source = open_source(parse_spec(f"page:{tmp_path}"), "train")
    texts = [source.text(i) for i in range(len(source))]
    assert texts == ["Dear Sir", "I am", "Yours, Zoë 👩\u200d🔬"]
    assert source.sample(0, np.random.default_rng(0)).image.shape[2] == 3


def test_ground_truth_lines_are_read_back(client: TestClient, letter: Document, tmp_path: Path):
    with zipfile.ZipFile(io.BytesIO(fetch(client, f"documents/{letter.id}", format="jsonl"))) as archive:
        archive.extractall(tmp_path)
    source = open_source(parse_spec(f"folder:{tmp_path}"), "train")
    assert sorted(source.text(i) for i in range(len(source))) == ["Dear Sir", "I am", "Yours, Zoë 👩\u200d🔬"]
    content = fetch(client, f"documents/{letter.id}", format="parquet", checked=True)
    (row,) = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    assert (row["text"], row["group"]) == ("Dear Sir", "Letter_ to_Anna/0001")
    assert row["image"]["bytes"].startswith(b"\x89PNG")


def test_a_line_is_cut_out_alike_whichever_are_exported_and_as_its_collection_says(
    archive: Archive, client: TestClient, letter: Document
):
    def cut(**query: Any) -> bytes:
        content = fetch(client, f"documents/{letter.id}", format="parquet", **query)
        rows = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
        (image,) = (row["image"]["bytes"] for row in rows if row["text"] == "Dear Sir")
        return image

    found = cut()
    with archive.database.write() as session:
        session.execute(update(Line).values(drawn=True))
    drawn = cut()
    assert drawn != found
    assert cut(checked=True) == drawn
    with archive.database.write() as session:
        collection = session.get_one(Collection, letter.collection_id)
        collection.settings = {"options": {"crop": {"outline": "polygon"}}}
    assert cut() == found


def test_a_page_that_could_not_be_read_says_so(archive: Archive, client: TestClient, letter: Document):
    with archive.database.write() as session:
        fault = {"kind": "image", "message": "damaged", "hint": None}
        page = Page(document_id=letter.id, position=9, state="failed", fault=fault, width=100, height=100)
        session.add(page)
        session.flush()
        corners = pack_points([(10, 10), (90, 10), (90, 90), (10, 90)])
        session.add(Region(page_id=page.id, position=0, kind="picture", polygon=corners))
    text = fetch(client, f"documents/{letter.id}", format="txt").decode()
    assert text.endswith("[page 3 could not be read]\n")
    for name in ALL_FORMATS:
        fetch(client, f"documents/{letter.id}", format=name)


def test_what_is_in_the_bin_is_not_exported(client: TestClient, letter: Document):
    _, second = client.get(f"/api/v1/documents/{letter.id}/pages").json()["items"]
    client.delete(f"/api/v1/pages/{second['id']}")
    assert "Yours" not in fetch(client, f"documents/{letter.id}", format="txt").decode()
    assert client.get(f"/api/v1/pages/{second['id']}/export", params={"format": "txt"}).status_code == 404
    client.delete(f"/api/v1/documents/{letter.id}")
    assert unpack(fetch(client, f"collections/{letter.collection_id}", format="page")) == {}
    assert client.get(f"/api/v1/documents/{letter.id}/export").status_code == 404


def test_documents_of_one_name_have_files_of_their_own(archive: Archive, client: TestClient, letter: Document):
    for name in ("a", "A", "../..", ""):
        with archive.database.write() as session:
            session.add(Document(collection_id=letter.collection_id, name=name, position=99))
    names = list(unpack(fetch(client, f"collections/{letter.collection_id}", format="txt")))
    assert names == ["Letter_ to_Anna.txt", "a.txt", "A (2).txt", "_.txt", "untitled.txt"]


def test_names_of_files_are_not_too_long_for_a_file_system(archive: Archive, client: TestClient, letter: Document):
    with archive.database.write() as session:
        session.get_one(Document, letter.id).name = "山" * 300
    for place in (f"documents/{letter.id}", f"collections/{letter.collection_id}"):
        for name in unpack(fetch(client, place, format="page")):
            assert len(name.encode()) <= 255
    (first, _) = client.get(f"/api/v1/documents/{letter.id}/pages").json()["items"]
    answer = client.get(f"/api/v1/pages/{first['id']}/export", params={"format": "txt"})
    assert unquote(answer.headers["content-disposition"]).endswith("山-0001.txt")


def test_an_export_that_is_cancelled_is_not_whole(archive: Archive, letter: Document):
    told: list[tuple[int, int]] = []
    for name in ALL_FORMATS:
        told.clear()
        done = export(
            archive,
            OWNER,
            Selection(document_ids=(letter.id,)),
            name,
            io.BytesIO(),
            cancelled=lambda: bool(told),
            progress=lambda done, total: told.append((done, total)),
        )
        assert done is None
        assert told == [(1, 2)]


def test_unknown_formats_and_things_are_refused(client: TestClient, letter: Document):
    assert client.get(f"/api/v1/documents/{letter.id}/export", params={"format": "exe"}).status_code == 422
    for kind in ("pages", "documents", "collections"):
        assert client.get(f"/api/v1/{kind}/999/export").status_code == 404


@pytest.mark.parametrize(
    ("name", "safe"), [("a/b\\c:d", "a_b_c_d"), ("..", "untitled"), ("x" * 300, "x" * 100), (" a. ", "a"), ("é", "é")]
)
def test_names_are_fit_for_files(name: str, safe: str):
    assert safe_name(name) == safe
