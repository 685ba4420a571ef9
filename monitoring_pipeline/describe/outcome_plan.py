"""How the outcomes of a monitored model are counted: its task, and the columns that say what was predicted.

Add a task here when it has a subclass of `OutcomeProfile`. Keep counting out: it belongs to the subclasses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import pyarrow as pa

from monitoring_pipeline.capture.predictions import LogColumns
from monitoring_pipeline.describe.binary_outcomes import BinaryOutcomes
from monitoring_pipeline.describe.groups import Grouping
from monitoring_pipeline.describe.loss_model import LossModel
from monitoring_pipeline.describe.multiclass_outcomes import MulticlassOutcomes
from monitoring_pipeline.describe.outcomes import OutcomeProfile, Task
from monitoring_pipeline.describe.ranking_outcomes import RankingOutcomes
from monitoring_pipeline.describe.regression_outcomes import RegressionOutcomes
from monitoring_pipeline.describe.segments import Segmentation, split_all

RECORDS: Mapping[Task, type[OutcomeProfile]] = {
    Task.BINARY: BinaryOutcomes,
    Task.MULTICLASS: MulticlassOutcomes,
    Task.REGRESSION: RegressionOutcomes,
    Task.RANKING: RankingOutcomes,
}


@dataclass(frozen=True, slots=True)
class OutcomePlan:
    """The task, and the columns of the prediction log it is about.

    classes: their names, of a model of several. quantile: of the pinball loss. top: how many items of a list matter;
    catalogue: how many items there are to recommend, where that is known. grouping: the groups to treat alike.
    """

    task: Task = Task.BINARY
    columns: LogColumns = field(default_factory=LogColumns)
    classes: tuple[str, ...] = ()
    quantile: float = 0.5
    top: int = 10
    catalogue: int | None = None
    grouping: Grouping = field(default_factory=Grouping)

    def empty(self) -> OutcomeProfile:
        """Return the profile of no rows."""
        return RECORDS[self.task]()

    def of(
        self, joined: pa.Table, segmentations: Sequence[Segmentation] = (), loss_model: LossModel | None = None
    ) -> OutcomeProfile:
        """Return the profile of predictions joined to their labels, and those of their segments and groups.

        With a loss model the whole, but no part of it, says what is expected of rows without labels.
        """
        cuts = chain(split_all(joined, segmentations), self.grouping.split(joined))
        segments = {name: self._count(part) for name, part in cuts}
        return replace(self._count(joined, loss_model), segments=segments)

    def _count(self, joined: pa.Table, loss_model: LossModel | None = None) -> OutcomeProfile:
        present = {name for name in self.columns.names() if name in joined.column_names}
        score, prediction, lower, upper, request, item = (
            name if (name := getattr(self.columns, role)) in present else None
            for role in ("score", "prediction", "lower", "upper", "request", "item")
        )
        if self.task is Task.MULTICLASS:
            known = {name: column for name, column in self.columns.probabilities.items() if column in present}
            return MulticlassOutcomes.of(joined, classes=self.classes, probabilities=known, prediction=prediction)
        if self.task is Task.REGRESSION:
            expected = loss_model.expected(joined, time=self.columns.predicted_at) if loss_model else None
            return RegressionOutcomes.of(
                joined, prediction=prediction, lower=lower, upper=upper, quantile=self.quantile, expected=expected
            )
        if self.task is Task.RANKING:
            return RankingOutcomes.of(joined, request=request, item=item, score=score, top=self.top)
        return BinaryOutcomes.of(joined, score=score, prediction=prediction)


def outcome_from_json(document: Mapping[str, Any]) -> OutcomeProfile:
    """Read what `OutcomeProfile.to_json` wrote, of whichever task."""
    return RECORDS[Task(document["task"])].from_json(document)
