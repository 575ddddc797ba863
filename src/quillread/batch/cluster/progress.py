"""How far a batch is."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_NAMED = 100
"""Pages that killed their workers which are named in the end, and files that could not be written."""


@dataclass
class Progress:
    """How far a batch is; its figures go into the ledger as they are."""

    pages: int = 0
    """Rows of the data set, of this run and earlier ones; an input that cannot be opened has one."""
    lines: int = 0
    failed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Kinds of what went wrong with pages and their files."""
    confidence: list[int] = field(default_factory=lambda: [0] * 10)
    """Lines by their confidence, in tenths."""
    inputs: int = 0
    """That are done."""
    planned: int = 0
    """Inputs that are listed."""
    is_whole: bool = False
    """Whether all inputs are listed."""
    doubles: int = 0
    spread_left: int = 0
    """Pages of long documents that are left to read."""
    earlier: int = 0
    """Rows of earlier runs."""
    seconds: float = 0.0
    """Of this run."""
    worker_seconds: float = 0.0
    """Of this run: seconds that workers were there."""
    workers: int = 0
    deadly: list[str] = field(default_factory=list)
    """Inputs with pages that killed their workers."""
    unwritten: list[str] = field(default_factory=list)
    """Why files could not be written."""

    @property
    def rate(self) -> float:
        """Pages a second, of this run."""
        return (self.pages - self.earlier) / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> int:
        """Inputs that are listed and not read yet, and pages that are left of long documents."""
        return self.planned - self.inputs + self.spread_left

    @property
    def seconds_left(self) -> float | None:
        """Until the end, as far as pages are known of; None while inputs are being listed."""
        return self.left / self.rate if self.is_whole and self.rate else None

    def cost(self, price: float) -> float | None:
        """Of 1,000 pages, where a worker costs `price` an hour."""
        pages = self.pages - self.earlier
        return 1000 * price * self.worker_seconds / 3600 / pages if pages else None

    def take(self, record: Mapping[str, Any], sign: int = 1) -> None:
        """Count what a record of the ledger says; a sign of -1 takes it back."""
        self.pages += sign * record["rows"]
        self.inputs += sign * record["inputs"]
        self.lines += sign * record.get("lines", 0)
        self.failed += sign * sum(record.get("faults", {}).values())
        for kinds in (record.get("faults", {}), record.get("unwritten", {})):
            for kind, count in kinds.items():
                self.faults[kind] += sign * count
        self.faults = +self.faults  # without those that are none any more
        for place, count in enumerate(record.get("confidence", ())):
            self.confidence[place] += sign * count
        for names, found in (("deadly", self.deadly), ("messages", self.unwritten)):
            for name in record.get(names, ()):
                if sign < 0:
                    with suppress(ValueError):
                        found.remove(name)
                elif len(found) < _NAMED:
                    found.append(name)

    def plain(self) -> dict[str, Any]:
        """The figures as JSON can hold them."""
        return {**vars(self), "faults": dict(self.faults)}

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> "Progress":
        """The figures of `plain`, whatever else stands beside them."""
        values = {name: data[name] for name in vars(cls()) if name in data}
        return cls(**{**values, "faults": Counter(values.get("faults", {}))})
