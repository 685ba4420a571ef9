"""A model of the winter meets the thunderstorms of June 2013, live: `python -m examples.flight_delays.live`.

Change the stretch that is replayed and what a person does on the way here, and what is asked of the monitor in
live.yaml. How it is played is in examples/live.py.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.flight_delays.model import FEATURES, NAME, THRESHOLD, TRUSTED_TYPES, fit, flights_between
from examples.flight_delays.replay import prediction_ids
from examples.flight_delays.train import REQUIREMENTS, train_first_version
from examples.live import World, main
from examples.traffic import Ask

if TYPE_CHECKING:
    import pandas as pd

START, END = datetime(2013, 6, 18, tzinfo=UTC), datetime(2013, 6, 29, tzinfo=UTC)
SHADOW_FROM = datetime(2013, 6, 19, tzinfo=UTC)
HELD_OUT_FROM = datetime(2013, 3, 20, tzinfo=UTC)


def train_candidate(tracking_uri: str) -> str:
    """Register a model of the weeks up to 20 March, with the days after as its reference, and return its version."""
    import mlflow
    from mlflow.models import infer_signature

    from monitoring_pipeline.stores.mlflow_reference import log_reference

    features = list(FEATURES)
    training = flights_between(datetime(2013, 1, 1, tzinfo=UTC), HELD_OUT_FROM).dropna(subset=["actual"])
    rows = flights_between(HELD_OUT_FROM, datetime(2013, 4, 1, tzinfo=UTC))
    model = fit(training)
    score = model.predict_proba(rows[features])[:, 1]
    with mlflow.start_run(run_name="candidate"):
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=NAME,
            signature=infer_signature(training[features], score),
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            pip_requirements=list(REQUIREMENTS),
        )
    version = str(logged.registered_model_version)
    log_reference(
        rows.assign(predicted_at=rows["scheduled_departure"], score=score, prediction=(score > THRESHOLD).astype(int)),
        model_name=NAME,
        version=version,
        features=features,
        time="predicted_at",
        score="score",
        prediction="prediction",
        label="actual",
        tracking_uri=tracking_uri,
    )
    mlflow.MlflowClient().set_model_version_tag(NAME, version, "trained_until", HELD_OUT_FROM.isoformat())
    return version


@cache
def flights() -> "pd.DataFrame":
    """Return the flights of the whole stretch, each with the id of its prediction."""
    rows = flights_between(START, END)
    return rows.assign(prediction_id=prediction_ids(rows["flight_id"]))


def asks_between(start: datetime, end: datetime) -> Sequence[Ask]:
    """Return a request for each flight that is scheduled to leave in [start, end)."""
    rows = flights()
    rows = rows[(rows["scheduled_departure"] >= start) & (rows["scheduled_departure"] < end)]
    features = rows[list(FEATURES)].astype(object)
    bodies = features.where(features.notna(), None).to_dict("records")
    return [
        Ask(at.to_pydatetime(), "/predict", {"features": body, "prediction_id": one})
        for at, body, one in zip(rows["scheduled_departure"], bodies, rows["prediction_id"], strict=True)
    ]


def labels_between(start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return which flights reached their gates in [start, end), and whether they were late."""
    rows = flights()
    known = rows[(rows["known_at"] >= start) & (rows["known_at"] < end)]
    said = known[["prediction_id", "actual"]].assign(
        predicted_at=known["scheduled_departure"].map(lambda at: at.isoformat()),
        labelled_at=known["known_at"].map(lambda at: at.isoformat()),
    )
    labels: list[dict[str, Any]] = said.to_dict("records")  # type: ignore[assignment]  # columns are named by text
    return labels


def world() -> World:
    """Return the flights as the live demonstration takes them."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    own = Path(__file__).with_name("live.yaml")
    return World(
        monitor=yaml.load(Path("monitors") / own.with_stem(NAME).name) | yaml.load(own),
        start=START,
        end=END,
        shadow_from=SHADOW_FROM,
        champion=lambda uri, artifacts: train_first_version(uri, artifacts=artifacts),
        candidate=train_candidate,
        asks=asks_between,
        labels=labels_between,
    )


if __name__ == "__main__":
    main(world())
