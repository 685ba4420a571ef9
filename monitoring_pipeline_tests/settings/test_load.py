import re
from pathlib import Path

import pytest

from monitoring_pipeline.errors import Problem, SettingsError
from monitoring_pipeline.settings.load import load_monitor, load_monitors, parse_monitor

SHORTEST = """\
model: churn
start: 2026-04-01T00:00Z
features:
  numeric: [tenure, charges]
  categorical: [plan]
"""

# Every line marked with a number has that many things wrong with it.
BROKEN = """\
model: churn-2  # 1
start: 2026-04-01  # 1
start: 2026-04-02T00:00Z  # 1
owners: [me]  # 1
descripton: with a letter missing  # 1
columns: {skore: p}  # 1
labels: {max_delay: late}  # 1
features:
  numeric: [tenure, tenure, score]  # 2
  categorical: plan  # 1
windows: [1h, 24x, 24h]  # 1
drift:
  bins: "10"  # 1
  alpha: 2  # 1
  bands:
    psi: {warning: 0.3, critical: 0.2}  # 1
    kss: {warning: 0.1}  # 1
  metrics: [psi, psy]  # 1
  baselines:
    - {kind: trailing, weeks: 0}  # 1
    - {kind: same_hour, weeks: 4}  # 1
    - {kind: period, start: 2026-05-01T00:00Z, end: 2026-04-01T00:00Z}  # 1
  last_predictions: 0  # 1
  false_alarms_per_month: -2  # 1
  correction: bonferroni  # 1
segments: {columns: [tenure]}  # 1
performance:
  floors:
    acuracy: {warning: .nan}  # 2
    accuracy: {warning: 0.7, critical: 0.8}  # 1
rules:
  - name: drift
    severity: critical  # 1
    condition: {metric: drift.psi, window: 7d, levl: warning}  # 2
  - name: drift  # 1
    for: 2.5  # 1
    cooldown: soon  # 1
    condition:
      any:
        - {metric: drift.psy, window: 24h, level: warning}  # 1
        - {metric: drift.psi, window: 24h, column: tenur, level: warning}  # 1
        - not: {metric: drift.wasserstein, window: 24h, role: champ, level: warning}  # 2
        - {metric: performance.f1, window: 24h}  # 1
        - at_least: 3  # 1
          of:
            - {metric: model.age_days, window: 24h, above: 30}  # 1
        - plain  # 1
  - condition: {metric: drift.psi, window: 24h, level: bad}  # 2
retraining:
  at_least: 5  # 1
  holdout: 90d  # 1
  trainer: not a path  # 1
notifications:
  routes: {critical: [slack, pager]}  # 2
"""


