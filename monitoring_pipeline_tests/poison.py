"""Bad values, the roles of columns they are put into, and logs of all tasks to put them into.

Add a bad value to `VALUES`, or a role to `ROLES` with what depends on it. Keep expectations of single metrics out: they
belong in the tests of that metric.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline_tests.traffic import START

AN_HOUR, REPEATED = 60, range(10, 22)
CLASSES = ("a", "b", "c")


@cache
def monitor(task: Task) -> Monitor:
    """Return a monitor with every report and every role a log of this task can have."""
    columns: dict[str, Any] = {
        "status": "status",
        "served_by": "served_by",
        "batch_rows": "batch_rows",
        "entity": "entity",
        "latency_ms": {"total": "total_ms", "model": "model_ms"},
    }
    if task is Task.MULTICLASS:
        columns |= {"score": None, "probabilities": {name: f"p_{name}" for name in CLASSES}}
    elif task is Task.REGRESSION:
        columns |= {"score": None, "lower": "lower", "upper": "upper"}
    elif task is Task.RANKING:
        columns |= {"prediction": None, "request": "request", "item": "item"}
    document = {
        "model": "poisoned",
        "task": task.value,
        "start": START.isoformat(),
        "features": {
            "numeric": ["amount", "visits"],
            "categorical": ["plan", "region"],
            "boolean": ["vip"],
            "datetime": ["joined"],
        },
        "columns": columns,
        "windows": ["1h"],
        "segments": {"columns": ["plan", "region"]},
        "drift": {"min_rows": 20, "metrics": ["psi", "ks"]},
        "performance": {"min_rows": 10, "segment_metrics": []},
        "concept": {"min_hours": 1, "history": "24h"},
        "labels": {"min_rows": 20, "maturity": "1h"},
        "quality": {"min_rows": 20},
        "operations": {"max_batch_rows": 32, "min_rows": 5},
        "business": {
            "spent": {"formula": "sum(where(actual == 1, amount, 0))"},
            "plus_share": {"formula": "count(plan == 'plus') / count()"},
        },
        "freshness": {
            "sources": [
                {"name": "orders", "column": "orders_at", "max_age": "1h"},
                {"name": "views", "column": "views_at", "max_age": "6h"},
            ]
        },
    }
    if task in (Task.BINARY, Task.MULTICLASS):
        document["fairness"] = {"attributes": ["sex", "age"], "min_rows": 10}
    return parse_monitor(document)


@cache
def served(task: Task, *, hours: int = 2, seed: int = 1) -> pa.Table:
    """Return healthy predictions with every column of the monitor, `AN_HOUR` each hour, and what came true."""
    rng, rows = np.random.default_rng(seed), hours * AN_HOUR
    times = [START + timedelta(minutes=number + 0.5) for number in range(rows)]
    amount, visits = rng.gamma(2.0, 12.0, rows), rng.poisson(6, rows)
    logit = (amount - 24) / 12 + (visits - 6) / 3
    score = 1 / (1 + np.exp(-logit))
    columns: dict[str, Any] = {
        "prediction_id": [f"{seed}-{number}" for number in range(rows)],
        "predicted_at": times,
        "model_version": ["1"] * rows,
        "amount": amount,
        "visits": visits,
        "plan": rng.choice(["basic", "plus"], rows, p=[0.7, 0.3]).tolist(),
        "region": rng.choice(["north", "south"], rows).tolist(),
        "vip": rng.random(rows) < 0.3,
        "joined": [at - timedelta(days=float(days)) for at, days in zip(times, rng.gamma(2, 60, rows), strict=True)],
        "sex": rng.choice(["f", "m"], rows).tolist(),
        "age": rng.choice(["old", "young"], rows).tolist(),
        "entity": [f"customer {number % 50}" for number in range(rows)],
        "status": rng.choice(["ok", "timeout"], rows, p=[0.9, 0.1]).tolist(),
        "served_by": rng.choice(["champion", "rules"], rows, p=[0.9, 0.1]).tolist(),
        "batch_rows": rng.integers(1, 16, rows),
        "total_ms": rng.gamma(4, 10, rows),
        "model_ms": rng.gamma(4, 5, rows),
        "orders_at": [at - timedelta(minutes=float(age)) for at, age in zip(times, rng.gamma(4, 9, rows), strict=True)],
        "views_at": [at - timedelta(hours=float(age)) for at, age in zip(times, rng.gamma(4, 1, rows), strict=True)],
    }
    if task is Task.BINARY:
        columns |= {"score": score, "prediction": (score > 0.5).astype(np.int64)}
        columns["actual"] = (rng.random(rows) < score).astype(np.int64)
    elif task is Task.MULTICLASS:
        each = np.stack([score, np.full(rows, 0.3), 1 - score], axis=-1)
        each /= each.sum(axis=-1, keepdims=True)
        columns |= {f"p_{name}": each[:, place] for place, name in enumerate(CLASSES)}
        columns["prediction"] = [CLASSES[place] for place in each.argmax(axis=-1)]
        columns["actual"] = [CLASSES[rng.choice(3, p=shares)] for shares in each]
    elif task is Task.REGRESSION:
        columns |= {"prediction": 10 * score, "lower": 10 * score - 4, "upper": 10 * score + 4}
        columns["actual"] = 10 * score + rng.normal(0, 1 + score, rows)
    else:
        columns |= {"score": score, "item": rng.permutation(rows).astype(str).tolist()}
        columns["request"] = [f"request {number // 3}" for number in range(rows)]
        columns["actual"] = (rng.random(rows) < score).astype(np.int64)
    return pa.table(columns)


@cache
def logged(task: Task) -> pa.Table:
    """Return what is logged of them: some rows come twice, so that telling them apart meets the poison too."""
    rows = served(task).drop_columns(["actual"])
    return pa.concat_tables([rows, rows.slice(REPEATED.start, len(REPEATED))])


@cache
def labels(task: Task) -> pa.Table:
    """Return the labels, some of them reported twice."""
    rows = served(task)
    known = [at + timedelta(minutes=5 + place % 40) for place, at in enumerate(rows["predicted_at"].to_pylist())]
    given = pa.table({"prediction_id": rows["prediction_id"], "actual": rows["actual"], "labelled_at": pa.array(known)})
    return pa.concat_tables([given, given.slice(REPEATED.start, len(REPEATED))])


@cache
def reference(task: Task) -> Reference:
    rows = served(task, hours=50, seed=2)
    found = table_reference(monitor(task), rows, version="1", computed_at=START)
    return replace(found, signature={"amount": "double", "visits": "long", "plan": "string", "vip": "boolean"})


def put(column: pa.ChunkedArray, places: Sequence[int], bad: Any) -> pa.Array:
    """Return a column with a bad value in some places; it keeps its type where that holds the value.

    Numbers and booleans become floats where that holds it, and anything else text. In a time a number counts as its
    microseconds.
    """
    values, hurt = column.to_pylist(), set(places)
    replaced = [bad if place in hurt else value for place, value in enumerate(values)]
    if bad is None or (isinstance(bad, str) and pa.types.is_string(column.type)):
        return pa.array(replaced, column.type)
    if pa.types.is_timestamp(column.type) and (isinstance(bad, datetime) or (isinstance(bad, int) and bad < 2**63)):
        micros = column.cast(pa.int64()).to_pylist()
        moment = round(bad.timestamp()) * 1_000_000 if isinstance(bad, datetime) else bad
        replaced = [moment if place in hurt else value for place, value in enumerate(micros)]
        return pa.array(replaced, pa.int64()).cast(column.type)
    if isinstance(bad, (int, float)) and not (pa.types.is_string(column.type) or pa.types.is_timestamp(column.type)):
        return pa.array([float(value) for value in replaced])
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in replaced]
    if isinstance(bad, bytes):
        return pa.array([text if isinstance(text, bytes) else str(text).encode() for text in texts])
    return pa.array([str(text) for text in texts])


VALUES: Mapping[str, Any] = {
    "null": None,
    "NaN": float("nan"),
    "infinite": float("inf"),
    "minus infinite": float("-inf"),
    "1e308": 1e308,
    "10**30": 10**30,
    "minus one": -1,
    "milliseconds": 1_795_000_000_000_000_000,
    "empty text": "",
    "text": "n/a?",
    "control characters": "\x00\n\u2028\N{PILE OF POO}",
    "a megabyte": "x" * 1_000_000,
    "bytes": b"\xff\xfe",
    "year 1": datetime(1, 1, 1, tzinfo=UTC),
    "year 9999": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
}
"""What a producer may log in any row of any column."""

TYPES: Mapping[str, Callable[[int], pa.Array]] = {
    "nothing": pa.nulls,
    "lists": lambda rows: pa.array([[1], [], None, [2, 3]] * (rows // 4)),
    "records": lambda rows: pa.array([{"a": 1, "b": None}] * rows),
    "durations": lambda rows: pa.array([timedelta(1)] * rows),
    "times": lambda rows: pa.array([datetime(1900, 1, 1, tzinfo=UTC), None] * (rows // 2)),
    "dates": lambda rows: pa.array([date(1, 1, 1), date(9999, 12, 31)] * (rows // 2)),
    "decimals": lambda rows: pa.array([Decimal("1e-30"), Decimal("99999999")] * (rows // 2)),
    "whole numbers": lambda rows: pa.array([2**62, -(2**63), 0, 1] * (rows // 4)),
    "booleans": lambda rows: pa.array([True, False, None, True] * (rows // 4)),
    "codes of text": lambda rows: pa.array(["1", "x"] * (rows // 2)).dictionary_encode(),
    "long codes": lambda rows: pa.array([None, "x" * 10_000] * (rows // 2), pa.large_string()).dictionary_encode(),
    "mixed text": lambda rows: pa.array(["?", "1_0", "0.5", "2026-13-45"] * (rows // 4)),
    "a text a row": lambda rows: pa.array([f"new {number}" for number in range(rows)]),
    "half precision": lambda rows: pa.array(np.arange(rows, dtype=np.float16)),
}
"""What a whole column may turn into."""

NO_NUMBERS = frozenset({"nothing", "lists", "records", "durations", "times", "dates"})
"""Types no number can be read from."""

Test = Callable[[Signal], bool]


def anything(value: Any) -> bool:
    return value is not None


@dataclass(frozen=True)
class Role:
    """What a column is for, and what follows from that.

    describes: signals that are about the column itself. uses: other signals that its values enter. means: whether a
    value says something in this role; one that does not must cost no more than what `lost` says: itself, or the row.
    of_task: whether every task reads the column in a way of its own.
    """

    column: str
    describes: Test
    uses: Test = lambda _: False
    means: Callable[[Any], bool] = anything
    lost: str = "value"
    table: str = "log"
    of_task: bool = False


def meaningless(role: Role, name: str) -> bool:
    """Return whether a bad value, or a type, says nothing in a role."""
    if name in TYPES:
        return name in (NO_NUMBERS if role.means is not anything else {"nothing"})
    return not role.means(VALUES[name])


def of(*metrics: str, column: str = "*") -> Test:
    """Return a test of a signal's metric and column, by patterns."""
    return lambda signal: (
        any(fnmatchcase(signal.metric, each) for each in metrics) and fnmatchcase(signal.column, column)
    )


