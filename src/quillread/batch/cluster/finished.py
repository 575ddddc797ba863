"""The rows of a target that count: those of parts that are in its ledger, a part at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.rows import from_parquet
from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import Item, Task
from quillread.errors import DataError, UsageError


class Finished:
    """What is read of a batch, which may still be running.

    Args:
        address: Of the target.

    Raises:
        UsageError: If it holds no batch.
    """

    def __init__(self, address: str) -> None:
        self.store = Store(address)
        self.ledger = Ledger(self.store)
        settings = self.ledger.settings()
        if settings is None:
            raise UsageError(f"{address}: holds no batch", hint="name the folder or address of --output")
        self.settings: Mapping[str, Any] = settings

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of the ledger, each task once; of several of a task the last one counts."""
        # Read once: a run that works on it may put files of records together meanwhile.
        yield from {record["task"]: record for record in self.ledger.records()}.values()

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows, with some of their columns and `task`, the name of the task that read them.

        Raises:
            UsageError: If a part that the ledger names is gone.
            DataError: If one is damaged.
        """
        for record in self.records():
            if not record["rows"]:
                continue
            part = Task(record["task"], record["block"], ()).part
            content = self.store.read(part)
            hint = "put it back, or read the batch again into another folder"
            if content is None:
                raise UsageError(f"{self.store.address}: the ledger names {part}, which is gone", hint=hint)
            try:
                rows = from_parquet(content, columns)
            except DataError as error:
                raise DataError(f"{self.store.address}/{part}: {error.message}", hint=hint) from error
            for row in rows:
                yield {**row, "task": record["task"]}

    def item(self, task: str, source: str) -> Item | None:
        """The input that a row is about: by the name of its task, and of the input."""
        block, number = task.split("-")[:2]
        planned = self.ledger.block(int(block)) or []
        items = (item for known in planned if known.name == f"{block}-{number}" for item in known.items)
        return next((item for item in items if item.name == source), None)
