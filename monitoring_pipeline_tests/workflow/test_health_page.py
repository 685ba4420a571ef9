"""The health page says what the stores hold, as of a moment; where they hold nothing it says that."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.health_page import HealthPage
from monitoring_pipeline.stores.decision_store import EpisodeStatus, asked_by_hand
from monitoring_pipeline.workflow.alerting import apply_rule_outcomes
from monitoring_pipeline.workflow.health_page import LONGEST_REASON, health_page, in_a_line, write_health
from monitoring_pipeline_tests.deployments import MODEL, ROWS, TRAINED_UNTIL, VERSION, Deployment, deploying
from monitoring_pipeline_tests.traffic import hour

WELL_UNTIL, LAST = 3, 8
RULE = "feature_drift"


@pytest.fixture(scope="module")
def deployment(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for all tests here: from the fifth hour on usage is off, which opens an incident."""
    with (
        pytest.MonkeyPatch.context() as environment,
        deploying(template, tmp_path_factory.mktemp("health") / "home", environment) as made,
    ):
        made.watch({}, {"model": "returns"})
        made.serve(0, WELL_UNTIL)
        made.serve(WELL_UNTIL + 1, LAST, shift=15.0)
        made.set_clock(hour(LAST + 1) + timedelta(minutes=15))
        made.compute(0, LAST)
        apply_rule_outcomes(made.monitoring, made.monitor, hour(0), hour(LAST + 1))
        episode = asked_by_hand(
            "by-hand", MODEL, "1", EpisodeStatus.REJECTED, now=hour(LAST), by="ada", why="to see", challenger="2"
        )
        made.monitoring.database.record_episode(episode)
        yield made


def page_at(deployment: Deployment, number: int | None = None) -> HealthPage:
    """Return the page as the clock stands, or as of the beginning of an hour."""
    monitoring, references = deployment.monitoring, deployment.monitoring.references
    return health_page(
        deployment.monitor,
        deployment.store,
        lambda version: references.load(MODEL, version),
        incidents=monitoring.database.incidents(MODEL),
        episodes=monitoring.database.episodes(MODEL),
        now=monitoring.now() if number is None else hour(number),
    )


def test_the_sentence_names_the_worst_of_the_open_incident(deployment: Deployment) -> None:
    page = page_at(deployment)
    (trouble,) = page.open
    assert page.leading == trouble
    (incident,) = deployment.monitoring.database.incidents(MODEL)
    worst = incident.evidence_summary[0]
    assert page.status.level is incident.severity
    assert (trouble.began, trouble.rules, trouble.number) == (incident.first_hour, (RULE,), 1)
    assert f"{MODEL} is degraded since" in page.sentence
    assert f"because drift PSI of usage over 4h rose to {worst['value']:.3g}, limit" in page.sentence


def test_of_a_long_reason_the_first_clauses_are_said_and_of_a_long_clause_the_first_words() -> None:
    given_up = "retraining is wanted and was given up: 3 challengers in a row were not promoted"
    assert in_a_line(f"{given_up}, the last one because roc_auc gains -0.0370; the margin is +0.0050") == given_up
    assert in_a_line(given_up) == given_up
    words = in_a_line("no, " + "word " * 40)
    assert words.endswith("word …")
    assert len(words) <= LONGEST_REASON


def test_every_number_is_one_that_is_stored(deployment: Deployment) -> None:
    page = page_at(deployment)
    (course, *_) = page.courses
    assert (course.metric, course.window) == ("performance.accuracy", "4h")
    assert [point.at for point in course.points] == [hour(number + 1) for number in range(LAST + 1)]
    for point in course.points:
        at = point.at - HOUR
        stored = deployment.store.read_verdicts(MODEL, at, at + HOUR)[at]
        own = {each.signal.metric: each for each in stored if each.signal.window == "4h" and not each.signal.segment}
        assert point.observed == own["performance.accuracy"]
        estimated = own.get("estimate.accuracy")
        assert point.estimate == (estimated.signal if estimated else None)
        assert point.coverage == own["performance.label_coverage"].signal.value
    drift = [each for each in stored if each.signal.metric.startswith("drift.") and each.signal.window == "4h"]
    assert {row.name for row in page.features} == {each.signal.column for each in drift if each.signal.column}
    for row in page.features:
        assert row.newest in drift
        assert row.newest.level.rank == max(each.level.rank for each in drift if each.signal.column == row.name)
    assert page.features[0].name == "usage", "the worst comes first"
    assert page.days == (hour(LAST + 1),), "nine hours of one day"
    assert {promise.name for promise in page.promises} == {
        each.signal.column for each in stored if each.signal.metric == "slo.budget_remaining"
    }
    assert {row.name for row in page.quality} >= {"null rate", "schema missing columns"}


