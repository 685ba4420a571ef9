import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.traffic import log_rows

ROOT = Path(__file__).parents[1]
MONITORS = ROOT / "monitors"
ROWS = 1500


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def stored(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def normal(seed: int, shift: float = 0.0, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, rows)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A reference, and a current table in which `fast` drifted critically, `slow` to a warning, and `calm` did not."""
    return (
        stored(tmp_path / "reference.parquet", fast=normal(1), slow=normal(2), calm=normal(3)),
        stored(tmp_path / "current.parquet", fast=normal(4, 2.0), slow=normal(5, 0.4), calm=normal(6)),
    )


def refused(result: Result, *said: str) -> None:
    """Check that a command ended with a message for the user on stderr, and nothing else."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in said:
        assert part in result.stderr


def test_compare_prints_one_entry_per_column_as_json(files: tuple[Path, Path]) -> None:
    result = run("compare", *files, "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert [(entry["column"], entry["verdict"]) for entry in document["columns"]] == [
        ("fast", "critical"),
        ("slow", "warning"),
        ("calm", "ok"),
    ]
    assert set(document["columns"][0]) == {
        *("column", "kind", "n_reference", "n_current", "verdict", "metric", "value", "threshold", "threshold_origin"),
        *(
            "p_value",
            "q_value",
            "absence",
            "reason",
            "moved",
            "unseen",
            "null_rate_reference",
            "null_rate_current",
            "metrics",
        ),
    }
    summary = document["summary"]
    assert (summary["verdict"], summary["critical"], summary["warning"], summary["ok"]) == ("critical", 1, 1, 1)
    assert summary["drifted_share"] == pytest.approx(2 / 3)


def test_json_holds_no_number_that_json_does_not_have(tmp_path: Path) -> None:
    odd = {
        "inf": np.full(ROWS, np.inf),
        "nan": np.full(ROWS, np.nan),
        "huge": np.full(ROWS, 1e308),
        "none": pa.nulls(ROWS),
    }
    result = run(
        "compare", *(stored(tmp_path / f"{n}.parquet", **odd, x=normal(n)) for n in range(2)), "--format", "json"
    )

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    document = json.loads(result.stdout, parse_constant=refuse)
    assert [entry["verdict"] for entry in document["columns"]] == ["unknown"] * 4 + ["ok"]


def test_compare_tells_a_person_the_result_first_and_the_worst_column_before_the_others(
    files: tuple[Path, Path],
) -> None:
    result = run("compare", *files)
    assert result.stdout.startswith("2 of 3 columns drifted, 1 critically: fast, slow.\n")
    places = [result.stdout.rindex(f" {name} ") for name in ("fast", "slow", "calm")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("columns", "fail_on", "code"),
    [
        ("fast,calm", "critical", 1),
        ("fast", "warning", 1),
        ("slow", "warning", 1),
        ("slow,calm", "critical", 0),
        ("calm", "warning", 0),
    ],
)
def test_fail_on_exits_with_1_from_its_level_on(
    files: tuple[Path, Path], columns: str, fail_on: str, code: int
) -> None:
    assert run("compare", *files, "--columns", columns).exit_code == 0
    assert run("compare", *files, "--columns", columns, "--fail-on", fail_on).exit_code == code


def test_what_is_unknown_does_not_pass_in_silence(tmp_path: Path, files: tuple[Path, Path]) -> None:
    lacking = stored(tmp_path / "lacking.parquet", calm=normal(6))
    result = run("compare", files[0], lacking, "--fail-on", "warning", "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["summary"]["verdict"] == "unknown"
    assert "2 of 3 columns are not known" in result.stderr


def test_compare_takes_kinds_bins_and_the_rows_it_needs_from_its_options(tmp_path: Path) -> None:
    codes = np.arange(200) % 40
    tables = [stored(tmp_path / f"{n}.parquet", zip=codes, age=normal(n, rows=200)) for n in range(2)]
    options = ("--kinds", "zip=categorical", "--min-rows", "100", "--bins", "4", "--format", "json")
    place, age = json.loads(run("compare", *tables, *options).stdout)["columns"]
    assert (place["kind"], place["verdict"]) == ("categorical", "ok")
    assert [bin_["reference"] for bin_ in age["moved"]] == pytest.approx([0.25] * len(age["moved"]), abs=0.01)
    few = json.loads(run("compare", *tables, "--format", "json").stdout)["columns"]
    assert {entry["absence"] for entry in few} == {"too_few_rows"}


def test_a_name_that_looks_like_markup_or_moves_the_cursor_is_only_a_name(tmp_path: Path) -> None:
    hostile = {"[red]x[/red]": normal(1), "\x1b[2Jcleared": normal(2)}
    path = stored(tmp_path / "hostile.parquet", **hostile)
    result = run("compare", path, stored(tmp_path / "other.parquet", y=normal(3)))
    assert "[red]x[/red]" in result.stdout
    assert "\\x1b[2Jcleared" in result.stdout
    assert "\x1b" not in result.output
    assert "\x1b" not in run("compare", path, path, "--columns", "nope").stderr


def test_what_is_wrong_with_the_input_of_compare_is_said_without_a_traceback(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    text = tmp_path / "text.parquet"
    text.write_text("not a table")
    refused(run("compare", tmp_path / "none.parquet", files[1]), "none.parquet: no such file")
    refused(run("compare", files[0], text), "text.parquet: not a readable Parquet file")
    refused(run("compare", files[0], tmp_path), "not a readable Parquet file")
    refused(run("compare", *files, "--columns", "fats"), "neither table has 'fats'; there are 'fast', 'slow', 'calm'")
    refused(run("compare", *files, "--kinds", "fast=wide"), "'fast=wide'", "numeric, categorical, boolean, datetime")
    refused(run("compare", *files, "--kinds", "fast"), "<column>=<kind>")
    refused(run("compare", *files, "--time", "at"), "'at' not found")
    refused(run("compare", *files, "--min-rows", "0"), "--min-rows")


@pytest.mark.parametrize("options", [[], ["--time", "at"]])
def test_comparing_files_loads_no_orchestrator_registry_or_data_frames(tmp_path: Path, options: list[str]) -> None:
    kinds = {"n": normal(1), "i": np.arange(ROWS), "b": normal(1) > 0, "s": ["a", "b", "c"] * (ROWS // 3)}
    at = pa.array(np.arange(ROWS) * 3_600_000_000, pa.timestamp("us"))
    file = str(stored(tmp_path / "file.parquet", **kinds, at=at, holes=[None, 1.5, 2.5] * (ROWS // 3)))
    code = (
        "import sys\n"
        "from monitoring_pipeline.cli import app\n"
        f"app({['compare', file, file, *options]!r}, standalone_mode=False)\n"
        "heavy = {'dagster', 'mlflow', 'pandas', 'sklearn', 'sqlalchemy', 'evidently', 'skops', 'scipy.stats'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stderr == "\n"
    parts = 2  # of the time; its age is counted from a time of the row's own, and with --time it is that itself
    assert f"No drift: all {5 + parts} columns" in ended.stdout


def test_the_week_the_warm_weather_came_differs_from_march_in_temperature(tmp_path: Path) -> None:
    flights = pq.read_table(ROOT / "examples" / "flight_delays" / "data" / "flights.parquet")
    days = np.asarray(flights["scheduled_departure"].cast("date32").cast("int32")) - 15765  # from 1 March 2013 on
    march, week = (
        flights.filter(pa.array((days >= 0) & (days < 31))),
        flights.filter(pa.array((days >= 59) & (days < 66))),
    )
    paths = [tmp_path / "march.parquet", tmp_path / "week.parquet"]
    for path, rows in zip(paths, (march, week), strict=True):
        pq.write_table(rows, path)
    options = ("--columns", "temp,humid,carrier,distance,minute_of_day", "--format", "json")
    textbook = json.loads(run("compare", *paths, *options).stdout)["columns"]
    assert {entry["column"]: entry["verdict"] for entry in textbook}["humid"] == "critical"
    # Four weeks of reference say little about a fifth: at one wrong comparison in twenty even this spring is not sure.
    generous = ("--time", "scheduled_departure", "--alpha", "0.5")
    calibrated = json.loads(run("compare", *paths, *options, *generous).stdout)["columns"]
    assert [entry["column"] for entry in calibrated if entry["verdict"] != "ok"] == ["temp"]
    assert calibrated[0]["threshold_origin"] == "calibrated"


def test_check_config_lists_what_the_monitors_amount_to() -> None:
    result = run("check-config", MONITORS)
    assert result.exit_code == 0, result.output
    assert "flight_delays (" in result.stdout
    assert "15 features, windows 1h, 24h, 7d" in result.stdout
    assert "rule performance_drop: critical after" in result.stdout
    assert "retraining when 2 of 4 hold (performance, drift, age, new_labels)" in result.stdout
    assert "critical: console" in result.stdout


def test_check_config_looks_into_the_deployments_folder_when_no_path_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_MONITORS", str(MONITORS))
    assert run("check-config").stdout == run("check-config", MONITORS).stdout
    monkeypatch.setenv("MONITORING_MONITORS", str(MONITORS / "none"))
    refused(run("check-config"), "none: monitors: is not a directory.", "MONITORING_MONITORS")
    refused(run("check-config", MONITORS / "none"), "none: the file: cannot be read")


def test_check_config_names_every_problem_of_every_file_with_its_line(tmp_path: Path) -> None:
    good = (MONITORS / "flight_delays.yaml").read_text()
    one = tmp_path / "one.yaml"
    one.write_text(
        good.replace("windows: [1h, 24h, 7d]", "windows: [1 fortnight]").replace("score_bins: 20", "scroe_bins: 20")
    )
    other = tmp_path / "other.yaml"
    other.write_text("model: other\n")
    result = run("check-config", one, other)
    lines = one.read_text().splitlines()
    at = {key: next(n for n, line in enumerate(lines, 1) if key in line) for key in ("fortnight", "scroe_bins")}
    refused(
        result,
        f"{one}:{at['fortnight']}: windows",
        f"{one}:{at['scroe_bins']}: drift.scroe_bins",
        f"{other}:1: features",
    )
    assert len(result.stderr.splitlines()) >= 4


def test_a_file_named_twice_is_one_file_and_a_model_monitored_twice_is_a_problem(tmp_path: Path) -> None:
    path = MONITORS / "flight_delays.yaml"
    assert run("check-config", path, path).exit_code == 0
    copy = tmp_path / "copy.yaml"
    copy.write_text(path.read_text())
    refused(run("check-config", path, copy), "copy.yaml", "already monitored by flight_delays.yaml")
    refused(run("check-config", tmp_path / "none.yaml"), "none.yaml: the file: cannot be read")


def test_migrate_brings_the_state_database_up_to_date_however_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_DATABASE_URL", f"sqlite:///{tmp_path}/deep/state.db")
    first, second = run("migrate"), run("migrate")
    assert first.exit_code == second.exit_code == 0, first.output
    assert first.stdout == second.stdout
    assert "state.db is at 0" in first.stdout


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:////proc/none/state.db",
        "oracle+none://user:hunter2@host/x",
        "postgresql://user:hunter2@127.0.0.1:1/x",
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_DATABASE_URL", url)
    result = run("migrate")
    refused(result)
    assert result.stderr
    assert "hunter2" not in result.stderr


def test_the_demo_outside_a_clone_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run("demo"), "Run it in a clone of the repository")


def test_the_demo_refuses_a_step_that_is_no_length_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    refused(run("demo", "--step", "soon"), "--step: 'soon' is not a window length")


def test_what_is_wrong_with_the_input_of_evaluate_is_said_without_a_traceback(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.parquet" for name in ("reference", "predictions", "labels")}
    rows = log_rows(50, seed=1)
    pq.write_table(rows, paths["reference"])
    pq.write_table(rows, paths["predictions"])
    pq.write_table(pa.table({"prediction_id": ["a"]}), paths["labels"])
    monitor = tmp_path / "churn.yaml"
    monitor.write_text("model: churn\nstart: 2026-11-20T00:00Z\nfeatures: {numeric: [tenure], categorical: [plan]}\n")

    def evaluated(output: Path = tmp_path / "out", **other: Path) -> Result:
        given = {"monitor": monitor, "reference": paths["reference"], "predictions": paths["predictions"], **other}
        return run("evaluate", *(f"--{name}={path}" for name, path in given.items()), "--output", output)

    assert evaluated().exit_code == 0
    pq.write_table(rows.slice(0, 0), tmp_path / "empty.parquet")
    pq.write_table(rows.drop_columns(["score"]), tmp_path / "scoreless.parquet")
    pq.write_table(rows.drop_columns(["plan"]), tmp_path / "planless.parquet")
    nowhere = pa.array(["2001-01-01T00:00:00Z"] * 25 + ["2026-11-20T00:00:00Z"] * 25)
    pq.write_table(rows.set_column(1, "predicted_at", nowhere), tmp_path / "spread.parquet")
    refused(evaluated(predictions=tmp_path / "empty.parquet"), "predictions: no rows")
    refused(evaluated(predictions=tmp_path / "scoreless.parquet"), "predictions: column(s) 'score' not found")
    refused(
        evaluated(predictions=tmp_path / "spread.parquet"), "predictions: they span", "from 2001-01-01T00:00:00+00:00"
    )
    refused(evaluated(reference=tmp_path / "planless.parquet"), "reference: column(s) 'plan' not found")
    refused(evaluated(reference=tmp_path / "empty.parquet"), "reference rows of churn", "no rows")
    refused(evaluated(labels=paths["labels"]), "labels: column(s) 'actual', 'labelled_at' not found")
    refused(evaluated(monitor=tmp_path / "none.yaml"), "none.yaml: the file: cannot be read")
    refused(evaluated(output=monitor / "out"), "cannot be written")


def test_without_a_command_the_commands_are_listed() -> None:
    shown = run().output
    assert all(name in shown for name in ("demo", "check-config", "migrate", "compare", "evaluate", "telemetry"))


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (["--step", "12h"], "flight_delays here 12:00:00\n"),
        (["--monitor", "bike_demand"], "bike_demand here None\n"),
    ],
)
def test_the_demo_of_the_clone_it_runs_in_gets_its_options(tmp_path: Path, options: list[str], printed: str) -> None:
    for name in ("flight_delays", "bike_demand"):
        folder = tmp_path / "examples" / name
        folder.mkdir(parents=True)
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
        (folder / "demo.py").write_text(f"def run_demo(home, *, step=None):\n    print({name!r}, home.name, step)\n")
    command = [sys.executable, "-m", "monitoring_pipeline.cli", "demo", "--home", "here", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, printed, "")


def test_a_demo_there_is_not_is_answered_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    refused(run("demo", "--monitor", "trains"), "no 'trains', it has bike_demand, flight_delays")


def test_telemetry_says_what_a_day_of_it_weighs() -> None:
    # 100 requests a second: 100 * 500 B of logs, 100 * 0.001 * 2 kB of traces, 100 * 0.01 * 4 kB of predictions.
    result = run("telemetry", "--requests", "100", "--series", "15000")
    assert result.exit_code == 0
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert shown["metrics"] == "0.691 GB a day"
    assert shown["logs"] == "4.320 GB a day"
    assert shown["traces"] == "0.017 GB a day"
    assert shown["predictions"] == "0.346 GB a day"
    assert shown["hot"] == "37.6 GB kept, until an age of 7 days"


def answer(*arguments: object, code: int = 0) -> Any:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_programs_are_told_of_every_problem_in_the_settings_or_what_they_say(tmp_path: Path) -> None:
    found = answer("check-config", MONITORS / "flight_delays.yaml")
    (monitor,) = found["monitors"]
    assert (monitor["model"], monitor["features"], found["problems"]) == ("flight_delays", 15, [])
    assert {"performance_drop"} <= set(monitor["rules"])
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("model: churn\nstart: soon\nfeatures: {numeric: [x]}\n")
    (problem,) = answer("check-config", wrong, code=2)["problems"]
    assert (problem["file"], problem["line"], problem["where"]) == (str(wrong), 2, "start")
    assert problem["fix"]


def test_programs_get_numbers_where_people_get_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_DATABASE_URL", f"sqlite:///{tmp_path}/state.db")
    assert answer("migrate")["database"] == f"sqlite:///{tmp_path}/state.db"
    assert answer("telemetry", "--requests", "100", "--series", "15000")["gb_a_day"]["metrics"] == pytest.approx(0.6912)
    rows = stored(tmp_path / "rows.parquet", x=normal(1), tags=[[1]] * ROWS)
    described = answer("describe", rows, "--output", tmp_path / "rows.json")
    assert (described["rows"], described["columns"], list(described["left_out"])) == (ROWS, ["x"], ["tags"])


def test_programs_are_told_which_rules_fired_in_an_evaluation(tmp_path: Path) -> None:
    pq.write_table(log_rows(50, seed=1), tmp_path / "rows.parquet")
    monitor = tmp_path / "churn.yaml"
    rule = "rules: [{name: any, condition: {metric: drift.psi, window: 1h, above: -1}}]\ndrift: {min_rows: 10}\n"
    monitor.write_text(f"model: churn\nstart: 2026-11-20T00:00Z\nfeatures: {{numeric: [tenure]}}\n{rule}")
    files = dict.fromkeys(("reference", "predictions"), tmp_path / "rows.parquet")
    given = [f"--{name}={path}" for name, path in {"monitor": monitor, **files, "output": tmp_path / "out"}.items()]
    found = answer("evaluate", *given)
    assert (found["predictions"], found["labelled"], found["first_hour"]) == (50, None, "2026-11-20T00:00:00+00:00")
    (fired,) = found["rules_fired"]
    assert (fired["rule"], fired["severity"], fired["hours"]) == ("any", "warning", 1)
    assert sum(found["verdicts"].values()) > 0
    assert all(Path(path).exists() for path in found["written"])
