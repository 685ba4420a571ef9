import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from monitoring_pipeline.serve.instrument import Instrument, Watched, families
from monitoring_pipeline.serve.metrics import Metrics
from monitoring_pipeline_tests.scoring import NOW, listening


def instrument() -> Instrument:
    return Instrument(Metrics(families()), clock=lambda: NOW)


def test_a_watched_function_is_counted_timed_and_its_errors_are_told_apart() -> None:
    watcher = instrument()

    @watcher.watched("look_up")
    def halve(number: int) -> float:
        """Halve."""
        return 1 / number

    assert halve(2) == 0.5
    assert (halve.__name__, halve.__doc__) == ("halve", "Halve.")
    with pytest.raises(ZeroDivisionError):
        halve(0)
    text = watcher.metrics.text()
    assert 'serving_calls_total{stage="look_up"} 2' in text
    assert 'serving_latency_seconds_count{stage="look_up"} 2' in text
    assert 'serving_errors_total{stage="look_up",type="ZeroDivisionError"} 1' in text


def test_a_stage_opens_a_span_and_notes_its_milliseconds() -> None:
    spans: list[str] = []

    @contextmanager
    def trace(name: str) -> Iterator[None]:
        spans.append(name)
        yield

    took: dict[str, float] = {}
    with Instrument(Metrics(families()), clock=lambda: NOW, trace=trace).stage("score", took):
        assert took == {}
    assert spans == ["score"]
    assert 0 < took["score"] < 1000


def test_every_request_is_counted_by_its_route_and_logged_with_what_the_app_notes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def item(request: Request) -> PlainTextResponse:
        request.state.notes["prediction_id"] = request.path_params["name"]
        return PlainTextResponse("here")

    watcher = instrument()
    app = Starlette(routes=[Route("/items/{name}", item)])
    app.add_middleware(Watched, instrument=watcher)
    with caplog.at_level(logging.INFO, "monitoring_pipeline.serve.instrument.requests"), listening(app) as port:
        for path in ("/items/a1", "/items/b2", "/etc/passwd", "/wp-admin"):
            port.ask("GET", path)
    text = watcher.metrics.text()
    assert 'serving_requests_total{endpoint="/items/{name}",status="200"} 2' in text
    assert 'serving_requests_total{endpoint="unmatched",status="404"} 2' in text
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name.endswith(".requests")]
    assert [line.get("prediction_id") for line in lines] == ["a1", "b2", None, None]
    assert [(line["status"], line["at"]) for line in lines] == [
        (code, NOW.isoformat()) for code in (200, 200, 404, 404)
    ]
