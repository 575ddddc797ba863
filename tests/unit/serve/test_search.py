from typing import Any

import pytest
from fastapi.testclient import TestClient
from serve_pages import found_line, new_page, read_page

from quillread.serve.access.actor import Actor
from quillread.serve.archive.folding import fold, fold_line, fold_words
from quillread.serve.archive.home import Archive
from quillread.serve.archive.search import Term, parse_query, search
from quillread.serve.database.schema import Document, Membership, Page, User


def fill(
    archive: Archive, *texts: str, collection: str = "Letters", others: tuple[str, ...] = (), name: str = "Letter"
) -> Page:
    with archive.database.write() as session:
        page = new_page(session, collection, name)
        lines = [found_line(text, 100.0 * (i + 1), others=others) for i, text in enumerate(texts)]
        read_page(session, page, *lines)
        return page


def find(client: TestClient, query: str, **more: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/search", params={"q": query, **more})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def texts(client: TestClient, query: str, **more: Any) -> list[str]:
    return [item["text"] for item in find(client, query, **more)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Café Über ÅNGSTRÖM", ["cafe", "uber", "angstrom"]),
        ("Geſchichte Straße ﬁn œuvre Æther", ["geschichte", "strasse", "fin", "oeuvre", "aether"]),
        ("l’homme — “quote”, (1848)", ["l", "homme", "quote", "1848"]),
        ("co\u00adoperate zero\u200bwidth", ["cooperate", "zerowidth"]),
        ("שָׁלוֹם", ["שלום"]),
        ("中文 text", ["中", "文", "text"]),
        ("½ m² 👩\u200d🔬!", ["12", "m2"]),
        ("", []),
    ],
)
def test_texts_are_folded_into_words(text: str, words: list[str]):
    assert fold(text) == words
    assert [word.text for word in fold_words(text)] == words


def test_folded_words_know_their_places():
    text = "Dear “Zoë”, l’an"
    assert [text[word.start : word.end] for word in fold_words(text)] == ["Dear", "Zoë", "l", "an"]


def test_other_readings_are_added_where_they_differ_with_their_neighbours():
    assert fold_line("Johann Maier aus Ulm", ["Johann Meier aus Ulm"]) == "johann maier aus ulm xqalt johann meier aus"
    assert fold_line("the same", ["The same"]) == "the same"


def test_queries_hold_words_phrases_and_beginnings():
    assert parse_query('Dear  “my friend” Lond* x* "open end') == (
        Term(("dear",)),
        Term(("my", "friend")),
        Term(("lond",), True),
        Term(("x",)),
        Term(("open", "end")),
    )
    assert parse_query("l'an") == (Term(("l", "an")),)
    assert parse_query('* "" ... ()') == ()


def test_all_of_many_beginnings_must_occur(archive: Archive, client: TestClient):
    fill(archive, "alpha beta gamma delta epsilon", "alpha beta gamma delta")
    assert texts(client, "al* be* ga* de* ep*") == ["alpha beta gamma delta epsilon"]


def test_lines_are_found_with_their_place(archive: Archive, client: TestClient):
    page = fill(archive, "Ma chère mère,", "je t’écris de Genève", name="Lettre")
    (item,) = find(client, "geneve ecris")
    assert (item["page_id"], item["document_name"], item["page_number"]) == (page.id, "Lettre", 1)
    assert [item["text"][match["start"] : match["end"]] for match in item["matches"]] == ["écris", "Genève"]
    assert item["matches"][1]["polygon"] == [[240, 200], [300, 200], [300, 240], [240, 240]]
    assert item["polygon"][0] == [100, 200]
    assert not item["in_alternative"]


def test_all_words_must_occur_and_phrases_in_a_row(archive: Archive, client: TestClient):
    fill(archive, "the old house", "the house is old", "a new house")
    assert texts(client, "old house") == ["the old house", "the house is old"]
    assert texts(client, '"old house"') == ["the old house"]
    assert texts(client, '"house is" old') == ["the house is old"]
    assert texts(client, "hou*") == ["the old house", "the house is old", "a new house"]
    assert texts(client, '"the hou*"') == []
    assert texts(client, "ouse*") == []
    (item,) = find(client, '"old house"')
    assert [(match["start"], match["end"]) for match in item["matches"]] == [(4, 13)]


def test_a_doubtful_reading_is_found_until_a_person_says_what_stands_there(archive: Archive, client: TestClient):
    page = fill(archive, "Johann Maier aus Ulm", others=("Johann Meier aus Ulm",))
    (item,) = find(client, '"johann meier"')
    assert item["in_alternative"]
    assert [(match["start"], match["end"]) for match in item["matches"]] == [(0, 12)]
    (line,) = client.get(f"/api/v1/pages/{page.id}/lines").json()["lines"]
    tag = {"If-Match": f'"{line["revision"]}"'}
    client.put(f"/api/v1/lines/{line['id']}/text", json={"text": line["text"]}, headers=tag)
    assert find(client, "meier") == []
    assert not find(client, "maier")[0]["in_alternative"]


