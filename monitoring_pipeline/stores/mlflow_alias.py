"""Which version an alias points to, asked without MLflow's client, which takes seconds to load and minutes to give up.

Add here what has to be known of a registry at once. Keep everything else out: it belongs in `mlflow_registry`.
"""

from pathlib import Path
from urllib.parse import urlencode

import sqlalchemy as sa

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.http import ask

TIMEOUT_S = 5.0


def version_of_alias(tracking_uri: str, model: str, alias: str) -> str | None:
    """Return the version an alias points to, None where it points to none; StoreError where nobody answers."""
    if tracking_uri.startswith(("http://", "https://")):
        where = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias"
        answer = ask(f"{where}?{urlencode({'name': model, 'alias': alias})}", timeout_s=TIMEOUT_S)
        if answer.status in (400, 404):
            return None
        if not answer.ok:
            raise StoreError(f"MLflow answered {answer.said}")
        return str(answer.document()["model_version"]["version"])  # type: ignore[index]  # as its API says
    url = sa.make_url(tracking_uri)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise StoreError(f"there is no file {url.database}")  # connecting would make an empty one
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    query = sa.text("SELECT version FROM registered_model_aliases WHERE name = :model AND alias = :alias")
    try:
        with engine.connect() as connection:
            version = connection.execute(query, {"model": model, "alias": alias}).scalar()
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"MLflow's database: {getattr(error, 'orig', None) or type(error).__name__}") from None
    return None if version is None else str(version)
