from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.notify.silences import (
    LABELS,
    Matcher,
    Silence,
    ended,
    parse_matchers,
    parse_until,
    silence_of,
    silencing,
    written,
)

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
DRIFT = {"model": "churn", "rule": "feature_drift", "severity": "warning", "column": "plan", "kind": "data", "sev": "3"}


def silence(matchers: str, until: str = "4h", name: str = "s1") -> Silence:
    return silence_of(name, matchers, until=until, author="ana", comment="a planned change", now=NOW)


@pytest.mark.parametrize(
    ("matchers", "meant"),
    [
        ("model=churn", True),
        ('model="churn"', True),
        ("model=chur", False),
        ("model=churn, severity=warning", True),
        ("model=churn, severity=critical", False),
        ("model=churn, severity!=critical", True),
        ("rule=~.*drift", True),
        ("rule=~drift", False),  # the whole of it, as Alertmanager has it
        ('rule=~"feature_drift|prediction_drift"', True),
        ("model=churn, rule!~.*drift", False),
    ],
)
def test_matchers_mean_what_alertmanager_means(matchers: str, meant: bool) -> None:
    found = silencing([silence(matchers)], DRIFT, NOW)
    assert (found is not None) is meant


def test_an_incident_of_several_columns_is_silenced_only_by_what_means_all_of_them() -> None:
    both = DRIFT | {"column": "plan,tenure"}
    assert silencing([silence("column=plan")], both, NOW) is None
    assert silencing([silence('column=~"plan|tenure"')], both, NOW) is not None
    assert silencing([silence("model=churn, column!=plan")], both, NOW) is None


def test_a_silence_holds_from_its_start_to_before_its_end() -> None:
    four_hours = silence("model=churn")
    held = [silencing([four_hours], DRIFT, NOW + timedelta(hours=hours)) for hours in (-1, 0, 3.9, 4)]
    assert held == [None, four_hours, four_hours, None]
    assert silencing([ended(four_hours, NOW + timedelta(hours=1))], DRIFT, NOW + timedelta(hours=2)) is None


def test_of_several_silences_the_longest_is_named() -> None:
    short, long = silence("model=churn"), silence("kind=data", "2d")
    assert silencing([short, long], DRIFT, NOW) is long


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        ("", "needed a label"),
        ("model", "needed a label"),
        ("model churn", "found 'model churn'"),
        ('model="churn', "needed a label"),
        ('model="churn" x', "needed a label"),
        ("modle=churn", "'modle' is not a label: choose from model, rule"),
        ("rule=~(a+)+", "do not know"),
        ("model=~.*", "would silence what it does not name"),
        ("severity!=critical", "would silence what it does not name"),
        ("model=", "would silence what it does not name"),
        (",".join(["model=a"] * 11), "at most 10"),
    ],
)
def test_matchers_that_cannot_be_used_are_refused_with_what_to_write(matchers: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        parse_matchers(matchers)


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.text(min_size=1, max_size=20)), min_size=1, max_size=5))
def test_matchers_survive_being_written_and_kept_whatever_stands_in_them(pairs: list[tuple[str, str]]) -> None:
    matchers = tuple(Matcher(label, "=", value) for label, value in pairs)
    assert parse_matchers(written(matchers)) == matchers
    kept = Silence("s1", matchers, NOW, NOW + timedelta(hours=1), "ana", "why")
    rest = {"id": "s1", "starts_at": NOW, "ends_at": NOW + timedelta(hours=1), "author": "ana", "comment": "why"}
    assert Silence.from_texts(matchers=kept.as_texts(), **rest) == kept


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30m", NOW + timedelta(minutes=30)),
        ("4h", NOW + timedelta(hours=4)),
        ("2w", NOW + timedelta(weeks=2)),
        ("2026-03-09T18:00Z", NOW + timedelta(hours=6)),
        ("2026-03-09T18:00+01:00", NOW + timedelta(hours=5)),
    ],
)
def test_until_is_a_length_or_a_moment(text: str, moment: datetime) -> None:
    assert parse_until(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "0h", "4", "2026-03-09T18:00", "99999h", "9999-12-31T23:59-14:00"])
def test_until_without_a_zone_or_a_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="needed a length"):
        parse_until(text, NOW)


def test_a_silence_ends_and_not_in_the_past() -> None:
    assert silence("model=churn", "30d").ends_at == NOW + timedelta(days=30)
    with pytest.raises(ValueError, match="further off than 30 days"):
        silence("model=churn", "31d")
    with pytest.raises(ValueError, match="is over"):
        silence("model=churn", "2026-03-09T11:59Z")
