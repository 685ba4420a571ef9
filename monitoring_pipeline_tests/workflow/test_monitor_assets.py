from pathlib import Path

from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.workflow.monitor_assets import model_link


def at(tracking_uri: str) -> Deployment:
    return Deployment(Path("home"), Path("monitors"), tracking_uri, "sqlite:///state.db")


def test_a_version_is_one_click_away_where_mlflow_has_a_server() -> None:
    link = model_link(at("https://mlflow.example/"), "flight delays", "3")
    assert link.value == "https://mlflow.example/#/models/flight%20delays/versions/3"


def test_without_a_server_the_command_that_shows_a_version_is_named() -> None:
    link = model_link(at("sqlite:///runs/mlflow.db"), "churn", "3")
    assert link.value == "models:/churn/3, shown by: mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"


def test_no_link_has_the_password_of_the_tracking_server() -> None:
    assert "secret" not in str(model_link(at("https://ana:secret@mlflow.example"), "churn", "3").value)
