"""A Message as Slack Block Kit: header, facts, likely causes, top bins, what to do next.

Add a block here. Keep sending out: it belongs in channels/slack.py.
"""

import re
from typing import Any

from monitoring_pipeline.notify.messages import Message

# Block Kit refuses a whole message when one text is longer than this.
HEADER_LIMIT, FIELD_LIMIT, SECTION_LIMIT, FIELDS, ELEMENTS = 150, 2000, 3000, 10, 10

_BROADCAST = re.compile(r"@(?=(?:channel|here|everyone|group)\b)", re.IGNORECASE)
_CUT_ENTITY = re.compile(r"&[a-z]{0,3}$")
_SYMBOLS = {"critical": "🔴", "warning": "🟠", "info": "🔵", "acknowledged": "👀", "resolved": "🟢"}
_MEMBER = re.compile(r"slack:([UW][A-Z0-9]+)")
"""A contact that is a member of Slack is mentioned, so that their phone rings."""


def blocks_of(message: Message) -> list[dict[str, Any]]:
    """Return the message's blocks."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "emoji": False, "text": _headline(message)}},
        {"type": "section", "fields": [_markup(_fact(*fact), FIELD_LIMIT) for fact in message.facts[:FIELDS]]},
    ]
    if message.causes:
        lines = "\n".join(f"{rank}. {escaped(cause, 500)}" for rank, cause in enumerate(message.causes[:5], 1))
        blocks.append({"type": "section", "text": _markup(f"*Likely causes*\n{lines}", SECTION_LIMIT)})
    if message.top_bins:
        lines = "\n".join(f"• {escaped(line, 250)}" for line in message.top_bins)
        blocks.append({"type": "section", "text": _markup(f"*Top bins*\n{lines}", SECTION_LIMIT)})
    sentences = [f"*{name}*: {escaped(text, 700)}" for name, text in message.closing() if name in ("Why", "Next")]
    if sentences:
        blocks.append({"type": "section", "text": _markup("\n".join(sentences), SECTION_LIMIT)})
    blocks.append({"type": "context", "elements": [_markup(line, FIELD_LIMIT) for line in _small_print(message)]})
    return blocks


def fallback_of(message: Message) -> str:
    """Return the one line shown in a notification, where blocks are not."""
    return escaped(message.title, 1000)


def escaped(text: str, limit: int) -> str:
    """Return `text` so that Slack shows it and obeys none of it: no mention, no link, at most `limit` characters.

    Slack reads &, < and > as markup; a zero-width space inside "@channel" and its kin keeps them words.
    """
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    safe = _BROADCAST.sub("@\u200b", safe)
    return safe if len(safe) <= limit else _CUT_ENTITY.sub("", safe[: limit - 1]) + "…"


def _headline(message: Message) -> str:
    state = message.step if message.step == "acknowledged" else message.severity
    symbol = _SYMBOLS.get("resolved" if message.status == "resolved" else state, "⚪")
    return f"{symbol} {escaped(message.title, HEADER_LIMIT - 2)}"


def _fact(name: str, value: str) -> str:
    return f"*{escaped(name, 100)}*\n{escaped(value, FIELD_LIMIT - 200)}"


def _small_print(message: Message) -> list[str]:
    people = [_MEMBER.sub(r"<@\1>", escaped(contact, 100)) for contact in message.to[:10]]
    lines = [
        "For " + ", ".join(people) if people else "",
        f"Owner: {escaped(message.owner, 200)}" if message.owner else "",
        _link("Runbook", message.runbook),
        *(_link(label, address) for label, address in message.links[:5]),
        escaped(f"{message.incident_id} · {message.hour}", 700),
    ]
    return [line for line in lines if line][:ELEMENTS]


def _link(label: str, address: str) -> str:
    # Only an address can be a link: "|" would end it early, anything but http could run.
    if not re.fullmatch(r"https?://[^\s|<>]+", address):
        return escaped(address, 500)
    return f"<{escaped(address, 1500)}|{escaped(label, 100)}>"


def _markup(text: str, limit: int) -> dict[str, Any]:
    # verbatim: Slack must not turn what looks like an address or a channel into a link of its own.
    return {"type": "mrkdwn", "verbatim": True, "text": text[:limit]}