def test_a_column_opens_into_the_shares_behind_its_distance(deployment: Deployment) -> None:
    (usage,) = [row for row in page_at(deployment).features if row.name == "usage"]
    assert usage.rows[1] == 4 * ROWS, "the window of the distance"
    before, after = [each.reference for each in usage.bins], [each.current for each in usage.bins]
    assert [sum(before), sum(after)] == pytest.approx([1, 1])
    verdict = usage.newest
    assert verdict is not None
    stored = verdict.signal.detail["bins"]
    assert isinstance(stored, list)
    # The distance adds half a row to each bin: shares differ by no more than that would.
    for each in stored:
        shown = next(own for own in usage.bins if own.label == each["bin"])
        assert shown.current == pytest.approx(each["current"], abs=0.02)
        assert shown.reference == pytest.approx(each["reference"], abs=0.02)
    assert np.argmax(after) > np.argmin(after), "usage rose"


def test_versions_and_retrainings_are_those_on_record(deployment: Deployment) -> None:
    page = page_at(deployment)
    (served,) = page.versions
    assert (served.version, served.rows) == (VERSION, (LAST + 1) * ROWS)
    assert (served.first, served.last) == (hour(0), hour(LAST + 1))
    assert served.trained_until == TRAINED_UNTIL
    (change,) = page.changes
    assert (change.kind, change.version, change.after) == ("rejected", "1", "2")
    assert change.why == "asked for by ada: to see"


def test_an_earlier_moment_shows_what_was_known_by_then(deployment: Deployment) -> None:
    page = page_at(deployment, WELL_UNTIL + 1)
    assert page.status.level is Level.OK
    assert f"{MODEL} is fine since" in page.sentence
    assert page.days == (hour(WELL_UNTIL + 1),)
    assert (page.troubles, page.changes) == ((), ())


def test_what_is_old_or_was_never_judged_is_not_fine(deployment: Deployment) -> None:
    day_later = page_at(deployment, LAST + 25)
    assert day_later.status.is_stale
    assert day_later.status.level is Level.WARNING, "what was bad stays bad"
    before = page_at(deployment, 0)
    assert (before.status.level, before.days) == (Level.UNKNOWN, ())


def test_pages_are_written_beside_an_index_of_all(deployment: Deployment, tmp_path: Path) -> None:
    (made,) = write_health(deployment.monitoring, deployment.monitors[:1], every=deployment.monitors, folder=tmp_path)
    assert made.size == made.path.stat().st_size < 400_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "model=churn.html"]
    index = (tmp_path / "index.html").read_text()
    assert 'href="model%3Dchurn.html"' in index
    assert "returns is unknown: no hour has been judged yet." in index


def test_a_model_whose_files_are_broken_takes_no_other_page_with_it(deployment: Deployment, tmp_path: Path) -> None:
    broken = deployment.monitoring.data / "rules" / "model=returns" / f"{hour(0):%Y-%m-%dT%H}Z.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"torn")
    try:
        write_health(deployment.monitoring, deployment.monitors[:1], every=deployment.monitors, folder=tmp_path)
    finally:
        broken.unlink()
        broken.parent.rmdir()
    assert "returns is unknown: its stores cannot be read: " in (tmp_path / "index.html").read_text()


def test_the_daily_asset_says_where_the_page_is_and_what_it_says(deployment: Deployment) -> None:
    key = dg.AssetKey([MODEL, "health_page"])
    result = deployment.run(f"{MODEL}__daily", partition_key=f"{hour(0):%Y-%m-%d}", asset_selection=[key])
    (event,) = [each for each in result.get_asset_materialization_events() if each.asset_key == key]
    facts = {name: value.value for name, value in event.materialization.metadata.items()}
    path = Path(str(facts["page"]))
    assert path == deployment.monitoring.data.absolute() / "health" / "model=churn.html"
    assert facts["size_bytes"] == path.stat().st_size
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("model_is_fine", False, dg.AssetCheckSeverity.WARN)
    assert facts["status"] == check.description == page_at(deployment).sentence
