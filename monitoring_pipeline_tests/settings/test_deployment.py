from pathlib import Path

import pytest

from monitoring_pipeline.errors import SettingsError, without_password
from monitoring_pipeline.settings.deployment import Deployment

ROOT = Path("/srv/project")


def test_an_empty_environment_keeps_everything_below_the_root() -> None:
    assert Deployment.from_environment({}, root=ROOT) == Deployment(
        state_directory=ROOT / ".monitoring",
        monitors_directory=ROOT / "monitors",
        tracking_uri="sqlite:////srv/project/.monitoring/mlflow.db",
        database_url="sqlite:////srv/project/.monitoring/monitoring.db",
        clock_file=None,
        sensor_seconds=30,
    )


def test_every_variable_is_heard() -> None:
    env = {
        "MONITORING_HOME": "/var/monitoring",
        "MONITORING_MONITORS": "config",
        "MONITORING_DATABASE_URL": "postgresql://db/monitoring",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "MONITORING_CLOCK": "clock.txt",
        "MONITORING_SENSOR_SECONDS": "5",
        "MONITORING_DATA": "s3://bucket/monitoring",
    }

    assert Deployment.from_environment(env, root=ROOT) == Deployment(
        state_directory=Path("/var/monitoring"),
        monitors_directory=ROOT / "config",
        tracking_uri="http://mlflow:5000",
        database_url="postgresql://db/monitoring",
        clock_file=ROOT / "clock.txt",
        sensor_seconds=5,
        data="s3://bucket/monitoring",
    )


def test_data_are_with_the_state_unless_a_folder_or_a_bucket_is_named() -> None:
    addresses = [
        Deployment.from_environment(env, root=ROOT).data_address
        for env in ({}, {"MONITORING_DATA": "elsewhere"}, {"MONITORING_DATA": "s3://bucket/monitoring"})
    ]
    assert addresses == ["/srv/project/.monitoring/data", "/srv/project/elsewhere", "s3://bucket/monitoring"]


def test_a_variable_set_to_nothing_is_not_set() -> None:
    empty = dict.fromkeys(("MONITORING_HOME", "MONITORING_CLOCK", "MONITORING_SENSOR_SECONDS"), "")

    assert Deployment.from_environment(empty, root=ROOT) == Deployment.from_environment({}, root=ROOT)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "1.5"])
def test_seconds_that_are_no_number_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="MONITORING_SENSOR_SECONDS"):
        Deployment.from_environment({"MONITORING_SENSOR_SECONDS": text}, root=ROOT)


def test_no_password_is_shown() -> None:
    env = {
        "MONITORING_DATABASE_URL": "postgresql://me:hunter2@db/monitoring",
        "MLFLOW_TRACKING_URI": "https://me:hunter3@mlflow",
    }

    shown = repr(Deployment.from_environment(env, root=ROOT))

    assert "hunter" not in shown
    assert "postgresql://me:***@db/monitoring" in shown


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:a@b:c@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql://:pw@db/x", "postgresql://:***@db/x"),
        (
            "postgresql://db:5432/x?user=me&password=pw&sslmode=require",
            "postgresql://db:5432/x?user=me&password=***&sslmode=require",
        ),
        ("postgresql://me@db:5432/x", "postgresql://me@db:5432/x"),
        ("sqlite:////srv/a.db", "sqlite:////srv/a.db"),
    ],
)
def test_an_address_keeps_all_but_its_password(address: str, shown: str) -> None:
    assert without_password(address) == shown
