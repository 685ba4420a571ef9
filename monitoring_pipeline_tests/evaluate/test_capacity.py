import pytest

from monitoring_pipeline.evaluate.capacity import EVENT_BYTES, Load, capacity

SMALL = Load(predictions_per_day=2_400, features=10)


def test_storage_is_that_of_its_hours_until_rows_go_then_that_of_days() -> None:
    found = capacity(SMALL)
    assert found.stored_gb["hot"] == pytest.approx(7 * 24 * sum(found.hour_bytes.values()) / 1e9)
    kept = sum(found.hour_bytes[kind] for kind in ("samples", "profiles", "reports"))
    assert 0 < found.stored_gb["warm"] < 83 * 24 * kept / 1e9
    assert found.stored_gb["cold"] == pytest.approx(275 * found.hour_bytes["profiles"] / 1e9)


def test_twice_the_models_take_twice_the_room_and_each_process_loads_all_of_them() -> None:
    one, two = (capacity(Load(predictions_per_day=2_400, features=10, models=count)) for count in (50, 100))
    assert two.stored_gb == pytest.approx({tier: 2 * size for tier, size in one.stored_gb.items()})
    assert two.event_log_gb_per_month == pytest.approx(100 * 730 * EVENT_BYTES / 1e9)
    assert two.cpu_s_per_hour > 2 * one.cpu_s_per_hour
    assert two.hour_bytes == one.hour_bytes


def test_a_sample_grows_no_further_than_its_limit_while_the_log_goes_on() -> None:
    found = capacity(Load(predictions_per_day=2_400_000, features=10))
    assert found.hour_bytes["predictions"] > 50 * found.hour_bytes["samples"]


def test_the_nearest_limit_comes_first_and_moves_away_with_what_it_is_about() -> None:
    many = Load(predictions_per_day=2_400, features=10, models=100)
    nearest = capacity(many).limits[0]
    assert nearest.name == "event log of a month"
    assert nearest.share == pytest.approx(1.46)
    larger = capacity(Load(predictions_per_day=2_400, features=10, models=100, event_log_gb=1_000)).limits
    assert larger[0].name == "cores"
    assert [limit.share for limit in larger] == sorted((limit.share for limit in larger), reverse=True)


def test_telemetry_is_of_the_requests_of_all_models() -> None:
    # Ten models of 864,000 a day are 100 requests a second: 50 kB of log lines, 4.32 GB a day.
    found = capacity(Load(predictions_per_day=864_000, features=10, models=10))
    assert found.telemetry.daily["logs"] == pytest.approx(4.32)
    assert found.telemetry.daily["metrics"] == pytest.approx(10 * (50 + 16 * 10) / 15 * 8 * 86_400 / 1e9)
