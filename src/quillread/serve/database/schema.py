"""The tables of an archive.

Positions (`position`) order siblings and may have gaps. Deleted collections, documents and lines stay with the time of
their deletion (the bin) until they are deleted for good. Geometry is JSON: a baseline is `[[x, y], ...]`, an outline
likewise, in pixels of the page's image, origin top-left.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quillread.serve.database.base import Base, Id, now


class User(Base):
    """An account. On loopback without accounts there is none, and everything belongs to the one person."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(10))
    """admin, editor or reader: of all collections, unless a `Membership` says otherwise for one."""
    created: Mapped[datetime] = mapped_column(default=now)
    disabled: Mapped[bool] = mapped_column(default=False)


class Membership(Base):
    """The role of a user in one collection: admin, editor, reader or none."""

    __tablename__ = "memberships"

    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(10))


class LoginSession(Base):
    """A browser that is logged in; its cookie is kept as a hash."""

    __tablename__ = "login_sessions"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]


class Token(Base):
    """A token of a script, or a link for readers, kept as a hash, with a scope and an end."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    """None: of the one person on loopback."""
    name: Mapped[str] = mapped_column(String(100))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(10))
    """What it allows at most: admin, editor or reader."""
    collection_id: Mapped[int | None] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    """The only collection that it is for."""
    is_link: Mapped[bool] = mapped_column(default=False)
    """Whether it is a link that opens a collection for readers without an account."""
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    last_used: Mapped[datetime | None]


class LoginFailure(Base):
    """A wrong password."""

    __tablename__ = "login_failures"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(String(200), index=True)
    """`name:...` or `address:...`."""
    time: Mapped[datetime] = mapped_column(default=now)


class AuditEntry(Base):
    """Who did what, without any text of pages."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    time: Mapped[datetime] = mapped_column(default=now, index=True)
    user_name: Mapped[str] = mapped_column(String(100))
    address: Mapped[str] = mapped_column(String(64), default="")
    action: Mapped[str] = mapped_column(String(50))
    """Such as `document.delete` or `login.failed`."""
    collection_id: Mapped[int | None] = mapped_column(Id, index=True)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Collection(Base):
    """Documents that belong together: a box of letters, an archive's fonds."""

    __tablename__ = "collections"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created: Mapped[datetime] = mapped_column(default=now)
    deleted: Mapped[datetime | None]
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """`options`: `ReadOptions` that its pages are read with; what the pages in the browser keep."""

    documents: Mapped[list["Document"]] = relationship(back_populates="collection", passive_deletes=True)


