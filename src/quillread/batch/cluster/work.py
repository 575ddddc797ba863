"""What a worker has of a task that it is doing, and the record that comes of it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from quillread.batch.cluster.tasks import Item, Spread, Task
from quillread.errors import Fault

_TOLD = 5
"""Files of a task that could not be written which are named."""


class Work:
    """A task on its way."""

    def __init__(self, task: Task, begun: dict[str, int], earlier: list[dict[str, Any]] | None) -> None:
        self.task = task
        self.begun = begun
        self.place = 0
        """Of the input in the task that is read now."""
        self.earlier = earlier
        self.kept = {row["id"]: row for row in earlier or () if row["fault"] is None}
        self.rows: list[dict[str, Any]] = []
        self.pages: list[dict[str, Any]] = []
        self.spread: list[Spread] = []
        self.faults: list[tuple[int, Fault]] = []
        """What could not be written, with the place of its input in the task."""
        self.worse: set[int] = set()
        """Places of inputs of which less could be read than by an earlier run, whose files stay."""

    def earlier_of(self, item: Item) -> list[dict[str, Any]]:
        """The rows of an input of an earlier run."""
        return [row for row in self.earlier or () if row["id"] == item.page_id(row["page"])]

    def is_read(self, item: Item) -> bool:
        """Whether all of the input that is at its place in the task was read well and written; takes its rows then."""
        if self.earlier is None or self.place in self.task.rewrites:
            return False
        rows = self.earlier_of(item)
        if any(row["fault"] is not None for row in rows):
            return False
        self.rows += rows
        return True  # of a long document, which has tasks of its own, no rows are here

    def take_faults(self, faults: Sequence[Fault]) -> None:
        """Take why files of the input could not be written."""
        self.faults += [(self.place, fault) for fault in faults]

    def add(self, row: dict[str, Any]) -> None:
        """Take a row."""
        self.rows.append(row)

    def record(self, seconds: float) -> dict[str, Any]:
        """What the ledger holds of the task."""
        lines = [line for row in self.rows for line in row["lines"]]
        sure = Counter(min(int(10 * line["confidence"]), 9) for line in lines if line["confidence"] is not None)
        faults = Counter(row["fault"]["kind"] for row in self.rows if row["fault"])
        record: dict[str, Any] = {
            "task": self.task.name,
            "block": self.task.block,
            "rows": len(self.rows),
            "inputs": 0 if self.task.pages or self.task.joins else len(self.task.items),
            "lines": len(lines),
            "seconds": round(seconds, 3),
            "confidence": [sure[bin] for bin in range(10)],
            "faults": dict(faults),
            "unwritten": dict(Counter(fault.kind for _, fault in self.faults)),
            "rewrites": sorted({place for place, _ in self.faults}),
            "messages": [fault.message for _, fault in self.faults[:_TOLD]],
            "deadly": [row["source"] for row in self.rows if row["fault"] and row["fault"]["kind"] == "crash"],
        }
        if self.spread:
            record["spread"] = [
                {"place": s.place, "item": s.item.plain(), "count": s.count, "joins": s.joins, "pages": s.pages}
                for s in self.spread
            ]
        return {name: value for name, value in record.items() if value or name in ("block", "rows", "inputs")}
