from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitoring_pipeline.cli import app

MONITOR = """
model: churn
start: 2026-04-01T00:00Z
features: {categorical: [plan]}
privacy: {hash: [customer_id], min_group: 20}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MONITORING_PII_KEY", raising=False)
    (tmp_path / "churn.yaml").write_text(MONITOR)
    return tmp_path / "churn.yaml"


def test_settings_without_the_key_they_need_are_wrong(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = CliRunner().invoke(app, ["check-config", str(file)])
    assert told.exit_code == 2
    assert "privacy of churn, MONITORING_PII_KEY: is not set" in told.output
    assert "MONITORING_PII_KEY_FILE" in told.output
    (file.parent / "key").write_text("k" * 43)
    monkeypatch.setenv("MONITORING_PII_KEY_FILE", str(file.parent / "key"))
    assert CliRunner().invoke(app, ["check-config", str(file)]).exit_code == 0


def test_a_service_without_the_key_does_not_start(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_HOME", str(file.parent))
    told = CliRunner().invoke(app, ["serve", "--monitor", str(file)])
    assert told.exit_code == 2
    assert "MONITORING_PII_KEY: is not set" in told.output
