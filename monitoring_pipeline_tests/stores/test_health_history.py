from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.evaluate.service_health import SLOT, CanaryRecord, KnownOutput
from monitoring_pipeline.judge.service_health import Checked
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.stores.health_history import CHECKS_KEPT, HealthHistory, read_health, write_health

AT = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)


def test_what_is_remembered_is_read_back(tmp_path: Path) -> None:
    history = HealthHistory(
        {"api": (Checked(AT, Level.CRITICAL, "down"), Checked(AT + SLOT, Level.OK, "well"))},
        {
            "api/usual": CanaryRecord(0.75, (KnownOutput("1", 0.75, AT), KnownOutput("2", 0.4, AT + SLOT))),
            "api/label": CanaryRecord("stay", (KnownOutput("1", "stay", AT),)),
            "api/flag": CanaryRecord(True),
        },
    )
    write_health(tmp_path / "new" / "health.json", history)
    assert read_health(tmp_path / "new" / "health.json") == history


def test_where_nothing_is_remembered_there_is_nothing(tmp_path: Path) -> None:
    assert read_health(tmp_path / "health.json") == HealthHistory()


def test_half_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    path.write_text('{"checks": {')
    with pytest.raises(StoreError, match=r"health\.json: not readable JSON"):
        read_health(path)


def test_an_hour_of_checks_is_kept_and_the_same_five_minutes_replaced() -> None:
    history = HealthHistory()
    for step in range(3 * CHECKS_KEPT):
        check = Checked(AT + step * SLOT, Level.OK, "well")
        history = HealthHistory({"api": history.with_check("api", check)})
    assert len(history.checks["api"]) == CHECKS_KEPT
    again = history.with_check("api", Checked(check.slot, Level.WARNING, "slow"))
    assert again[:-1] == history.checks["api"][:-1]
    assert again[-1].level is Level.WARNING
