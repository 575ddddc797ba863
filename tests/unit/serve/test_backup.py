"""Backups between both kinds of database, and what is found to be wrong with an archive."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, text, update

from quillread.errors import InputError, OutputError, UsageError
from quillread.serve.access import accounts
from quillread.serve.archive.backup import make_backup, restore
from quillread.serve.archive.checking import check
from quillread.serve.archive.home import Archive
from quillread.serve.archive.indexing import index_lines
from quillread.serve.archive.readings import recount
from quillread.serve.config import ServeConfig
from quillread.serve.database.base import Base, now
from quillread.serve.database.schema import (
    Blob,
    Collection,
    Document,
    Line,
    LineVersion,
    LoginSession,
    Page,
    User,
)

MakePage = Callable[..., int]
TEXT = "Grüße, “Anna” \u2028 𝔊\u0301"


@pytest.fixture
def filled(archive: Archive, make_page: MakePage, cheap_passwords: None) -> Archive:
    """An archive with some of everything."""
    with archive.database.write() as session:
        collection = Collection(name=TEXT, settings={"options": {"lm": ["fr"]}})
        session.add(collection)
        session.flush()
        documents = [Document(collection_id=collection.id, name=name) for name in ("one", "two")]
        session.add_all(documents)
        user = accounts.add_user(session, "admin", "admin", accounts.make_hash("admin", "correct horse"))
        session.add(LoginSession(hash="x" * 64, user_id=user.id, expires=now()))
        documents[1].deleted = now()
        session.flush()
        ids = [document.id for document in documents]
    page_id = make_page(ids[0], source_name="letter.jpg", state="read")
    with archive.database.write() as session:
        page = session.get_one(Page, page_id)
        for position in range(3):
            place = [[0.5, 10.0 * position], [100.25, 10.0 * position]]
            line = Line(page_id=page_id, position=position, baseline=place, polygon=place, text=TEXT, confidence=1 / 3)
            session.add(line)
            session.flush()
            reading = {"alternatives": [["x", 0.1]]}
            version = LineVersion(line_id=line.id, number=1, kind="machine", text=TEXT, confidence=0.1, reading=reading)
            session.add(version)
            session.flush()
            line.current_id = version.id
            index_lines(session, page.document, [(line.id, line.text, ())])
        last = Line(page_id=page_id, position=9, baseline=[], polygon=[])
        session.add(last)
        session.flush()
        session.delete(last)  # its id must not be given again
        recount(session, page)
    return archive


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> ServeConfig:
    """Settings of a new archive to restore into."""
    address = request.getfixturevalue("make_database")() if request.param == "postgresql" else None
    return ServeConfig(data=tmp_path / "restored", database=address)


def rows_of(archive: Archive) -> dict[str, list[Any]]:
    """All rows of all tables but those that a backup skips."""
    with archive.database.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key.columns))]
            for table in Base.metadata.sorted_tables
            if table.name not in ("login_sessions", "login_failures")
        }


def test_a_backup_is_restored_into_either_kind_of_database(filled: Archive, target: ServeConfig, tmp_path: Path):
    made = make_backup(filled, tmp_path / "b.tar")
    assert made.faults == []
    assert made.binned == 1
    restored = restore(target, tmp_path / "b.tar")
    assert (restored.rows, restored.files) == (made.rows, made.files)
    with Archive(target) as archive:
        assert rows_of(archive) == rows_of(filled)
        assert {file.sha256 for file in archive.storage.list()} == {file.sha256 for file in filled.storage.list()}
        assert list(check(archive)) == []
        make_backup(archive, tmp_path / "again.tar")
        with archive.database.read() as session:
            assert session.scalars(select(LoginSession.hash)).all() == []
    assert tables_of(tmp_path / "again.tar") == tables_of(tmp_path / "b.tar")


def test_ids_go_on_after_a_restore_and_none_is_given_twice(filled: Archive, target: ServeConfig, tmp_path: Path):
    make_backup(filled, tmp_path / "b.tar")
    restore(target, tmp_path / "b.tar")
    with filled.database.read() as session:
        page_id = session.scalars(select(Page.id)).one()
        known = max(session.scalars(select(Line.id)))
    with Archive(target) as archive, archive.database.write() as session:
        line = Line(page_id=page_id, baseline=[], polygon=[])
        session.add_all([line, User(name="b", password_hash="", role="reader")])
        session.flush()
        assert line.id == known + 2


def test_lines_are_found_after_a_restore(filled: Archive, target: ServeConfig, tmp_path: Path):
    make_backup(filled, tmp_path / "b.tar")
    restore(target, tmp_path / "b.tar")
    with Archive(target) as archive, archive.database.read() as session:
        if archive.database.is_sqlite:
            found = text("SELECT count(*) FROM line_index WHERE line_index MATCH 'anna'")
        else:
            found = text("SELECT count(*) FROM line_search WHERE to_tsvector('simple', folded) @@ to_tsquery('anna')")
        assert session.scalar(found) == 3


def test_a_backup_is_of_one_moment(filled: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = "quillread.serve.archive.backup._add_table"
    from quillread.serve.archive import backup

    original = backup._add_table

    def change_meanwhile(tar: tarfile.TarFile, connection: Connection, *rest: Any) -> dict[str, Any]:
        made = original(tar, connection, *rest)
        if "documents" in str(rest[0].name):
            with filled.database.write() as session:
                session.execute(delete(Line))
                session.add(Document(collection_id=1, name="three"))
        return made

    monkeypatch.setattr(real, change_meanwhile)
    make_backup(filled, tmp_path / "b.tar")
    tables = tables_of(tmp_path / "b.tar")
    assert (tables["documents"]["rows"], tables["lines"]["rows"], tables["line_versions"]["rows"]) == (2, 3, 3)


def test_a_backup_overwrites_nothing_and_is_for_its_owner_only(filled: Archive, tmp_path: Path):
    make_backup(filled, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match="exists already"):
        make_backup(filled, tmp_path / "b.tar")


def test_a_backup_that_fails_leaves_nothing(filled: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fill_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quillread.serve.archive.backup._add_files", fill_disk)
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="No space left"):
        make_backup(filled, tmp_path / "out" / "b.tar")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_is_missing_or_damaged_is_named_and_the_rest_is_kept(filled: Archive, tmp_path: Path):
    first, second = sorted(file.sha256 for file in filled.storage.list())
    filled.storage.delete(first)
    damage(filled, second)
    made = make_backup(filled, tmp_path / "b.tar")
    assert made.faults == [f"file {first} is missing", f"file {second} is damaged"]
    target = ServeConfig(data=tmp_path / "restored")
    assert restore(target, tmp_path / "b.tar").faults == made.faults
    with Archive(target) as archive:
        assert [finding.kind for finding in check(archive)] == ["missing", "missing"]


def test_an_archive_with_anything_in_it_is_not_restored_into(filled: Archive, target: ServeConfig, tmp_path: Path):
    make_backup(filled, tmp_path / "b.tar")
    with Archive(target) as archive, archive.database.write() as session:
        session.add(Collection(name="mine"))
    with pytest.raises(UsageError, match="not empty"):
        restore(target, tmp_path / "b.tar")
    with Archive(target) as archive, archive.database.read() as session:
        assert session.scalars(select(Collection.name)).all() == ["mine"]
        assert list(archive.storage.list()) == []


def test_an_archive_in_use_is_not_restored_into(filled: Archive, tmp_path: Path):
    make_backup(filled, tmp_path / "b.tar")
    with pytest.raises(UsageError, match="another server"):
        restore(filled.config, tmp_path / "b.tar")


# --- damaged backups: what one does with SQLite it does with PostgreSQL


@pytest.fixture
def backup(tmp_path: Path) -> Iterator[Path]:
    """A small backup."""
    with Archive(ServeConfig(data=tmp_path / "data")) as archive:
        with archive.database.write() as session:
            for content in (b"one", b"two"):
                stored = archive.storage.add(content)
                session.add(Blob(sha256=stored.sha256, size=stored.size, media_type="x"))
            session.add(Collection(name="a"))
        make_backup(archive, tmp_path / "b.tar")
        yield tmp_path / "b.tar"


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Copy a tar with members changed, or left out."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            content = change(member.name, file.read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))


def change_manifest(**values: Any) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        return json.dumps(json.loads(content) | values).encode() if name == "manifest.json" else content

    return change


def without(start: str) -> Callable[[str, bytes], bytes | None]:
    return lambda name, content: None if name.startswith(start) else content


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("manifest.json"), "no manifest"),
        (without("files/"), "missing from the backup"),
        (without("database/collections"), "damaged"),
        (lambda name, content: content[:-1] + b"x" if name.startswith("files/") else content, "is damaged"),
        (lambda name, content: content[:-9] if name.startswith("database/coll") else content, "damaged"),
        (lambda name, content: b"{" if name == "manifest.json" else content, "damaged"),
        (lambda name, content: b"[]" if name == "manifest.json" else content, "damaged"),
        (lambda name, content: b"{}" if name == "manifest.json" else content, "damaged"),
        (change_manifest(schema="9999"), "Quillread .* has made it"),
        (change_manifest(format=2), "Quillread .* has made it"),
        (change_manifest(tables={"collections": {"rows": 2, "sha256": ""}}), "is damaged"),
    ],
)
def test_a_damaged_backup_is_refused_and_leaves_the_archive_empty(
    backup: Path, tmp_path: Path, change: Callable[[str, bytes], bytes | None], told: str
):
    rewrite(backup, tmp_path / "bad.tar", change)
    config = ServeConfig(data=tmp_path / "restored")
    with pytest.raises((InputError, UsageError), match=told):
        restore(config, tmp_path / "bad.tar")
    with Archive(config) as archive, archive.database.read() as session:
        assert session.scalars(select(Collection.id)).all() == []
        assert list(archive.storage.list()) == []
    restore(config, backup)  # it can be tried again


@pytest.mark.parametrize("content", [b"", b"no tar", os.urandom(20_000)])
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(InputError):
        restore(ServeConfig(data=tmp_path / "restored"), tmp_path / "b.tar")


def test_a_backup_that_was_cut_off_is_refused(backup: Path, tmp_path: Path):
    content = backup.read_bytes()
    with tarfile.open(backup) as tar:
        last = tar.getmember("manifest.json")
    for end in (512, last.offset // 2, last.offset - 1, last.offset, last.offset_data + last.size // 2):
        (tmp_path / "cut.tar").write_bytes(content[:end])
        with pytest.raises(InputError):
            restore(ServeConfig(data=tmp_path / f"restored{end}"), tmp_path / "cut.tar")


# --- checks


def damage(archive: Archive, sha256: str) -> None:
    path = archive.storage.path(sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"~")


def test_an_archive_that_is_well_has_no_findings(filled: Archive):
    assert list(check(filled)) == []
    assert list(check(filled, quick=True)) == []


def test_missing_and_damaged_files_are_found_and_what_they_are_of(filled: Archive):
    with filled.database.read() as session:
        page = session.scalars(select(Page)).one()
    filled.storage.delete(page.source)
    damage(filled, page.thumbnail)
    findings = {finding.kind: finding.message for finding in check(filled)}
    assert findings.keys() == {"missing", "damaged"}
    assert f"original of page {page.id} (letter.jpg)" in findings["missing"]
    assert f"thumbnail of page {page.id}" in findings["damaged"]
    assert [finding.kind for finding in check(filled, quick=True)] == ["missing"]
    path = filled.storage.path(page.thumbnail)
    path.write_bytes(b"short")
    assert {finding.kind for finding in check(filled, quick=True)} == {"missing", "damaged"}


def test_files_that_nothing_refers_to_are_found_and_go_when_mended(filled: Archive):
    orphan = filled.storage.add(b"orphan")
    unused = filled.storage.add(b"unused")
    with filled.database.write() as session:
        session.add(Blob(sha256=unused.sha256, size=unused.size, media_type="x"))
    assert [finding.kind for finding in check(filled)] == ["unused", "unused"]
    assert filled.storage.has(orphan.sha256)
    assert all(finding.mended for finding in check(filled, mends=True))
    assert not filled.storage.has(orphan.sha256)
    assert not filled.storage.has(unused.sha256)
    assert list(check(filled)) == []


def test_counts_that_are_wrong_are_found_and_mended(filled: Archive):
    with filled.database.write() as session:
        session.execute(update(Page).values(line_count=7, checked_count=1))
    (finding,) = check(filled)
    assert finding.kind == "count"
    assert "7 lines, 1 checked, 3 doubtful, and has 3, 0 and 3" in finding.message
    assert [finding.mended for finding in check(filled, mends=True)] == [True]
    assert list(check(filled)) == []


def test_a_line_that_has_lost_its_version_is_found(filled: Archive):
    with filled.database.write() as session:
        session.execute(delete(LineVersion).where(LineVersion.id == 1))
    (finding,) = check(filled)
    assert (finding.kind, "line 1 " in finding.message) == ("text", True)


def tables_of(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        return dict(json.loads(file.read())["tables"])
