import base64
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.channels.email import EmailChannel
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.processes import free_port
from monitoring_pipeline_tests.sinks import CUT, HANG, Mail, SmtpSink, certificate_for_loopback, smtp_sink
from monitoring_pipeline_tests.told import ATTACK, ESCALATED, HOSTILE, MESSAGES, OPENED, RESOLVED

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSWORD = "correct-horse"
TEAM = ("ana@example.com", "bo@example.com")


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with smtp_sink() as found:
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_for_loopback(tmp_path_factory.mktemp("tls"))


def channel(port: int, **options: Any) -> EmailChannel:
    options = {"sender": "monitor@example.com", "recipients": TEAM, "security": "none", **options}
    return EmailChannel("127.0.0.1", port, clock=lambda: NOW, **options)


def refused(port: int, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel(port, **options).send(OPENED, dedup_key="incident/opened")
    return caught.value


def shown(mail: Mail) -> str:
    """Return a mail as a reader shows it."""
    headers = [f"{name}: {value}" for name, value in mail.message.items() if not name.startswith(("Content", "MIME"))]
    return "\n".join([*headers, "", mail.part("plain"), mail.part("html")])


@pytest.mark.parametrize("name", MESSAGES)
def test_the_mail_is_the_one_that_was_read_and_found_good(sink: SmtpSink, name: str) -> None:
    thread = None if name in ("opened", "hostile") else "<first@example.com>"
    channel(sink.port).send(MESSAGES[name], dedup_key=f"incident/{name}", thread=thread)
    assert_golden(f"{name}_email.txt", shown(sink.mails[0]))


def test_a_digest_is_one_mail_with_a_line_for_each_message(sink: SmtpSink) -> None:
    messages = [replace(OPENED, severity="info"), replace(HOSTILE, model="orders"), replace(OPENED, model="<b>")]
    channel(sink.port).send_digest(messages, dedup_key="digest/2026-11-20")
    assert len(sink.mails) == 1
    assert sink.mails[0].part("html").count("</tr>") == 1 + len(messages)
    assert_golden("digest_email.txt", shown(sink.mails[0]))


def test_nothing_in_the_data_adds_a_header_a_recipient_or_markup(sink: SmtpSink) -> None:
    injected = "\r\nBcc: everybody@evil.example"
    message = replace(HOSTILE, title=HOSTILE.title + injected, to=(f"email:a@b.example{injected}", "email:<a@b>"))
    channel(sink.port).send(message, dedup_key=f"incident/hostile{injected}")
    (mail,) = sink.mails
    assert mail.recipients == TEAM
    assert mail.message["Bcc"] is None
    assert ATTACK not in mail.part("html")
    for dangerous in ("<script", "<!channel", 'href="https://evil', 'href="javascript'):
        assert dangerous not in mail.part("html")


def test_later_steps_answer_the_first_mail(sink: SmtpSink) -> None:
    first = channel(sink.port).send(OPENED, dedup_key="incident/opened")
    again = channel(sink.port).send(OPENED, dedup_key="incident/opened")
    later = channel(sink.port).send(RESOLVED, dedup_key="incident/resolved", thread=first)
    opened, repeated, resolved = (mail.message for mail in sink.mails)
    assert first == again == later == opened["Message-ID"] == repeated["Message-ID"]
    assert resolved["Message-ID"] != first
    assert resolved["In-Reply-To"] == resolved["References"] == first


def test_a_thread_that_is_no_mail_is_left_out(sink: SmtpSink) -> None:
    channel(sink.port).send(RESOLVED, dedup_key="k", thread="<a@b>\r\nBcc: everybody@evil.example")
    assert (sink.mails[0].message["In-Reply-To"], sink.mails[0].message["Bcc"]) == (None, None)


def test_whoever_is_on_call_hears_of_it_too(sink: SmtpSink) -> None:
    channel(sink.port).send(replace(ESCALATED, to=(*ESCALATED.to, "email:cy@example.com")), dedup_key="k")
    assert sink.mails[0].recipients == (*TEAM, "cy@example.com")


def test_a_dot_alone_on_a_line_does_not_end_the_mail(sink: SmtpSink) -> None:
    channel(sink.port).send(replace(OPENED, next_step="first\n.\nlast"), dedup_key="k")
    assert "first\n.\nlast" in sink.mails[0].part("plain")


@pytest.mark.parametrize("tls", [False, True])
def test_mail_and_login_go_over_an_encrypted_connection(certificate: Path, tls: bool) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    with smtp_sink(certificate, tls=tls) as sink:
        security = "tls" if tls else "starttls"
        channel(sink.port, security=security, user="me", password=Credential(PASSWORD), context=context).send(
            OPENED, dedup_key="k"
        )
    (mail,) = sink.mails
    assert mail.encrypted
    assert base64.b64decode(mail.login) == b"\0me\0correct-horse"


@pytest.mark.parametrize("tls", [False, True])
def test_nothing_is_said_to_a_server_nobody_vouches_for(certificate: Path, tls: bool) -> None:
    with smtp_sink(certificate, tls=tls) as sink:
        error = refused(sink.port, security="tls" if tls else "starttls", user="me", password=Credential(PASSWORD))
        assert not any(command.startswith(("AUTH", "MAIL")) for command in sink.commands)
    assert (error.retryable, error.outcome_unknown) == (True, False)


def test_nothing_is_said_in_the_clear_where_encryption_was_asked_for(sink: SmtpSink) -> None:
    error = refused(sink.port, security="starttls", user="me", password=Credential(PASSWORD))
    assert not any(command.startswith(("AUTH", "MAIL")) for command in sink.commands)
    assert not error.retryable
    assert "STARTTLS" in str(error)


@pytest.mark.parametrize("verb", ["CONNECT", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize(("code", "retryable"), [("451", True), ("550", False)])
def test_a_refusal_says_whether_it_may_pass(sink: SmtpSink, verb: str, code: str, retryable: bool) -> None:
    sink.script(verb, *[f"{code} not like this"] * len(TEAM))
    error = refused(sink.port)
    assert (error.retryable, error.outcome_unknown) == (retryable, False)
    assert f"the answer was {code} 'not like this'" in str(error)
    assert sink.mails == []


@pytest.mark.parametrize(("code", "retryable"), [("454", True), ("535", False)])
def test_a_refused_login_does_not_show_the_password(sink: SmtpSink, code: str, retryable: bool) -> None:
    encoded = base64.b64encode(f"\0me\0{PASSWORD}".encode()).decode()
    sink.script("AUTH", f"{code} {PASSWORD} {encoded}")
    error = refused(sink.port, user="me", password=Credential(PASSWORD))
    assert error.retryable is retryable
    assert PASSWORD not in str(error)
    assert encoded not in str(error)


@pytest.mark.parametrize("how", [CUT, HANG])
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT"])
def test_a_connection_lost_before_the_mail_took_nothing(
    sink: SmtpSink, verb: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.2)
    sink.script(verb, how)
    error = refused(sink.port)
    assert (error.retryable, error.outcome_unknown, sink.mails) == (True, False, [])


@pytest.mark.parametrize("how", [CUT, HANG])
def test_a_connection_lost_after_the_mail_leaves_the_outcome_unknown(
    sink: SmtpSink, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.2)
    sink.script(".", how)
    error = refused(sink.port)
    assert (error.retryable, error.outcome_unknown, len(sink.mails)) == (True, True, 1)


@pytest.mark.parametrize("how", [CUT, "421 too late"])
def test_a_server_that_says_no_goodbye_has_the_mail(sink: SmtpSink, how: str) -> None:
    sink.script("QUIT", how)
    channel(sink.port).send(OPENED, dedup_key="k")
    assert len(sink.mails) == 1


@pytest.mark.parametrize("code", ["450", "550"])
def test_nobody_waits_for_a_colleague_whose_address_does_not_work(sink: SmtpSink, code: str) -> None:
    sink.script("RCPT", f"{code} no such user")
    error = refused(sink.port)
    assert sink.mails[0].recipients == TEAM[1:]
    assert not error.retryable, "the others would get it again"
    assert f"{TEAM[0]} ({code} no such user)" in str(error)


def test_one_who_may_be_reached_later_is_worth_another_attempt(sink: SmtpSink) -> None:
    sink.script("RCPT", "550 no such user", "450 mailbox is full")
    assert refused(sink.port).retryable


def test_a_server_that_is_not_there_took_nothing() -> None:
    error = refused(free_port())
    assert (error.retryable, error.outcome_unknown) == (True, False)


@pytest.mark.parametrize("options", [{"sender": "me"}, {"recipients": ["a@b\nBcc: c@d"]}, {"recipients": ["a b@c"]}])
def test_what_is_no_address_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        channel(25, **options)


def test_mail_to_another_machine_is_encrypted() -> None:
    with pytest.raises(ValueError, match="is another machine"):
        EmailChannel("mail.example", 25, sender="a@b.example", recipients=TEAM, security="none", clock=lambda: NOW)


def test_the_bytes_on_the_wire_hold_to_the_limits_of_mail(sink: SmtpSink) -> None:
    channel(sink.port).send(replace(OPENED, reason="ä" * 5000, title="ü" * 500), dedup_key="k")
    raw = sink.mails[0].message.as_bytes(policy=default.clone(linesep="\r\n"))
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii()
    assert "ä" * 5000 in sink.mails[0].part("plain")
