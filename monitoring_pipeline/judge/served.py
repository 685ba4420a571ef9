"""Which verdicts count: those on the version that served at the time.

Add another way of choosing versions here. Keep rules and triggers out: they take what is chosen here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from monitoring_pipeline.describe.hours import serving_version
from monitoring_pipeline.judge.verdicts import Verdict


def served_verdicts(
    verdicts: Mapping[datetime, Sequence[Verdict]], served: Mapping[datetime, Mapping[str, int]]
) -> dict[datetime, list[Verdict]]:
    """Return the verdicts on the version that served at each hour; `served` counts rows by hour and version."""
    serving = {hour: serving_version(served, hour) for hour in verdicts}
    return {
        hour: [verdict for verdict in entries if verdict.signal.version == serving[hour]]
        for hour, entries in verdicts.items()
    }
