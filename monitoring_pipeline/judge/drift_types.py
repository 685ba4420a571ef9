"""What kind of drift it is: the verdicts of one hour read together, with the manner and the time it began.

Add a type to `DriftType` and its row to `diagnose_drift`. Keep thresholds out, verdicts arrive judged; keep what to do
about a drift out, it belongs in rules and triggers.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

import numpy as np

from monitoring_pipeline.capture.windows import HOUR, window_length
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, LOWER_IS_BETTER
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.stats.change_points import FEWEST_HOURS, DriftPattern, name_pattern

PRIOR_CHANGE = 0.2
"""The share of positives moved when its whole interval is this share of the rarer class away from the baseline."""

ERROR_SERIES = (
    *("performance.brier", "performance.log_loss", "performance.mae", "performance.ndcg_at_k"),
    *("performance.accuracy", "concept.ewma"),
)
"""Whose history shows the manner of a concept drift; a CUSUM climbs steadily after a sudden step."""

SeriesKey = tuple[str, str, str, str]
History = Mapping[SeriesKey, Mapping[datetime, float]]
"""Known values of past hours by metric, column, baseline and window name; of segments there are none."""

Span = tuple[datetime, datetime]
EVER: Span = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class DriftType(StrEnum):
    """What has moved, in the terms of the joint distribution of inputs X and outcome Y."""

    COVARIATE = "covariate"  # P(X)
    PRIOR = "prior"  # P(Y)
    CONCEPT = "concept"  # P(Y given X): the same model errs more
    PREDICTION = "prediction"  # scores or predicted classes
    VIRTUAL = "virtual"  # P(X), with predictions, outcomes and performance known not to have moved
    NONE = "none"  # everything is known and nothing has moved
    UNKNOWN = "unknown"  # nothing known has moved, but not everything is known


@dataclass(frozen=True, slots=True)
class DriftDiagnosis:
    """One type of drift that holds, why, since when, in which manner, and how sure that is (0 to 1)."""

    type: DriftType
    pattern: DriftPattern
    confidence: float
    evidence: tuple[str, ...]
    started_at: datetime | None = None

    @property
    def benign(self) -> bool:
        """Whether severity may go down; what is not known is never benign."""
        return self.type is DriftType.VIRTUAL


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the verdicts on one thing say: it moved, did not (every part of it is known), or is not known."""

    name: str
    moved: bool
    known: int
    asked: int
    missing: tuple[str, ...] = ()
    deciding: Verdict | None = None
    strength: float = 0.0

    @property
    def unmoved(self) -> bool:
        return not self.moved and 0 < self.asked == self.known

    @property
    def sentence(self) -> str:
        if self.moved and self.deciding is not None:
            signal = self.deciding.signal
            column = f" of {signal.column}" if signal.column else ""
            return f"{self.name} moved: {signal.metric}{column} over {signal.window}: {self.deciding.reason}"
        if self.unmoved:
            return f"{self.name} did not move: {self.known} of {self.asked} known, all within their thresholds"
        without = f", without {', '.join(self.missing[:3])}" if self.missing else ""
        return f"{self.name} not known: {self.known} of {self.asked} known{without}"


def diagnose_drift(
    verdicts: Sequence[Verdict], history: History, *, outputs: Collection[str], seen: Span = EVER
) -> list[DriftDiagnosis]:
    """Return the types of drift that the verdicts on one version in one hour show; several may hold at once.

    `outputs` names the columns with the score and the predicted class; drift of any other column is drift of an input.
    Of the history only the hours from the first to the last of `seen` count. What is unknown never counts as unmoved.
    """
    parts: dict[str, dict[str, list[Verdict]]] = {"inputs": {}, "predictions": {}, "outcomes": {}, "errors": {}}
    for verdict in verdicts:
        if (place := _place(verdict, outputs)) is not None:
            parts[place[0]].setdefault(place[1], []).append(verdict)
    inputs, predictions, outcomes, errors = findings = [_finding(name, part) for name, part in parts.items()]
    diagnosis = partial(_diagnosis, history=history, seen=seen)
    harmless = predictions.unmoved and outcomes.unmoved and errors.unmoved
    found = []
    if inputs.moved and harmless:
        found.append(diagnosis(DriftType.VIRTUAL, inputs, findings))
    elif inputs.moved:
        found.append(diagnosis(DriftType.COVARIATE, inputs, [inputs]))
    if outcomes.moved:
        found.append(diagnosis(DriftType.PRIOR, outcomes, [outcomes]))
    if errors.moved:
        found.append(diagnosis(DriftType.CONCEPT, errors, [errors, inputs]))
    if predictions.moved:
        found.append(diagnosis(DriftType.PREDICTION, predictions, [predictions]))
    if found:
        return found
    everything = all(finding.unmoved for finding in findings)
    known, asked = (sum(getattr(finding, name) for finding in findings) for name in ("known", "asked"))
    sentences = tuple(finding.sentence for finding in findings)
    confidence = f"confidence {1.0 if everything else 0.0}: {known} of {asked} signals are known"
    kind = DriftType.NONE if everything else DriftType.UNKNOWN
    return [DriftDiagnosis(kind, DriftPattern.NONE, 1.0 if everything else 0.0, (*sentences, confidence))]


