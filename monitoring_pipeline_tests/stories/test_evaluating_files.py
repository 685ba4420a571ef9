"""What `evaluate` writes for a log of thirty hours: an empty hour, a thin one, and a feature that drifts at the end."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.cli import app
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import TRAINING, Signal
from monitoring_pipeline.settings.load import load_monitor
from monitoring_pipeline.stores.evaluations import order
from monitoring_pipeline.stores.files import read_parquet
from monitoring_pipeline.stores.hourly import HourlyStore
from monitoring_pipeline.stores.parquet import ParquetLabelLog, ParquetPredictionLog
from monitoring_pipeline.stores.signal_tables import signals_of
from monitoring_pipeline.workflow.offline import table_reference
from monitoring_pipeline.workflow.stages import Stages
from monitoring_pipeline_tests.traffic import START, hour, log_rows

pytestmark = pytest.mark.slow

INTAKE = frozenset(
    f"quality.{name}"
    for name in (
        *("duplicate_ids", "duplicate_rows", "quarantined_rate", "out_of_bounds_rate", "bad_type_rate"),
        *("infinite_rate", "oversized_rate", "missing_id_rate", "missing_time_rate", "unreadable_time_rate"),
    )
)
"""What is said of rows as they were logged."""

HOURS, EMPTY, THIN, DRIFTS = 30, 7, 15, 24
NAMES = ("signals.parquet", "signals.json", "verdicts.json", "rules.json")
MONITOR = """
model: churn
start: 2026-11-20T00:00Z
features: {numeric: [tenure], categorical: [plan]}
windows: [1h, 6h]
labels: {max_delay: 1d}
segments: {columns: [plan], most: 2}
drift:
  min_rows: 30
  last_predictions: 100
  baselines:
    - {kind: trailing, weeks: 1}
    - {kind: period, start: 2026-11-20T00:00Z, end: 2026-11-20T06:00Z}
performance: {min_rows: 30, min_coverage: 0.5}
rules:
  - {name: feature_drift, for: 2, severity: warning, condition: {metric: drift.psi, window: 1h, level: critical}}
"""


@dataclass(frozen=True)
class Files:
    """The files of one evaluation, in a folder of their own."""

    folder: Path

    def evaluate(self, *more: str, output: str = "out") -> Path:
        """Run the command on whatever of its files is there; returns the folder it wrote."""
        given = {name: self.folder / f"{name}.parquet" for name in ("reference", "predictions", "labels")}
        options = [f"--{name}={path}" for name, path in given.items() if path.exists()]
        out = self.folder / output
        arguments = ["evaluate", f"--monitor={self.folder / 'churn.yaml'}", *options, f"--output={out}", *more]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return out

    def write(self, name: str, rows: pa.Table) -> "Files":
        pq.write_table(rows, self.folder / f"{name}.parquet")
        return self

    def read(self, name: str) -> pa.Table:
        return read_parquet(self.folder / f"{name}.parquet")


def predictions() -> pa.Table:
    parts = []
    for number in range(HOURS):
        rows = 0 if number == EMPTY else 9 if number == THIN else 40
        longer: dict[str, Any] = (
            {"tenure": np.random.default_rng(number).gamma(2.0, 60.0, rows)} if number >= DRIFTS else {}
        )
        parts.append(log_rows(rows, seed=number, at=number, **longer))
    return pa.concat_tables(parts, promote_options="permissive")


def labelled(rows: pa.Table, *, delay: timedelta = timedelta(hours=2)) -> pa.Table:
    """Return one label per row, right as often as the score says."""
    score = rows["score"].to_numpy()
    actual = (np.random.default_rng(99).random(len(score)) < score).astype(np.int64)
    known = pc.add(rows["predicted_at"], pa.scalar(delay))
    return pa.table({"prediction_id": rows["prediction_id"], "actual": pa.array(actual), "labelled_at": known})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    (folder / "churn.yaml").write_text(MONITOR)
    # Seven days before: rows of the same kind, with their outcomes.
    reference = log_rows(3000, seed=1000, at=-7 * 24, hours=24)
    reference = reference.append_column("actual", labelled(reference)["actual"])
    served = predictions()
    return Files(folder).write("reference", reference).write("predictions", served).write("labels", labelled(served))


@pytest.fixture(scope="module")
def written(files: Files) -> Path:
    # No rule that fires is critical.
    return files.evaluate("--fail-on", "critical")


@pytest.fixture(scope="module")
def morning(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The first twelve hours, for what is no other in thirty."""
    rows, labels = files.read("predictions"), files.read("labels")
    first = pc.less(rows["predicted_at"], pa.scalar(hour(12)))
    replaced = {"predictions": rows.filter(first), "labels": labels.filter(first)}
    return copied(files, tmp_path_factory.mktemp("morning"), **replaced)


