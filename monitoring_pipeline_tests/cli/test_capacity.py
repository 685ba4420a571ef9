import json

from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["capacity", "--predictions-per-day", "100000", "--features", "40", *arguments])


def test_a_person_reads_what_is_needed_and_what_breaks_first() -> None:
    shown = run("--models", "100")
    assert shown.exit_code == 0, shown.output
    assert "event log" in shown.stdout
    limits = shown.stdout.partition("Limits, the nearest first:")[2].splitlines()
    assert limits[2].startswith("event log of a month")


def test_a_program_gets_the_same_as_numbers() -> None:
    found = json.loads(run("--format", "json").stdout)
    assert found["load"]["models"] == 1
    assert set(found["stored_gb"]) == {"hot", "warm", "cold"}
    shares = [limit["share"] for limit in found["limits"]]
    assert shares == sorted(shares, reverse=True)
    assert found["telemetry"]["daily"].keys() == {"metrics", "logs", "traces", "predictions"}


def test_a_model_without_features_is_refused() -> None:
    assert CliRunner().invoke(app, ["capacity", "--predictions-per-day", "1", "--features", "0"]).exit_code == 2
