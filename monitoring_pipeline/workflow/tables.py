"""Tables in the metadata of assets, as the Dagster UI shows them.

Add a table here when an asset's page shows rows. Keep what is in the rows out: stages measure and judge it. Not
Markdown: the UI folds away whatever is longer than a thousand characters of it, and a rule with its reason is.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.drift_types import DriftDiagnosis
from monitoring_pipeline.judge.rules import RuleOutcome, RuleState
from monitoring_pipeline.judge.verdicts import Verdict
from monitoring_pipeline.publish.charts import verdict_rows

Cell = str | int | float

ORDER = (RuleState.FIRING, RuleState.PENDING, RuleState.UNKNOWN, RuleState.QUIET)
"""Rules as a table lists them: what wants somebody comes first."""

SHOWN = 10
"""Rows of an hourly table: every one is kept in the event log for ever."""


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> dg.TableMetadataValue:
    """Return rows as a table; a column is its name, or `name:type` where it is no text."""
    names = [column.partition(":") for column in columns]
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kind or "string") for name, _, kind in names])
    # Dagster refuses rows that lack a cell of their table.
    records = [dg.TableRecord({name: row.get(name, "") for name, _, _ in names}) for row in rows]
    return dg.MetadataValue.table(records=records, schema=schema)


def distance_table(signals: Sequence[Signal]) -> dg.TableMetadataValue:
    """Return the columns that are furthest away over the longest window they are known in, with all their windows."""
    ordered = sorted(signals, key=lambda signal: (signal.length, signal.window))
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for signal in ordered:
        name = f"{signal.column} where {signal.segment}" if signal.segment else signal.column
        found.setdefault((name, signal.baseline, signal.version), {})[signal.window] = signal.value or 0.0
    furthest = sorted(found.items(), key=lambda each: (-list(each[1].values())[-1], each[0]))[:SHOWN]
    rows: list[dict[str, Cell]] = [
        {
            "column": name,
            "against": against,
            "version": version,
            **{window: f"{value:.4g}" for window, value in by_window.items()},
        }
        for (name, against, version), by_window in furthest
    ]
    return table(["column", *dict.fromkeys(signal.window for signal in ordered), "against", "version"], rows)


def revised_table(first: Sequence[Signal], now: Sequence[Signal]) -> dg.TableMetadataValue | None:
    """Return what labels that arrived later changed, furthest first; None where all is as it was first seen."""
    seen = {signal.key: signal.value for signal in first if signal.metric.startswith("performance.")}
    pairs = ((signal, seen.get(signal.key), signal.value) for signal in now)
    known = [(signal, old, new) for signal, old, new in pairs if old is not None and new is not None and old != new]
    rows: list[dict[str, Cell]] = [
        {
            "metric": f"{signal.metric} where {signal.segment}" if signal.segment else signal.metric,
            "window": signal.window,
            "first seen": f"{old:.4g}",
            "now": f"{new:.4g}",
        }
        for signal, old, new in sorted(known, key=lambda each: -abs(each[2] - each[1]))[:SHOWN]
    ]
    return table(["metric", "window", "first seen", "now"], rows) if rows else None


def verdict_table(verdicts: Sequence[Verdict]) -> dg.TableMetadataValue:
    """Return the worst of the verdicts with a threshold or, where none has one, why nothing is known."""
    rows = verdict_rows(with_threshold(verdicts) or verdicts, limit=SHOWN)
    return table(["level", "signal", "window", "value", "threshold", "distance"], rows)


def with_threshold(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts on values that were held against a threshold."""
    return [verdict for verdict in verdicts if verdict.threshold_origin != "none"]


def diagnosis_table(diagnoses: Sequence[DriftDiagnosis]) -> dg.TableMetadataValue:
    """Return what kind of drift there is, in which manner, since when, and why it is called that."""
    rows: list[dict[str, Cell]] = [
        {
            "kind": str(diagnosis.type),
            "manner": str(diagnosis.pattern),
            "since": f"{diagnosis.started_at:%Y-%m-%d %H:%MZ}" if diagnosis.started_at else "",
            "confidence": rounded(diagnosis.confidence),
            "why": "; ".join(diagnosis.evidence),
        }
        for diagnosis in diagnoses
    ]
    return table(["kind", "manner", "since", "confidence:float", "why"], rows)


def rule_table(rules: Sequence[RuleOutcome]) -> dg.TableMetadataValue:
    """Return the state of every rule and why, what wants somebody first."""
    rows = [
        {"rule": rule.rule, "state": str(rule.state), "severity": str(rule.severity), "why": rule.reason}
        for rule in sorted(rules, key=lambda rule: ORDER.index(rule.state))
    ]
    return table(["rule", "state", "severity", "why"], rows)


def rounded(value: float) -> float:
    """Return four digits of a number: what a person compares."""
    return float(f"{value:.4g}")
