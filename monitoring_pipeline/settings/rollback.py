"""When a promotion is proposed to be taken back.

Add a condition of it here. Keep what compares two versions out: it belongs in retrain.
"""

from monitoring_pipeline.evaluate.gains import GateMetric
from monitoring_pipeline.retrain.rollback import Probation
from monitoring_pipeline.settings.conditions import Section
from monitoring_pipeline.settings.sections import Count, Share


class Rollback(Section):
    """What is asked of a new champion in its first `after_rows` labelled rows: not to be worse than the one before.

    They are taken from three days at least, and looked at four times on the way. A champion that is no worse is blamed
    in `false_proposals` of all promotions at most. The rollback is proposed to people, or with `automatic` carried out.
    """

    after_rows: Count = 1000
    false_proposals: Share = 0.05
    automatic: bool = False

    def probation(self, metric: GateMetric) -> Probation:
        """Return what is asked, by the metric the champion was promoted by."""
        return Probation(metric, self.after_rows, self.false_proposals)
