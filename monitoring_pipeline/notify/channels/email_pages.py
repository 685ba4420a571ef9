"""A Message, or a digest of many, as the text and the HTML of a mail.

Add a part of a mail here, in both forms. Keep sending out: it belongs in channels/email.py.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from monitoring_pipeline.notify.messages import Message

_COLOURS = {"critical": "#c62828", "warning": "#e08600", "info": "#1565c0", "resolved": "#2e7d32"}
_TABLE = '<table cellpadding="4">'


@dataclass(frozen=True, slots=True)
class Page:
    """What a mail says, twice."""

    subject: str
    text: str
    html: str


def page_of(message: Message) -> Page:
    """Return the mail of one message."""
    colour = _COLOURS.get("resolved" if message.status == "resolved" else message.severity, "#555555")
    parts = [
        f'<h2 style="border-left:6px solid {colour};padding-left:10px">{escape(message.title)}</h2>',
        _table(message.facts),
        _list("Likely causes", message.causes, "ol"),
        _list("Top bins", message.top_bins, "ul"),
        _table(message.closing(), {message.runbook, *(address for _, address in message.links)}),
    ]
    return Page(message.title, message.text(), _document(parts))


def digest_of(messages: Sequence[Message]) -> Page:
    """Return the mail of many messages: how many there are of each model, then a line of each."""
    models = Counter(message.model for message in messages)
    notices = "1 notice" if len(messages) == 1 else f"{len(messages)} notices"
    subject = f"{notices} of {', '.join(models) if len(models) <= 3 else f'{len(models)} models'}"
    text = [subject, *(f"  {message.hour}  {message.title}: {message.reason}" for message in messages)]
    head = "".join(f"<th>{name}</th>" for name in ("Hour", "Model", "What", "Why"))
    rows = [(message.hour, message.model, message.title, message.reason) for message in messages]
    parts = [f"<h2>{escape(subject)}</h2>", f"{_TABLE}<tr>{head}</tr>\n{''.join(map(_row, rows))}</table>"]
    return Page(subject, "\n".join(text) + "\n", _document(parts))


def _document(parts: Iterable[str]) -> str:
    body = "\n".join(part for part in parts if part)
    return f'<!DOCTYPE html>\n<html><body style="font-family:sans-serif">\n{body}\n</body></html>\n'


def _table(pairs: Sequence[tuple[str, str]], addresses: Collection[str] = ()) -> str:
    return f"{_TABLE}{''.join(_row(pair, addresses) for pair in pairs)}</table>" if pairs else ""


def _row(cells: Sequence[str], addresses: Collection[str] = ()) -> str:
    return "<tr>" + "".join(f"<td>{_linked(cell, addresses)}</td>" for cell in cells) + "</tr>\n"


def _list(title: str, lines: Sequence[str], kind: str) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h3>{title}</h3><{kind}>{items}</{kind}>" if lines else ""


def _linked(text: str, addresses: Collection[str]) -> str:
    # Addresses that come from data are shown, never linked; anything but http could run.
    safe = escape(text)
    return f'<a href="{safe}">{safe}</a>' if text in addresses and re.fullmatch(r"https?://\S+", text) else safe