def any_of(*tests: Test) -> Test:
    return lambda signal: any(test(signal) for test in tests)


def share(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def size(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= 1e30


def nothing(_: Any) -> bool:
    return False


def everything(_: Any) -> bool:
    return True


ROWS = of(*(f"quality.{name}_rate" for name in ("quarantined", "bad_type", "infinite", "oversized")))
FEATURE = any_of(ROWS, of("quality.duplicate_rows", "schema.*"))
PROBABILITY = any_of(ROWS, of("quality.out_of_bounds_rate"))
PLACED = any_of(of("quality.*_rate", "quality.duplicate_*", column=""), of("schema.*"))
CHARTS = of("concept.cusum", "concept.ewma", "concept.page_hinkley", "concept.adwin")
LABELS = of("labels.*", "performance.label_coverage")
TRUTH = any_of(
    of("performance.*", "concept.*", "estimate.error", "estimate.largest_error", "labels.*", "business.spent"),
    lambda signal: of("fairness.*")(signal) and not of("fairness.selection_rate*")(signal),
)


def column(name: str) -> Test:
    return lambda signal: signal.column == name or signal.column.startswith(f"{name}.")


def segment(name: str) -> Test:
    return lambda signal: signal.segment.startswith(f"{name}=")


def group(name: str) -> Test:
    return lambda signal: signal.metric.startswith("fairness.") and name in signal.column.split(" & ")


def fresh(name: str) -> Test:
    return any_of(of("freshness.*", column=name), of("freshness.requests_fresh_share"))


@cache
def roles(task: Task) -> list[Role]:
    """Return the roles of the columns of a task's log and labels."""
    estimates = of("estimate.*") if task is Task.REGRESSION else nothing
    common = [
        Role("amount", any_of(column("amount"), FEATURE), any_of(of("business.spent"), estimates)),
        Role("visits", any_of(column("visits"), FEATURE), estimates),
        Role("vip", any_of(column("vip"), FEATURE), estimates),
        Role("joined", any_of(column("joined"), FEATURE), estimates),
        Role("plan", any_of(column("plan"), FEATURE), any_of(segment("plan"), of("business.plus_share"), estimates)),
        Role("region", any_of(column("region"), FEATURE), any_of(segment("region"), estimates)),
        Role("entity", nothing),
        Role("status", of("operations.error_rate")),
        Role("served_by", of("operations.fallback_share")),
        Role("batch_rows", of("operations.batch_utilisation"), means=lambda each: size(each) and each >= 1),
        Role("total_ms", of("operations.latency_*", column="total"), means=lambda each: size(each) and each >= 0),
        Role("orders_at", fresh("orders")),
        Role("views_at", fresh("views")),
        Role("model_version", nothing, everything),
        Role("prediction_id", PLACED, everything, lost="row"),
        Role("predicted_at", PLACED, everything, nothing, lost="row"),
        Role("prediction_id", nothing, TRUTH, means=nothing, lost="row", table="labels"),
        Role("labelled_at", nothing, TRUTH, means=nothing, lost="row", table="labels"),
    ]
    common += [Role(name, group(name)) for name in monitor(task).fairness.attributes]
    # To a formula a label is whatever was reported, also where the task can do nothing with it.
    truth = Role("actual", any_of(LABELS, of("business.spent")), TRUTH, lost="row", table="labels")
    if task is Task.BINARY:
        scores = of(*(f"performance.{name}" for name in ("roc_auc", "average_precision", "log_loss", "brier")))
        scores = any_of(scores, of("performance.expected_calibration_error", "performance.mean_score"))
        scores = any_of(scores, of("concept.rate_gap", "estimate.*", "fairness.calibration_gap"))
        classes = of(*(f"performance.{name}" for name in ("accuracy", "precision", "recall", "f1")))
        unfair = lambda signal: of("fairness.*")(signal) and not of("fairness.calibration_gap")(signal)  # noqa: E731
        own = [
            Role("score", any_of(column("score"), PROBABILITY), scores, share),
            Role("prediction", column("prediction"), any_of(classes, CHARTS, of("estimate.*"), unfair), nothing),
            replace(truth, means=nothing),
        ]
    elif task is Task.MULTICLASS:
        scores = of(*(f"performance.{name}" for name in ("roc_auc*", "log_loss", "brier", "expected_*")), "estimate.*")
        classes = of(*(f"performance.{name}" for name in ("accuracy", "precision*", "recall*", "f1*", "positive_rate")))
        classes = any_of(classes, CHARTS, of("estimate.*", "fairness.*"))
        own = [
            Role("p_b", any_of(column("p_b"), PROBABILITY), scores, share),
            Role("prediction", column("prediction"), classes, nothing),
            replace(truth, means=nothing),
        ]
    elif task is Task.REGRESSION:
        covered = of("performance.interval_coverage")
        errors = any_of(of("performance.*", "estimate.*"), CHARTS)
        errors_only = lambda each: errors(each) and not any_of(covered, LABELS)(each)  # noqa: E731
        own = [
            Role("prediction", column("prediction"), errors_only, size),
            Role("lower", ROWS, covered, lambda each: isinstance(each, (int, float))),
            Role("upper", ROWS, covered, lambda each: isinstance(each, (int, float))),
            replace(truth, means=size),
        ]
    else:
        lists = any_of(of("performance.*"), CHARTS)
        own = [
            Role("score", any_of(column("score"), ROWS), lists, size),
            Role("request", nothing, lists),
            Role("item", nothing, lists),
            replace(truth, means=lambda each: size(each) and each >= 0),
        ]
    return [*common, *(replace(role, of_task=True) for role in own)]
