"""Databases of every released schema come to that of today, with what is in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from quillread.errors import UsageError
from quillread.serve.database import migrate as migrations
from quillread.serve.database.base import Base
from quillread.serve.database.engine import Database, sqlite_address
from quillread.serve.database.migrate import migrate

REVISIONS = sorted(script.revision for script in ScriptDirectory(str(migrations._MIGRATIONS)).walk_revisions())
TIME = "'2026-01-02 03:04:05+00:00'"
ROWS = {
    "0001": [
        f"INSERT INTO collections (id, name, created, settings) VALUES (1, 'Box', {TIME}, '{{}}')",
        f"INSERT INTO documents (id, collection_id, name, position, created) VALUES (1, 1, 'Letter', 0, {TIME})",
        "INSERT INTO pages (id, document_id, position, label, source_name, source_index, width, height, state, notes, "
        "provenance, version, drawn, line_count, checked_count, doubtful_count) "
        "VALUES (1, 1, 0, '', 'a.jpg', 0, 9, 9, 'read', '[]', '{}', 1, false, 1, 1, 0)",
        "INSERT INTO lines (id, page_id, position, baseline, polygon, printed, drawn, text, checked, revision) "
        "VALUES (1, 1, 0, '[[0, 1], [2, 1]]', '[]', false, false, 'Dear Anna', true, 2)",
        "INSERT INTO line_versions (id, line_id, number, kind, author, text, reading, fingerprint, created) "
        f"VALUES (1, 1, 1, 'person', 'me', 'Dear Anna', '{{}}', '', {TIME})",
        "INSERT INTO line_search (line_id, scope, folded) VALUES (1, 'xqc1 xqd1', 'dear anna')",
    ]
}
"""By schema, what an archive of it held; a new schema adds rows, and none is ever changed."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty one."""
    is_file = request.param == "sqlite"
    database = Database(
        sqlite_address(tmp_path / "a.db") if is_file else request.getfixturevalue("make_database")()
    )
    yield database
    database.close()


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_is_in_a_database_of_an_earlier_schema_stays(database: Database, revision: str):
    migrate(database, revision)
    with database.write() as session:
        for row in ROWS[revision]:
            session.execute(text(row))
    migrate(database)
    with database.read() as session:
        assert session.scalar(text("SELECT text FROM line_versions WHERE line_id = 1")) == "Dear Anna"
        find = "line_index MATCH 'anna'" if database.is_sqlite else "vector @@ to_tsquery('simple', 'anna')"
        table = "line_index" if database.is_sqlite else "line_search"
        assert session.scalar(text(f"SELECT count(*) FROM {table} WHERE {find}")) == 1


def test_migrations_end_at_the_tables_of_the_code(database: Database):
    migrate(database)

    def is_ours(name: str | None, kind: str, parents: object) -> bool:
        return not (kind == "table" and name and name.startswith("line_index"))  # that of SQLite's search

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        differences = [d for d in compare_metadata(context, Base.metadata) if "line_index" not in str(d)]
    assert [d for d in differences if "vector" not in str(d)] == []


def test_a_database_of_a_later_version_is_refused(database: Database):
    migrate(database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="9999"):
        migrate(database)
