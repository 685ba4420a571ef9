from typing import Any

import pytest

from monitoring_pipeline.errors import SettingsError
from monitoring_pipeline.settings.engine import LocalEngine, ProcessEngine, SparkEngine
from monitoring_pipeline.settings.load import parse_monitor
from monitoring_pipeline.settings.monitor import Monitor


def monitor(**more: Any) -> Monitor:
    return parse_monitor({"model": "churn", "start": "2026-03-02T00:00Z", "features": {"numeric": ["tenure"]}, **more})


def test_hours_are_described_in_the_run_unless_the_monitor_says_otherwise() -> None:
    assert monitor().engine == LocalEngine()
    assert monitor(engine={"kind": "process"}).engine == ProcessEngine(kind="process")
    conf = {"spark.executor.memory": "4g"}
    expected = SparkEngine(kind="spark", master="spark://there:7077", conf=conf)
    assert monitor(engine={"kind": "spark", "master": "spark://there:7077", "conf": conf}).engine == expected


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"kind": "dask"}, "engine"),
        ({"kind": "spark", "conf": {"spark.executor.cores": 4}}, "engine.conf"),
        ({"kind": "process", "master": "local"}, "engine.master"),
    ],
)
def test_what_an_engine_cannot_be_is_refused_by_its_key(engine: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        monitor(engine=engine)
    assert [said in problem.where for problem in refused.value.problems] == [True]
