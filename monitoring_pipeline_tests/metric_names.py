"""Names of metrics: those a query asks for, and those that there are.

Keep what a rule or a panel should ask for out: that belongs in the tests.
"""

import re

from monitoring_pipeline.publish.metrics import HELP, metric_name
from monitoring_pipeline.serve.instrument import families
from monitoring_pipeline_tests.pages import rows_of_metrics

OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"}
OF_ALERTMANAGER = {"alertmanager_notifications_total", "alertmanager_notifications_failed_total"}

_NOT_NAMES = r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)'
_WORDS = {"and", "or", "unless", "bool", "offset"}


def names_in(query: str) -> set[str]:
    """Return the metrics a query of Prometheus asks for by their names."""
    rest = re.sub(_NOT_NAMES, " ", query)
    found = re.findall(r"(?<![\w.$:])([a-zA-Z_:][\w:]*)(?![\w:]|\s*\()", rest)
    return set(found) - _WORDS


def exported_names() -> set[str]:
    """Return every metric that the exporter, a scoring service or Prometheus itself may have."""
    signals = {metric_name(name, unit) for name, (unit, *_) in rows_of_metrics().items()}
    of_service = {name + part for name in families() for part in ("", "_bucket", "_count", "_sum")}
    return signals | HELP.keys() | of_service | OF_PROMETHEUS | OF_ALERTMANAGER
