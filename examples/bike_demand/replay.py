"""The hours of 2011 as a serving log: what was predicted when an hour began, and what was counted when it was over.

Add a column of the log here when the data can fill it. There is no latency column: nothing was served in 2011, and a
made-up number would look like a measurement.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from examples.bike_demand.model import BOOLEAN, CATEGORICAL, FEATURES, NUMERIC

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

# The root of the prediction ids, so that a replayed hour always has the same one.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "bike-demand.example")
COUNTED_AFTER = timedelta(hours=1)
MOMENT = pa.timestamp("us", tz="UTC")
PREDICTIONS = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("predicted_at", MOMENT),
        ("model_version", pa.string()),
        *((name, pa.string()) for name in CATEGORICAL),
        *((name, pa.bool_()) for name in BOOLEAN),
        *((name, pa.float64()) for name in NUMERIC),
        ("prediction", pa.float64()),
        ("served_by", pa.string()),
    ]
)
LABELS = pa.schema(
    [("prediction_id", pa.string()), ("predicted_at", MOMENT), ("actual", pa.float64()), ("labelled_at", MOMENT)]
)


class Model(Protocol):
    """What predicts the rows: `Scorer` of the package, or anything alike."""

    def score(self, rows: "pd.DataFrame", /) -> "NDArray[np.float64]": ...


def prediction_ids(hours: Iterable[datetime]) -> list[str]:
    """Return the id under which the prediction of each hour is logged."""
    return [str(uuid.uuid5(NAMESPACE, hour.isoformat())) for hour in hours]


def predictions_between(bikes: "pd.DataFrame", start: datetime, end: datetime, model: Model, version: str) -> pa.Table:
    """Return the predictions made in [start, end), one for each hour, when it begins."""
    served = bikes[(bikes["hour_start"] >= start) & (bikes["hour_start"] < end)]
    log = served[list(FEATURES)].assign(
        prediction_id=prediction_ids(served["hour_start"]),
        predicted_at=served["hour_start"],
        model_version=str(version),
        prediction=model.score(served[list(FEATURES)]),
        served_by="champion",
    )
    return pa.Table.from_pandas(log, schema=PREDICTIONS, preserve_index=False).replace_schema_metadata(None)


def labels_between(bikes: "pd.DataFrame", start: datetime, end: datetime) -> pa.Table:
    """Return the outcomes that became known in [start, end), each when its hour was over."""
    known_at = bikes["hour_start"] + COUNTED_AFTER
    known = bikes[(known_at >= start) & (known_at < end)]
    labels = known[["actual"]].assign(
        prediction_id=prediction_ids(known["hour_start"]),
        predicted_at=known["hour_start"],
        labelled_at=known["hour_start"] + COUNTED_AFTER,
    )
    return pa.Table.from_pandas(labels, schema=LABELS, preserve_index=False).replace_schema_metadata(None)
