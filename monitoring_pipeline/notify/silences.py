"""The Silence: a person's word that some incidents are not to be told of until a moment.

Add a label that can be matched to LABELS. Keep out what a silenced incident does meanwhile: it belongs in stages.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring_pipeline.notify.patterns import matches, parse_pattern

LABELS = ("model", "rule", "severity", "column", "kind", "sev")
LONGEST_SILENCE = timedelta(days=30)
MOST_MATCHERS = 10

_MATCHER = re.compile(
    r"\s*(?P<label>\w+)\s*(?P<sign>=~|!~|!=|=)\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"\s*|(?P<plain>[^\",]*))", re.DOTALL
)
_LENGTH = re.compile(r"([1-9]\d{0,3})([mhdw])")


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label, as Alertmanager writes it: `=`, `!=`, `=~`, `!~`; a missing label is empty."""

    label: str
    sign: str
    value: str

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether an incident is meant; of one with several columns every one has to be."""
        found = labels.get(self.label, "")
        return all(map(self._of, found.split(",") if self.label == "column" else [found]))

    def _of(self, value: str) -> bool:
        same = matches(self.value, value) if self.sign.endswith("~") else value == self.value
        return same is not self.sign.startswith("!")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.label}{self.sign}"{escaped}"'


@dataclass(frozen=True, slots=True)
class Silence:
    """Incidents that all `matchers` mean are not told of in [starts_at, ends_at)."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str

    def as_texts(self) -> tuple[str, ...]:
        """Return the matchers as text, one each."""
        return tuple(map(str, self.matchers))

    @classmethod
    def from_texts(cls, *, matchers: Iterable[str], **rest: Any) -> "Silence":
        """Return the silence with the matchers of `as_texts`."""
        return cls(matchers=tuple(matcher for text in matchers for matcher in _matchers(text)), **rest)


def silencing(silences: Iterable[Silence], labels: Mapping[str, str], now: datetime) -> Silence | None:
    """Return the silence that holds longest of those an incident with these labels falls under at `now`."""
    current = [silence for silence in silences if silence.starts_at <= now < silence.ends_at]
    meant = (silence for silence in current if all(matcher.holds(labels) for matcher in silence.matchers))
    return max(meant, key=lambda silence: silence.ends_at, default=None)


def silence_of(
    id: str,  # noqa: A002 - the name of the field
    matchers: str,
    *,
    until: str,
    author: str,
    comment: str,
    now: datetime,
    longest: timedelta = LONGEST_SILENCE,
) -> Silence:
    """Return a silence from now on; raises ValueError with what to write instead."""
    asked, ends_at = parse_matchers(matchers), parse_until(until, now)
    if ends_at <= now:
        raise ValueError(f"until {ends_at:%Y-%m-%d %H:%M}Z is over: name a moment after {now:%Y-%m-%d %H:%M}Z")
    if ends_at - now > longest:
        raise ValueError(
            f"until {ends_at:%Y-%m-%d %H:%M}Z is further off than {longest.days} days: silence it again then"
        )
    return Silence(id, asked, now, ends_at, author, comment)


def ended(silence: Silence, now: datetime) -> Silence:
    """Return a silence that is over at `now` at the latest."""
    return replace(silence, ends_at=max(silence.starts_at, min(silence.ends_at, now)))


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of `model=churn, rule=~"drift.*"`; raises ValueError.

    Values with a comma or a quotation mark stand in quotation marks. Together they must leave something out.
    """
    found = _matchers(text)
    if len(found) > MOST_MATCHERS:
        raise ValueError(f"found {len(found)} matchers, needed at most {MOST_MATCHERS}")
    if all(matcher.holds({}) for matcher in found):
        raise ValueError(
            f"{written(found)} would silence what it does not name: add what is meant, such as model=churn"
        )
    return found


def _matchers(text: str) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    end = 0
    while end < len(text) or not found:
        matcher = _MATCHER.match(text, end)
        if matcher is None or text[matcher.end() : matcher.end() + 1] not in ("", ","):
            needed = 'needed a label, one of = != =~ !~, and a value: model=churn, rule=~"drift.*"'
            raise ValueError(f"found {text[end : end + 40]!r}, {needed}")
        found.append(_checked(matcher))
        end = matcher.end() + 1
    return tuple(found)


def _checked(found: re.Match[str]) -> Matcher:
    if found["label"] not in LABELS:
        raise ValueError(f"{found['label']!r} is not a label: choose from {', '.join(LABELS)}")
    plain = found["plain"]
    value = re.sub(r"\\(.)", r"\1", found["quoted"], flags=re.S) if plain is None else plain.strip()
    if found["sign"].endswith("~"):
        parse_pattern(value)
    return Matcher(found["label"], found["sign"], value)


def written(matchers: Iterable[Matcher]) -> str:
    """Return matchers as text that `parse_matchers` reads."""
    return ", ".join(map(str, matchers))


def parse_until(text: str, now: datetime) -> datetime:
    """Return the moment that `4h` from now, or a time such as `2026-03-09T18:00Z`, names; raises ValueError."""
    if (length := _LENGTH.fullmatch(text.strip())) is not None:
        return now + int(length[1]) * timedelta(minutes={"m": 1, "h": 60, "d": 1440, "w": 10080}[length[2]])
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"found {text!r:.60}, needed a length (30m, 4h, 7d) or a time with its zone (2026-03-09T18:00Z)")
