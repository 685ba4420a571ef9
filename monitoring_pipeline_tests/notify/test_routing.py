import pytest

from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.routing import routing_of


def test_by_default_information_goes_to_the_console_and_alarms_to_slack_too() -> None:
    routing = routing_of(None, available=["console", "slack"])
    assert routing.channels_for("info") == ["console"]
    assert routing.channels_for(Level.WARNING) == ["console", "slack"]
    assert routing.channels_for(Level.CRITICAL) == ["console", "slack"]


def test_without_slack_the_defaults_are_the_console() -> None:
    assert routing_of(None, available=["console"]).channels_for("critical") == ["console"]


def test_a_severity_named_in_the_settings_replaces_only_its_own_default() -> None:
    routing = routing_of({"critical": ["slack", "slack"]}, available=["console", "slack"])
    assert routing.channels_for("critical") == ["slack"]
    assert routing.channels_for("warning") == ["console", "slack"]


def test_an_unknown_channel_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"routes.warning: no channel named 'pager': configured channels are console, slack"
    ):
        routing_of({"warning": ["pager"]}, available=["slack", "console"])


def test_an_unknown_severity_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'fatal' is not a severity: choose from info, warning, critical"):
        routing_of({"fatal": ["console"]}, available=["console"])
    with pytest.raises(ValueError, match="no route for severity 'ok': severities are info, warning, critical"):
        routing_of(None, available=["console"]).channels_for(Level.OK)
