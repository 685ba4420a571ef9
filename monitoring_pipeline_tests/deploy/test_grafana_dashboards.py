import itertools
import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitoring_pipeline_tests.grafana import DASHBOARDS, FOLDER, builders, panels
from monitoring_pipeline_tests.metric_names import exported_names, names_in

PANELS = [(name, panel) for name, dashboard in DASHBOARDS.items() for panel in panels(dashboard)]
VARIABLES = {name: {each["name"] for each in dashboard["templating"]["list"]} for name, dashboard in DASHBOARDS.items()}


def title_of(each: Any) -> str:
    return each.removesuffix(".json") if isinstance(each, str) else str(each["title"])


def test_the_dashboards_are_the_ones_the_program_builds() -> None:
    built = {name: build() for name, build in builders().items()}
    assert {path.name: path.read_text() for path in (FOLDER / "dashboards").iterdir()} == built


def test_dashboards_have_names_of_their_own() -> None:
    assert {dashboard["uid"] for dashboard in DASHBOARDS.values()} == {"monitored-model", "monitoring-pipeline"}
    assert len({dashboard["title"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_two_panels_have_one_id_or_one_place(name: str) -> None:
    every = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    for one, other in itertools.combinations([panel["gridPos"] for panel in every], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=title_of)
def test_a_panel_says_what_it_shows_in_which_unit_and_from_where(name: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH")[: len(panel["targets"])]
    asked = " ".join([panel["title"], *(target["expr"] for target in panel["targets"])])
    assert set(re.findall(r"\$([a-z_]\w*)", asked)) <= VARIABLES[name] | {"__rate_interval", "__range"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_metric_a_dashboard_asks_for_exists(name: str) -> None:
    dashboard = DASHBOARDS[name]
    queries = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    queries += [each["expr"] for each in dashboard["annotations"]["list"]]
    assert {metric for query in queries for metric in names_in(query)} - exported_names() == set()


def test_a_model_is_shown_in_four_layers_over_an_hour_to_a_month_with_what_happened_to_it() -> None:
    dashboard = DASHBOARDS["monitored_model.json"]
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == ["At a glance", "Business", "Model", "Data", "System"]
    assert [each["from"] for each in dashboard["timepicker"]["quick_ranges"]] == [
        *("now-1h", "now-6h", "now-24h", "now-7d", "now-30d")
    ]
    marked = {each["name"] for each in dashboard["annotations"]["list"] if each["enable"] and each["useValueForTime"]}
    assert marked == {"Deployment", "Retraining", "Incident", "Settings", "Pipeline"}
    assert all('model="$monitor"' in each["expr"] for each in dashboard["annotations"]["list"][:-1])


def test_grafana_finds_its_data_and_the_dashboards_in_files() -> None:
    sources, providers = (
        YAML(typ="safe").load(next((FOLDER / "provisioning" / kind).iterdir()))
        for kind in ("datasources", "dashboards")
    )
    assert {source["type"] for source in sources["datasources"]} == {"prometheus", "alertmanager"}
    assert not any(key in source for source in sources["datasources"] for key in ("password", "basicAuth"))
    assert [provider["options"]["path"] for provider in providers["providers"]] == ["/etc/grafana/dashboards"]


def test_names_are_read_out_of_a_query() -> None:
    query = (
        'max by (le) (rate(a_bucket{b="c", d=~"e.+"}[5m])) / on (f) group_left () g:h > 3 * 3600 or absent(i) offset 5m'
    )
    assert names_in(query) == {"a_bucket", "g:h", "i"}
