"""Bringing a database to the schema of this version, by Alembic; only forward."""

from pathlib import Path

from sqlalchemy import inspect, text

from quillread.errors import UsageError
from quillread.serve.database.engine import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database, to: str = "head") -> None:
    """Bring a database to the schema of this version; an empty one gets all tables.

    Args:
        database: It is changed in one transaction.
        to: A revision.

    Raises:
        UsageError: If a later version of Quillread has made it.
    """
    at, known = _schema_of(database), revisions()
    if at is not None and at not in known:
        raise UsageError(
            f"the database has the schema {at}, which this version does not know",
            hint="a later version of Quillread has made it: install that one",
        )
    if at == known[-1] and to == "head":
        return
    # Late: it takes a good part of the time that a server needs to start, and is seldom needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    engine = database.engine.execution_options(quillread_writes=True)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def is_current(database: Database) -> bool:
    """Whether a database has the schema of this version."""
    return _schema_of(database) == revisions()[-1]


def has_schema(database: Database) -> bool:
    """Whether a database has tables of an archive."""
    return _schema_of(database) is not None


def revisions() -> list[str]:
    """All schemas in order, by the names of their files, `REVISION_what.py`."""
    return sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _schema_of(database: Database) -> str | None:
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if revision is None else str(revision)
