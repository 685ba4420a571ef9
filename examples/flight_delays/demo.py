"""The demonstration: the model meets the spring of 2013, and the air-traffic controllers stay at home.

Change the stretch that is replayed here. How it is replayed is in examples/demonstration.py.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from examples.demonstration import Demonstration
from examples.flight_delays.model import NAME, flights_between
from examples.flight_delays.replay import labels_between, predictions_between
from examples.flight_delays.train import train_first_version

SPRING = Demonstration(
    name=NAME,
    served_from=datetime(2013, 4, 1, tzinfo=UTC),
    watched_from=datetime(2013, 4, 18, tzinfo=UTC),
    watched_until=datetime(2013, 5, 6, tzinfo=UTC),
    training="January and February",
    row="flight",
    train=train_first_version,
    rows_between=flights_between,
    predictions_between=predictions_between,
    labels_between=labels_between,
)


def run_demo(home: Path, *, step: timedelta = timedelta(hours=12)) -> dict[str, Any]:
    """Run it below `home`, `step` between two rounds of the sensors, and return its account."""
    return SPRING.run(home, step=step)