def written(directory: Path, text: str, name: str = "churn.yaml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def problems(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as caught:
        load_monitor(path)
    return caught.value.problems


def only_problem(path: Path) -> Problem:
    (problem,) = problems(path)
    return problem


def test_five_lines_make_a_monitor(tmp_path: Path) -> None:
    monitor = load_monitor(written(tmp_path, SHORTEST))

    assert (monitor.model, list(monitor.features.kinds())) == ("churn", ["tenure", "charges", "plan"])


def test_every_problem_of_a_broken_file_is_reported_at_once_on_its_line(tmp_path: Path) -> None:
    expected = {
        number: int(mark[1])
        for number, line in enumerate(BROKEN.splitlines(), 1)
        if (mark := re.search(r"# (\d)$", line))
    }

    found = problems(written(tmp_path, BROKEN))

    by_line: dict[int | None, int] = {}
    for problem in found:
        by_line[problem.line] = by_line.get(problem.line, 0) + 1
    assert by_line == expected
    assert all(problem.file.endswith("churn.yaml") and problem.where and problem.fix for problem in found)
    assert list(by_line) == sorted(expected)


@pytest.mark.parametrize(
    ("line", "where", "words"),
    [
        ("windws: [1h]", "windws", "Did you mean 'windows'? Known here: aliases, attributions, business,"),
        ("drift: {min_row: 5}", "drift.min_row", "Did you mean 'min_rows'? Known here: alpha, bands, baselines, bins,"),
        ("columns: {skore: p}", "columns.skore", "Did you mean 'score'? Known here: batch_rows,"),
        (
            "rules: [{name: a, condition: {all: [{metric: drift.psi, window: 24h, levl: warning, above: 1}]}}]",
            "rules[0].condition.all[0].levl",
            "Did you mean 'level'? Known here: above, above_baseline, baseline,",
        ),
        (
            "rules: [{name: a, conditions: {}, condition: {metric: drift.ks, level: warning}}]",
            "rules[0].conditions",
            "Did you mean 'condition'? Known here: condition, cooldown, critical, for,",
        ),
        (
            "performance: {floors: {f1: {warnings: 1, warning: 1}}}",
            "performance.floors.f1.warnings",
            "Did you mean 'warning'? Known here: critical, warning.",
        ),
        (
            "retraining: {triggers: [{name: a, fore: 2, condition: {metric: drift.ks, level: warning}}], at_least: 1}",
            "retraining.triggers[0].fore",
            "Did you mean 'for'? Known here: condition, for, name.",
        ),
        ("notifications: {slack: {chanel: x, channel: y}}", "notifications.slack.chanel", "Did you mean 'channel'?"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_one_and_all_of_them(
    tmp_path: Path, line: str, where: str, words: str
) -> None:
    problem = only_problem(written(tmp_path, SHORTEST + line))

    assert (problem.line, problem.where) == (6, where)
    assert problem.fix.startswith(words)


def test_a_missing_key_points_to_the_mapping_that_lacks_it(tmp_path: Path) -> None:
    problem = only_problem(written(tmp_path, SHORTEST + "notifications:\n  slack:\n    token_env: TOKEN\n"))

    assert (problem.line, problem.where, problem.fix) == (7, "notifications.slack.channel", "Add `channel:`.")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("model: churn\nfeatures: [a, b\nstart: x\n", 3, "expected ',' or ']'"),
        ("model: churn\n\tstart: x\n", 2, "cannot start any token"),
        ("model: a\n---\nmodel: b\n", 2, "another document"),
        ("model: *name\n", 1, "undefined alias"),
        ("model: a\x00b\n", None, "unacceptable character"),
        ("", 1, "is empty"),
        ("- model: churn\n", 1, "does not hold a mapping"),
    ],
)
def test_text_that_is_not_yaml_is_one_problem_at_the_place_where_reading_stopped(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    problem = only_problem(written(tmp_path, text))

    assert problem.line == line
    assert words in problem.message


def test_a_key_twice_is_refused_at_any_depth_and_the_first_line_is_named(tmp_path: Path) -> None:
    problem = only_problem(written(tmp_path, SHORTEST + "drift:\n  bins: 10\n  min_rows: 5\n  bins: 20\n"))

    assert (problem.line, problem.where) == (9, "drift.bins")
    assert problem.message == "is there twice; line 7 has it already."


def test_an_alias_that_holds_itself_is_refused(tmp_path: Path) -> None:
    found = problems(written(tmp_path, SHORTEST + "drift: &again\n  bands: *again\n"))

    assert (found[0].line, found[0].message) == (6, "refers to itself.")


@pytest.mark.parametrize(
    "line",
    [
        "notifications: {slack: {channel: ml, token_env: xoxb-12-secret}}",
        "description: post to https://hooks.slack.com/services/T0/B0/secret",
        "description: see postgresql://me:secret@db/monitoring",
        "notifications: {webhook: {url: 'https://a.example', secret_env: whsec_12-secret}}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    found = problems(written(tmp_path, SHORTEST + line))

    assert any("holds a secret" in problem.message for problem in found)
    assert "secret@" not in str(found)
    assert "-secret" not in str(found)
    assert "/secret" not in str(found)


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("model: café".encode("latin-1"))

    assert only_problem(tmp_path / "nowhere.yaml").message == "cannot be read: No such file or directory."
    assert only_problem(tmp_path / "latin.yaml").message == "cannot be read: it is not UTF-8 text."


def test_a_directory_is_loaded_by_file_name(tmp_path: Path) -> None:
    written(tmp_path, SHORTEST.replace("churn", "second"), "b.yaml")
    written(tmp_path, SHORTEST.replace("churn", "first"), "a.yml")
    written(tmp_path, "not for us", "notes.txt")

    assert [monitor.model for monitor in load_monitors(tmp_path)] == ["first", "second"]


def test_the_problems_of_all_files_come_together(tmp_path: Path) -> None:
    written(tmp_path, SHORTEST, "a.yaml")
    written(tmp_path, "# the same model\n" + SHORTEST, "b.yaml")
    written(tmp_path, SHORTEST.replace("churn", "other") + "drift: {bins: 1}", "c.yaml")
    written(tmp_path, "model: [", "d.yaml")

    with pytest.raises(SettingsError) as caught:
        load_monitors(tmp_path)

    assert [(Path(p.file).name, p.line, p.where) for p in caught.value.problems] == [
        ("b.yaml", 2, "model"),
        ("c.yaml", 6, "drift.bins"),
        ("d.yaml", 1, "syntax"),
    ]
    assert caught.value.problems[0].message == "'churn' is already monitored by a.yaml."


def test_a_directory_without_monitors_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no YAML file"):
        load_monitors(tmp_path)
    with pytest.raises(SettingsError, match="is not a directory"):
        load_monitors(tmp_path / "nowhere")


def test_plain_data_is_checked_like_a_file() -> None:
    data = {"model": "churn", "start": "2026-04-01T00:00Z", "features": {"numeric": ["tenure"]}}

    assert parse_monitor(data).model == "churn"
    with pytest.raises(SettingsError, match="settings: windows"):
        parse_monitor(data | {"windows": ["24h", "1d"]})


def test_the_monitors_of_the_demonstrations_fit_their_models() -> None:
    from examples.bike_demand import model as bikes
    from examples.flight_delays import model as flights

    monitors = {found.model: found for found in load_monitors(Path("monitors"))}

    assert set(monitors) == {bikes.NAME, flights.NAME}
    trainers = {name: f"{model.__name__}:fit" for name, model in ((bikes.NAME, bikes), (flights.NAME, flights))}
    trainers[flights.NAME] += "_again"
    assert {name: monitor.retraining.trainer for name, monitor in monitors.items()} == trainers
    for monitor, model in ((monitors[bikes.NAME], bikes), (monitors[flights.NAME], flights)):
        assert set(monitor.features.kinds()) == set(model.FEATURES)
        assert set(monitor.features.numeric) == set(model.NUMERIC)
        assert set(monitor.features.categorical) == set(model.CATEGORICAL)
        assert set(monitor.retraining.trusted_types) == set(model.TRUSTED_TYPES)
    assert {rule.name for rule in monitors[flights.NAME].alert_rules()} >= {
        "feature_drift",
        "score_drift",
        "ranking_decline",
        "performance_drop",
        "feature_changed_meaning",
        "traffic_lost",
        "labels_stopped",
    }
    assert {rule.name for rule in monitors[bikes.NAME].alert_rules()} >= {
        "feature_drift",
        "performance_decline",
        "performance_drop",
    }
