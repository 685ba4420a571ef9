"""The flights of 2013 as a serving log: what was predicted in an hour, and what became known in an hour.

Add a column of the log here when the flights can fill it. There is no latency column: nothing was served in 2013,
and a made-up number would look like a measurement.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from examples.flight_delays.model import CATEGORICAL, FEATURES, NUMERIC, THRESHOLD

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

# The root of the prediction ids, so that a replayed flight always has the same one.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "flight-delays.example")
MOMENT = pa.timestamp("us", tz="UTC")
PREDICTIONS = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("predicted_at", MOMENT),
        ("model_version", pa.string()),
        *((name, pa.string()) for name in CATEGORICAL),
        *((name, pa.float64()) for name in NUMERIC),
        ("prediction", pa.int64()),
        ("score", pa.float64()),
        ("served_by", pa.string()),
    ]
)
LABELS = pa.schema(
    [("prediction_id", pa.string()), ("predicted_at", MOMENT), ("actual", pa.int64()), ("labelled_at", MOMENT)]
)


class Model(Protocol):
    """What scores the rows: `Scorer` of the package, or anything alike."""

    def score(self, rows: "pd.DataFrame", /) -> "NDArray[np.float64]": ...


def prediction_ids(flight_ids: Iterable[str]) -> list[str]:
    """Return the id under which the prediction of each flight is logged."""
    return [str(uuid.uuid5(NAMESPACE, flight_id)) for flight_id in flight_ids]


def predictions_between(
    flights: "pd.DataFrame", start: datetime, end: datetime, model: Model, version: str
) -> pa.Table:
    """Return the predictions made in [start, end): each flight is scored at its scheduled departure."""
    departure = flights["scheduled_departure"]
    served = flights[(departure >= start) & (departure < end)]
    score = model.score(served[list(FEATURES)])
    log = served[list(FEATURES)].assign(
        prediction_id=prediction_ids(served["flight_id"]),
        predicted_at=served["scheduled_departure"],
        model_version=str(version),
        prediction=(score > THRESHOLD).astype(int),
        score=score,
        served_by="champion",
    )
    return pa.Table.from_pandas(log, schema=PREDICTIONS, preserve_index=False).replace_schema_metadata(None)


def labels_between(flights: "pd.DataFrame", start: datetime, end: datetime) -> pa.Table:
    """Return the outcomes that became known in [start, end), when the flights reached their gates."""
    known = flights[(flights["known_at"] >= start) & (flights["known_at"] < end)].sort_values(["known_at", "flight_id"])
    labels = known[["actual"]].assign(
        prediction_id=prediction_ids(known["flight_id"]),
        predicted_at=known["scheduled_departure"],
        labelled_at=known["known_at"],
    )
    labels["actual"] = labels["actual"].astype(int)
    return pa.Table.from_pandas(labels, schema=LABELS, preserve_index=False).replace_schema_metadata(None)
