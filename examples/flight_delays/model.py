"""The model of the demonstration: what it may know before a flight leaves, what it predicts, and how it is fitted.

Add a feature here when it is known at the scheduled departure. Keep departure and arrival times and delays out:
they are the answer.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

NAME = "flight_delays"
FLIGHTS = Path(__file__).parent / "data" / "flights.parquet"
CATEGORICAL = ("carrier", "origin", "dest")
SCHEDULE = ("distance", "scheduled_minutes", "minute_of_day", "weekday")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
NUMERIC = SCHEDULE + WEATHER
FEATURES = CATEGORICAL + NUMERIC
LATE_MINUTES = 15
TRAINED_FROM = datetime(2013, 1, 1, tzinfo=UTC)
TRAINED_UNTIL = datetime(2013, 3, 1, tzinfo=UTC)
THRESHOLD = 0.5
# What skops must be told to trust, when the model is saved and again when it is loaded.
TRUSTED_TYPES = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)


def flights_between(start: datetime, end: datetime) -> "pd.DataFrame":
    """Return the flights scheduled to leave in [start, end) with `actual`: 1 late, 0 not late, NaN never known."""
    import pyarrow.parquet as pq

    # pandas keeps a missing number as NaN, which the model reads as missing.
    rows: pd.DataFrame = pq.read_table(
        FLIGHTS, filters=[("scheduled_departure", ">=", start), ("scheduled_departure", "<", end)]
    ).to_pandas()
    rows["actual"] = (rows["arr_delay"] > LATE_MINUTES).astype(float).where(rows["arr_delay"].notna())
    return rows


def fit(rows: "pd.DataFrame") -> "Pipeline":
    """Return the model fitted on rows with every feature and `actual` (0 or 1)."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    # A category unseen in training becomes missing, for which the trees know a branch. Codes taken as numbers score
    # higher here than native categories (AUC .717 against .712 in March), which would also put functions, not only
    # data, on the list of types to trust.
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    columns = ColumnTransformer([("codes", codes, list(CATEGORICAL)), ("numbers", "passthrough", list(NUMERIC))])
    trees = HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=200,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=0,
    )
    model = Pipeline([("columns", columns), ("trees", trees)])
    return model.fit(rows[list(FEATURES)], rows["actual"].astype(int))


def fit_again(rows: "pd.DataFrame") -> "Pipeline":
    """Return the model fitted on rows of its service and on what the first version learned from.

    A year of flights has one winter, and a monitor that began in April has not seen it.
    """
    import pandas as pd

    first = flights_between(TRAINED_FROM, TRAINED_UNTIL).dropna(subset=["actual"])
    return fit(pd.concat([first, rows], ignore_index=True))