class Document(Base):
    """A letter, a register, a book: pages in order."""

    __tablename__ = "documents"
    __table_args__ = (Index("ix_documents_place", "collection_id", "position"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(500))
    position: Mapped[int] = mapped_column(Id, default=0)
    created: Mapped[datetime] = mapped_column(default=now)
    deleted: Mapped[datetime | None]
    origin: Mapped[str | None] = mapped_column(String(100), unique=True)
    """Of an import: which document of which task it is, so that a task that runs again makes none twice."""

    collection: Mapped[Collection] = relationship(back_populates="documents")
    pages: Mapped[list["Page"]] = relationship(
        back_populates="document", passive_deletes=True, order_by="Page.position, Page.id"
    )


class Blob(Base):
    """A file of the storage, by the SHA-256 of its content; the row stands before anything refers to it."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(100))
    created: Mapped[datetime] = mapped_column(default=now)


class Page(Base):
    """One page of a document."""

    __tablename__ = "pages"
    __table_args__ = (Index("ix_pages_place", "document_id", "position"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(default=0)
    label: Mapped[str] = mapped_column(String(200), default="")
    """What its source calls it, such as `12r`."""
    source: Mapped[str | None] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    """The original, untouched; None if it could not be had."""
    source_name: Mapped[str] = mapped_column(String(500), default="")
    """Name of the file as it was uploaded, or its address."""
    source_index: Mapped[int] = mapped_column(default=0)
    """Which page of the original, from 0."""
    view: Mapped[str | None] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    """A JPEG of the page, upright, that browsers can show: its pixels are those that coordinates are in."""
    thumbnail: Mapped[str | None] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    width: Mapped[int] = mapped_column(default=0)
    height: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(10), default="new", index=True)
    """new (no lines yet), waiting, reading, read or failed."""
    fault: Mapped[dict[str, Any] | None]
    """Why it could not be read: kind, message, hint."""
    notes: Mapped[list[Any]] = mapped_column(default=list)
    provenance: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Of the last reading."""
    version: Mapped[int] = mapped_column(default=1)
    """Counts changes of the layout: regions and lines added, moved, reordered, deleted."""
    drawn: Mapped[bool] = mapped_column(default=False)
    """Whether a person or an import has made the layout, so that a new reading goes along its lines."""
    line_count: Mapped[int] = mapped_column(default=0)
    """Lines of text: none of the counts has those in pictures and regions to ignore."""
    checked_count: Mapped[int] = mapped_column(default=0)
    """Lines that a person has taken as right."""
    doubtful_count: Mapped[int] = mapped_column(default=0)
    """Lines not checked whose confidence is below 0.5."""
    deleted: Mapped[datetime | None]
    origin: Mapped[str | None] = mapped_column(String(100), unique=True)
    """Of an import: which page of which file of which task it is; see `Document.origin`."""

    document: Mapped[Document] = relationship(back_populates="pages")
    regions: Mapped[list["Region"]] = relationship(
        back_populates="page", passive_deletes=True, order_by="Region.position, Region.id"
    )
    lines: Mapped[list["Line"]] = relationship(
        back_populates="page", passive_deletes=True, order_by="Line.position, Line.id"
    )


class Region(Base):
    """Lines that belong together on a page."""

    __tablename__ = "regions"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    page_id: Mapped[int] = mapped_column(ForeignKey("pages.id", ondelete="CASCADE"), index=True)
    position: Mapped[int] = mapped_column(default=0)
    kind: Mapped[str] = mapped_column(String(20), default="text")
    """text, margin, heading, table, picture or ignore."""
    polygon: Mapped[list[Any]]
    xml_id: Mapped[str | None] = mapped_column(String(200))

    page: Mapped[Page] = relationship(back_populates="regions")


class Line(Base):
    """One line of writing: where it stands, and its text as it is now."""

    __tablename__ = "lines"
    __table_args__ = (Index("ix_lines_place", "page_id", "position"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    page_id: Mapped[int] = mapped_column(ForeignKey("pages.id", ondelete="CASCADE"))
    region_id: Mapped[int | None] = mapped_column(ForeignKey("regions.id", ondelete="SET NULL"), index=True)
    position: Mapped[int] = mapped_column(default=0)
    """On the page, in reading order, across regions."""
    baseline: Mapped[list[Any]]
    polygon: Mapped[list[Any]]
    xml_id: Mapped[str | None] = mapped_column(String(200))
    printed: Mapped[bool] = mapped_column(default=False)
    drawn: Mapped[bool] = mapped_column(default=False)
    """Whether a person or an import has placed it: finding lines anew leaves it where it is."""
    text: Mapped[str] = mapped_column(Text, default="")
    """Of the version that counts: the last of a person or an import, else the last of a machine."""
    confidence: Mapped[float | None] = mapped_column(Float)
    """None if nothing was read; 1 if a person has checked it. That of a draft is the machine's."""
    checked: Mapped[bool] = mapped_column(default=False)
    """Whether a person has taken the text as right."""
    revision: Mapped[int] = mapped_column(default=1)
    """Counts changes of the line; its entity tag."""
    current_id: Mapped[int | None] = mapped_column(Id)
    """The version that counts."""
    deleted: Mapped[datetime | None]

    page: Mapped[Page] = relationship(back_populates="lines")
    versions: Mapped[list["LineVersion"]] = relationship(
        back_populates="line", passive_deletes=True, order_by="LineVersion.number"
    )


class LineVersion(Base):
    """A text that a line has had, or that a machine has read in it."""

    __tablename__ = "line_versions"
    __table_args__ = (UniqueConstraint("line_id", "number"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id", ondelete="CASCADE"))
    number: Mapped[int]
    """From 1, by line."""
    kind: Mapped[str] = mapped_column(String(10))
    """person, machine or import."""
    author: Mapped[str] = mapped_column(String(200), default="")
    """Name of the user, or of the model, or of the file."""
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    text: Mapped[str] = mapped_column(Text)
    confidence: Mapped[float | None] = mapped_column(Float)
    reading: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Of a machine: words with places and confidences, alternatives, the error rate to expect (`database.readings`)."""
    fingerprint: Mapped[str] = mapped_column(String(16), default="")
    """Of a machine: that of the options and models it was read with."""
    created: Mapped[datetime] = mapped_column(default=now)

    line: Mapped[Line] = relationship(back_populates="versions")


class Model(Base):
    """A model of the archive: uploaded, or taught here. Its folder is a zip in the storage, unpacked before use."""

    __tablename__ = "models"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    blob: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    """The zip of its folder; unpacked into `models/BLOB` of the data folder."""
    family: Mapped[str] = mapped_column(String(20))
    collection_id: Mapped[int | None] = mapped_column(ForeignKey("collections.id", ondelete="SET NULL"))
    """That it was taught on; whoever may read that may use it. None: for all."""
    created: Mapped[datetime] = mapped_column(default=now)
    card: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Of one that was taught: lines, error before and after with interval, examples."""


class Job(Base):
    """Work that goes on behind: reading, importing, exporting, training. It is made of tasks."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    """read, import, export or train."""
    state: Mapped[str] = mapped_column(String(10), default="waiting", index=True)
    """waiting, running, done, failed (some tasks are parked) or cancelled."""
    collection_id: Mapped[int | None] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    document_id: Mapped[int | None] = mapped_column(ForeignKey("documents.id", ondelete="SET NULL"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    token_id: Mapped[int | None] = mapped_column(ForeignKey("tokens.id", ondelete="SET NULL"), index=True)
    """The token or link that it was begun with: a link has no user, and sees its own jobs only."""
    user_name: Mapped[str] = mapped_column(String(100), default="")
    title: Mapped[str] = mapped_column(String(500), default="")
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    result: Mapped[dict[str, Any] | None]
    """Of an export: `blob`, `name`, `media_type`; of a training: `model_id`; of an import: `document_ids`."""
    fault: Mapped[dict[str, Any] | None]
    total: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    cancelled: Mapped[bool] = mapped_column(default=False)
    """Whether it is to end; its running tasks look at this."""
    created: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]


class Task(Base):
    """The unit of work of a job: one page, one file, one training. One worker has it at a time, by a lease."""

    __tablename__ = "tasks"
    __table_args__ = (
        Index("ix_tasks_next", "state", "kind", "priority", "id"),
        Index("ix_tasks_job", "job_id", "state"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))
    """That of its job."""
    page_id: Mapped[int | None] = mapped_column(ForeignKey("pages.id", ondelete="CASCADE"), index=True)
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    priority: Mapped[int] = mapped_column(default=0)
    """The highest goes first: 100 for what someone looks at, 10 for changed lines, 0 for batches."""
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    """waiting, running, done, parked or cancelled."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Times that it was begun; results of an attempt that is not the last are dropped."""
    failures: Mapped[int] = mapped_column(default=0)
    """Times that it failed by itself; a server that ends in the middle is not counted."""
    server: Mapped[str | None] = mapped_column(String(64), index=True)
    """Which server has it."""
    lease: Mapped[datetime | None]
    """Until when, unless it is renewed; by the clock of the database."""
    not_before: Mapped[datetime | None]
    """When it may be tried again."""
    progress: Mapped[dict[str, Any] | None]
    fault: Mapped[dict[str, Any] | None]


class Event(Base):
    """What happened, for those who watch: server-sent events. Old ones are dropped."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    time: Mapped[datetime] = mapped_column(default=now, index=True)
    collection_id: Mapped[int | None] = mapped_column(Id, index=True)
    kind: Mapped[str] = mapped_column(String(30))
    """Such as `job.progress`, `page.read`, `line.changed`."""
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


class LineSearch(Base):
    """The folded text of a line with its doubtful readings, for search; an index by the kind of database stands on it.

    SQLite: the FTS5 table `line_index`, kept by triggers. PostgreSQL: a GIN index of a generated column, `vector`.
    """

    __tablename__ = "line_search"

    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id", ondelete="CASCADE"), primary_key=True)
    scope: Mapped[str] = mapped_column(String(60))
    """Where the line is, as words of the index: a search in a small collection passes over the lines of others."""
    folded: Mapped[str] = mapped_column(Text)


for _table in Base.metadata.tables.values():  # ids, which addresses hold, are never given twice
    if "id" in _table.columns:
        _table.dialect_options["sqlite"]["autoincrement"] = True
