"""A model of the winter meets the thunderstorms of June 2013, live: `python -m examples.flight_delays.live`.

Change the stretch that is replayed and what a person does on the way here, and what is asked of the monitor in
live.yaml. How it is played is in examples/live.py.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.flight_delays.model import FEATURES, NAME, flights_between
from examples.flight_delays.replay import prediction_ids
from examples.flight_delays.train import train_first_version, train_version
from examples.live import World, main
from examples.traffic import Ask

if TYPE_CHECKING:
    import pandas as pd

START, END = datetime(2013, 6, 18, tzinfo=UTC), datetime(2013, 6, 29, tzinfo=UTC)
SHADOW_FROM = datetime(2013, 6, 19, tzinfo=UTC)
CANDIDATE_UNTIL = datetime(2013, 3, 20, tzinfo=UTC)


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
        candidate=lambda uri: train_version("candidate", uri, trained_until=CANDIDATE_UNTIL),
        asks=asks_between,
        labels=labels_between,
    )


if __name__ == "__main__":
    main(world())
