"""The index of texts knows where lines are, and finds beginnings of words."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TRIGGERS = ("added", "removed", "changed")


def upgrade() -> None:
    """Make the index anew, of the texts that are there."""
    if op.get_bind().dialect.name == "sqlite":
        _make_for_sqlite()
    else:
        vector = "to_tsvector('simple', folded || ' ' || scope)"
        op.execute("DROP INDEX line_index")
        op.execute(f"ALTER TABLE line_search ADD COLUMN vector tsvector GENERATED ALWAYS AS ({vector}) STORED")
        op.execute("CREATE INDEX line_index ON line_search USING gin (vector)")


def _make_for_sqlite() -> None:
    for name in _TRIGGERS:
        op.execute(f"DROP TRIGGER line_search_{name}")
    op.execute("DROP TABLE line_index")
    op.execute(
        "CREATE VIRTUAL TABLE line_index USING fts5(folded, scope, content='line_search', content_rowid='line_id', "
        "columnsize=0, prefix='2 3', tokenize='unicode61 remove_diacritics 0')"
    )
    added = "INSERT INTO line_index(rowid, folded, scope) VALUES (new.line_id, new.folded, new.scope)"
    removed = (
        "INSERT INTO line_index(line_index, rowid, folded, scope) VALUES ('delete', old.line_id, old.folded, old.scope)"
    )
    op.execute(f"CREATE TRIGGER line_search_added AFTER INSERT ON line_search BEGIN {added}; END")
    op.execute(f"CREATE TRIGGER line_search_removed AFTER DELETE ON line_search BEGIN {removed}; END")
    op.execute(f"CREATE TRIGGER line_search_changed AFTER UPDATE ON line_search BEGIN {removed}; {added}; END")
    op.execute("INSERT INTO line_index(line_index) VALUES ('rebuild')")
