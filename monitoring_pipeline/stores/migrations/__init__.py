"""The history of the state database's tables, one Alembic revision a file in `versions`."""