def _place(verdict: Verdict, outputs: Collection[str]) -> tuple[str, str] | None:
    """Return what a verdict says something of, and which part of it; None for a metric that no type rests on."""
    signal = verdict.signal
    report, _, name = signal.metric.partition(".")
    if signal.segment or signal.metric == DRIFTED_SHARE:
        return None  # a part of the rows, or a sum of verdicts that are here themselves
    if signal.metric == "performance.positive_rate":
        return "outcomes", "the share of positives"
    if verdict.threshold is None and verdict.level is Level.OK:
        return None  # informational
    if report in ("drift", "multivariate"):
        return ("predictions" if signal.column in outputs else "inputs"), signal.column or report
    if report == "concept" or (report == "performance" and name in HIGHER_IS_BETTER | LOWER_IS_BETTER):
        return "errors", report
    return None


def _finding(name: str, parts: Mapping[str, Sequence[Verdict]]) -> _Finding:
    """Return what is known of one thing: a part of it is known when one of its windows and metrics is."""
    read = _prior if name == "outcomes" else lambda verdict: verdict
    judged = {part: [read(verdict) for verdict in entries] for part, entries in parts.items()}
    missing = tuple(part for part, entries in judged.items() if all(v.level is Level.UNKNOWN for v in entries))
    known = len(judged) - len(missing)
    moved = [v for entries in judged.values() for v in entries if v.level.rank > 0]
    if not moved:
        return _Finding(name, False, known, len(judged), missing)
    deciding = max(moved, key=lambda verdict: (verdict.level.rank, _strength(verdict)))
    return _Finding(name, True, known, len(judged), missing, deciding, _strength(deciding))


def _prior(verdict: Verdict) -> Verdict:
    """Return the verdict on the share of positives, which has no threshold of its own: against its baseline."""
    signal = verdict.signal
    value, low, high, expected = signal.value, signal.low, signal.high, signal.baseline_value
    if value is None or low is None or high is None or expected is None:
        return Verdict(signal, Level.UNKNOWN, None, "none", signal.reason or "no baseline to compare with")
    distance = PRIOR_CHANGE * min(expected, 1 - expected)
    beyond = max(low - (expected + distance), (expected - distance) - high) > 0
    reason = f"{value:.4g} ({low:.4g} to {high:.4g}) against {expected:.4g} at the baseline"
    limit = expected + distance if value > expected else expected - distance
    return Verdict(signal, Level.WARNING if beyond else Level.OK, limit, "baseline", reason)


def _strength(verdict: Verdict) -> float:
    """Return how many times the threshold the value is, on whichever side of it is bad; 1 where that says nothing."""
    value, threshold = verdict.signal.value, verdict.threshold
    if value is None or threshold is None or value <= 0 or threshold <= 0:
        return 1.0
    return float(max(value / threshold, threshold / value))


def _diagnosis(
    kind: DriftType, moved: _Finding, needed: Sequence[_Finding], history: History, seen: Span
) -> DriftDiagnosis:
    """Return a diagnosis: its confidence is the known share of what it needs, halved at the very threshold."""
    clear = [finding for finding in needed if finding is moved or finding.unmoved or kind is DriftType.VIRTUAL]
    share = float(np.mean([finding.known / finding.asked if finding in clear else 0.0 for finding in needed]))
    confidence = share * (0.5 + 0.5 * min(moved.strength - 1, 1.0))
    sentences = [finding.sentence for finding in needed]
    if kind is DriftType.CONCEPT and needed[1].moved:
        sentences.append("the inputs moved as well, so the errors may come from rows unlike those it was trained on")
    sentences.append(
        f"confidence {confidence:.2f}: {share:.0%} of what this type rests on is known and fits, the deciding value is "
        f"{moved.strength:.2f} times its threshold (full at 2)"
    )
    pattern, started_at = _course(kind, moved, history, seen)
    return DriftDiagnosis(kind, pattern, confidence, tuple(sentences), started_at)


def _course(kind: DriftType, moved: _Finding, history: History, seen: Span) -> tuple[DriftPattern, datetime | None]:
    """Return the manner of a drift and when it began, as far as the history of its deciding signal tells."""
    assert moved.deciding is not None
    signal = moved.deciding.signal
    names = ERROR_SERIES if kind is DriftType.CONCEPT else ()
    places = [(metric, "", signal.baseline) for metric in names] + [(signal.metric, signal.column, signal.baseline)]
    series = _series(places, history, seen)
    pattern, started_at = DriftPattern.NONE, None
    if series is not None:
        hours, values, length = series
        named = name_pattern(values)
        pattern = named.pattern
        started_at = None if named.index is None else hours[named.index] + HOUR - length * HOUR
    if isinstance(began := signal.detail.get("began"), str):
        started_at = datetime.fromisoformat(began)
    return pattern, started_at


def _series(
    places: Sequence[tuple[str, str, str]], history: History, seen: Span
) -> tuple[list[datetime], list[float], int] | None:
    """Return hours, values and window of the first series long enough, of its shortest window.

    Windows that overlap turn every step into a ramp, so of a longer window only each one beside the last is taken.
    """
    for place in places:
        windows = sorted({key[3] for key in history if key[:3] == place}, key=window_length)
        for window in windows:
            known = {at: value for at, value in history[*place, window].items() if seen[0] <= at <= seen[1]}
            length = round(window_length(window) / HOUR)
            reach = round((max(known) - min(known)) / HOUR) if known else 0
            hours = [max(known) - back * HOUR for back in range(0, reach + 1, length)][::-1] if known else []
            values = [known.get(hour, np.nan) for hour in hours]
            if np.isfinite(values).sum() >= FEWEST_HOURS:
                return hours, values, length
    return None
