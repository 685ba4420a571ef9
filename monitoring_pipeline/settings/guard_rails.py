"""What a better challenger must not be worse at.

Add a guard-rail's limit here. Keep what is measured out: it belongs in retrain.
"""

from monitoring_pipeline.settings.conditions import Section


class GuardRails(Section):
    """The limits of what a challenger may lose."""
