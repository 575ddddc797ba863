"""Alembic's entry: runs migrations on the connection that `migrate` gives."""

from alembic import context

from quillread.serve.database.base import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
