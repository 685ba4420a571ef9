"""The health page of an evaluation of files: the same page, of hours that no deployment has stored.

Keep what the page shows out: it belongs in health_page.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.publish.health_page import render_page
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.workflow.health_page import health_page
from monitoring_pipeline.workflow.offline import Evaluation

Item = TypeVar("Item")


def write_evaluation_page(monitor: Monitor, evaluation: Evaluation, path: Path) -> None:
    """Write the page as it was when the last evaluated hour was over."""
    model = monitor.registry_name
    verdicts = _by_hour((each.signal.window_end - HOUR, each) for each in evaluation.verdicts)
    rules = _by_hour((each.hour, each) for each in evaluation.rules)
    with TemporaryDirectory(prefix="evaluation-") as folder:
        hourly = HourlyStore(Path(folder))
        for hour in evaluation.hours:
            hourly.write_profiles(model, hour, evaluation.profiles.get(hour, ()))
            hourly.write_verdicts(model, {hour: verdicts[hour]})
            hourly.write_rules(model, {hour: rules[hour]})
        page = health_page(monitor, hourly, evaluation.references.get, now=evaluation.hours[-1] + HOUR)
        publish(path, render_page(page).encode())


def _by_hour(items: Iterable[tuple[datetime, Item]]) -> Mapping[datetime, list[Item]]:
    found: dict[datetime, list[Any]] = defaultdict(list)
    for hour, item in items:
        found[hour].append(item)
    return found
