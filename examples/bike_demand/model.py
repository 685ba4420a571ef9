"""The model of the demonstration: what it may know when an hour begins, what it predicts, and how it is fitted.

Add a feature here when it is known at the start of the hour. Keep the counts of members and guests out: they add up to
the answer.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

NAME = "bike_demand"
BIKES = Path(__file__).parent / "data" / "bikes.parquet"
# Neither month nor season: in the first year of a service every month to come is new to the model, and drift of it
# would say only that time passes. From July to December that costs 6 bikers of error an hour (40; 34 with the month).
CATEGORICAL = ("weathersit",)
BOOLEAN = ("holiday", "workingday")
NUMERIC = ("hr", "weekday", "temp", "atemp", "hum", "windspeed")
FEATURES = CATEGORICAL + BOOLEAN + NUMERIC
# What skops must be told to trust, when the model is saved and again when it is loaded.
TRUSTED_TYPES = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)


def bikes_between(start: datetime, end: datetime) -> "pd.DataFrame":
    """Return the hours that begin in [start, end) with `actual`, how many bikes were rented in each."""
    import pyarrow.parquet as pq

    rows: pd.DataFrame = pq.read_table(
        BIKES, filters=[("hour_start", ">=", start), ("hour_start", "<", end)]
    ).to_pandas()
    return rows.assign(actual=rows["bikers"])


def fit(rows: "pd.DataFrame") -> "Pipeline":
    """Return the model fitted on rows with every feature and `actual` (a count)."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    # Weather unseen in training becomes missing, for which the trees know a branch.
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    numbers = [*BOOLEAN, *NUMERIC]
    columns = ColumnTransformer([("codes", codes, list(CATEGORICAL)), ("numbers", "passthrough", numbers)])
    trees = HistGradientBoostingRegressor(
        loss="poisson",
        max_iter=200,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    model = Pipeline([("columns", columns), ("trees", trees)])
    return model.fit(rows[list(FEATURES)], rows["actual"])
