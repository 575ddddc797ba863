"""Backups: one file that holds all of an archive, made while it is in use, and put back into either kind of database.

The file is a tar: `database/TABLE.jsonl.gz` of one snapshot (a line with the columns and their kinds, then one a row),
`files/SHA256`, and last `manifest.json` with digests and versions, so that a backup that was cut off is known. Logins
of browsers, uploads that are not whole, and the folders of trainings are not in it.
"""

import gzip
import hashlib
import json
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from sqlalchemy import JSON, Boolean, Connection, Float, Table, column, func, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import TypeEngine

from quillread.errors import InputError, OutputError, QuillreadError, UsageError
from quillread.files import AtomicFile
from quillread.serve.archive.home import Archive, is_archive
from quillread.serve.config import ServeConfig
from quillread.serve.database.base import Base, UtcTime, now
from quillread.serve.database.migrate import migrate, revisions
from quillread.serve.database.schema import Blob, Collection, Document, Job, User
from quillread.version import __version__

Progress = Callable[[int, int], None]

_FORMAT = 1
_MANIFEST = "manifest.json"
_LEFT_OUT = frozenset({"login_sessions", "login_failures"})
_ROWS = 1000
_FILE_NAME = re.compile(r"files/([0-9a-f]{64})")
_MALFORMED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, KeyError, TypeError)
_KINDS: dict[str, TypeEngine[Any] | None] = {
    "time": UtcTime(),
    "json": JSON(none_as_null=True),
    "bool": Boolean(),
    "float": Float(),
    "plain": None,
}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds."""

    created: datetime
    rows: int
    files: int
    bytes: int
    """Of the files."""
    binned: int
    """Documents in the bin, which it holds, too."""
    faults: list[str] = field(default_factory=list)
    """Files that are missing from it, as they were from the archive."""


def make_backup(archive: Archive, target: Path, progress: Progress = lambda done, total: None) -> Contents:
    """Write all of an archive into one file, while it may be in use.

    Args:
        archive: It is not changed.
        target: The file; it must not be there.
        progress: Told how many files of how many are written.

    Raises:
        OutputError: If the file is there, or cannot be written.
    """
    if target.exists():
        raise OutputError(f"{target}: exists already", hint="name a file that is to be made")
    output = AtomicFile(target)
    try:
        os.fchmod(output.file.fileno(), 0o600)  # it holds hashes of passwords
        with tarfile.open(fileobj=output.file, mode="w:", format=tarfile.PAX_FORMAT) as tar:
            manifest, blobs = _add_tables(archive, tar, target.parent)
            files, faults = _add_files(archive, tar, blobs, progress)
            manifest |= {"files": len(files), "bytes": sum(files), "faults": faults}
            _add(tar, _MANIFEST, json.dumps(manifest, indent=1).encode())
        output.commit()
    except OSError as error:
        hint = "check disk space and permissions"
        raise OutputError(f"{target}: {error.strerror or error}", hint=hint) from error
    finally:
        output.discard()
    return _contents(manifest)


def restore(config: ServeConfig, source: Path, progress: Progress = lambda done, total: None) -> Contents:
    """Put a backup into an archive that is empty; if anything is wrong, it stays empty.

    Args:
        config: Of the archive, with a database of either kind.
        source: The backup.
        progress: Told how many files of how many are there.

    Raises:
        UsageError: If the archive is not empty, is in use, or a later version has made the backup.
        InputError: If the backup is damaged.
    """
    try:
        with tarfile.open(source, "r:") as tar:
            manifest = _read_manifest(tar, source)
            if manifest["schema"] != revisions()[-1] and is_archive(config):
                raise _not_empty(config, "the schema of another version")
            with Archive(config, schema=manifest["schema"]) as archive:
                _check_empty(archive)
                _restore_into(archive, tar, manifest, progress)
                migrate(archive.database)
    except _MALFORMED as error:
        raise InputError(f"{source}: is damaged, or not a backup: {error}", hint="take another backup") from error
    except DBAPIError as error:
        raise InputError(f"{source}: the database does not take what it holds: {error.orig}") from error
    return _contents(manifest)


def _contents(manifest: Mapping[str, Any]) -> Contents:
    return Contents(
        created=datetime.fromisoformat(manifest["created"]),
        rows=sum(made["rows"] for made in manifest["tables"].values()),
        files=manifest["files"],
        bytes=manifest["bytes"],
        binned=manifest["binned"],
        faults=manifest["faults"],
    )


def _add_tables(archive: Archive, tar: tarfile.TarFile, folder: Path) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """Add all tables as they are at one moment, and tell which files they refer to."""
    options = {} if archive.database.is_sqlite else {"isolation_level": "REPEATABLE READ"}
    with archive.database.engine.connect().execution_options(**options) as connection, connection.begin():
        made = {}
        for source in Base.metadata.sorted_tables:
            if source.name not in _LEFT_OUT:
                made[source.name] = _add_table(tar, connection, source, folder)
        blobs = [(row[0], row[1]) for row in connection.execute(select(Blob.sha256, Blob.size).order_by(Blob.sha256))]
        manifest = {
            "format": _FORMAT,
            "quillread": __version__,
            "schema": revisions()[-1],
            "created": now().isoformat(),
            "tables": made,
            "last_ids": _last_ids(connection, made),
            "binned": connection.scalar(select(func.count(Document.id)).where(Document.deleted.is_not(None))),
        }
    return manifest, blobs


def _add_table(tar: tarfile.TarFile, connection: Connection, source: Table, folder: Path) -> dict[str, Any]:
    kinds = [_kind_of(made.type) for made in source.columns]
    digest, count = hashlib.sha256(), 0
    with tempfile.TemporaryFile(dir=folder) as spooled:  # a tar needs the size before the content
        with gzip.GzipFile(fileobj=spooled, mode="wb", compresslevel=6, mtime=0) as packed:

            def write(row: Sequence[Any]) -> None:
                line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
                digest.update(line)
                packed.write(line)

            write([[made.name, kind] for made, kind in zip(source.columns, kinds, strict=True)])
            rows = connection.execution_options(yield_per=_ROWS).execute(
                select(source).order_by(*source.primary_key.columns)
            )
            for row in rows:
                write([_plain(value) for value in row])
                count += 1
        size = spooled.tell()
        spooled.seek(0)
        _add(tar, f"database/{source.name}.jsonl.gz", spooled, size)
    return {"rows": count, "sha256": digest.hexdigest()}


def _add_files(
    archive: Archive, tar: tarfile.TarFile, blobs: Sequence[tuple[str, int]], progress: Progress
) -> tuple[list[int], list[str]]:
    sizes, faults = [], []
    for done, (sha256, size) in enumerate(blobs):
        progress(done, len(blobs))
        try:
            with archive.storage.open(sha256) as file:
                has = file.seek(0, 2)
                file.seek(0)
                if has != size:
                    faults.append(f"file {sha256} has {has:,} bytes, not {size:,}")
                    continue
                hashed = _Hashed(file)
                _add(tar, f"files/{sha256}", cast(BinaryIO, hashed), size)
        except InputError:
            # One that was deleted for good while the backup went on is missing from it, and should be.
            faults.append(f"file {sha256} is missing")
            continue
        sizes.append(size)
        if hashed.digest.hexdigest() != sha256:
            faults.append(f"file {sha256} is damaged")
    progress(len(blobs), len(blobs))
    return sizes, faults


def _add(tar: tarfile.TarFile, name: str, content: "bytes | IO[bytes]", size: int | None = None) -> None:
    info = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        with tempfile.SpooledTemporaryFile() as file:
            file.write(content)
            file.seek(0)
            info.size = len(content)
            tar.addfile(info, cast(IO[bytes], file))
    else:
        info.size = cast(int, size)
        tar.addfile(info, content)


class _Hashed:
    """A file whose content is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self.digest.update(part)
        return part


