"""The report of a batch as one HTML page: how fast it was, what failed, how sure the readings are, the worst pages."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import escape
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np

from quillread.batch.cluster.fetching import Sources
from quillread.batch.cluster.finished import Finished
from quillread.batch.cluster.progress import Progress
from quillread.evaluate.report_figures import embed_picture
from quillread.evaluate.report_html import draw_page, draw_table
from quillread.evaluate.report_text import percent
from quillread.formats.overlay import colour_of
from quillread.images.document import ReadConfig
from quillread.images.read import open_document
from quillread.types import UInt8Image

COLUMNS = ("id", "source", "page", "text", "lines", "expected_cer", "fault", "width", "height")
_WORST = 50
_COLLECTIONS = 1000
"""Folders that are told apart; all others are counted together."""
_SHOWN = 100
"""Faults and folders that are listed."""
_SIZE = (640, 640)
_OTHERS = "others"


@dataclass
class _Collection:
    """The pages of a folder."""

    pages: int = 0
    failed: int = 0
    characters: int = 0
    expected: float = 0.0
    """Errors."""

    @property
    def cer(self) -> float | None:
        """The error rate to expect."""
        return self.expected / self.characters if self.characters else None


@dataclass
class Tally:
    """What the rows of a data set say together, taken one at a time."""

    collections: dict[str, _Collection] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """Kind and message of the first ones."""
    _worst: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)

    def take(self, row: dict[str, Any]) -> None:
        """Take a row."""
        name = folder_of(row["source"])
        known = name in self.collections or len(self.collections) < _COLLECTIONS
        collection = self.collections.setdefault(name if known else _OTHERS, _Collection())
        collection.pages += 1
        if row["fault"]:
            collection.failed += 1
            if len(self.faults) < _SHOWN:
                self.faults.append((row["fault"]["kind"], row["fault"]["message"]))
        elif row["expected_cer"] is not None:
            length = max(len(row["text"]), 1)
            collection.characters += length
            collection.expected += length * row["expected_cer"]
            entry = (row["expected_cer"], row["id"], row)
            if len(self._worst) < _WORST:
                heapq.heappush(self._worst, entry)
            else:
                heapq.heappushpop(self._worst, entry)

    @property
    def worst(self) -> list[dict[str, Any]]:
        """The pages with the highest expected error rates, the worst first."""
        return [row for *_, row in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)]


def folder_of(source: str) -> str:
    """What a page belongs to: its archive, or the folder that it lies in."""
    archive = source.partition("::")[2]
    return archive or str(PurePosixPath(source).parent).replace(":/", "://", 1)


def write_report(batch: Finished, config: ReadConfig, price: float | None = None) -> str:
    """Return the page.

    Args:
        batch: What is read.
        config: How pages are opened that are shown.
        price: Of a worker for an hour.
    """
    tally = Tally()
    for row in batch.rows(COLUMNS):
        tally.take(row)
    progress = Progress()
    for record in batch.records():
        progress.take(record)
    last = Progress.of_plain(batch.ledger.run() or {})
    progress.earlier, progress.seconds, progress.worker_seconds = last.earlier, last.seconds, last.worker_seconds
    return draw_page(
        f"Batch {batch.store.address}",
        (
            _headline(batch.store.address, progress, price),
            _faults(progress, tally),
            _confidence(progress.confidence),
            _collections(tally.collections),
            _worst_pages(tally.worst, lambda row: _picture(batch, config, row)),
        ),
    )


def _headline(address: str, progress: Progress, price: float | None) -> str:
    facts = [("Pages", f"{progress.pages:,}"), ("Lines", f"{progress.lines:,}"), ("Failed", f"{progress.failed:,}")]
    if progress.rate:
        facts.append(("Pages a second", f"{progress.rate:.3g}"))
        facts.append(("Time of the last run", str(timedelta(seconds=round(progress.seconds)))))
    cost = None if price is None else progress.cost(price)
    if cost is not None:
        facts.append(("Cost of 1,000 pages", f"{cost:.3g}"))
    cards = "".join(
        f'<div class="card"><p class="name">{name}</p><p class="figure">{value}</p></div>' for name, value in facts
    )
    return f'<header><h1>Batch {escape(address)}</h1></header><section><div class="cards">{cards}</div></section>'


def _faults(progress: Progress, tally: Tally) -> str:
    kinds = [[escape(kind), f"{count:,}"] for kind, count in progress.faults.most_common()]
    listed = [[escape(kind), escape(message)] for kind, message in tally.faults]
    parked = "".join(f"<li>{escape(name)}</li>" for name in progress.deadly)
    killers = f"<p>Workers were lost again and again with:</p><ul>{parked}</ul>" if parked else ""
    return (
        f"<section><h2>Faults</h2>{draw_table(('kind', 'pages'), kinds)}{killers}"
        f"<details><summary>The first of them</summary>{draw_table(('kind', 'message'), listed)}</details></section>"
    )


def _confidence(counts: Sequence[int]) -> str:
    most = max([*counts, 1])
    rows = [
        [f"{10 * place} to {10 * place + 10} %", f"{count:,}", _bar(count / most)] for place, count in enumerate(counts)
    ]
    return (
        "<section><h2>Confidence</h2><p>Of each line: the probability that it is exactly right.</p>"
        f"{draw_table(('confidence', 'lines', ''), rows)}</section>"
    )


def _collections(found: dict[str, _Collection]) -> str:
    ranked = sorted(found.items(), key=lambda pair: (-(pair[1].cer or 0.0), pair[0]))
    worst = max((one.cer or 0.0 for one in found.values()), default=0.0) or 1.0
    rows = [
        [escape(name), f"{one.pages:,}", f"{one.failed:,}", percent(one.cer), _bar((one.cer or 0.0) / worst)]
        for name, one in ranked[:_SHOWN]
    ]
    more = f"<p>And {len(ranked) - _SHOWN:,} more with lower rates.</p>" if len(ranked) > _SHOWN else ""
    return (
        "<section><h2>Collections</h2><p>Folders and archives by the character error rate to expect.</p>"
        f"{draw_table(('collection', 'pages', 'failed', 'expected CER', ''), rows)}{more}</section>"
    )


def _bar(share: float) -> str:
    return f'<span class="of" style="width:{100 * share:.1f}%"></span>'


def _worst_pages(rows: Iterable[dict[str, Any]], picture_of: Callable[[dict[str, Any]], str]) -> str:
    items = "".join(
        f'<li>{picture_of(row)}<p class="soft">{escape(row["source"])}, page {row["page"]}: expected CER '
        f"{percent(row['expected_cer'])}</p></li>"
        for row in rows
    )
    if not items:
        return ""
    return (
        "<section><h2>Worst pages</h2><p>Pages with the highest expected error rates. Lines are coloured by their "
        f'confidence, from red to green.</p><ol class="lines pages">{items}</ol></section>'
        "<style>ol.pages img { max-height: 40rem; }</style>"
    )


def _picture(batch: Finished, config: ReadConfig, row: dict[str, Any]) -> str:
    item = batch.item(row["task"], row["source"])
    sources = Sources()
    try:
        if item is None:
            return ""
        if not item.is_named:
            config = replace(config, web=replace(config.web, private=False))
        with open_document(sources.open(item), config, name=item.name) as document:
            image = document.page(row["page"] - 1)
    except Exception:  # a page that is gone must not lose the report; its figures stay
        return ""
    finally:
        sources.close()
    return embed_picture(_marked(image, row["lines"]), _SIZE, 60, f"Page {row['page']} of {row['source']}")


def _marked(image: UInt8Image, lines: Sequence[dict[str, Any]]) -> UInt8Image:
    """The page with the outlines of its lines, as wide as they must be to show when it is small."""
    marked = image.copy()
    width = max(1, round(max(image.shape[:2]) / 400))
    for line in lines:
        points = np.array([[round(point["x"]), round(point["y"])] for point in line["polygon"]], np.int32)
        if line["confidence"] is not None and len(points):
            cv2.polylines(marked, [points], True, colour_of(line["confidence"]), width)
    return marked