def test_a_corrected_text_is_found_by_its_new_words_only(archive: Archive, client: TestClient):
    page = fill(archive, "Dear Sit")
    (line,) = client.get(f"/api/v1/pages/{page.id}/lines").json()["lines"]
    tag = {"If-Match": f'"{line["revision"]}"'}
    client.put(f"/api/v1/lines/{line['id']}/text", json={"text": "Dear Sir"}, headers=tag)
    assert find(client, "sit") == []
    assert texts(client, "sir") == ["Dear Sir"]


@pytest.mark.parametrize("kind", ["collections", "documents", "pages", "lines"])
def test_what_is_in_the_bin_is_not_found(archive: Archive, client: TestClient, kind: str):
    page = fill(archive, "here")
    (line,) = client.get(f"/api/v1/pages/{page.id}/lines").json()["lines"]
    document = client.get(f"/api/v1/pages/{page.id}").json()["document_id"]
    collection = client.get(f"/api/v1/documents/{document}").json()["collection_id"]
    ids = {"collections": collection, "documents": document, "pages": page.id, "lines": line["id"]}
    place = f"/api/v1/{kind}/{ids[kind]}"
    assert client.delete(place, headers={"If-Match": f'"{page.version}"'}).is_success
    assert find(client, "here") == []
    if kind == "lines":
        client.post(f"{place}/undelete", headers={"If-Match": f'"{page.version + 1}"'})
    else:
        client.post(f"{place}/restore")
    assert texts(client, "here") == ["here"]


def test_a_search_looks_where_it_is_told(archive: Archive, client: TestClient):
    first, second = (fill(archive, f"word {name}", collection=name) for name in "ab")
    with archive.database.read() as session:
        collection = session.get_one(Document, first.document_id).collection_id
    assert texts(client, "word", collection_id=collection) == ["word a"]
    assert texts(client, "word", document_id=second.document_id) == ["word b"]
    assert client.get("/api/v1/search", params={"q": "word", "document_id": 999}).status_code == 404
    moved = client.patch(f"/api/v1/documents/{second.document_id}", json={"collection_id": collection})
    assert moved.is_success
    assert texts(client, "word", collection_id=collection) == ["word a", "word b"]
    client.patch(f"/api/v1/pages/{second.id}", json={"document_id": first.document_id})
    assert texts(client, "word", document_id=first.document_id) == ["word a", "word b"]
    assert texts(client, "word", page_id=second.id) == ["word b"]
    assert client.get("/api/v1/search", params={"q": "word", "page_id": 999}).status_code == 404
    assert [item["page_size"] for item in find(client, "word", page_id=first.id)] == [[first.width, first.height]]
    assert [item["page_number"] for item in find(client, "word")] == [1, 2]


def test_only_collections_that_one_may_see_are_searched(archive: Archive):
    seen, hidden = (fill(archive, f"word {name}", collection=name) for name in "ab")
    with archive.database.write() as session:
        ids = [session.get_one(Document, page.document_id).collection_id for page in (seen, hidden)]
        anna = User(name="anna", password_hash="", role="reader")
        session.add(anna)
        session.flush()
        session.add(Membership(collection_id=ids[1], user_id=anna.id, role="none"))
    actors = (Actor("anna", "reader", anna.id), Actor("script", collection_id=ids[0]))
    with archive.database.read() as session:
        for actor in actors:
            items, _ = search(session, actor, "word")
            assert [item["text"] for item in items] == ["word a"]
        nobody = Actor("none", "none", anna.id)
        assert search(session, nobody, "word") == ([], None)


def test_found_lines_come_in_parts(archive: Archive, client: TestClient):
    fill(archive, *(f"word {i}" for i in range(5)))
    found, after = [], 0
    while after is not None:
        answer = client.get("/api/v1/search", params={"q": "word", "limit": 2, "after": after}).json()
        found += [item["text"] for item in answer["items"]]
        after = answer["next"]
    assert found == [f"word {i}" for i in range(5)]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "'",
        '""""',
        "*",
        "a* b*",
        "AND",
        "NOT word",
        "word OR",
        "NEAR(a b, 2)",
        "folded:word",
        "scope : word",
        "-word",
        "^word",
        "(word",
        "word)",
        "{word}",
        "a + b",
        "word & !word | <->",
        "word:*",
        "word:A",
        "\\",
        "word\\'",
        "'; DROP TABLE lines; --",
        "%_%",
        "\x00",
        "a\x00b",
        "\ud7ff\ue000\uffff",
        "👩\u200d🔬",
        "x" * 500,
        " ".join("abcdefghijklmnopqrstuvwxyz"),
        "(" * 400,
        "xqc1",
        "ͅ",
    ],
)
def test_hostile_queries_find_little_and_break_nothing(archive: Archive, client: TestClient, query: str):
    fill(archive, "a word")
    assert set(texts(client, query)) <= {"a word"}


def test_queries_that_are_too_long_or_without_text_are_refused(client: TestClient):
    assert client.get("/api/v1/search", params={"q": "x" * 501}).status_code == 422
    assert client.get("/api/v1/search").status_code == 422
    assert find(client, "") == []
    assert client.get("/api/v1/search", params={"q": "a", "after": -1}).status_code == 422
