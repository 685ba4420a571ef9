"""How the labels of some predictions arrived: how late, how often again, and how often corrected.

Add a counter here when it is additive and says something of labels alone. Keep what they say of the model out: that is
in the outcomes.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.describe.counters import Counters
from monitoring_pipeline.describe.log_histogram import LogHistogram

MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class LabelArrivals(Counters):
    """Predictions, those labelled, those labelled more than once and those whose label changed meanwhile.

    delays: from the prediction to its first label, in seconds; a label from before its prediction has none.
    """

    rows: int = 0
    labelled: int = 0
    repeated: int = 0
    corrected: int = 0
    delays: LogHistogram = field(default_factory=LogHistogram)

    @classmethod
    def of(cls, joined: pa.Table, *, predicted_at: str) -> "LabelArrivals":
        """Return the arrivals of predictions joined to their labels (`capture.labels.join_labels`)."""
        known = joined.filter(joined["label: first_labelled_at"].is_valid())
        waited = pc.subtract(known["label: first_labelled_at"].cast(pa.int64()), known[predicted_at].cast(pa.int64()))
        seconds = waited.to_numpy() / MICROSECONDS
        return cls(
            joined.num_rows,
            known.num_rows,
            _number(pc.sum(pc.greater(known["label: reports"], 1))),
            _number(pc.sum(pc.not_equal(known["actual"], known["label: first_actual"]))),
            LogHistogram.of(np.asarray(seconds[seconds >= 0], dtype=np.float64)),
        )


def _number(scalar: pa.Scalar) -> int:
    return int(scalar.as_py() or 0)
