"""Archives of any size for the benchmarks of the server, filled by SQL as its own functions would leave them."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import Connection, func, insert, select

from quillread.serve.archive.folding import fold_line
from quillread.serve.archive.home import Archive
from quillread.serve.archive.indexing import collection_scope, document_scope
from quillread.serve.config import ServeConfig
from quillread.serve.database.base import now
from quillread.serve.database.schema import Blob, Collection, Document, Line, LineSearch, LineVersion, Page, Region

PAGES_OF_DOCUMENT = 100
_AT_ONCE = 100
"""Pages in a transaction."""


def fill(config: ServeConfig, pages: Sequence[int], lines: int, words: Sequence[str]) -> list[int]:
    """Add collections with pages and lines that a machine has read.

    Args:
        config: Of the server, which must not run.
        pages: How many pages each collection has.
        lines: Of each page.
        words: That texts are drawn of.

    Returns:
        Ids of the collections.
    """
    with Archive(config) as archive:
        stored = archive.storage.add(_picture())
        engine, rng, ids = (
            archive.database.engine.execution_options(quillread_writes=True),
            np.random.default_rng(1),
            [],
        )
        with engine.begin() as connection:
            row = {"sha256": stored.sha256, "size": stored.size, "media_type": "image/jpeg"}
            if connection.scalar(select(func.count()).where(Blob.sha256 == stored.sha256)) == 0:
                connection.execute(insert(Blob), [row])
        for number, count in enumerate(pages):
            with engine.begin() as connection:
                ids.append(_new(connection, Collection, {"name": f"Collection {number}", "settings": {}}))
            for start in range(0, count, PAGES_OF_DOCUMENT):
                with engine.begin() as connection:
                    _add_document(connection, ids[-1], start, min(PAGES_OF_DOCUMENT, count - start), lines,
                                  stored.sha256, _texts(words, rng))  # fmt: skip
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    return ids


def _add_document(
    connection: Connection, collection: int, start: int, pages: int, lines: int, view: str, texts: Iterator[str]
) -> None:
    document = _new(connection, Document, {"collection_id": collection, "name": f"Document {start}", "position": start})
    page, line, version = (
        1 + (connection.scalar(select(func.max(table.id))) or 0) for table in (Page, Line, LineVersion)
    )
    region = 1 + (connection.scalar(select(func.max(Region.id))) or 0)
    page_rows: list[dict[str, Any]] = []
    rows: tuple[list[dict[str, Any]], ...] = ([], [], [], [])
    scope, time = f"{collection_scope(collection)} {document_scope(document)}", now()
    for number in range(pages):
        page_rows.append(
            {"id": page + number, "document_id": document, "position": number, "state": "read", "width": 1000,
             "height": 60 * lines + 60, "view": view, "source": view, "thumbnail": view, "line_count": lines}
        )  # fmt: skip
        whole = [[50, 0], [950, 0], [950, 60 * lines], [50, 60 * lines]]
        rows[0].append({"id": region + number, "page_id": page + number, "polygon": whole})
        for position in range(lines):
            at, top, text = number * lines + position, 60.0 * position, next(texts)
            outline = [[100.0, top], [900.0, top], [900.0, top + 40], [100.0, top + 40]]
            rows[1].append(
                {"id": line + at, "page_id": page + number, "region_id": region + number, "position": position,
                 "baseline": [[100.0, top + 30], [900.0, top + 30]], "polygon": outline, "text": text,
                 "confidence": 0.6, "current_id": version + at}
            )  # fmt: skip
            rows[2].append(
                {"id": version + at, "line_id": line + at, "number": 1, "kind": "machine", "author": "builtin",
                 "text": text, "confidence": 0.6, "created": time, "fingerprint": "0" * 16,
                 "reading": {"words": _words(text, top), "expected_error": 0.1}}
            )  # fmt: skip
            rows[3].append({"line_id": line + at, "scope": scope, "folded": fold_line(text, ())})
    for table, part in zip((Page, Region, Line, LineVersion, LineSearch), (page_rows, *rows), strict=True):
        connection.execute(insert(table), part)
    if connection.dialect.name == "postgresql":  # ids were given by hand
        for table in (Page, Region, Line, LineVersion):
            name = table.__tablename__
            connection.exec_driver_sql(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))")


def _new(connection: Connection, table: type[Any], values: dict[str, Any]) -> int:
    return int(connection.execute(insert(table).values(values).returning(table.id)).scalar_one())


def _words(text: str, top: float) -> list[Any]:
    step, at, found = 800 / max(len(text), 1), 0, []
    for word in text.split():
        at = text.index(word, at)
        x0, x1 = 100 + at * step, 100 + (at + len(word)) * step
        found.append([word, 0.8, [x0, top, x1, top, x1, top + 40, x0, top + 40]])
        at += len(word)
    return found


def _texts(words: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Texts of seven words, some rare and some frequent, as in a language (Zipf)."""
    while True:
        ranks = np.minimum(rng.zipf(1.3, 7_000) - 1, len(words) - 1)
        for chosen in ranks.reshape(-1, 7):
            yield " ".join(words[int(rank)] for rank in chosen)


def _picture() -> bytes:
    file = io.BytesIO()
    Image.new("L", (1000, 1000), 230).save(file, "JPEG")
    return file.getvalue()


def read_words(path: Path | None) -> list[str]:
    """Words to draw texts of: those of a file, the frequent ones first, or made-up ones."""
    if path is None:
        return [
            f"{a}{b}{c}" for a in "bdfglmnprstv" for b in ("a", "ei", "o", "é", "u") for c in ("n", "rt", "ssez", "lle")
        ]
    counts: dict[str, int] = {}
    for word in path.read_text(encoding="utf-8")[:5_000_000].split():
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda word: -counts[word])
