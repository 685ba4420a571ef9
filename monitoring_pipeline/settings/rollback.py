"""When a promotion is proposed to be taken back.

Add a condition of it here. Keep what compares two versions out: it belongs in retrain.
"""

from monitoring_pipeline.settings.conditions import Section


class Rollback(Section):
    """What is asked of a new champion in its first labelled rows."""
