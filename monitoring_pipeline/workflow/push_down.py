"""The hourly stages of a monitor whose predictions stay in the database they are in (`engine: {kind: sql}`).

Profiles and the numbers of the intake are counted there. Of all rows only ids, times, outputs and what says how they
were served are read; whole rows only where they are sampled or hold a bad value. Add here what can be found without
rows. Keep statements out: they belong in `describe.engines`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from monitoring_pipeline.capture.windows import HOUR, Window
from monitoring_pipeline.describe.engines.sql import SqlEngine
from monitoring_pipeline.describe.engines.sql_intake import intake_in_place, suspicious, with_ids
from monitoring_pipeline.describe.engines.sql_tables import LoggedTable, Run
from monitoring_pipeline.describe.freshness import LoggedSource, Reading
from monitoring_pipeline.stores.sql_log import SqlPredictionLog
from monitoring_pipeline.workflow.stages import Stages, days


@dataclass(frozen=True, slots=True, kw_only=True)
class StagesInPlace(Stages):
    """Stages that describe the table of `served` where it is; to join labels they read rows as all others do."""

    served: SqlPredictionLog

    def describe(
        self, hours: Sequence[datetime], *, readings: Mapping[datetime, Mapping[str, Reading]] | None = None
    ) -> None:
        """Sample and describe the predictions of each hour, and how they were served, as `Stages.describe` does."""
        for day in days(hours):  # each in a transaction of its own: none is open for as long as a year takes
            with self.served.in_place() as (run, table):
                found = SqlEngine(run).profile_hours(table, self.monitor.columns, day, self._references)
                for hour, profiles in found.items():
                    self._read_hour(run, table, hour, (readings or {}).get(hour))
                    self.hourly.write_profiles(self.model, hour, profiles)
                    self.hourly.remove("unread", self.model, hour)
                    self._try_again(hour, {profile.version for profile in profiles})

    def _read_hour(self, run: Run, table: LoggedTable, hour: datetime, readings: Mapping[str, Reading] | None) -> None:
        """Write what takes rows of an hour: its sample, its intake with the bad values, and how it was served."""
        window, columns, plan = Window(self.model, hour, hour + HOUR), self.monitor.columns, self.monitor.intake_plan()
        sources = self.monitor.freshness.policy(self.windows).sources
        logged = [source.column for source in sources if isinstance(source, LoggedSource)]
        rows = self._prepared(self.served.read_columns(window, [*columns.names(), *logged]))
        self._describe_serving(rows, hour, readings)
        ids = self._sample(rows)[columns.prediction_id].to_pylist() if rows.num_rows else []
        whole = self.served.read_where(window, with_ids(table, columns.prediction_id, ids)) if ids else pa.table({})
        # The sample of rows that hold the sample is the sample, and of each id the row that counts is among them.
        self.hourly.write("samples", self.model, hour, self._sample(self._prepared(whole)) if ids else whole)
        suspects = self.served.read_where(window, suspicious(table, plan))
        schema = (whole if ids else suspects).schema
        intake, bad = intake_in_place(run, table, plan, hour, suspects, schema)
        self.hourly.write_records("intake", self.model, hour, intake)
        self.hourly.write("quarantine", self.model, hour, bad)
