"""How Alembic runs a revision: on the connection, and in the transaction, that `Database.migrate` hands over.

Add options of Alembic here. Keep addresses of databases out: there is no alembic.ini.
"""

from alembic import context

from monitoring_pipeline.stores.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can: a revision that fails half way leaves nothing
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
