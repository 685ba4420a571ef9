"""Posting over HTTP: an answer becomes nothing, or a DeliveryError that says whether trying again can help.

Add what holds for every HTTP channel here. Keep what one service wants and answers out: it belongs in its own file.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.notify.channels.connections import address_of, never_asked, opener
from monitoring_pipeline.notify.messages import one_line

TIMEOUT_S = 10
"""How long a server may say nothing. Far below the lease of a notification, so that nobody else sends it meanwhile."""

LONGEST_ANSWER = 2000
LONGEST_WAIT_S = 86_400.0
PASSING = frozenset({408, 409, 425, 429})
"""Refusals below 500 that a later attempt may not meet."""

_HIDDEN_FROM = 8
"""Parts of an address from this length on may be a key; shorter ones are words such as `alerts`."""


_OPENER = opener()


def post(
    where: str,
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    accepted: Collection[int] = range(200, 300),
    secrets: Sequence[Credential] = (),
) -> None:
    """Post JSON once; raises DeliveryError unless the answer is one of the `accepted`.

    `where` begins the text of the error, which shows neither the address, beyond its host, nor any of the `secrets`.
    """
    sent = {"Content-Type": "application/json", "User-Agent": "monitoring-pipeline", **(headers or {})}
    request = Request(url, body, sent, method="POST")  # noqa: S310 - channels take no address that is not_safe
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            status, fields = answer.status, answer.headers
            text = "" if status in accepted else _beginning(answer)
    except URLError as error:  # the request was not out as a whole
        raise DeliveryError(f"{where}: no connection: {one_line(error.reason)}", retryable=True) from None
    except (OSError, HTTPException) as error:
        problem = f"{where}: no answer ({type(error).__name__}): it may have been taken"
        raise DeliveryError(problem, retryable=True, outcome_unknown=True) from None
    if status not in accepted:
        hidden = {word for each in secrets for word in each.reveal().split()}
        for secret in sorted(hidden | _parts(url), key=len, reverse=True):
            text = text.replace(secret, "***")
        raise refusal(where, status, fields, one_line(text))


def refusal(where: str, status: int, headers: Mapping[str, str], text: str) -> DeliveryError:
    """Return the error that an answer amounts to.

    A gateway that waited in vain (504) may have passed the request on; a success other than the one that was agreed
    on comes from something that is not the service, such as a portal in between.
    """
    odd = 200 <= status < 300
    passing = status >= 500 or status in PASSING or odd
    advice = "it is tried again" if passing else "correct the address or its credentials, then send it again"
    said = f" {text[:300]!r}" if text else ""
    return DeliveryError(
        f"{where}: the answer was {status}{said}; {advice}",
        retryable=passing,
        retry_after=retry_after(headers),
        outcome_unknown=status == 504 or odd,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks to be left alone, at most a day; None where it does not say, or nonsense.

    A date is counted from the answer's own, so that two clocks that differ do no harm.
    """
    fields = {name.lower(): str(value).strip() for name, value in headers.items()}
    wish = fields.get("retry-after", "")
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", wish):
        seconds = float(wish)
    else:
        try:
            seconds = (parsedate_to_datetime(wish) - parsedate_to_datetime(fields.get("date", ""))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def not_safe(url: str, *, inside: bool = False) -> str:
    """Return why an address is not posted to, in words; nothing where it is fine.

    Plain http is fine on loopback and, `inside` a private network, to a service by its one-word name.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "It is not an address: write https://host/path."
    if not url.isascii() or re.search(r"[\s\x00-\x1f\x7f]", url) or not host:
        return "It is not an address: write https://host/path."
    if parts.username is not None or parts.password is not None:
        return "A user or password in an address ends up in logs: leave it out."
    if never_asked(host):
        return "No service has a link-local address: write the name of the one that is meant."
    if parts.scheme == "https" or (parts.scheme == "http" and (loopback(host) or (inside and "." not in host))):
        return ""
    return "An address starts with https://; http:// is for this machine itself."


def loopback(host: str) -> bool:
    """Return whether a host is this machine itself."""
    found = address_of(host)
    return host == "localhost" if found is None else found.is_loopback


def _beginning(answer: HTTPResponse) -> str:
    # What the server said is a courtesy; that it refused is known without it.
    with suppress(OSError, HTTPException, ValueError):
        return answer.read1(LONGEST_ANSWER).decode(errors="replace")
    return ""


def _parts(url: str) -> set[str]:
    path = url.partition("://")[2].partition("/")[2]
    return {url, *(part for part in [path, *re.split(r"[/?&=#]", path)] if len(part) >= _HIDDEN_FROM)}
