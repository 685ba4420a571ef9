"""The e-mail channel: one mail for each message, or one digest of many, over SMTP.

Add a way to log in, or to encrypt, here. Keep the look of a mail out: it belongs in channels/email_pages.py.
"""

import hashlib
import re
import smtplib
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels import http
from monitoring_pipeline.notify.channels.email_pages import digest_of, page_of
from monitoring_pipeline.notify.messages import Message, one_line

Security = Literal["starttls", "tls", "none"]

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""What is taken for an address: nothing in it can end a header or begin another."""


class EmailChannel:
    """Mails from one sender over one server. Without encryption only to this machine itself."""

    name = "email"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        recipients: Sequence[str],
        clock: Callable[[], datetime],
        security: Security = "starttls",
        user: str = "",
        password: Credential | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if security == "none" and not http.loopback(host):
            raise ValueError(f"email: {host} is another machine: set security to starttls or tls.")
        for address in (sender, *recipients):
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"email: {one_line(address)!r} is not an address: write name@host.")
        self._host, self._port, self._security = host, port, security
        self._sender, self._recipients = sender, tuple(recipients)
        self._user, self._password, self._context, self._clock = user, password, context, clock

    def send(self, message: Message, *, dedup_key: str, thread: str | None = None) -> str | None:
        """Mail the message, also to those on call whose contact is an address; later steps answer the first mail."""
        on_call = [contact.removeprefix("email:") for contact in message.to if contact.startswith("email:")]
        mail = self._mail(message.title, dedup_key, [*self._recipients, *filter(ADDRESS.fullmatch, on_call)])
        page = page_of(message)
        mail.set_content(page.text)
        mail.add_alternative(page.html, subtype="html")
        first = thread if thread and re.fullmatch(r"<[!-;=?-~]+>", thread) else None
        if first:
            mail["In-Reply-To"] = mail["References"] = first
        self._hand_over(f"email: {message.incident_id}", mail)
        return first or str(mail["Message-ID"])

    def send_digest(self, messages: Sequence[Message], *, dedup_key: str) -> None:
        """Mail many messages as one, for what nobody has to hear of at once."""
        page = digest_of(messages)
        mail = self._mail(page.subject, dedup_key, self._recipients)
        mail.set_content(page.text)
        mail.add_alternative(page.html, subtype="html")
        self._hand_over(f"email: digest of {len(messages)}", mail)

    def _mail(self, subject: str, dedup_key: str, recipients: Sequence[str]) -> EmailMessage:
        mail = EmailMessage(SMTP)
        mail["Subject"] = one_line(subject)
        mail["From"] = self._sender
        mail["To"] = ", ".join(dict.fromkeys(recipients))
        mail["Date"] = format_datetime(self._clock())
        # The same at every attempt: readers drop a second mail with the id of one they have.
        name = hashlib.sha256(dedup_key.encode()).hexdigest()[:32]
        mail["Message-ID"] = f"<{name}@{self._sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # so that nobody's absence is answered to it
        return mail

    def _hand_over(self, where: str, mail: EmailMessage) -> None:
        where = f"{where}: {self._host}"
        try:
            with closing(self._connected()) as server:
                refused = self._posted(where, server, mail)
                with suppress(OSError):  # the mail is theirs, however they say goodbye
                    server.quit()
        except smtplib.SMTPNotSupportedError as error:
            problem = f"{where}: {one_line(error)} Correct email.security or email.user, then send it again"
            raise DeliveryError(problem, retryable=False) from None
        except smtplib.SMTPAuthenticationError as error:  # its text may repeat what was sent
            raise _refusal(where, error.smtp_code, b"the login was refused") from None
        except smtplib.SMTPResponseException as error:
            raise _refusal(where, error.smtp_code, error.smtp_error) from None
        except OSError as error:  # before anything of the mail was sent
            raise DeliveryError(f"{where}: no connection ({type(error).__name__})", retryable=True) from None
        if refused:
            problem = f"{where}: the others have it, but it was refused for {refused}; correct these addresses"
            raise DeliveryError(problem, retryable=False)

    def _connected(self) -> smtplib.SMTP:
        domain = self._sender.rpartition("@")[2]  # asking the network for this machine's own name can take a minute
        server: smtplib.SMTP
        if self._security == "tls":
            server = smtplib.SMTP_SSL(
                self._host, self._port, domain, timeout=http.TIMEOUT_S, context=self._vouched_for()
            )
        else:
            server = smtplib.SMTP(self._host, self._port, domain, timeout=http.TIMEOUT_S)
        try:
            if self._security == "starttls":
                server.starttls(context=self._vouched_for())
            if self._user:
                server.login(self._user, self._password.reveal() if self._password else "")
        except BaseException:
            server.close()
            raise
        return server

    def _vouched_for(self) -> ssl.SSLContext:
        return self._context or ssl.create_default_context()

    def _posted(self, where: str, server: smtplib.SMTP, mail: EmailMessage) -> str:
        """Return which recipients were refused. Nobody waits for a colleague whose address does not work."""
        server.ehlo_or_helo_if_needed()
        _expect(server.mail(self._sender))
        refused = {}
        recipients = [address.strip() for address in str(mail["To"]).split(",")]
        for address in recipients:
            code, text = server.rcpt(address)
            if code not in (250, 251):
                refused[address] = (code, text)
        if len(refused) == len(recipients):
            # One that may be taken later makes it worth another attempt.
            raise smtplib.SMTPResponseException(*min(refused.values()))
        try:
            code, text = server.data(mail.as_bytes())
        except smtplib.SMTPResponseException:
            raise
        except OSError as error:  # smtplib's own errors are among them
            problem = f"{where}: the connection was lost ({type(error).__name__}): it may have been taken"
            raise DeliveryError(problem, retryable=True, outcome_unknown=True) from None
        _expect((code, text))
        return ", ".join(f"{address} ({code} {_shown(text)})" for address, (code, text) in refused.items())


def _expect(reply: tuple[int, bytes]) -> None:
    if reply[0] != 250:
        raise smtplib.SMTPResponseException(*reply)


def _refusal(where: str, code: int, text: bytes | str) -> DeliveryError:
    passing = not 500 <= code < 600
    advice = "it is tried again" if passing else "correct the server, the sender or the recipients, then send it again"
    return DeliveryError(f"{where}: the answer was {code} {_shown(text)!r}; {advice}", retryable=passing)


def _shown(text: bytes | str) -> str:
    return one_line(text.decode(errors="replace") if isinstance(text, bytes) else text)[:200]
