"""Bringing a database to the schema of this version, by Alembic; only forward."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

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
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with database.engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_revision()
    if at is not None and at not in {revision.revision for revision in script.walk_revisions()}:
        raise UsageError(
            f"the database has the schema {at}, which this version does not know",
            hint="a later version of Quillread has made it: install that one",
        )
    if at == script.get_current_head() and to == "head":
        return
    engine = database.engine.execution_options(quillread_writes=True)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, to)
