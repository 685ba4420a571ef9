"""Why it is bad: the candidate causes of what one model shows in an hour, held against each other and ranked.

Add what all causes have in common here. Keep the causes themselves out: they are rows of candidate_causes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.candidate_causes import CANDIDATES, Candidate, Kind
from monitoring_pipeline.judge.cause_findings import Finding
from monitoring_pipeline.judge.drift_types import DriftDiagnosis, DriftType, History
from monitoring_pipeline.judge.recorded_facts import RECENT, Change, Facts
from monitoring_pipeline.judge.verdicts import Verdict

LESS = 0.4
"""What is left of the confidence in a cause that another one explains, or that does not show in what alarmed."""

FAINT = 0.05
"""Causes less likely than this are not told."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One possible cause: how likely (0 to 1), since when, by what recorded facts, and what to do about it."""

    name: str
    kind: Kind
    confidence: float
    since: datetime | None
    evidence: tuple[str, ...]
    actions: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """Return the cause as JSON holds it."""
        lists = {"evidence": list(self.evidence), "actions": list(self.actions)}
        since = None if self.since is None else self.since.isoformat()
        return {"name": self.name, "kind": self.kind, "confidence": self.confidence, "since": since} | lists

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Cause":
        """Return the cause that a record holds."""
        lists = {name: tuple(record[name]) for name in ("evidence", "actions")}
        since = None if record["since"] is None else datetime.fromisoformat(record["since"])
        return cls(**{**record, **lists, "since": since})


def rank_causes(
    verdicts_by_hour: Mapping[datetime, Sequence[Verdict]],
    diagnoses: Mapping[datetime, Sequence[DriftDiagnosis]],
    changes: Sequence[Change],
    *,
    hour: datetime,
    outputs: Collection[str],
    history: History | None = None,
    alarmed: Collection[str] = (),
) -> list[Cause]:
    """Return the causes that the record up to `hour` speaks for, the likeliest first.

    `verdicts_by_hour` are those on the version that served, as `Facts` wants them. `outputs` names the columns with the
    score and the predicted class. `history` holds past values, for when a level changed. `alarmed` names the metrics
    that raised the alarm: what cannot show itself in any of them comes after what can.
    """
    diagnosed = newest_diagnosis(diagnoses, hour)
    known = sorted((change for change in changes if change.at < hour + HOUR), key=lambda change: change.at)
    types = {each.type: each for each in diagnoses[diagnosed]} if diagnosed is not None else {}
    facts = Facts(hour, verdicts_by_hour, diagnosed, types, known, outputs, history or {})
    found = {each.name: finding for each in CANDIDATES if (finding := each.find(facts)) is not None}
    causes = [_cause(each, found, alarmed) for each in CANDIDATES if each.name in found]
    return sorted((cause for cause in causes if cause.confidence >= FAINT), key=lambda cause: -cause.confidence)


def newest_diagnosis(diagnoses: Mapping[datetime, Sequence[DriftDiagnosis]], hour: datetime) -> datetime | None:
    """Return the newest hour of the last day in which it was known whether anything drifts."""
    known = (at for at, found in diagnoses.items() if any(each.type is not DriftType.UNKNOWN for each in found))
    return max((at for at in known if hour - RECENT < at <= hour), default=None)


def _cause(candidate: Candidate, found: Mapping[str, Finding], alarmed: Collection[str]) -> Cause:
    finding = found[candidate.name]
    confidence, evidence = finding.confidence, list(finding.evidence)
    explaining = [each.name for each in CANDIDATES if candidate.name in each.explains and each.name in found]
    if source := next((name for name in explaining if found[name].explains(finding)), None):
        confidence *= LESS
        evidence.append(f"times {LESS}: {source} explains it")
    if alarmed and not any(metric.startswith(_shown_by(candidate)) for metric in alarmed):
        confidence *= LESS
        evidence.append(f"times {LESS}: it does not show in what alarmed ({', '.join(sorted(alarmed)[:3])})")
    evidence.append(f"altogether {confidence:.2f}")
    separator = ": " if finding.columns is None else ", "
    name = f"{candidate.name}{separator}{finding.what}" if finding.what else candidate.name
    words = {"what": finding.what or "what is affected", "before": finding.before}
    actions = tuple(action.format(**words) for action in candidate.actions)
    return Cause(name, candidate.kind, round(confidence, 4), finding.since, tuple(evidence), actions)


def _shown_by(candidate: Candidate) -> tuple[str, ...]:
    """Return the beginnings of the metrics in which a cause shows itself, or what follows from it does."""
    return candidate.shows + tuple(p for each in CANDIDATES if each.name in candidate.explains for p in each.shows)