def _last_ids(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """The last id that each table has given, which is never given again, even if its row is gone."""
    if connection.dialect.name == "sqlite":
        kept = {name: last for name, last in connection.execute(text("SELECT name, seq FROM sqlite_sequence"))}
        return {name: kept[name] for name in names if name in kept}
    last = {}
    for name in names:
        sequence = _sequence_of(connection, name)
        if sequence:
            value, is_called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
            last[name] = value if is_called else 0
    return last


def _sequence_of(connection: Connection, name: str) -> str | None:
    """The sequence of a table's ids, ready to stand in a statement; None if it has none."""
    if "id" not in Base.metadata.tables[name].columns:
        return None
    found = connection.scalar(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": name})
    return None if found is None else str(found)


def _kind_of(kind: TypeEngine[Any]) -> str:
    return next((name for name, made in _KINDS.items() if made is not None and isinstance(kind, type(made))), "plain")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _unplain(value: Any, kind: str) -> Any:
    return datetime.fromisoformat(value) if kind == "time" and value is not None else value


def _read_manifest(tar: tarfile.TarFile, source: Path) -> dict[str, Any]:
    try:
        file = tar.extractfile(_MANIFEST)
    except KeyError as error:
        hint = "it was cut off while it was made or copied: take another backup"
        raise InputError(f"{source}: is not a whole backup: it has no manifest", hint=hint) from error
    manifest = json.loads(cast(IO[bytes], file).read())
    if manifest["format"] != _FORMAT or manifest["schema"] not in revisions():
        made = manifest.get("quillread")
        raise UsageError(f"{source}: Quillread {made} has made it", hint="restore it with that version, or a later one")
    return cast(dict[str, Any], manifest)


def _check_empty(archive: Archive) -> None:
    with archive.database.read() as session:
        for kind in (Collection, Document, User, Job, Blob):
            if session.execute(select(kind.__table__).limit(1)).first() is not None:
                raise _not_empty(archive.config, kind.__tablename__)


def _not_empty(config: ServeConfig, what: str) -> UsageError:
    hint = "name a folder, and a database, that are to be made: --data DIR"
    return UsageError(f"{config.data}: the archive is not empty: it has {what}", hint=hint)


def _restore_into(archive: Archive, tar: tarfile.TarFile, manifest: Mapping[str, Any], progress: Progress) -> None:
    added: list[str] = []
    lacking = {fault.split()[1] for fault in manifest["faults"]}
    try:
        for member in tar:
            match = _FILE_NAME.fullmatch(member.name)
            if match is None or match[1] in lacking or archive.storage.has(match[1]):
                continue
            progress(len(added), manifest["files"])
            added.append(archive.storage.add(cast(BinaryIO, tar.extractfile(member))).sha256)
            if added[-1] != match[1]:
                raise InputError(f"the file {match[1]} in the backup is damaged", hint="take another backup")
        with archive.database.write() as session:
            for name, made in manifest["tables"].items():
                _restore_table(session, tar, name, made)
            _set_last_ids(session.connection(), manifest["last_ids"])
            _check_files(session, archive, lacking)
    except BaseException:
        for sha256 in added:
            with suppress(QuillreadError, OSError):
                archive.storage.delete(sha256)
        raise
    progress(manifest["files"], manifest["files"])


def _restore_table(session: Session, tar: tarfile.TarFile, name: str, made: Mapping[str, Any]) -> None:
    digest = hashlib.sha256()
    packed = cast(IO[bytes], tar.extractfile(f"database/{name}.jsonl.gz"))
    with gzip.GzipFile(fileobj=packed) as lines:

        def read() -> Iterator[list[Any]]:
            for line in lines:
                digest.update(line)
                yield json.loads(line)

        rows = read()
        columns: list[list[str]] = next(rows)
        target = _table(name, columns)
        count = 0
        while some := list(islice(rows, _ROWS)):
            values = [
                {key: _unplain(value, kind) for (key, kind), value in zip(columns, row, strict=True)} for row in some
            ]
            session.connection().execute(target.insert(), values)
            count += len(values)
    if digest.hexdigest() != made["sha256"] or count != made["rows"]:
        raise InputError(f"the table {name} in the backup is damaged", hint="take another backup")


def _table(name: str, columns: Sequence[Sequence[str]]) -> TableClause:
    """A table as the backup knows it, which may be one of an earlier schema."""
    return table(name, *(column(key, _KINDS[kind]) for key, kind in columns))


def _set_last_ids(connection: Connection, last: Mapping[str, int]) -> None:
    for name, value in last.items():
        if connection.dialect.name == "sqlite":
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
            statement = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :value)")
            connection.execute(statement, {"name": name, "value": value})
        elif sequence := _sequence_of(connection, name):
            values = {"sequence": sequence, "value": max(value, 1), "is_called": value > 0}
            connection.execute(text("SELECT setval(:sequence, :value, :is_called)"), values)


def _check_files(session: Session, archive: Archive, lacking: Set[str]) -> None:
    """Refuse a backup that lacks files, except those that were missing when it was made."""
    here = {stored.sha256 for stored in archive.storage.list()}
    for sha256 in session.scalars(select(Blob.sha256)):
        if sha256 not in here and sha256 not in lacking:
            raise InputError(f"the file {sha256} is missing from the backup", hint="take another backup")
