"""Labelled predictions to learn from, with what is known to be wrong with each of them.

Add a reason to learn nothing from a row here. Keep the choice among sound rows out: it belongs in retrain.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.kernel import floats_with_nan
from monitoring_pipeline.describe.quarantine import IntakePlan, problems_of
from monitoring_pipeline.judge.candidate_causes import BAD_ROWS, STALE
from monitoring_pipeline.judge.cause_findings import MEANING, MISSING
from monitoring_pipeline.notify.alerts import Status
from monitoring_pipeline.notify.incidents import Incident, Kind
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.stages import days

WRONG_VALUES = frozenset({*MEANING, *MISSING, *BAD_ROWS, *STALE, "attribution.leakage"})
"""Metrics that say that values are not what they should be. Drift is not among them: it is what retraining is for."""

WRONG_CAUSES = ("meaning changed", "column missing", "source stale", "bad rows", "leak")
"""How the names of causes begin that say the same."""


@dataclass(frozen=True, slots=True)
class BrokenStretch:
    """Hours [start, end) whose data one incident says are wrong; `is_open` while nobody says it is over."""

    incident: str
    start: datetime
    end: datetime
    is_open: bool
    reason: str


def broken_stretches(incidents: Iterable[Incident], *, now: datetime) -> list[BrokenStretch]:
    """Return the stretches of wrong data among incidents; those a person triaged as of the model are none."""
    return [
        BrokenStretch(
            each.id,
            min([each.first_hour, *_since(each)]),
            now if each.status is Status.OPEN else _over(each),
            each.status is Status.OPEN,
            each.reason,
        )
        for each in incidents
        if each.kind in (Kind.DATA, Kind.INTEGRATION) and _says_wrong(each)
    ]


def _over(incident: Incident) -> datetime:
    """Return when a resolved incident was over; what a person reported no rule evaluates."""
    reported = incident.resolved_at if incident.rule == "reported" else None
    return reported or incident.last_hour + HOUR


def _says_wrong(incident: Incident) -> bool:
    """Whether values are wrong: a likely cause decides, else the evidence; what a person reported is as they say."""
    if likely := _likely(incident):
        return str(likely["name"]).startswith(WRONG_CAUSES)
    return incident.rule == "reported" or any(entry["metric"] in WRONG_VALUES for entry in incident.evidence_summary)


def _likely(incident: Incident) -> dict[str, object] | None:
    first = incident.causes[0] if incident.causes else None
    return first if first and float(str(first.get("confidence", 0))) >= 0.5 else None


def _since(incident: Incident) -> Iterator[datetime]:
    """Yield when the cause began: a window of a day alarms hours later."""
    if (likely := _likely(incident)) and likely.get("since"):
        yield datetime.fromisoformat(str(likely["since"]))


def rows_to_learn_from(
    monitoring: Monitoring, monitor: Monitor, start: datetime, end: datetime, *, broken: Sequence[BrokenStretch]
) -> tuple[pd.DataFrame, pd.Series]:
    """Return the predictions of [start, end) with labels known by now, and why each is to be left out, null if not.

    Beside features, time and label they keep what hold-outs are looked at by: id, version, outputs, groups.
    """
    stages, now, columns, plan = monitoring.stages(monitor), monitoring.now(), monitor.columns, monitor.intake_plan()
    features = monitor.features.kinds()
    wanted = [*features, columns.predicted_at, "actual", "labelled_at"]
    wanted += [name for name in (columns.prediction_id, columns.version, columns.score, columns.prediction) if name]
    wanted = list(dict.fromkeys([*wanted, *monitor.segments.columns, *monitor.fairness.attributes]))
    frames, reasons = [pd.DataFrame()], [pd.Series(dtype=object)]
    hours = [start + step * HOUR for step in range(round((end - start) / HOUR))]
    for day in days(hours):  # a year of whole rows must not be in memory at once
        rows = stages.labelled_rows(day[0], day[-1] + HOUR, as_of=now)
        if rows.num_rows:
            why_not = _reasons(rows, plan, columns.predicted_at, broken)
            rows = rows.select([name for name in wanted if name in rows.column_names])
            frames.append(_with_numbers(rows, features).to_pandas())
            reasons.append(why_not)
    return pd.concat(frames[1:] or frames, ignore_index=True), pd.concat(reasons[1:] or reasons, ignore_index=True)


def _reasons(rows: pa.Table, plan: IntakePlan, time: str, broken: Sequence[BrokenStretch]) -> pd.Series:
    why_not = np.full(rows.num_rows, None, dtype=object)
    for problem in problems_of(rows, plan):
        why_not[problem.rows] = f"quarantined: {problem.reason.value}"
    moments = rows[time].to_pandas()
    for each in broken:
        why_not[((moments >= each.start) & (moments < each.end)).to_numpy()] = f"hours of incident {each.incident}"
    return pd.Series(why_not, dtype=object)


def _with_numbers(rows: pa.Table, features: dict[str, ColumnKind]) -> pa.Table:
    """Return rows in which what was logged as text is a number, as it is where it is described."""
    for place, name in enumerate(rows.column_names):
        if features.get(name) is ColumnKind.NUMERIC and not _is_number(rows.schema.field(name).type):
            rows = rows.set_column(place, name, pa.array(floats_with_nan(rows[name], ColumnKind.NUMERIC)))
    return rows


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