def copied(files: Files, folder: Path, **replaced: pa.Table | None) -> Files:
    folder.mkdir(exist_ok=True)
    (folder / "churn.yaml").write_text(MONITOR)
    copy = Files(folder)
    for name in ("reference", "predictions", "labels"):
        rows = replaced[name] if name in replaced else files.read(name)
        if rows is not None:
            copy.write(name, rows)
    return copy


@cache
def signals(folder: Path) -> list[Signal]:
    return signals_of(read_parquet(folder / "signals.parquet"))


def of(
    folder: Path, metric: str, *, window: str = "1h", column: str = "", segment: str = "", baseline: str = TRAINING
) -> dict[datetime, Signal]:
    """Return the signals of one metric by the start of the hour they end with."""
    wanted = (metric, window, column, segment, baseline)
    places = ((s, (s.metric, s.window, s.column, s.segment, s.baseline)) for s in signals(folder))
    return {signal.window_end - HOUR: signal for signal, place in places if place == wanted}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def test_every_hour_has_every_signal_once_in_a_fixed_order(written: Path) -> None:
    found = signals(written)
    assert len({signal.key for signal in found}) == len(found)
    assert found == sorted(found, key=order)
    for metric, column in (("drift.psi", "tenure"), ("drift.js", "plan"), ("performance.roc_auc", "")):
        for window in ("1h", "6h"):
            assert list(of(written, metric, window=window, column=column)) == [hour(n) for n in range(HOURS)]


def test_segments_baselines_and_the_last_predictions_are_told_beside_the_rest(written: Path) -> None:
    names = ("basic", "plus", "(other)")
    by_plan = [of(written, "drift.psi", window="6h", column="tenure", segment=f"plan={name}") for name in names]
    whole = of(written, "drift.psi", window="6h", column="tenure")
    for at, signal in whole.items():
        assert sum(part[at].rows for part in by_plan) == signal.rows
    last = of(written, "drift.psi", window="last_100", column="tenure")
    assert [last[hour(number)].absence for number in (0, 1, 2)] == ["too_few_rows", "too_few_rows", None]
    assert (last[hour(9)].rows, last[hour(9)].length) == (120, 4 * HOUR)  # the seventh hour was empty
    assert last[hour(HOURS - 1)].value is not None
    period = of(written, "drift.psi", column="tenure", baseline="2026-11-20T00Z/2026-11-20T06Z")
    assert (period[hour(EMPTY)].absence, period[hour(20)].absence) == ("empty_hour", None)
    drifted, calm = (float(period[hour(number)].value or 0.0) for number in (DRIFTS, 20))
    assert drifted > 4 * calm
    trailing = of(written, "drift.psi", column="tenure", baseline="trailing_1w")
    assert {signal.absence for at, signal in trailing.items() if at not in (hour(EMPTY), hour(THIN))} == {"warming_up"}


def test_signals_as_json_say_what_signals_as_parquet_say(written: Path) -> None:
    rows: list[dict[str, Any]] = json.loads((written / "signals.json").read_bytes())
    table = read_parquet(written / "signals.parquet").to_pylist()
    assert len(rows) == len(table)
    for row, stored in zip(rows, table, strict=True):
        moments = {name: datetime.fromisoformat(row[name]) for name in ("window_start", "window_end")}
        assert row | moments == stored | {"detail": json.loads(stored["detail"] or "{}")}


def test_an_empty_hour_and_a_thin_one_are_absences_and_never_ok(written: Path) -> None:
    drift = of(written, "drift.psi", column="tenure")
    assert drift[hour(EMPTY)].absence == "empty_hour"
    assert (drift[hour(THIN)].absence, drift[hour(THIN)].rows) == ("too_few_rows", 9)
    assert of(written, "performance.accuracy")[hour(EMPTY)].absence == "empty_hour"
    assert of(written, "drift.psi", window="6h", column="tenure")[hour(2)].absence == "warming_up"
    verdicts = json.loads((written / "verdicts.json").read_bytes())
    of_hours = [entry for entry in verdicts if entry["window"] == "1h" and entry["metric"] == "drift.psi"]
    levels = {(datetime.fromisoformat(entry["window_start"]), entry["column"]): entry["verdict"] for entry in of_hours}
    assert {levels[hour(number), "tenure"] for number in (EMPTY, THIN)} == {"unknown"}


