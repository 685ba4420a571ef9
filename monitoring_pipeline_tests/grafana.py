"""The dashboards as they are committed: panels, what they ask, and the program that builds them.

Keep what a dashboard should be like out: that belongs in the tests.
"""

import importlib.util
import json
from collections.abc import Callable
from typing import Any

from monitoring_pipeline_tests.pages import ROOT

FOLDER = ROOT / "deploy" / "grafana"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.name: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))
}


def builders() -> dict[str, Callable[[], str]]:
    """Return what builds each dashboard, by the name of its file."""
    spec = importlib.util.spec_from_file_location("build_dashboards", FOLDER / "build_dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Callable[[], str]] = module.DASHBOARDS
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]
