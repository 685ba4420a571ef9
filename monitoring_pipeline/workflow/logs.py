"""Opens the logs of a monitor where its settings say they are.

Add a kind of store here when `settings.logs` has it. Keep reading and writing out: they belong in stores.
"""

from collections.abc import Callable
from functools import partial

from monitoring_pipeline.capture.labels import LabelLog, touched_hours
from monitoring_pipeline.capture.predictions import PredictionLog
from monitoring_pipeline.capture.privacy import logs_kept_private
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.settings.logs import ParquetLog, PostgresLog
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.objects import Place
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.postgres_log import PostgresLabelLog, PostgresPredictionLog
from monitoring_pipeline.stores.postgres_tables import Tables
from monitoring_pipeline.stores.sql_log import SqlLabelLog, SqlPredictionLog, SqlTable

Secret = Callable[[str], str | None]


def logs_at(monitor: Monitor, data: Place, secret: Secret) -> tuple[PredictionLog, LabelLog]:
    """Return the prediction log and the label log; `secret` gives the values of environment variables.

    Nothing that `privacy:` names goes into them or comes out of them as it is.
    """
    privacy = monitor.privacy.protection(secret, model=monitor.model)
    predictions, labels = stored_logs(monitor, data, secret)
    id_column, label_id = monitor.columns.prediction_id, monitor.labels.prediction_id
    return logs_kept_private(predictions, labels, privacy, id_column=id_column, label_id=label_id)


def make_tables(monitor: Monitor, secret: Secret) -> None:
    """Make the schema of a log in PostgreSQL, where its address is known here: its owner's is where it is made."""
    if isinstance(monitor.log, PostgresLog) and (url := secret(monitor.log.url_env)):
        Tables(url, monitor.log.in_schema, monitor.log.length).make()


def stored_logs(monitor: Monitor, data: Place, secret: Secret) -> tuple[PredictionLog, LabelLog]:
    """Return both logs as they are stored."""
    asked, columns, names = monitor.log, monitor.columns, monitor.labels.columns()
    if isinstance(asked, ParquetLog):
        return ParquetPredictionLog(data, columns), ParquetLabelLog(data, names)
    url = secret(asked.url_env)
    if not url:
        raise StoreError(f"log of {monitor.model}: {asked.url_env} is not set. Put the URL of its database into it.")
    if isinstance(asked, PostgresLog):
        return (
            PostgresPredictionLog(url, columns, schema=asked.in_schema, partition=asked.length),
            PostgresLabelLog(url, names, schema=asked.in_schema, partition=asked.length),
        )
    predictions = SqlPredictionLog(url, SqlTable(**asked.predictions.named()), columns)
    if asked.labels is None:
        return predictions, ParquetLabelLog(data, names)
    touched = partial(
        touched_hours,
        log=predictions,
        model=monitor.registry_name,
        columns=names,
        id_column=columns.prediction_id,
        max_delay=monitor.labels.max_delay,
    )
    table, known = SqlTable(**asked.labels.named()), asked.labels
    return predictions, SqlLabelLog(
        url, table, names, touched=touched, arrived_at=known.arrived_at, settled=known.settled
    )
