"""A health page for tests: a model that was fine, broke on the 22nd, and has an incident, a promotion and drift.

Add what two tests of the page need. Keep expectations out: they belong in the tests.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring_pipeline.judge.status import Status
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.publish.health_page import (
    Bin,
    Change,
    Course,
    HealthPage,
    Point,
    Promise,
    Row,
    Served,
    Trouble,
)
from monitoring_pipeline_tests.verdicts import signal, verdict

START = datetime(2013, 4, 11, tzinfo=UTC)
BROKE = datetime(2013, 4, 22, 1, tzinfo=UTC)
NOW = datetime(2013, 5, 6, 0, 15, tzinfo=UTC)
DAY = timedelta(days=1)
CRITICAL = Status(Level.CRITICAL, BROKE, "rule performance_drop: it fires", NOW - DAY / 24, is_stale=False)


def days(count: int) -> tuple[datetime, ...]:
    return tuple(START + number * DAY for number in range(1, count + 1))


def row(name: str, levels: list[Level | None], *, bins: int = 12) -> Row:
    """Return a line of the heat map with a level for each day."""
    shares = tuple(Bin(f"[{10 * place}, {10 * place + 10})", 1 / bins, (place + 1) / 100) for place in range(bins))
    cells = tuple(None if level is None else verdict(level, column=name, threshold=0.3) for level in levels)
    return Row(name, cells, shares, (25_000, 877))


def health_page(*, columns: int = 4, length: int = 25, **more: Any) -> HealthPage:
    """Return a page of `length` days; `more` replaces what is on it."""
    ends = days(length)
    quiet: list[Level | None] = [Level.OK] * length
    broken = {"temp": [*quiet[:-2], Level.WARNING, Level.CRITICAL], "dewp": [None, Level.UNKNOWN, *quiet[2:]]}
    rows = [row(name, levels) for name, levels in broken.items()]
    rows += [row(f"column_{number}", quiet) for number in range(columns - len(rows))]
    failed = signal("quality.null_rate", 0.2, column="temp")
    check = Verdict(failed, Level.WARNING, 0.05, "limit", "0.2 is above 0.05")
    points = tuple(_point(at) for at in ends)
    standing = Trouble(
        *(2, BROKE, None, Level.CRITICAL, 1, ("performance_drop",), "log loss over 24h rose to 0.655"),
        *("concept drift (85% sure)", "Retrain.", "https://runbooks.example/low-accuracy", "ada"),
    )
    page = HealthPage(
        "flight_delays",
        NOW,
        CRITICAL,
        because="ROC AUC over 7d fell to 0.616, limit 0.637, baseline 0.671",
        description="Arrival delays",
        owners=("team:flights",),
        start=START,
        days=ends,
        window="24h",
        drifting="24h",
        courses=(Course("performance.roc_auc", "24h", points),),
        measured=(Verdict(signal("performance.f1", None), Level.UNKNOWN, None, "none", "no labels"), check),
        features=tuple(rows),
        quality=(Row("quality null rate", tuple([check] * length), worst=(check,)),),
        leading=standing,
        troubles=(
            standing,
            Trouble(
                *(1, START + DAY, START + 3 * DAY, Level.WARNING, 2, ("feature_drift",), "drift PSI of temp rose to 4"),
                *("", "", "docs/runbooks/feature-drift.md", ""),
            ),
        ),
        changes=(
            Change(START + 14 * DAY, "promoted", "1", "3", "roc_auc 0.618 -> 0.660"),
            Change(START + 7 * DAY, "rejected", "1", "2", "roc_auc gains -0.0247"),
        ),
        versions=(
            Served("1", START, START + 14 * DAY, 14_000, START - 30 * DAY),
            Served("3", START + 14 * DAY, NOW, 9_000, None),
        ),
        promises=(_promise("drift", 1.0), _promise("performance", -25.0)),
    )
    return replace(page, **more)


def _point(at: datetime) -> Point:
    level = Level.CRITICAL if at > BROKE else Level.OK
    value = None if at == START + 5 * DAY else 0.61 if level is Level.CRITICAL else 0.68
    seen = signal("performance.roc_auc", value, low=0.6, high=0.7, baseline_value=0.671)
    judged = Verdict(seen, level if value else Level.UNKNOWN, 0.637, "baseline", "made for a test")
    return Point(at, judged, signal("estimate.roc_auc", 0.67, low=0.64, high=0.7), 0.9)


def _promise(name: str, left: float) -> Promise:
    level = Level.OK if left > 0 else Level.WARNING
    place: dict[str, Any] = {"column": name, "window": "28d", "detail": {"target": 0.99}}
    budget = Verdict(signal("slo.budget_remaining", left, **place), level, 0.0, "objective", "made for a test")
    kept = Verdict(signal("slo.compliance", 0.75, **place), Level.OK, None, "none", "made for a test")
    rate = Verdict(signal("slo.burn_rate", 1.5, column=name, window="3d"), level, 1.0, "objective", "made for a test")
    return Promise(name, kept, budget, (rate,))
