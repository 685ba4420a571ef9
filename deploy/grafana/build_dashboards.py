"""The Grafana dashboards, as code: `python deploy/grafana/build_dashboards.py` writes them as JSON into dashboards/.

Add a panel to the row it belongs to, as "title | unit | what it says"; ids and places on the grid follow. Keep
thresholds of drift and performance out: the monitor judges those, and a colour that disagrees would only confuse.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    FieldColor,
    QueryVariable,
    Row,
    ThresholdsConfig,
    TimeOption,
    TimePicker,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    StackingMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.dashboard import TimeOption as TimeRange
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
RANGES = {"1h": "1 hour", "6h": "6 hours", "24h": "1 day", "7d": "7 days", "30d": "30 days"}

GOOD, WARNING, BAD = "green", "orange", "red"
Panel = TypeVar("Panel", bargauge.Panel, heatmap.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)
AnyPanel = bargauge.Panel | heatmap.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
Query = tuple[str, str]
"""What is asked, and what the answer is called in the legend."""

Limit = tuple[float | None, str]
"""From which value on there is which colour."""


def _asked(panel: Panel, what: str, width: int, height: int) -> Panel:
    title, unit, says = what.split(" | ")
    return panel.title(title).description(says).unit(unit).datasource(SOURCE).span(width).height(height)


def _target(place: int, query: Query, *, now: bool = False, form: PromQueryFormat | None = None) -> Dataquery:
    asked = Dataquery().expr(query[0]).legend_format(query[1]).ref_id(chr(ord("A") + place))
    asked = asked.instant() if now else asked.range()
    return asked.format(form) if form is not None else asked


def _steps(*steps: Limit) -> ThresholdsConfig:
    at = [Threshold(value=value, color=color) for value, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(at)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def lines(what: str, *queries: Query, width: int = 12, height: int = 8, stacked: bool = False) -> timeseries.Panel:
    """Return lines over time; a gap is what nobody knows, and stays one."""
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).show_legend(True).calcs(["lastNotNull"])
    panel = _asked(timeseries.Panel(), what, width, height).legend(legend)
    panel = panel.fill_opacity(25 if stacked else 5).show_points(VisibilityMode.NEVER)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return panel.targets([_target(place, query) for place, query in enumerate(queries)])


def number(what: str, query: Query, *, steps: Sequence[Limit] = ((None, "blue"),)) -> stat.Panel:
    """Return one number a series, as it is now."""
    panel = _asked(stat.Panel(), what, 4, 4).thresholds(_steps(*steps))
    panel = panel.graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)
    return panel.reduce_options(_last()).targets([_target(0, query, now=True)])


def bars(what: str, query: Query, *, steps: Sequence[Limit]) -> bargauge.Panel:
    """Return a bar a series, as it is now."""
    panel = _asked(bargauge.Panel(), what, 8, 8).thresholds(_steps(*steps)).reduce_options(_last())
    return panel.targets([_target(0, query, now=True)])


def map_of(what: str, query: Query, *, most: float) -> statetimeline.Panel:
    """Return a row a series whose colour is the value, from green at 0 to red at `most`."""
    panel = _asked(statetimeline.Panel(), what, 16, 10).min(0).max(most).decimals(2)
    panel = panel.color_scheme(FieldColor().mode(FieldColorModeId.CONTINUOUS_GR_YL_RD))
    return panel.show_value(VisibilityMode.NEVER).merge_values(False).targets([_target(0, query)])


def counts_over_time(what: str, query: str) -> heatmap.Panel:
    """Return the buckets of a histogram over time."""
    panel = _asked(heatmap.Panel(), what, 12, 8).calculate(False)
    panel = panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(32))
    return panel.targets([_target(0, (query, "{{le}}"), form=PromQueryFormat.HEATMAP)])


def listed(what: str, query: str, *, width: int = 8, height: int = 10) -> table.Panel:
    """Return what there is now as a table."""
    panel = _asked(table.Panel(), what, width, height)
    without_time = DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}})
    panel = panel.with_transformation(without_time)
    return panel.targets([_target(0, (query, ""), now=True, form=PromQueryFormat.TABLE)])


def variable(name: str, label: str, query: str, *, regex: str = "", every: bool = False) -> QueryVariable:
    """Return a variable whose choices are asked of Prometheus; `every`: several at once, all of them to begin with."""
    found = QueryVariable(name).label(label).datasource(SOURCE).query({"query": query, "refId": name})
    found = found.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC).regex(regex)
    return found.multi(True).include_all(True).all_value(".*") if every else found


def marks(name: str, color: str, query: str, says: str) -> dict[str, Any]:
    """Return an annotation at the moments a query has as its values: milliseconds, where Prometheus has seconds."""
    return {
        "name": name,
        "enable": True,
        "iconColor": color,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "expr": f"1000 * {query}",
        "titleFormat": name,
        "textFormat": says,
        "useValueForTime": True,
    }


def document(
    uid: str,
    title: str,
    says: str,
    variables: Sequence[QueryVariable],
    rows: Sequence[tuple[str, Sequence[AnyPanel]]],
    annotations: Sequence[dict[str, Any]] = (),
) -> str:
    """Return a dashboard as JSON; its panels are numbered in their order."""
    ranges: list[Builder[TimeRange]] = [
        TimeOption().display(text).from_val(f"now-{name}").to("now") for name, text in RANGES.items()
    ]
    board = Dashboard(title).uid(uid).description(says).tags(["model-monitoring"]).timezone("utc").refresh("1m")
    board = board.time("now-7d", "now").timepicker(TimePicker().quick_ranges(ranges))
    board = board.tooltip(DashboardCursorSync.CROSSHAIR)
    link = DashboardLink("Model monitoring").type(DashboardLinkType.DASHBOARDS).tags(["model-monitoring"])
    board = board.readonly().link(link.keep_time(True))
    for each in (DatasourceVariable("datasource").label("Prometheus").type("prometheus"), *variables):
        board = board.with_variable(each)
    ids = iter(range(1, 1000))
    for name, panels in rows:
        board = board.with_row(Row(name).id(next(ids)))
        for panel in panels:
            board = board.with_panel(panel.id(next(ids)))
    made = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    made["annotations"] = {"list": list(annotations)}
    return json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


MODEL = 'model="$monitor"'
PLACE = f'{MODEL}, version=~"$version", window="$window"'
SERVED = 'model="$monitor", stage="score"'
RATE = "[$__rate_interval]"


def _worst(metric: str, most: int = 10) -> str:
    """Return the series of the features that were worst at any time of the range."""
    worst = f"topk({most}, max by (feature) (max_over_time({metric}{{{PLACE}}}[$__range] @ end())))"
    return f"max by (feature) ({metric}{{{PLACE}}}) and on (feature) {worst}"


def _quantile(share: float) -> Query:
    buckets = f"sum by (le) (rate(serving_latency_seconds_bucket{{{SERVED}}}{RATE}))"
    return f"histogram_quantile({share}, {buckets})", f"p{share * 100:g}"


def glance() -> list[AnyPanel]:
    """Return what is looked at first."""
    return [
        number(
            "Open incidents | short | `monitoring-pipeline incidents` lists them with their likely causes.",
            (f"sum by (severity) (incidents_open{{{MODEL}}})", "{{severity}}"),
            steps=[(None, GOOD), (1, BAD)],
        ),
        number(
            "Judged until | dateTimeFromNow | End of the newest judged hour. Every number of the monitor is as old "
            "as that.",
            (f"1000 * max(monitor_last_evaluated_timestamp_seconds{{{MODEL}}} > 0)", ""),
        ),
        number(
            "Features that drift | percentunit | Share of the features beyond the limits of this model's own "
            "reference, by importance where known.",
            (f"max by (version) (drift_drifted_share{{{PLACE}}})", "v{{version}}"),
        ),
        number(
            "Performance | short | Realised, from the labels there are. Nothing is shown while too few are known.",
            (f'max by (version) ({{__name__="performance_$measure", {PLACE}}})', "v{{version}}"),
        ),
        number(
            "Least error budget | percentunit | What is left of the 28 days' budget that is nearest to its end; "
            "negative once overspent.",
            (f"bottomk(1, slo_budget_remaining{{{MODEL}}})", "{{objective}}"),
            steps=[(None, BAD), (0, WARNING), (0.25, GOOD)],
        ),
        number(
            "Age of the model | s | Time since the end of the rows it was trained on.",
            (f"max by (version) (model_age_seconds{{{MODEL}}})", "v{{version}}"),
        ),
    ]


def business() -> list[AnyPanel]:
    """Return what the model is for."""
    named = '{__name__="business_$business", ' + PLACE + "}"
    rolling = 'avg_over_time({__name__="business_$business", ' + MODEL + ', version=~"$version", window="1h"}[7d])'
    return [
        lines(
            "Predictions an hour | short | Rows of the log, by the version that served them.",
            (f'sum by (version) (monitor_served_rows{{{MODEL}, version=~"$version"}})', "v{{version}}"),
            stacked=True,
        ),
        lines(
            "Who answered | percentunit | Share of the predictions by the part of the service that gave them: "
            "champion, fallback, rule.",
            (
                f"sum by (served_by) (rate(serving_predictions_total{{{MODEL}}}{RATE}))"
                f" / ignoring (served_by) group_left () sum(rate(serving_predictions_total{{{MODEL}}}{RATE}))",
                "{{served_by}}",
            ),
            stacked=True,
        ),
        lines(
            "$business | short | A metric the monitor names under business:, in its own unit, and its mean over "
            "seven days.",
            (f"max by (version) ({named})", "v{{version}}, $window"),
            (f"max by (version) ({rolling})", "v{{version}}, 7 days rolling"),
            width=24,
        )
        .repeat("business")
        .max_per_row(2),
    ]


def model() -> list[AnyPanel]:
    """Return how good the model is, and what it says."""
    realised, estimated = (f'{{__name__="{report}_$measure", {PLACE}}}' for report in ("performance", "estimate"))
    return [
        lines(
            "$measure: realised and estimated | short | Realised comes from labels, and late; the estimate from "
            "scores, at once. Where they part, the meaning of the scores has changed (concept drift): believe the "
            "labels.",
            (f"max by (version) ({realised})", "v{{version}} realised"),
            (f"max by (version) ({estimated})", "v{{version}} estimated"),
        ),
        lines(
            "Labels that have arrived | percentunit | Share of the window's predictions whose label is known.",
            (f"max by (version) (performance_label_coverage{{{PLACE}}})", "v{{version}}"),
        ),
        counts_over_time(
            "Scores | short | How the scores of the service are distributed over time.",
            f"sum by (le) (increase(model_score_ratio_bucket{{{MODEL}}}{RATE}))",
        ),
        lines(
            "PSI of score and prediction | short | What the model answers, against its reference; if features are "
            "calm meanwhile, the model is broken.",
            (f'max by (feature) (drift_psi{{{PLACE}, feature=~"score|prediction"}})', "{{feature}}"),
        ),
        lines(
            "Confidence | percentunit | Probability the model gives to the class it chooses.",
            *(
                (
                    f"histogram_quantile({share}, sum by (le) (rate(model_confidence_ratio_bucket{{{MODEL}}}{RATE})))",
                    f"p{share * 100:g}",
                )
                for share in (0.1, 0.5, 0.9)
            ),
        ),
        lines(
            "Errors over time | short | Control charts of the hourly errors: beyond 1 they rose out of control, "
            "below -1 they fell.",
            (
                f'max by (chart) (label_replace({{__name__=~"concept_(cusum|ewma|page_hinkley|adwin)", {MODEL}}},'
                ' "chart", "$1", "__name__", "concept_(.+)"))',
                "{{chart}}",
            ),
        ),
    ]


def data() -> list[AnyPanel]:
    """Return what the model is fed with."""
    return [
        map_of(
            "Drift of the ten worst features (PSI) | short | The ten features with the largest PSI of the range. A "
            "seasonal feature is red every year: whether it is too much for this model is the monitor's to say, see "
            "the incidents.",
            (_worst("drift_psi"), "{{feature}}"),
            most=0.5,
        ),
        listed(
            "KS of the ten worst features | short | Largest gap between the two distribution functions, now.",
            f"topk(10, max by (feature) (drift_ks{{{PLACE}}}))",
        ),
        lines(
            "Features that drift | percentunit | Share of the features beyond the limits of this model's own "
            "reference.",
            (f"max by (version) (drift_drifted_share{{{PLACE}}})", "v{{version}}"),
        ),
        lines(
            "Missing values | percentunit | Null rate of the ten features that have most.",
            (_worst("quality_null_rate"), "{{feature}}"),
        ),
        lines(
            "Age of features by source (p95) | s | How old the features were that requests were answered with.",
            (f"max by (source) (freshness_age_p95_seconds{{{PLACE}}})", "{{source}}"),
        ),
        lines(
            "Requests with fresh features | percentunit | Share of the requests whose features are no older than "
            "their source allows.",
            (f"max by (source) (freshness_fresh_share{{{PLACE}}})", "{{source}}"),
            (f"max(freshness_requests_fresh_share{{{PLACE}}})", "all sources"),
        ),
        lines(
            "Traffic against the weeks before | percentunit | Rows over those of the same hours of the weeks before.",
            (f"max(quality_volume_ratio{{{PLACE}}})", "rows"),
        ),
        lines(
            "Unknown | short | Numbers nobody has, by the reason. What is unknown has no line elsewhere.",
            (f"sum by (report, reason) (monitor_unknown_signals{{{MODEL}}})", "{{report}}: {{reason}}"),
            stacked=True,
        ),
    ]


def system() -> list[AnyPanel]:
    """Return how requests are answered, and on what."""
    return [
        lines(
            "Latency of a prediction | s | From the counters of the service, stage score.",
            *(_quantile(share) for share in (0.5, 0.95, 0.99)),
        ),
        lines(
            "Latency in the log (p99) | s | As the monitor sees it, by stage, over $window.",
            (f"max by (stage) (operations_latency_p99_seconds{{{PLACE}}})", "{{stage}}"),
        ),
        lines(
            "Throughput | reqps | Requests for predictions, a second.",
            (
                f'sum by (endpoint) (rate(serving_requests_total{{{MODEL}, endpoint=~"/predict.*"}}{RATE}))',
                "{{endpoint}}",
            ),
            stacked=True,
        ),
        lines(
            "Requests by status | reqps | 5xx is a failure of the service, 4xx a mistake of the caller.",
            (f"sum by (status) (rate(serving_requests_total{{{MODEL}}}{RATE}))", "{{status}}"),
            stacked=True,
        ),
        lines(
            "Failures by type | reqps | What failed, and what a part of the service left to the next, and why.",
            (f"sum by (stage, type) (rate(serving_errors_total{{{MODEL}}}{RATE}))", "{{stage}}: {{type}}"),
            (
                f"sum by (passed_by, reason) (rate(serving_passed_on_total{{{MODEL}}}{RATE}))",
                "{{passed_by}}: {{reason}}",
            ),
        ),
        lines(
            "Errors and fallback in the log | percentunit | As the monitor sees them.",
            (f"max(operations_error_rate{{{PLACE}}})", "errors"),
            (f"max(operations_fallback_share{{{PLACE}}})", "fallback"),
        ),
        bars(
            "Error budgets | percentunit | What is left of what may go wrong in 28 days.",
            (f"sum by (objective) (slo_budget_remaining{{{MODEL}}})", "{{objective}}"),
            steps=[(None, BAD), (0, WARNING), (0.25, GOOD)],
        ),
        lines(
            "Burn rate | short | How many times as fast as promised the budget went in the last day: 1 spends it in "
            "exactly 28 days.",
            (f'max by (objective) (slo_burn_rate{{{MODEL}, window="24h"}})', "{{objective}}"),
            width=16,
        ),
        lines(
            "GPU | percentunit | Of the machine the exporter runs on; empty where there is none.",
            ("gpu_used_ratio", "{{gpu}} {{name}}"),
            ("gpu_memory_used_ratio", "{{gpu}} {{name}} memory"),
        ),
        host(),
    ]


def host() -> timeseries.Panel:
    """Return the machine."""
    return lines(
        "Host | percentunit | The machine the exporter runs on.",
        ("max(host_cpu_used_ratio)", "CPU"),
        ("max(host_memory_used_ratio)", "memory"),
        ("max(host_disk_used_ratio)", "disk"),
    )


def monitored_model() -> str:
    """Return the dashboard of one model in four layers."""
    return document(
        "monitored-model",
        "Monitored model",
        "One model in four layers: what it is for, how good it is, what it is fed with, what it runs on.",
        [
            variable("monitor", "Model", "label_values(monitor_last_evaluated_timestamp_seconds, model)"),
            variable("version", "Version", f"label_values(monitor_model_info{{{MODEL}}}, version)", every=True),
            variable("window", "Window", f"label_values(drift_psi{{{MODEL}}}, window)").current(
                VariableOption(text="24h", value="24h")
            ),
            variable("measure", "Performance", _names("performance"), regex="/^performance_(.+)$/"),
            variable("business", "Business", _names("business"), regex="/^business_(.+)$/", every=True),
        ],
        [
            ("At a glance", glance()),
            ("Business", business()),
            ("Model", model()),
            ("Data", data()),
            ("System", system()),
        ],
        [
            marks("Deployment", "blue", f"model_deployed_timestamp_seconds{{{MODEL}}}", "v{{version}} by {{reason}}"),
            marks("Retraining", "purple", f"retraining_finished_timestamp_seconds{{{MODEL}}}", "ended: {{outcome}}"),
            marks("Incident", "red", f"incident_opened_timestamp_seconds{{{MODEL}}}", "{{severity}}: {{incident}}"),
            marks(
                "Settings", "yellow", f"monitor_config_changed_timestamp_seconds{{{MODEL}}}", "the monitor's YAML file"
            ),
            marks(
                "Pipeline",
                "orange",
                "timestamp(pipeline_build_info unless on (version) pipeline_build_info offset 5m)",
                "version {{version}} of the pipeline",
            ),
        ],
    )


def _names(report: str) -> str:
    return f'label_values({{__name__=~"{report}_.+", {MODEL}}}, __name__)'


def pipeline_at_a_glance() -> list[AnyPanel]:
    """Return whether anybody has to look further."""
    late = "time() - monitor_last_evaluated_timestamp_seconds > 3 * 3600"
    bad = [(None, GOOD), (1, BAD)]
    return [
        number(
            "Alerts that fire | short | Critical ones have called somebody; the Watchdog always fires and is left out.",
            ('count by (severity) (ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)', "{{severity}}"),
            steps=bad,
        ),
        number(
            "Models | short | Monitors in the deployment's folder.",
            ("count(monitor_last_evaluated_timestamp_seconds)", ""),
        ),
        number(
            "Models nobody watches | short | No hour has been judged for three hours.",
            (f"count({late}) or vector(0)", ""),
            steps=bad,
        ),
        number(
            "Sources that cannot be read | short | What they hold is missing here. The log of the exporter says why.",
            ("count(exporter_source_up == 0) or vector(0)", ""),
            steps=bad,
        ),
        number("Open incidents | short | Of all models.", ("sum(incidents_open)", ""), steps=bad),
        number(
            "Services that are not well | short | By the newest health checks.",
            ("count(service_level > 0) or vector(0)", ""),
            steps=bad,
        ),
    ]


def judging() -> list[AnyPanel]:
    """Return whether hours are judged, and how much is known of them."""
    return [
        bars(
            "Since the newest judged hour | s | An hour is judged ten minutes after it is over, so up to 70 minutes "
            "are usual.",
            ("time() - max by (model) (monitor_last_evaluated_timestamp_seconds)", "{{model}}"),
            steps=[(None, GOOD), (2 * 3600, WARNING), (3 * 3600, BAD)],
        ),
        lines(
            "Verdicts of the newest hour | short | Of all models, segments and baselines among them.",
            ("sum by (level) (monitor_verdicts)", "{{level}}"),
            width=8,
            stacked=True,
        ),
        lines(
            "Unknown numbers by reason | short | Too few rows and labels that are still to come are usual; failed "
            "is not.",
            ("sum by (model, reason) (monitor_unknown_signals)", "{{model}}: {{reason}}"),
            width=8,
            stacked=True,
        ),
        lines(
            "Predictions of the newest hour | short | Rows of the log that were judged.",
            ("sum by (model) (monitor_served_rows)", "{{model}}"),
        ),
        lines(
            "Columns without series | short | Of more than 200 columns only the worst are shown anywhere in Grafana.",
            ("sum by (model) (monitor_features_not_exported)", "{{model}}"),
        ),
    ]


def acting() -> list[AnyPanel]:
    """Return what came of it."""
    return [
        lines(
            "Open incidents | short | By model and severity.",
            ("sum by (model, severity) (incidents_open)", "{{model}}: {{severity}}"),
            stacked=True,
        ),
        listed(
            "Age of open incidents | s | `monitoring-pipeline incident ID` shows one of them.",
            "sort_desc(time() - max by (model, severity, incident) (incident_opened_timestamp_seconds))",
            width=12,
            height=8,
        ),
        lines(
            "Retraining: decisions | short | Hours in which it was decided whether to retrain: fired, or why not.",
            (
                "sum by (model, outcome) (increase(retraining_decisions_total[$__rate_interval]))",
                "{{model}}: {{outcome}}",
            ),
        ),
        lines(
            "Retraining: episodes | short | Retrainings and rollbacks by where they stand.",
            ("sum by (model, status) (retraining_episodes > 0)", "{{model}}: {{status}}"),
        ),
        listed(
            "Versions in charge | short | Where the aliases point to.",
            "max by (model, alias, version) (registry_alias_info)",
            width=12,
            height=8,
        ),
        lines(
            "Health of services | short | 0 well, 1 a warning, 2 critical, by the pipeline's own health checks.",
            ("max by (service) (service_level)", "{{service}}"),
        ),
    ]


def telling() -> list[AnyPanel]:
    """Return whether alerts and predictions get to where they belong."""
    return [
        lines(
            "Alerts that fire | short | The Watchdog has to be among them: it proves that alerts are evaluated.",
            ('count by (alertname, severity) (ALERTS{alertstate="firing"})', "{{alertname}} ({{severity}})"),
            stacked=True,
        ),
        lines(
            "Messages of Alertmanager | short | Sent in the last hour, by channel; what fails is tried again.",
            ("sum by (integration) (increase(alertmanager_notifications_total[1h]))", "{{integration}}"),
            ("sum by (integration) (increase(alertmanager_notifications_failed_total[1h]))", "{{integration}} failed"),
        ),
        lines(
            "Messages not sent | short | Pending ones are tried again; dead ones were given up: "
            "`monitoring-pipeline outbox` says why.",
            ("max by (status) (outbox_messages)", "{{status}}"),
        ),
        lines(
            "Predictions on their way to the log | short | What waits in the memory of the scoring service: a "
            "second's worth is usual.",
            ("sum by (model) (recorder_queue_rows)", "{{model}}"),
        ),
        lines(
            "Predictions that are not logged | short | Refused by a full queue, or lost with a process, in the last "
            "hour.",
            (
                'sum by (model, outcome) (increase(recorder_records_total{outcome=~"dropped|lost"}[1h]))',
                "{{model}}: {{outcome}}",
            ),
        ),
    ]


def machine() -> list[AnyPanel]:
    """Return what it all runs on."""
    return [
        lines(
            "Time to scrape | s | The exporter reads a model again only when it has a new hour.",
            ("max by (job, instance) (scrape_duration_seconds)", "{{job}} {{instance}}"),
        ),
        lines(
            "Series scraped | short | What Prometheus has to keep of each.",
            ("max by (job, instance) (scrape_samples_scraped)", "{{job}} {{instance}}"),
        ),
        host(),
        lines(
            "Network of the host | Bps | All interfaces together.",
            ("rate(host_network_received_bytes_total[$__rate_interval])", "received"),
            ("rate(host_network_sent_bytes_total[$__rate_interval])", "sent"),
        ),
    ]


def pipeline() -> str:
    """Return the dashboard of the pipeline itself."""
    return document(
        "monitoring-pipeline",
        "Monitoring pipeline",
        "Whether the pipeline does its work: hours judged, incidents told, predictions logged.",
        [],
        [
            ("At a glance", pipeline_at_a_glance()),
            ("Judging", judging()),
            ("Acting", acting()),
            ("Telling", telling()),
            ("Machine", machine()),
        ],
        [
            marks("Deployment", "blue", "model_deployed_timestamp_seconds", "{{model}} v{{version}} by {{reason}}"),
            marks("Settings", "yellow", "monitor_config_changed_timestamp_seconds", "{{model}}"),
        ],
    )


DASHBOARDS = {"monitored_model.json": monitored_model, "monitoring_pipeline.json": pipeline}

if __name__ == "__main__":
    for name, build in DASHBOARDS.items():
        (FOLDER / name).write_text(build(), encoding="utf-8")
