"""The demonstration: the model meets the autumn of 2011, in which more people ride than the spring taught it.

Change the stretch that is replayed here. How it is replayed is in examples/demonstration.py.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from examples.bike_demand.model import NAME, bikes_between
from examples.bike_demand.replay import labels_between, predictions_between
from examples.bike_demand.train import DEPLOYED_AT, train_first_version
from examples.demonstration import Demonstration

AUTUMN = Demonstration(
    name=NAME,
    served_from=DEPLOYED_AT,
    watched_from=datetime(2011, 9, 1, tzinfo=UTC),
    watched_until=datetime(2011, 11, 1, tzinfo=UTC),
    training="January to May",
    row="hour",
    train=train_first_version,
    rows_between=bikes_between,
    predictions_between=predictions_between,
    labels_between=labels_between,
)


def run_demo(home: Path, *, step: timedelta = timedelta(days=2)) -> dict[str, Any]:
    """Run it below `home`, `step` between two rounds of the sensors, and return its account."""
    return AUTUMN.run(home, step=step)
