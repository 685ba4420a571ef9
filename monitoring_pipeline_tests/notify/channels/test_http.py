from collections.abc import Callable, Iterator

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline_tests.processes import free_port
from monitoring_pipeline_tests.sinks import Answer, Behaviour, Cut, Hang, HttpSink, http_sink

KEY = "k3y-that-nobody-may-read"


@pytest.fixture(scope="module")
def sink() -> Iterator[HttpSink]:
    with http_sink() as found:
        yield found


def refused(send: Callable[[], object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        send()
    return caught.value


def answered(sink: HttpSink, *behaviours: Behaviour, path: str = "/hooks/in") -> DeliveryError:
    sink.script(*behaviours)
    return refused(lambda: http.post("webhook: i-1", f"{sink.url}{path}", b"{}", secrets=(Credential(KEY),)))


def test_json_arrives_as_it_was_given(sink: HttpSink) -> None:
    http.post("webhook: i-1", f"{sink.url}/hooks/in?a=b", b'{"a": 1}', headers={"X-Own": "yes"})
    posted = sink.received[-1]
    assert (posted.path, posted.json, posted.headers["X-Own"]) == ("/hooks/in?a=b", {"a": 1}, "yes")
    assert posted.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 422])
def test_what_only_a_person_can_mend_is_not_tried_again(sink: HttpSink, status: int) -> None:
    error = answered(sink, Answer(status, "no such\nroute"))
    assert (error.retryable, error.outcome_unknown) == (False, False)
    assert str(error).startswith(f"webhook: i-1: the answer was {status} 'no such route'; correct")


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(sink: HttpSink, status: int) -> None:
    error = answered(sink, Answer(status))
    assert (error.retryable, error.outcome_unknown) == (True, status == 504)


@pytest.mark.parametrize("behaviour", [Hang(), Cut()])
def test_without_an_answer_the_outcome_is_unknown(
    sink: HttpSink, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.2)
    error = answered(sink, behaviour)
    assert (error.retryable, error.outcome_unknown) == (True, True)
    assert "may have been taken" in str(error)


def test_a_server_that_is_not_there_took_nothing() -> None:
    error = refused(lambda: http.post("webhook: i-1", f"http://127.0.0.1:{free_port()}/{KEY}", b"{}"))
    assert (error.retryable, error.outcome_unknown) == (True, False)
    assert KEY not in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(sink: HttpSink, status: int) -> None:
    with http_sink() as elsewhere:
        error = answered(sink, Answer(status, headers={"Location": f"{elsewhere.url}/steal"}))
        assert elsewhere.received == []
    assert not error.retryable


def test_a_success_of_something_else_is_not_believed(sink: HttpSink) -> None:
    error = refused(lambda: http.post("pagerduty: i-1", sink.url, b"{}", accepted=(202,)))
    assert (error.retryable, error.outcome_unknown) == (True, True)


def test_an_error_shows_no_part_of_a_secret_address(sink: HttpSink) -> None:
    path = f"/services/{KEY}/in?token=abcdefgh12345"
    error = answered(sink, Answer(404, f"cannot POST {path} with {KEY}"), path=path)
    assert "cannot POST" in str(error)
    for secret in (KEY, "abcdefgh12345", sink.url):
        assert secret not in str(error)


def test_an_endless_answer_is_read_in_part(sink: HttpSink) -> None:
    assert len(str(answered(sink, Answer(400, "x" * 5_000_000)))) < 600


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("37", 37.0),
        ("1.5", 1.5),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("-3", 0.0),
        (str(10**9), http.LONGEST_WAIT_S),
        ("9" * 400, http.LONGEST_WAIT_S),
        ("Fri, 20 Nov 2026 12:00:42 GMT", 42.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 20 Nov 9999 12:00:00 GMT", http.LONGEST_WAIT_S),
        ("Fri, 99 Nov 2026 12:00:42 GMT", None),
        ("soon", None),
        ("1e5", None),
        ("nan", None),
        ("", None),
    ],
)
def test_every_form_of_retry_after_is_understood(wish: str, seconds: float | None) -> None:
    assert http.retry_after({"retry-After": wish, "Date": "Fri, 20 Nov 2026 12:00:00 GMT"}) == seconds


def test_without_a_clock_to_count_from_a_date_says_nothing() -> None:
    assert http.retry_after({"Retry-After": "Fri, 20 Nov 2026 12:00:42 GMT"}) is None
    assert http.retry_after({}) is None


def test_a_wish_reaches_the_error(sink: HttpSink) -> None:
    assert answered(sink, Answer(429, headers={"Retry-After": "37"})).retry_after == 37.0


@pytest.mark.parametrize(
    "url",
    ["https://a.example/x", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:9/x", "https://[::1]/"],
)
def test_safe_addresses_are_posted_to(url: str) -> None:
    assert http.not_safe(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/x",
        "http://alertmanager:9093",
        "http://127.0.0.1.evil.example/",
        "ftp://a.example/x",
        "file:///etc/passwd",
        "https://",
        "https://u:p@a.example/x",
        "https://a.example/x\r\nHost: b",
        "https://a.example/a b",
        "https://ä.example/",
        "https://a.example:port/",
        "https://[a/",
        "hooks/x",
        "",
    ],
)
def test_unsafe_addresses_are_not(url: str) -> None:
    assert http.not_safe(url)


def test_inside_a_private_network_a_service_has_a_one_word_name() -> None:
    assert http.not_safe("http://alertmanager:9093", inside=True) == ""
    assert http.not_safe("http://alertmanager.example:9093", inside=True)
