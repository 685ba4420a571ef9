import pickle
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.privacy import Privacy

SECRET = "k" * 43
ASKED: dict[str, Any] = {
    "model": "churn",
    "start": "2026-04-01T00:00Z",
    "features": {"numeric": ["tenure"], "categorical": ["plan"]},
    "fairness": {"attributes": ["region"]},
    "business": {"saved": {"formula": "sum(prediction * worth)"}},
}


def problems(**changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        parse_monitor(ASKED | changes)
    return [(problem.where, problem.message) for problem in caught.value.problems]


def test_a_missing_key_is_an_error_that_names_the_variable_and_what_to_do() -> None:
    with pytest.raises(SettingsError, match="MONITORING_PII_KEY: is not set, and columns are to be hashed") as caught:
        Privacy(hash=("email",)).protection(dict[str, str]().get, model="churn")
    assert "MONITORING_PII_KEY_FILE" in str(caught.value)


def test_a_key_that_can_be_guessed_is_refused_and_not_quoted() -> None:
    with pytest.raises(SettingsError, match="32 bytes or more") as caught:
        Privacy(hash=("email",)).protection({"MONITORING_PII_KEY": "hunter2"}.get, model="churn")
    assert "hunter2" not in str(caught.value)


def test_the_key_is_the_same_from_a_variable_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    asked = Privacy(redact_categories=("plan",))
    first = asked.protection({"MONITORING_PII_KEY": SECRET}.get, model="churn")
    second = asked.protection({"MONITORING_PII_KEY_FILE": str(tmp_path / "key")}.get, model="churn")
    assert first.both("ana") == second.both("ana")
    assert len(first.both("ana")) == 2
    with pytest.raises(SettingsError, match="No such file"):
        asked.protection({"MONITORING_PII_KEY_FILE": str(tmp_path / "none")}.get, model="churn")


def test_the_key_stands_in_no_text_and_in_no_pickle_of_what_holds_it() -> None:
    found = Privacy(hash=("email",)).protection({"MONITORING_PII_KEY": SECRET}.get, model="churn")
    assert SECRET not in f"{found!r} {found} {found.key!r} {found.key}"
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(found)


def test_nothing_is_hashed_where_nothing_is_asked_for() -> None:
    assert Privacy(drop=("name",)).protection(dict[str, str]().get, model="churn").dropped == ("name",)


@pytest.mark.parametrize(
    ("privacy", "where", "words"),
    [
        ({"drop": ["plan"]}, "privacy.drop[0]", "'plan' is watched"),
        ({"drop": ["region"]}, "privacy.drop[0]", "'region' is watched"),
        ({"drop": ["worth"]}, "privacy.drop[0]", "'worth' is watched"),
        ({"drop": ["prediction_id"]}, "privacy.drop[0]", "'prediction_id' is watched"),
        ({"hash": ["tenure"]}, "privacy.hash[0]", "is a numeric feature"),
        ({"hash": ["score"]}, "privacy.hash[0]", "is the column of columns.score"),
        ({"hash": ["predicted_at"]}, "privacy.hash[0]", "is the column of columns.predicted_at"),
        ({"hash": ["plan"]}, "privacy.hash[0]", "challengers would learn digests"),
        (
            {"redact_categories": ["prediction_id"]},
            "privacy.redact_categories[0]",
            "the column of columns.prediction_id",
        ),
        ({"hash": ["email"], "drop": ["email"]}, "privacy.drop[0]", "already under hash"),
    ],
)
def test_what_something_needs_as_it_is_cannot_be_taken_away(
    privacy: dict[str, list[str]], where: str, words: str
) -> None:
    ((found, message),) = problems(privacy=privacy)
    assert found == where
    assert words in message


def test_a_model_that_is_shown_rows_is_not_shown_digests() -> None:
    ((where, message),) = problems(privacy={"redact_categories": ["plan"]}, attributions={"enabled": True})
    assert (where, "importance is measured" in message) == ("privacy.redact_categories[0]", True)


def test_ids_segments_and_features_nobody_learns_can_be_hashed() -> None:
    asked = {"hash": ["prediction_id", "region", "plan"], "drop": ["name"]}
    monitor = parse_monitor(ASKED | {"privacy": asked, "retraining": {"trainer": "none"}})
    assert (monitor.privacy.hash, monitor.privacy.drop) == (("prediction_id", "region", "plan"), ("name",))


def test_no_group_smaller_than_what_is_shown_is_compared_or_named() -> None:
    monitor = parse_monitor(ASKED | {"privacy": {"min_group": 500}})
    assert monitor.fairness_policy().min_rows == 500
    assert monitor.gate_policy().rails.min_rows == 500
    assert monitor.slices.policy(monitor.outcome_plan(), min_coverage=0.6, min_group=500).min_rows == 500
