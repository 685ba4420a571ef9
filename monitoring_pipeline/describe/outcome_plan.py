"""How the outcomes of a monitored model are counted: its task, and the columns that say what was predicted.

Add a task here when it has a subclass of `OutcomeProfile`. Keep counting out: it belongs to the subclasses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.describe.segments import Segmentation, split_all

RECORDS: Mapping[Task, type[OutcomeProfile]] = {Task.BINARY: BinaryOutcomes}


@dataclass(frozen=True, slots=True)
class OutcomePlan:
    """The task, and the columns of the prediction log it is about."""

    task: Task = Task.BINARY
    columns: LogColumns = field(default_factory=LogColumns)

    def empty(self) -> OutcomeProfile:
        """Return the profile of no rows."""
        return RECORDS[self.task]()

    def of(self, joined: pa.Table, segmentations: Sequence[Segmentation] = ()) -> OutcomeProfile:
        """Return the profile of predictions joined to their labels, and those of their segments."""
        segments = {name: self._count(part) for name, part in split_all(joined, segmentations)}
        return replace(self._count(joined), segments=segments)

    def _count(self, joined: pa.Table) -> OutcomeProfile:
        present = {name for name in self.columns.names() if name in joined.column_names}
        score, prediction = (
            name if name in present else None for name in (self.columns.score, self.columns.prediction)
        )
        return BinaryOutcomes.of(joined, score=score, prediction=prediction)


def outcome_from_json(document: Mapping[str, Any]) -> OutcomeProfile:
    """Read what `OutcomeProfile.to_json` wrote, of whichever task."""
    return RECORDS[Task(document["task"])].from_json(document)
