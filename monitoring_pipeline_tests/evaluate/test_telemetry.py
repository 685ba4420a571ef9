import pytest

from monitoring_pipeline.evaluate.telemetry import TelemetryRates, telemetry_volume


def test_a_service_of_a_hundred_requests_a_second_weighs_what_paper_and_pencil_say() -> None:
    volume = telemetry_volume(TelemetryRates(requests_per_s=100, metric_series=1500))
    assert volume.daily == pytest.approx(
        {
            "metrics": 1500 / 15 * 8 * 86_400 / 1e9,  # 800 B/s, 0.069 GB
            "logs": 4.32,  # 50 kB/s
            "traces": 0.01728,  # 0.1 traces a second of 2 kB
            "predictions": 0.3456,  # one a second of 4 kB
        }
    )
    assert sum(volume.daily.values()) == pytest.approx(4.752)


def test_a_day_in_a_tier_is_one_that_the_tiers_before_it_no_longer_hold() -> None:
    volume = telemetry_volume(TelemetryRates(requests_per_s=100, metric_series=1500))
    assert volume.stored == pytest.approx({"hot": 4.752 * 7, "warm": 4.752 * 83, "cold": 4.752 * 275})
    own = telemetry_volume(TelemetryRates(requests_per_s=100, metric_series=1500, tiers={"hot": 2}))
    assert own.stored == pytest.approx({"hot": 9.504})


def test_nothing_served_and_nothing_measured_weighs_nothing() -> None:
    volume = telemetry_volume(TelemetryRates(requests_per_s=0, metric_series=0))
    assert {*volume.daily.values(), *volume.stored.values()} == {0.0}
