"""The local engine: threads of this process, one Parquet file after the other.

Add here what makes files on one machine quicker. Keep the pass over one file out: it belongs in `parquet_pass`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from monitoring_pipeline.describe.engines.engine import ProfilePlan
from monitoring_pipeline.describe.parquet_pass import profile_parquet
from monitoring_pipeline.describe.profiles import Profile


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Profiles Parquet files with threads, which share the columns of every row group."""

    threads: int = 2

    def profile(self, rows: Sequence[Path], plan: ProfilePlan) -> Profile:
        """Return the profile of files, merged in their order: threads change no bit."""
        parts = (
            profile_parquet(file, plan.columns, plan.version, time=plan.time, threads=self.threads) for file in rows
        )
        return reduce(Profile.merge, parts, plan.nothing())