def test_only_verdicts_that_were_graded_or_are_unknown_are_written(written: Path) -> None:
    verdicts = json.loads((written / "verdicts.json").read_bytes())
    assert verdicts
    assert all(entry["threshold"] is not None or entry["verdict"] == "unknown" for entry in verdicts)
    known = {entry["metric"] for entry in verdicts if entry["verdict"] != "unknown"}
    assert {"drift.psi", "performance.accuracy"} <= known
    assert "drift.wasserstein" not in known


def test_the_rule_fires_from_the_second_hour_of_the_drift_on_with_the_column_as_evidence(written: Path) -> None:
    rules = json.loads((written / "rules.json").read_bytes())
    firing = [entry for entry in rules if entry["state"] == "firing"]
    assert [datetime.fromisoformat(entry["hour"]) for entry in firing] == [hour(n) for n in range(DRIFTS + 1, HOURS)]
    assert all(entry["evidence"][0]["column"] == "tenure" for entry in firing)


def test_a_firing_rule_fails_the_command_that_asked_for_it(files: Files) -> None:
    arguments = [f"--{name}={files.folder / name}.parquet" for name in ("reference", "predictions")]
    arguments += [f"--monitor={files.folder / 'churn.yaml'}", f"--output={files.folder / 'failing'}"]
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--fail-on", "warning"])
    assert result.exit_code == 1
    assert "rule feature_drift (warning) fired in 5 hours, 2026-11-21 01Z to 2026-11-21 05Z" in result.output
    assert "no labels given: performance is estimated from the scores alone" in result.output


