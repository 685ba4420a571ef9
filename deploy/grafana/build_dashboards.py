"""The Grafana dashboards, as code: `python deploy/grafana/build_dashboards.py` writes them as JSON into dashboards/.

Add a panel to the row it belongs to; ids and places on the grid follow. Keep thresholds of drift and performance out:
the monitor judges those, and a colour that disagrees with it would only confuse.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
)
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


def _asked(panel: Panel, title: str, unit: str, says: str, width: int, height: int) -> Panel:
    return panel.title(title).description(says).unit(unit).datasource(SOURCE).span(width).height(height)


def _target(place: int, query: Query, *, now: bool = False, form: PromQueryFormat | None = None) -> Dataquery:
    asked = Dataquery().expr(query[0]).legend_format(query[1]).ref_id(chr(ord("A") + place))
    asked = asked.instant() if now else asked.range()
    return asked.format(form) if form is not None else asked


def _steps(*steps: tuple[float | None, str]) -> ThresholdsConfig:
    at = [Threshold(value=value, color=color) for value, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(at)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def lines(
    title: str, unit: str, *queries: Query, says: str, width: int = 12, height: int = 8, stacked: bool = False
) -> timeseries.Panel:
    """Return lines over time; a gap is what nobody knows, and stays one."""
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).show_legend(True).calcs(["lastNotNull"])
    panel = _asked(timeseries.Panel(), title, unit, says, width, height).legend(legend)
    panel = panel.fill_opacity(25 if stacked else 5).show_points(VisibilityMode.NEVER)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return panel.targets([_target(place, query) for place, query in enumerate(queries)])


def number(
    title: str, unit: str, query: Query, *, says: str, steps: Sequence[tuple[float | None, str]] = ((None, "blue"),)
) -> stat.Panel:
    """Return one number a series, as it is now."""
    panel = _asked(stat.Panel(), title, unit, says, 4, 4).thresholds(_steps(*steps))
    panel = panel.graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE)
    return panel.reduce_options(_last()).targets([_target(0, query, now=True)])


def bars(
    title: str, unit: str, query: Query, *, says: str, steps: Sequence[tuple[float | None, str]]
) -> bargauge.Panel:
    """Return a bar a series, as it is now."""
    panel = _asked(bargauge.Panel(), title, unit, says, 8, 8).thresholds(_steps(*steps)).reduce_options(_last())
    return panel.targets([_target(0, query, now=True)])


def map_of(title: str, unit: str, query: Query, *, most: float, says: str) -> statetimeline.Panel:
    """Return a row a series whose colour is the value, from green at 0 to red at `most`."""
    panel = _asked(statetimeline.Panel(), title, unit, says, 16, 10).min(0).max(most).decimals(2)
    panel = panel.color_scheme(FieldColor().mode(FieldColorModeId.CONTINUOUS_GR_YL_RD))
    return panel.show_value(VisibilityMode.NEVER).merge_values(False).targets([_target(0, query)])


def counts_over_time(title: str, unit: str, query: str, *, says: str) -> heatmap.Panel:
    """Return the buckets of a histogram over time."""
    panel = _asked(heatmap.Panel(), title, unit, says, 12, 8).calculate(False)
    panel = panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(32))
    return panel.targets([_target(0, (query, "{{le}}"), form=PromQueryFormat.HEATMAP)])


def listed(title: str, unit: str, query: str, *, says: str, width: int = 8, height: int = 10) -> table.Panel:
    """Return what there is now as a table."""
    panel = _asked(table.Panel(), title, unit, says, width, height)
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
            "Open incidents",
            "short",
            (f"sum by (severity) (incidents_open{{{MODEL}}})", "{{severity}}"),
            says="`monitoring-pipeline incidents` lists them with their likely causes.",
            steps=[(None, GOOD), (1, BAD)],
        ),
        number(
            "Judged until",
            "dateTimeFromNow",
            (f"1000 * max(monitor_last_evaluated_timestamp_seconds{{{MODEL}}} > 0)", ""),
            says="End of the newest judged hour. Every number of the monitor is as old as that.",
        ),
        number(
            "Features that drift",
            "percentunit",
            (f"max by (version) (drift_drifted_share{{{PLACE}}})", "v{{version}}"),
            says="Share of the features beyond the limits of this model's own reference, by importance where known.",
        ),
        number(
            "Performance",
            "short",
            (f'max by (version) ({{__name__="performance_$measure", {PLACE}}})', "v{{version}}"),
            says="Realised, from the labels there are. Nothing is shown while too few are known.",
        ),
        number(
            "Least error budget",
            "percentunit",
            (f"bottomk(1, slo_budget_remaining{{{MODEL}}})", "{{objective}}"),
            says="What is left of the 28 days' budget that is nearest to its end; negative once overspent.",
            steps=[(None, BAD), (0, WARNING), (0.25, GOOD)],
        ),
        number(
            "Age of the model",
            "s",
            (f"max by (version) (model_age_seconds{{{MODEL}}})", "v{{version}}"),
            says="Time since the end of the rows it was trained on.",
        ),
    ]


def business() -> list[AnyPanel]:
    """Return what the model is for."""
    named = '{__name__="business_$business", ' + PLACE + "}"
    rolling = 'avg_over_time({__name__="business_$business", ' + MODEL + ', version=~"$version", window="1h"}[7d])'
    return [
        lines(
            "Predictions an hour",
            "short",
            (f'sum by (version) (monitor_served_rows{{{MODEL}, version=~"$version"}})', "v{{version}}"),
            says="Rows of the log, by the version that served them.",
            stacked=True,
        ),
        lines(
            "Who answered",
            "percentunit",
            (
                f"sum by (served_by) (rate(serving_predictions_total{{{MODEL}}}{RATE}))"
                f" / ignoring (served_by) group_left () sum(rate(serving_predictions_total{{{MODEL}}}{RATE}))",
                "{{served_by}}",
            ),
            says="Share of the predictions by the part of the service that gave them: champion, fallback, rule.",
            stacked=True,
        ),
        lines(
            "$business",
            "short",
            (f"max by (version) ({named})", "v{{version}}, $window"),
            (f"max by (version) ({rolling})", "v{{version}}, 7 days rolling"),
            says="A metric the monitor names under business:, in its own unit, and its mean over seven days.",
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
            "$measure: realised and estimated",
            "short",
            (f"max by (version) ({realised})", "v{{version}} realised"),
            (f"max by (version) ({estimated})", "v{{version}} estimated"),
            says=(
                "Realised comes from labels, and late; the estimate from scores, at once. Where they part, the meaning "
                "of the scores has changed (concept drift): believe the labels."
            ),
        ),
        lines(
            "Labels that have arrived",
            "percentunit",
            (f"max by (version) (performance_label_coverage{{{PLACE}}})", "v{{version}}"),
            says="Share of the window's predictions whose label is known.",
        ),
        counts_over_time(
            "Scores",
            "short",
            f"sum by (le) (increase(model_score_ratio_bucket{{{MODEL}}}{RATE}))",
            says="How the scores of the service are distributed over time.",
        ),
        lines(
            "PSI of score and prediction",
            "short",
            (f'max by (feature) (drift_psi{{{PLACE}, feature=~"score|prediction"}})', "{{feature}}"),
            says="What the model answers, against its reference; if features are calm meanwhile, the model is broken.",
        ),
        lines(
            "Confidence",
            "percentunit",
            *(
                (
                    f"histogram_quantile({share}, sum by (le) (rate(model_confidence_ratio_bucket{{{MODEL}}}{RATE})))",
                    f"p{share * 100:g}",
                )
                for share in (0.1, 0.5, 0.9)
            ),
            says="Probability the model gives to the class it chooses.",
        ),
        lines(
            "Errors over time",
            "short",
            (
                f'max by (chart) (label_replace({{__name__=~"concept_(cusum|ewma|page_hinkley|adwin)", {MODEL}}},'
                ' "chart", "$1", "__name__", "concept_(.+)"))',
                "{{chart}}",
            ),
            says="Control charts of the hourly errors: beyond 1 they rose out of control, below -1 they fell.",
        ),
    ]


def data() -> list[AnyPanel]:
    """Return what the model is fed with."""
    return [
        map_of(
            "Drift of the ten worst features (PSI)",
            "short",
            (_worst("drift_psi"), "{{feature}}"),
            most=0.5,
            says=(
                "The ten features with the largest PSI of the range. A seasonal feature is red every year: whether it "
                "is too much for this model is the monitor's to say, see the incidents."
            ),
        ),
        listed(
            "KS of the ten worst features",
            "short",
            f"topk(10, max by (feature) (drift_ks{{{PLACE}}}))",
            says="Largest gap between the two distribution functions, now.",
        ),
        lines(
            "Features that drift",
            "percentunit",
            (f"max by (version) (drift_drifted_share{{{PLACE}}})", "v{{version}}"),
            says="Share of the features beyond the limits of this model's own reference.",
        ),
        lines(
            "Missing values",
            "percentunit",
            (_worst("quality_null_rate"), "{{feature}}"),
            says="Null rate of the ten features that have most.",
        ),
        lines(
            "Age of features by source (p95)",
            "s",
            (f"max by (source) (freshness_age_p95_seconds{{{PLACE}}})", "{{source}}"),
            says="How old the features were that requests were answered with.",
        ),
        lines(
            "Requests with fresh features",
            "percentunit",
            (f"max by (source) (freshness_fresh_share{{{PLACE}}})", "{{source}}"),
            (f"max(freshness_requests_fresh_share{{{PLACE}}})", "all sources"),
            says="Share of the requests whose features are no older than their source allows.",
        ),
        lines(
            "Traffic against the weeks before",
            "percentunit",
            (f"max(quality_volume_ratio{{{PLACE}}})", "rows"),
            says="Rows over those of the same hours of the weeks before.",
        ),
        lines(
            "Unknown",
            "short",
            (f"sum by (report, reason) (monitor_unknown_signals{{{MODEL}}})", "{{report}}: {{reason}}"),
            says="Numbers nobody has, by the reason. What is unknown has no line elsewhere.",
            stacked=True,
        ),
    ]


def system() -> list[AnyPanel]:
    """Return how requests are answered, and on what."""
    return [
        lines(
            "Latency of a prediction",
            "s",
            *(_quantile(share) for share in (0.5, 0.95, 0.99)),
            says="From the counters of the service, stage score.",
        ),
        lines(
            "Latency in the log (p99)",
            "s",
            (f"max by (stage) (operations_latency_p99_seconds{{{PLACE}}})", "{{stage}}"),
            says="As the monitor sees it, by stage, over $window.",
        ),
        lines(
            "Throughput",
            "reqps",
            (
                f'sum by (endpoint) (rate(serving_requests_total{{{MODEL}, endpoint=~"/predict.*"}}{RATE}))',
                "{{endpoint}}",
            ),
            says="Requests for predictions, a second.",
            stacked=True,
        ),
        lines(
            "Requests by status",
            "reqps",
            (f"sum by (status) (rate(serving_requests_total{{{MODEL}}}{RATE}))", "{{status}}"),
            says="5xx is a failure of the service, 4xx a mistake of the caller.",
            stacked=True,
        ),
        lines(
            "Failures by type",
            "reqps",
            (f"sum by (stage, type) (rate(serving_errors_total{{{MODEL}}}{RATE}))", "{{stage}}: {{type}}"),
            (
                f"sum by (passed_by, reason) (rate(serving_passed_on_total{{{MODEL}}}{RATE}))",
                "{{passed_by}}: {{reason}}",
            ),
            says="What failed, and what a part of the service left to the next, and why.",
        ),
        lines(
            "Errors and fallback in the log",
            "percentunit",
            (f"max(operations_error_rate{{{PLACE}}})", "errors"),
            (f"max(operations_fallback_share{{{PLACE}}})", "fallback"),
            says="As the monitor sees them.",
        ),
        bars(
            "Error budgets",
            "percentunit",
            (f"sum by (objective) (slo_budget_remaining{{{MODEL}}})", "{{objective}}"),
            says="What is left of what may go wrong in 28 days.",
            steps=[(None, BAD), (0, WARNING), (0.25, GOOD)],
        ),
        lines(
            "Burn rate",
            "short",
            (f'max by (objective) (slo_burn_rate{{{MODEL}, window="24h"}})', "{{objective}}"),
            says="How many times as fast as promised the budget went in the last day: 1 spends it in exactly 28 days.",
            width=16,
        ),
        lines(
            "GPU",
            "percentunit",
            ("gpu_used_ratio", "{{gpu}} {{name}}"),
            ("gpu_memory_used_ratio", "{{gpu}} {{name}} memory"),
            says="Of the machine the exporter runs on; empty where there is none.",
        ),
        host(),
    ]


def host() -> timeseries.Panel:
    """Return the machine."""
    return lines(
        "Host",
        "percentunit",
        ("max(host_cpu_used_ratio)", "CPU"),
        ("max(host_memory_used_ratio)", "memory"),
        ("max(host_disk_used_ratio)", "disk"),
        says="The machine the exporter runs on.",
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
            "Alerts that fire",
            "short",
            ('count by (severity) (ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)', "{{severity}}"),
            says="Critical ones have called somebody; the Watchdog always fires and is left out.",
            steps=bad,
        ),
        number(
            "Models",
            "short",
            ("count(monitor_last_evaluated_timestamp_seconds)", ""),
            says="Monitors in the deployment's folder.",
        ),
        number(
            "Models nobody watches",
            "short",
            (f"count({late}) or vector(0)", ""),
            says="No hour has been judged for three hours.",
            steps=bad,
        ),
        number(
            "Sources that cannot be read",
            "short",
            ("count(exporter_source_up == 0) or vector(0)", ""),
            says="What they hold is missing here. The log of the exporter says why.",
            steps=bad,
        ),
        number("Open incidents", "short", ("sum(incidents_open)", ""), says="Of all models.", steps=bad),
        number(
            "Services that are not well",
            "short",
            ("count(service_level > 0) or vector(0)", ""),
            says="By the newest health checks.",
            steps=bad,
        ),
    ]


def judging() -> list[AnyPanel]:
    """Return whether hours are judged, and how much is known of them."""
    return [
        bars(
            "Since the newest judged hour",
            "s",
            ("time() - max by (model) (monitor_last_evaluated_timestamp_seconds)", "{{model}}"),
            says="An hour is judged ten minutes after it is over, so up to 70 minutes are usual.",
            steps=[(None, GOOD), (2 * 3600, WARNING), (3 * 3600, BAD)],
        ),
        lines(
            "Verdicts of the newest hour",
            "short",
            ("sum by (level) (monitor_verdicts)", "{{level}}"),
            says="Of all models, segments and baselines among them.",
            width=8,
            stacked=True,
        ),
        lines(
            "Unknown numbers by reason",
            "short",
            ("sum by (model, reason) (monitor_unknown_signals)", "{{model}}: {{reason}}"),
            says="Too few rows and labels that are still to come are usual; failed is not.",
            width=8,
            stacked=True,
        ),
        lines(
            "Predictions of the newest hour",
            "short",
            ("sum by (model) (monitor_served_rows)", "{{model}}"),
            says="Rows of the log that were judged.",
        ),
        lines(
            "Columns without series",
            "short",
            ("sum by (model) (monitor_features_not_exported)", "{{model}}"),
            says="Of more than 200 columns only the worst are shown anywhere in Grafana.",
        ),
    ]


def acting() -> list[AnyPanel]:
    """Return what came of it."""
    return [
        lines(
            "Open incidents",
            "short",
            ("sum by (model, severity) (incidents_open)", "{{model}}: {{severity}}"),
            says="By model and severity.",
            stacked=True,
        ),
        listed(
            "Age of open incidents",
            "s",
            "sort_desc(time() - max by (model, severity, incident) (incident_opened_timestamp_seconds))",
            says="`monitoring-pipeline incident ID` shows one of them.",
            width=12,
            height=8,
        ),
        lines(
            "Retraining: decisions",
            "short",
            (
                "sum by (model, outcome) (increase(retraining_decisions_total[$__rate_interval]))",
                "{{model}}: {{outcome}}",
            ),
            says="Hours in which it was decided whether to retrain: fired, or why not.",
        ),
        lines(
            "Retraining: episodes",
            "short",
            ("sum by (model, status) (retraining_episodes > 0)", "{{model}}: {{status}}"),
            says="Retrainings and rollbacks by where they stand.",
        ),
        listed(
            "Versions in charge",
            "short",
            "max by (model, alias, version) (registry_alias_info)",
            says="Where the aliases point to.",
            width=12,
            height=8,
        ),
        lines(
            "Health of services",
            "short",
            ("max by (service) (service_level)", "{{service}}"),
            says="0 well, 1 a warning, 2 critical, by the pipeline's own health checks.",
        ),
    ]


def telling() -> list[AnyPanel]:
    """Return whether alerts and predictions get to where they belong."""
    return [
        lines(
            "Alerts that fire",
            "short",
            ('count by (alertname, severity) (ALERTS{alertstate="firing"})', "{{alertname}} ({{severity}})"),
            says="The Watchdog has to be among them: it proves that alerts are evaluated.",
            stacked=True,
        ),
        lines(
            "Messages of Alertmanager",
            "short",
            ("sum by (integration) (increase(alertmanager_notifications_total[1h]))", "{{integration}}"),
            ("sum by (integration) (increase(alertmanager_notifications_failed_total[1h]))", "{{integration}} failed"),
            says="Sent in the last hour, by channel; what fails is tried again.",
        ),
        lines(
            "Messages not sent",
            "short",
            ("max by (status) (outbox_messages)", "{{status}}"),
            says="Pending ones are tried again; dead ones were given up: `monitoring-pipeline outbox` says why.",
        ),
        lines(
            "Predictions on their way to the log",
            "short",
            ("sum by (model) (recorder_queue_rows)", "{{model}}"),
            says="What waits in the memory of the scoring service: a second's worth is usual.",
        ),
        lines(
            "Predictions that are not logged",
            "short",
            (
                'sum by (model, outcome) (increase(recorder_records_total{outcome=~"dropped|lost"}[1h]))',
                "{{model}}: {{outcome}}",
            ),
            says="Refused by a full queue, or lost with a process, in the last hour.",
        ),
    ]


def machine() -> list[AnyPanel]:
    """Return what it all runs on."""
    return [
        lines(
            "Time to scrape",
            "s",
            ("max by (job, instance) (scrape_duration_seconds)", "{{job}} {{instance}}"),
            says="The exporter reads a model again only when it has a new hour.",
        ),
        lines(
            "Series scraped",
            "short",
            ("max by (job, instance) (scrape_samples_scraped)", "{{job}} {{instance}}"),
            says="What Prometheus has to keep of each.",
        ),
        host(),
        lines(
            "Network of the host",
            "Bps",
            ("rate(host_network_received_bytes_total[$__rate_interval])", "received"),
            ("rate(host_network_sent_bytes_total[$__rate_interval])", "sent"),
            says="All interfaces together.",
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
