"""What a worker has of an input of a task that it reads, and the record that comes of all of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quillread.batch.cluster.fetching import Sources
from quillread.batch.cluster.tasks import Item, Spread, Task
from quillread.batch.executors import PageWorker
from quillread.errors import Fault

_TOLD = 5
"""Files of a task that could not be written which are named."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What one thread of a worker reads with: each has the documents that it reads open for itself."""

    pages: PageWorker
    sources: Sources


class Work:
    """An input of a task on its way, or a part of a long document.

    Args:
        task: The task, or of a long document a part of it.
        place: Of the input in the task.
        item: The input.
        begun: How often each page was begun by workers that were lost; of the whole task.
        earlier: The rows of the task of an earlier run, where pages that failed are read again.
        known_pages: Of a long document, what that run has read of them for its files, by their numbers.
    """

    def __init__(
        self,
        task: Task,
        place: int,
        item: Item,
        begun: dict[str, int],
        earlier: list[dict[str, Any]] | None,
        known_pages: Mapping[int, dict[str, Any]],
    ) -> None:
        self.task = task
        self.place = place
        self.item = item
        self.begun = begun
        self._earlier = earlier
        self.known_pages = known_pages
        self.kept = {row["id"]: row for row in earlier or () if row["fault"] is None}
        self.rows: list[dict[str, Any]] = []
        self.pages: list[dict[str, Any]] = []
        self.spread: list[Spread] = []
        self.faults: list[Fault] = []
        """What could not be written."""
        self.is_worse = False
        """Whether less of it could be read than by an earlier run, whose files stay."""

    def earlier_rows(self) -> list[dict[str, Any]]:
        """Its rows of an earlier run."""
        return [row for row in self._earlier or () if row["id"] == self.item.page_id(row["page"])]

    def is_read(self) -> bool:
        """Whether all of it was read well and written by an earlier run; takes its rows then."""
        if self._earlier is None or self.place in self.task.rewrites:
            return False
        rows = self.earlier_rows()
        if any(row["fault"] is not None for row in rows):
            return False
        self.rows += rows
        return True  # of a long document, which has tasks of its own, no rows are here


def record_of(task: Task, works: Sequence[Work], seconds: float) -> dict[str, Any]:
    """What the ledger holds of a task, of which all is read."""
    rows = [row for work in works for row in work.rows]
    lines = [line for row in rows for line in row["lines"]]
    sure = Counter(min(int(10 * line["confidence"]), 9) for line in lines if line["confidence"] is not None)
    faults = Counter(row["fault"]["kind"] for row in rows if row["fault"])
    unwritten = [fault for work in works for fault in work.faults]
    record: dict[str, Any] = {
        "task": task.name,
        "block": task.block,
        "rows": len(rows),
        "inputs": 0 if task.pages or task.joins else len(task.items),
        "lines": len(lines),
        "seconds": round(seconds, 3),
        "confidence": [sure[bin] for bin in range(10)],
        "faults": dict(faults),
        "unwritten": dict(Counter(fault.kind for fault in unwritten)),
        "rewrites": sorted({work.place for work in works if work.faults}),
        "messages": [fault.message for fault in unwritten[:_TOLD]],
        "deadly": [row["source"] for row in rows if row["fault"] and row["fault"]["kind"] == "crash"],
    }
    if spread := [part for work in works for part in work.spread]:
        record["spread"] = [
            {"place": s.place, "item": s.item.plain(), "count": s.count, "joins": s.joins, "pages": s.pages}
            for s in spread
        ]
    return {name: value for name, value in record.items() if value or name in ("block", "rows", "inputs")}