def test_the_same_files_give_the_same_bytes_in_whatever_order_and_however_often_their_rows_come(
    morning: Files, tmp_path: Path
) -> None:
    generator = np.random.default_rng(5)

    def shuffled_and_repeated(rows: pa.Table) -> pa.Table:
        return rows.take(
            pa.array(
                generator.permutation(
                    np.repeat(np.arange(rows.num_rows), [1, 2] * (len(rows) // 2) + [1] * (len(rows) % 2))
                )
            )
        )

    def shuffled(rows: pa.Table) -> pa.Table:
        return rows.take(pa.array(generator.permutation(rows.num_rows)))

    def of_predictions(found: list[Signal]) -> list[Signal]:
        """All but the intake, which counts rows as they come."""
        return [each for each in found if each.metric not in INTAKE and not each.metric.startswith("schema.")]

    written = morning.evaluate()
    mixed = {name: shuffled(morning.read(name)) for name in ("predictions", "labels")}
    assert contents(copied(morning, tmp_path / "shuffled", **mixed).evaluate()) == contents(written)
    mixed = {name: shuffled_and_repeated(morning.read(name)) for name in ("predictions", "labels")}
    repeated = signals(copied(morning, tmp_path / "repeated", **mixed).evaluate())
    assert of_predictions(repeated) == of_predictions(signals(written))


def test_late_labels_change_exactly_their_hours_and_the_windows_that_hold_them(
    files: Files, written: Path, tmp_path: Path
) -> None:
    def of_outcomes(out: Path) -> list[Signal]:
        return [signal for signal in signals(out) if signal.metric.startswith(("performance.", "concept."))]

    late = [10, 11]
    labels = files.read("labels")
    hours = pc.floor_temporal(files.read("predictions")["predicted_at"], unit="hour").to_pylist()
    is_late = pa.array([at in {hour(number) for number in late} for at in hours])
    before = copied(files, tmp_path, labels=labels.filter(pc.invert(is_late))).evaluate()
    changed = {
        (new.window, new.window_end - HOUR)
        for old, new in zip(of_outcomes(before), of_outcomes(written), strict=True)
        if old != new
    }
    touched = {("1h", hour(number)) for number in late} | {("6h", hour(number)) for number in range(10, 17)}
    assert changed == touched
    pairs = zip(signals(before), signals(written), strict=True)
    # How labels arrive, and how far estimates were off, is remembered for weeks.
    changed_reports = {new.metric.split(".")[0] for old, new in pairs if old != new}
    assert changed_reports == {"performance", "concept", "labels", "estimate"}


def test_a_label_that_comes_after_the_longest_delay_changes_nothing(morning: Files, tmp_path: Path) -> None:
    rows = morning.read("predictions")
    labels = labelled(rows, delay=timedelta(days=1, hours=1))
    coverage = of(copied(morning, tmp_path, labels=labels).evaluate(), "performance.label_coverage")
    assert {signal.value for signal in coverage.values() if signal.value is not None} == {0.0}


def test_a_log_without_versions_is_one_version_and_its_label_column_is_no_label(morning: Files, tmp_path: Path) -> None:
    rows = morning.read("predictions").drop_columns(["model_version"])
    rows = rows.append_column("actual", pa.array([1] * rows.num_rows))
    found = signals(copied(morning, tmp_path, predictions=rows, labels=None).evaluate())
    assert {signal.version for signal in found} == {"unversioned"}
    known = {signal.metric for signal in found if signal.value is not None and signal.metric.startswith("performance.")}
    assert known == {"performance.label_coverage"}


def test_every_version_of_the_log_is_held_against_the_one_reference(morning: Files, tmp_path: Path) -> None:
    rows = morning.read("predictions")
    versions = pa.array([str(3 + place % 2) for place in range(rows.num_rows)])
    split = rows.set_column(rows.column_names.index("model_version"), "model_version", versions)
    out = copied(morning, tmp_path, predictions=split).evaluate()
    known = {signal.version for signal in signals(out) if signal.metric == "drift.psi" and signal.value is not None}
    assert known == {"3", "4"}
    whole = [signal for signal in signals(out) if not signal.segment]
    baselines = {signal.baseline_value for signal in whole if signal.metric == "performance.roc_auc"}
    assert len(baselines) == 1


def test_a_reference_without_times_and_outcomes_gives_textbook_thresholds_and_no_baseline(
    morning: Files, tmp_path: Path
) -> None:
    rows = morning.read("reference").drop_columns(["predicted_at", "actual"])
    verdicts = json.loads((copied(morning, tmp_path, reference=rows).evaluate() / "verdicts.json").read_bytes())
    assert {entry["threshold_origin"] for entry in verdicts if entry["metric"] == "drift.psi"} <= {
        "textbook",
        "null_distribution",
        "none",
    }
    assert {entry["verdict"] for entry in verdicts if entry["metric"] == "performance.roc_auc"} == {"unknown"}


class OneReference:
    """A store that holds one reference, whatever is asked for."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def fetch(self, model: str, version: str) -> Reference:
        return self.reference


def test_the_hourly_assets_and_the_command_line_say_the_same(files: Files, written: Path, tmp_path: Path) -> None:
    monitor = load_monitor(files.folder / "churn.yaml")
    rows, labels = files.read("predictions"), files.read("labels")
    reference = table_reference(
        monitor, files.read("reference"), version="3", computed_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    stages = Stages(
        monitor,
        ParquetPredictionLog(tmp_path, monitor.columns),
        ParquetLabelLog(tmp_path, monitor.labels.columns()),
        HourlyStore(tmp_path),
        OneReference(reference),  # type: ignore[arg-type]  # all of a reference store that the stages use
    )
    stages.predictions.append(monitor.model, rows)
    stages.labels.append(monitor.model, labels, hours=[])
    hours = [hour(number) for number in range(HOURS)]
    stages.describe(hours)
    stages.join(hours, as_of=START + timedelta(days=9))
    measured = [stages.measure_drift(hours), stages.measure_performance(hours)]
    measured += [stages.measure_quality(hours), stages.measure_operations(hours)]
    found = [signal for part in measured for entries in part.values() for signal in entries]
    expected = signals(written)
    assert sorted((s for s in found if not s.metric.startswith("model.")), key=order) == expected
    states = [
        (rule["hour"], rule["state"], rule["reason"]) for rule in json.loads((written / "rules.json").read_bytes())
    ]
    assert rule_states(stages.judge(hours).values()) == states


def rule_states(judged: Iterable[Any]) -> list[tuple[str, str, str]]:
    return [(rule.hour.isoformat(), rule.state.value, rule.reason) for _, rules in judged for rule in rules]
