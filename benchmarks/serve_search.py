"""Measure the search of `quill serve` in many lines: wall time of requests to the API, without the network.

    python benchmarks/serve_search.py --data build/search --lines 1000000 --json benchmarks/results/serve_search.json

The archive is made if it is not there: 20 collections, documents of 25 pages, pages of 40 lines of 8 words, which are
drawn from 200,000 by Zipf's law, so that there are very common words and very rare ones. `--database` fills one of
PostgreSQL instead.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from record import describe_machine, save
from sqlalchemy import insert, select, text

from quillread.serve.app import make_app
from quillread.serve.archive.folding import fold_line
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig
from quillread.serve.database.schema import Collection, Document, Line, LineSearch, LineVersion, Page

COLLECTIONS, PAGES, LINES, WORDS, VOCABULARY = 20, 25, 40, 8, 200_000
SYLLABLES = [a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "u", "é", "an", "er")]


def main() -> None:
    """Fill an archive, search in it, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the archive")
    parser.add_argument("--database", metavar="URL", help="of PostgreSQL (default: SQLite in DIR)")
    parser.add_argument("--lines", type=int, default=1_000_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    machine = describe_machine()
    with Archive(ServeConfig(data=arguments.data, database=arguments.database)) as archive:
        seconds = fill(archive, arguments.lines)
        with TestClient(make_app(archive), base_url="http://127.0.0.1:8765") as client:
            results = measure(client, arguments.repeats, arguments.lines // (PAGES * LINES))
    kind = "postgresql" if arguments.database else "sqlite"
    print(f"{kind}: {arguments.lines:,} lines, filled in {seconds:.0f} s")
    for name, row in results.items():
        print(f"{name:34} {row['found']:3} found {row['milliseconds']:8.1f} ms, at most {row['most']:8.1f}")
    if arguments.json:
        known = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else {}
        kinds = known.get("databases", {}) | {
            kind: {"lines": arguments.lines, "load": machine["load"], "queries": results}
        }
        save(arguments.json, "serve_search", machine, {"repeats": arguments.repeats, "databases": kinds})


def spell(rank: int) -> str:
    """The word of a rank: short ones are common."""
    parts, rank = [], rank + len(SYLLABLES)
    while rank:
        rank, part = divmod(rank, len(SYLLABLES))
        parts.append(SYLLABLES[part])
    return "".join(parts)


def fill(archive: Archive, count: int) -> float:
    """Make the lines if they are not there; the time that it took."""
    with archive.database.read() as session:
        if session.scalar(select(Line.id).limit(1)):
            return 0.0
    start = time.perf_counter()
    generator = np.random.default_rng(0)
    chances = 1 / np.arange(1, VOCABULARY + 1)
    words = [spell(rank) for rank in range(VOCABULARY)]
    pages = count // LINES
    documents = -(-pages // PAGES)
    with archive.database.write() as session:
        session.execute(insert(Collection), [{"id": i + 1, "name": f"Collection {i}"} for i in range(COLLECTIONS)])
        made = [{"id": i + 1, "collection_id": i % COLLECTIONS + 1, "name": f"Document {i}"} for i in range(documents)]
        session.execute(insert(Document), made)
        rows = [_page(i) for i in range(pages)]
        session.execute(insert(Page), rows)
    chosen = generator.choice(VOCABULARY, (pages * LINES, WORDS), p=chances / chances.sum())
    numbers = iter(range(pages * LINES))
    while part := list(islice(numbers, 20_000)):
        texts = [" ".join(words[rank] for rank in chosen[i]) for i in part]
        with archive.database.write() as session:
            session.execute(insert(Line), [_line(i, line) for i, line in zip(part, texts, strict=True)])
            session.execute(insert(LineVersion), [_version(i, line) for i, line in zip(part, texts, strict=True)])
            session.execute(insert(LineSearch), [_search(i, line) for i, line in zip(part, texts, strict=True)])
    if not archive.database.is_sqlite:
        with archive.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return time.perf_counter() - start


def _page(i: int) -> dict[str, Any]:
    place = {"document_id": i // PAGES + 1, "position": i % PAGES, "state": "read", "line_count": LINES}
    return {"id": i + 1, "width": 2000, "height": 3000, **place}


def _line(i: int, line: str) -> dict[str, Any]:
    y, x = 60 * (i % LINES) + 100, 200 + 25 * len(line)
    shape = {"baseline": [[200, y], [x, y]], "polygon": [[200, y - 40], [x, y - 40], [x, y + 15], [200, y + 15]]}
    place = {"page_id": i // LINES + 1, "position": i % LINES, "current_id": i + 1}
    return {"id": i + 1, "text": line, "confidence": 0.9, **place, **shape}


def _version(i: int, line: str) -> dict[str, Any]:
    y, x, words = 60 * (i % LINES) + 100, 200, []
    for word in line.split():
        end = x + 25 * len(word)
        words.append([word, 0.95, [x, y - 40, end, y - 40, end, y + 15, x, y + 15]])
        x = end + 25
    return {"id": i + 1, "line_id": i + 1, "number": 1, "kind": "machine", "text": line, "reading": {"words": words}}


def _search(i: int, line: str) -> dict[str, Any]:
    document = i // LINES // PAGES
    scope = f"xqc{document % COLLECTIONS + 1} xqd{document + 1}"
    return {"line_id": i + 1, "scope": scope, "folded": fold_line(line)}


def queries(documents: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Searches by what is hard about them."""
    common, second, third, rare = (spell(rank) for rank in (0, 1, 2, 150_000))
    yield "the most common word", {"q": common}
    yield "the three most common words", {"q": f"{common} {second} {third}"}
    yield "a rare word", {"q": rare}
    yield "a common and a rare word", {"q": f"{common} {rare}"}
    yield "a word of the middle", {"q": spell(1_000)}
    yield "two words of the middle", {"q": f"{spell(100)} {spell(101)}"}
    yield "a word that is nowhere", {"q": "zzzz"}
    yield "a phrase of common words", {"q": f'"{common} {second}"'}
    yield "a phrase of five common words", {"q": f'"{" ".join(spell(rank) for rank in (0, 1, 2, 3, 4))}"'}
    yield "two words that never meet", {"q": f"{spell(20_000)} {spell(20_001)}"}
    yield "a beginning of two letters", {"q": f"{common[:2]}*"}
    yield "a beginning of four letters", {"q": f"{spell(5_000)[:4]}*"}
    yield "20 beginnings", {"q": " ".join(f"{spell(rank)[:2]}*" for rank in range(0, 400, 20))}
    yield "common, in one collection", {"q": common, "collection_id": 20}
    yield "common, in the last document", {"q": common, "document_id": documents}
    yield "a middle word in one document", {"q": spell(300), "document_id": documents}
    yield "common, the 40,000th line on", {"q": common, "after": 40_000}
    yield "phrase of two middle words", {"q": f'"{spell(50)} {spell(51)}"'}


def measure(client: TestClient, repeats: int, documents: int) -> dict[str, dict[str, Any]]:
    """Ask each question once and then `repeats` times; the median of these, and the longest of all."""
    results = {}
    for name, query in queries(documents):
        times, found = [], 0
        for _ in range(repeats + 1):
            start = time.perf_counter()
            answer = client.get("/api/v1/search", params=query)
            times.append(1000 * (time.perf_counter() - start))
            found = len(answer.json()["items"])
        results[name] = {
            "found": found,
            "milliseconds": round(statistics.median(times[1:]), 1),
            "first": round(times[0], 1),
            "most": round(max(times), 1),
        }
    return results


if __name__ == "__main__":
    main()
