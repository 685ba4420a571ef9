from datetime import timedelta

from monitoring_pipeline.evaluate.lifecycle import lifecycle_signals
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline_tests.traffic import START, hour


def test_a_version_is_as_old_as_the_end_of_the_hour_says() -> None:
    trained = START - timedelta(days=30, hours=11)
    signals = lifecycle_signals("m", "1", [hour(0), hour(24)], trained_until=trained, labelled_rows={})
    ages = [signal for signal in signals if signal.metric == "model.age_days"]
    assert [(signal.value, signal.window, signal.unit) for signal in ages] == [(30.5, "1h", "d"), (31.5, "1h", "d")]


def test_rows_labelled_since_training_are_counted_up_to_the_hour() -> None:
    labelled = {hour(number): 10 + number for number in range(-2, 5)}
    signals = lifecycle_signals("m", "1", [hour(0), hour(3)], trained_until=hour(-1), labelled_rows=labelled)
    counts = [signal.value for signal in signals if signal.metric == "model.new_labelled_rows"]
    assert counts == [9 + 10, 9 + 10 + 11 + 12 + 13]


def test_a_version_that_does_not_say_when_it_was_trained_has_neither_and_is_told_what_to_do() -> None:
    signals = lifecycle_signals("m", "1", [hour(0)], trained_until=None, labelled_rows={hour(0): 5})
    assert [signal.metric for signal in signals] == ["model.age_days", "model.new_labelled_rows"]
    for signal in signals:
        assert signal.absence is Absence.NO_REFERENCE
        assert "Set the tag trained_until" in signal.reason
        assert (signal.model, signal.version, signal.baseline) == ("m", "1", "")
