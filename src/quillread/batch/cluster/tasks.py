"""What is spread over workers: inputs, and tasks made of them, as plain data that a plan and a ledger can hold."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from quillread.errors import Fault

LONG = 16
"""Pages that a worker reads of a document at a time; those of a longer one are spread over the workers."""
ROOM = "pages"
"""Folder of the data set."""
FILES = "files"
"""Folder of the files of each page or document."""


@dataclass(frozen=True, slots=True)
class Item:
    """An input: a file, an address, or a file in an archive."""

    name: str
    """As the user named it, or as found below what the user named."""
    place: str
    """The absolute path or the address that it is read from."""
    stem: str
    """Path of the files of its results, without a suffix."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the table that names it."""
    member: str = ""
    """Its name in the zip at `place`, if it lies in one."""
    span: tuple[int, int] | None = None
    """First byte and number of bytes in the tar at `place`, if it lies in one."""
    fault: Fault | None = None
    """Why it cannot be read, if that is known already."""
    is_named: bool = True
    """Whether the user named it, and not a collection: what others name may not lie in a private network."""

    @property
    def key(self) -> bytes:
        """16 bytes that stand for what is read: two names of one file have the same."""
        parts = (self.place, self.member, "" if self.span is None else str(self.span[0]))
        return hashlib.blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=16).digest()

    def page_id(self, number: int | None) -> str:
        """The id of a page, which stays the same in every run; of an input that cannot be opened, without a number."""
        page = self.key + (b"" if number is None else number.to_bytes(8, "big"))
        return hashlib.blake2b(page, digest_size=16).hexdigest()

    def plain(self) -> dict[str, Any]:
        """The item as JSON can hold it; without what is empty."""
        data: dict[str, Any] = {"name": self.name, "place": self.place, "stem": self.stem}
        if self.columns:
            data["columns"] = dict(self.columns)
        if self.member or self.span:
            data |= {"member": self.member, "span": self.span}
        if self.fault is not None:
            data["fault"] = asdict(self.fault)
        if not self.is_named:
            data["is_named"] = False
        return data

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> "Item":
        """The item of `plain`."""
        values = dict(data)
        if values.get("span"):
            values["span"] = tuple(values["span"])
        if "fault" in values:
            values["fault"] = Fault(**values["fault"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Task:
    """Pages that one worker reads in one go, and writes into one part of the data set.

    Its name says which part that is, and what it reads is in the plan before it starts. So a task that is done twice,
    after the loss of a worker or by one that was taken for lost, writes the same rows to the same place.
    """

    name: str
    block: int
    """Of the plan, and the partition of the data set."""
    items: tuple[Item, ...]
    pages: tuple[int, int] | None = None
    """Of a long document: the first of its selected pages to read, from 0, and the one to stop before."""
    count: int = 0
    """Pages of the long document, when it was found."""
    joins: int = 0
    """Of a long document that is read: how many of its parts are to be joined into its files."""
    careful: bool = False
    """Whether a worker was lost with it: which page is read is then noted before it is."""
    again: bool = False
    """Whether pages that failed are to be read again, and all others kept."""
    rewrites: tuple[int, ...] = ()
    """Places of inputs that are then read whole, as their files could not be written."""

    @property
    def part(self) -> str:
        """Name of its part of the data set."""
        return f"{ROOM}/block={self.block:06}/{self.name}.parquet"


@dataclass(frozen=True, slots=True)
class Spread:
    """A document that is too long for one task, found by the task that was to read it."""

    parent: str
    """Name of that task."""
    place: int
    """Of the document in that task."""
    block: int
    item: Item
    count: int
    """Of its pages that are to be read."""
    joins: bool = False
    """Whether files are written of it, which hold all of its pages."""
    pages: int = 0
    """Of it, selected or not."""

    def tasks(self) -> list[Task]:
        """Its tasks, in order."""
        firsts = range(0, self.count, LONG)
        return [
            Task(self._name(first), self.block, (self.item,), (first, min(first + LONG, self.count)), self.pages)
            for first in firsts
        ]

    def joining(self) -> Task:
        """The task that comes after the others."""
        name = f"{self.parent}-{self.place:03}-files"
        return Task(name, self.block, (self.item,), count=self.pages, joins=len(self.tasks()))

    def _name(self, first: int) -> str:
        return f"{self.parent}-{self.place:03}-{first:06}"
