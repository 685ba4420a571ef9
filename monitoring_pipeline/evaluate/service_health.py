"""Health of the services a deployment needs: what asking one of them gave, as signals.

Add a fact about a service to `Probe` with a signal in `health_signals`. Keep the asking out: it belongs in stores; keep
limits out: they belong in judge.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitoring_pipeline.evaluate.signals import Absence, Signal

DEPLOYMENT = "deployment"
"""What stands for the model in signals of services: they belong to no one model."""

SLOT = timedelta(minutes=5)
"""How often services are asked."""

VERSIONS_KEPT = 50
"""Versions whose canary output is remembered: enough to know one again that is rolled back to."""

Output = bool | float | str


@dataclass(frozen=True, slots=True)
class Canary:
    """A request whose answer is known. `output` and `version` are JSON pointers into the answer.

    Without a `version` pointer the version is what the service's health answer says.
    """

    name: str
    path: str
    request: object
    output: str
    expected: Output
    tolerance: float = 1e-6
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A service with an HTTP address; `expect` is what its health answer must hold, by JSON pointer.

    The version stands in the health answer (`version`, a JSON pointer) or is the whole answer of `version_path`; that
    there is none is a problem only where it is `version_needed`.
    `token_env` names the variable with its bearer token.
    """

    name: str
    url: str
    health: str = "/health"
    version: str | None = None
    version_needed: bool = False
    version_path: str | None = None
    expect: Mapping[str, Output] = field(default_factory=dict)
    token_env: str | None = None
    canaries: tuple[Canary, ...] = ()


@dataclass(frozen=True, slots=True)
class CanaryAnswer:
    """What one canary request gave: the output and the version that made it, or a problem in one sentence."""

    name: str
    output: Output | None = None
    version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What asking one service once gave; `problem` is one sentence, "" where the service said that it is well.

    `behind` is how many hours each monitor is behind, None where it has not judged any hour yet.
    """

    service: str
    latency_ms: float | None = None
    version: str = ""
    problem: str = ""
    canaries: tuple[CanaryAnswer, ...] = ()
    behind: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownOutput:
    """The output a version gave to a canary, and since when that is known."""

    version: str
    output: Output
    learnt_at: datetime


@dataclass(frozen=True, slots=True)
class CanaryRecord:
    """What is known of one canary: the output that was configured, then what each version first gave, oldest first."""

    configured: Output
    known: tuple[KnownOutput, ...] = ()


@dataclass(frozen=True, slots=True)
class CanaryCheck:
    """How far an output is from what is known (None: there is none), why in words, and what is known after it."""

    error: float | None
    reason: str
    record: CanaryRecord
    learnt: bool = False


def check_canary(canary: Canary, answer: CanaryAnswer, record: CanaryRecord | None, *, at: datetime) -> CanaryCheck:
    """Return how an answer compares with what the same version gave before.

    The first version is held against the configured output; another version's first output is learnt, because a new
    model may answer differently. One that comes back must give what it gave. A new configured output starts anew.
    """
    if record is None or record.configured != canary.expected:
        record = CanaryRecord(canary.expected)
    if answer.problem:
        return CanaryCheck(None, answer.problem, record)
    output, version = answer.output, answer.version
    if output is None or not _comparable(output, canary.expected):
        found, needed = type(output).__name__, type(canary.expected).__name__
        problem = f"canary {canary.name} gave {output!r} ({found}) where {canary.expected!r} ({needed}) is known"
        return CanaryCheck(None, f"{problem}. Look at what the service answers at {canary.path}.", record)
    by_version = {entry.version: entry.output for entry in record.known}
    kept = (*record.known, KnownOutput(version, output, at))[-VERSIONS_KEPT:]
    if version and by_version and version not in by_version:
        before = record.known[-1]
        reason = f"canary {canary.name}: version {version} gives {output!r}, version {before.version} gave "
        return CanaryCheck(0.0, f"{reason}{before.output!r}; learnt", CanaryRecord(record.configured, kept), True)
    expected = by_version.get(version, record.configured)
    error = _distance(output, expected)
    who = f"version {version}" if version else "the service, which names no version,"
    if error > canary.tolerance:
        since = "gave before" if version in by_version else "is configured for it"
        reason = f"canary {canary.name}: {who} gives {output!r} where {expected!r} {since}"
        fix = "Find out what was replaced without a new version, or correct expected: in the services file."
        return CanaryCheck(error, f"{reason}. {fix}", record)
    known = record if version in by_version else CanaryRecord(record.configured, kept)
    return CanaryCheck(error, f"canary {canary.name}: {who} gives {output!r} as before", known)


def health_signals(probe: Probe, checks: Mapping[str, CanaryCheck], *, slot: datetime) -> list[Signal]:
    """Return the signals of one service and five minutes; `checks` are those of its canaries, by name."""
    return list(_signals(probe, checks, slot))


def _signals(probe: Probe, checks: Mapping[str, CanaryCheck], slot: datetime) -> Iterator[Signal]:
    def signal(metric: str, value: float | None, reason: str, unit: str = "1", segment: str = "") -> Signal:
        return Signal(
            metric=f"health.{metric}",
            model=DEPLOYMENT,
            version=probe.version,
            window_start=slot,
            window_end=slot + SLOT,
            value=value,
            absence=Absence.FAILED if value is None else None,
            reason=reason,
            unit=unit,
            rows=1,
            column=probe.service,
            segment=segment,
            baseline="",
            span="5m",
        )

    yield signal("reachable", float(not probe.problem), probe.problem or f"{probe.service} is well")
    answered = f"{probe.service} gave no answer to time"
    if probe.latency_ms is not None:
        answered = f"{probe.service} answered within {probe.latency_ms:.0f} ms"
    yield signal("latency_ms", probe.latency_ms, answered, "ms")
    for name, check in checks.items():
        yield signal("canary_error", check.error, check.reason, segment=name)
    for model, behind in probe.behind.items():
        if behind is not None:
            reason = f"the newest judged hour of {model} is {behind:g} h behind"
            yield signal("hours_behind", behind, reason, "h", segment=model)


def at_pointer(document: object, pointer: str) -> object:
    """Return what a JSON pointer (RFC 6901) leads to; raises LookupError where it leads nowhere."""
    found = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise LookupError(pointer)
    return found


def _comparable(output: Output, expected: Output) -> bool:
    if _is_number(expected):
        return _is_number(output) and math.isfinite(output)  # type: ignore[arg-type]  # a number by the line above
    return type(output) is type(expected)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distance(output: Output, expected: Output) -> float:
    if isinstance(output, str) or isinstance(expected, str):
        return float(output != expected)
    return abs(float(output) - float(expected))
