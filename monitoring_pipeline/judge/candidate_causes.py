"""The decision tree of root causes: one row per cause, from the source of the data down to the labels.

A row says how the cause is found in the recorded facts, in which metrics it shows itself, what it explains, and what to
do. Add a cause as one more row, with its function above. Keep out how causes are held against each other: it belongs in
root_causes.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.drift_types import DriftDiagnosis, DriftType
from monitoring_pipeline.judge.recorded_facts import RECENT, Change, ChangeKind, Facts, moment
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, LOWER_IS_BETTER
from monitoring_pipeline.judge.verdicts import Level, Verdict

MEASURED = {True: 0.9, False: 0.6}
"""Confidence in what was measured itself, critical or not: such as that a column is missing."""

REPEATED, MOST_REPEATS = 0.8, 5
"""Each further evaluation in a row leaves this share of the doubt, up to so many."""

CHANGED_BEFORE = 0.3
"""Share of the doubt that goes when something was changed just before; less where that is routine."""

OVER = 0.4
"""What is left of the confidence in what is known to be over."""

VERSION_AT_FAULT = {"performance": 0.9, "predictions": 0.6}
"""Confidence in a bad version all of whose evaluations are bad, and none of those before it, by what was evaluated."""

GUESSED = 0.4
"""Confidence in what fits the facts, and is not the only thing that would."""

STALE_DAYS = 30.0
"""A model whose training ended longer ago may be out of date."""

SURE = 0.5
"""Confidence from which one cause explains another."""

PERFORMANCE = frozenset(f"performance.{name}" for name in HIGHER_IS_BETTER | LOWER_IS_BETTER)

Kind = Literal["system", "data", "model", "integration"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the facts say for one candidate; `what` and `before` are put into its name and actions.

    columns: those it is about, and so the only ones whose drift it explains; None for all of them. minor: it warns, and
    so explains the drift of its own columns, and nothing of the model as a whole.
    """

    confidence: float
    evidence: tuple[str, ...]
    since: datetime | None
    what: str = ""
    before: str = ""
    columns: frozenset[str] | None = None
    minor: bool = False

    def explains(self, effect: "Finding") -> bool:
        """Whether it is likely, is about the same columns, and did not begin long after its effect."""
        same = not self.minor
        if self.columns is not None and effect.columns is not None:
            same = effect.columns <= self.columns
        earlier = self.since is None or effect.since is None or self.since <= effect.since + RECENT
        return self.confidence >= SURE and same and earlier


Find = Callable[[Facts], Finding | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row: a name, whose concern it is, how it is found, where it shows itself, what to do and what it explains.

    shows: beginnings of the names of metrics.
    """

    name: str
    kind: Kind
    find: Find
    shows: tuple[str, ...]
    actions: tuple[str, ...]
    explains: tuple[str, ...] = field(default=())


def _measured(
    *metrics: str, accept: Callable[[Verdict], bool] = lambda _: True, features: bool = False, certain: bool = False
) -> Find:
    """Return how a cause is found that is measured itself: some of `metrics` are beyond their thresholds.

    features: it is about these columns, not of the model's own. certain: even where it only warns it is no accident.
    """

    def find(facts: Facts) -> Finding | None:
        own = facts.outputs if features else ()

        def counts(verdict: Verdict) -> bool:
            return verdict.signal.metric in metrics and verdict.signal.column not in own and accept(verdict)

        spell = facts.spell(counts)
        if spell is None:
            return None
        since, words = facts.began(spell)
        before = facts.changed_before(since)
        sure = spell.critical or certain
        base = MEASURED[sure]
        weighed = [f"{base} for what is {'certain' if sure else 'a warning'}, {spell.hours} times in a row"]
        doubt = (1 - base) * REPEATED ** (min(spell.hours, MOST_REPEATS) - 1)
        if before:
            times = facts.routine(before[0])
            doubt *= 1 - CHANGED_BEFORE / times
            weighed.append("more for a change just before" + (f", one of {times} such" if times > 1 else ""))
        if spell.over:
            weighed.append(f"times {OVER} as it is over since {moment(spell.last + HOUR)}")
        evidence = (*spell.sentences, words, *_told(before), "; ".join(weighed))
        confidence = (OVER if spell.over else 1.0) * (1 - doubt)
        columns = _about(spell.columns) if features else None
        return Finding(confidence, evidence, since, _listed(spell.columns), columns=columns, minor=not sure)

    return find


def _about(columns: Sequence[str]) -> frozenset[str] | None:
    return frozenset(columns) or None


def _told(changes: Sequence[Change]) -> list[str]:
    return [f"recorded just before: {change}" for change in changes[:3]]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _drifted(verdict: Verdict) -> bool:
    return verdict.signal.metric.startswith(("drift.", "multivariate.")) and verdict.signal.metric != DRIFTED_SHARE


def _erred(verdict: Verdict) -> bool:
    return verdict.signal.metric in PERFORMANCE or verdict.signal.metric.startswith("concept.")


def _diagnosed(facts: Facts, diagnosis: DriftDiagnosis, accept: Callable[[Verdict], bool]) -> Finding:
    """Return a drift that was diagnosed: the accepted breaches it rests on, and when it began."""
    spell, since = facts.spell(accept), diagnosis.started_at
    evidence = [f"began about {moment(since)}, a {diagnosis.pattern} drift"] if since is not None else []
    columns: list[str] = []
    if spell is not None:
        columns = spell.columns
        if since is None:
            since, words = facts.began(spell)
            evidence.append(words)
        evidence = [*spell.sentences, *evidence]
    evidence = [*(evidence or diagnosis.evidence[:-1]), *_told(facts.changed_before(since)), diagnosis.evidence[-1]]
    return Finding(diagnosis.confidence, tuple(evidence), since, _listed(columns), columns=_about(columns))


def _covariate_drift(facts: Facts) -> Finding | None:
    """Columns that are broken drift as well: they are left out as long as others drift."""
    diagnosis = facts.diagnoses.get(DriftType.COVARIATE) or facts.diagnoses.get(DriftType.VIRTUAL)
    if diagnosis is None:
        return None
    broken = facts.spell(lambda verdict: verdict.signal.metric in (*MEANING, *MISSING))
    sound = _moved(without=[*facts.outputs, *(broken.columns if broken else ())])
    found = _diagnosed(facts, diagnosis, sound if facts.spell(sound) else _moved(without=facts.outputs))
    if diagnosis.benign:
        words = "predictions, outcomes and errors are known not to have moved: it does no harm so far"
        return replace(found, evidence=(*found.evidence, words))
    return found


def _moved(*, without: Collection[str]) -> Callable[[Verdict], bool]:
    return lambda verdict: _drifted(verdict) and verdict.signal.column not in without


def _prior_shift(facts: Facts) -> Finding | None:
    diagnosis = facts.diagnoses.get(DriftType.PRIOR)
    return None if diagnosis is None else _diagnosed(facts, diagnosis, lambda _: False)


def _concept_drift(facts: Facts) -> Finding | None:
    diagnosis, prior = (facts.diagnoses.get(kind) for kind in (DriftType.CONCEPT, DriftType.PRIOR))
    if diagnosis is None:
        return None
    found = replace(_diagnosed(facts, diagnosis, _erred), columns=None)
    if DriftType.COVARIATE in facts.diagnoses:
        return replace(found, what="errors rose, inputs moved as well")
    known, asked = _inputs(facts)
    if len(known) < len(asked) or not known:
        return replace(found, what=f"errors rose, {len(known)} of {len(asked)} inputs known")
    confidence, words = found.confidence, [f"within their thresholds: {_listed(known)}"]
    if prior is not None:
        confidence = 1 - (1 - confidence) * (1 - prior.confidence)
        words.append(f"more for {prior.evidence[0]}: with the same inputs, that is another outcome of them")
    return replace(
        found, what="outcome changed, inputs did not", confidence=confidence, evidence=(*found.evidence, *words)
    )


def _inputs(facts: Facts) -> tuple[list[str], list[str]]:
    """Return the inputs of which it is known whether they drift, and all that were asked."""
    found = facts.verdicts.get(facts.diagnosed_at or facts.hour, ())
    drifts = [v for v in found if _drifted(v) and v.signal.column not in facts.outputs and not v.signal.segment]
    known = [verdict for verdict in drifts if verdict.level is not Level.UNKNOWN]
    return list(dict.fromkeys(v.signal.column for v in known)), list(dict.fromkeys(v.signal.column for v in drifts))


def _scoring_changed(facts: Facts) -> Finding | None:
    diagnosis = facts.diagnoses.get(DriftType.PREDICTION)
    known, asked = _inputs(facts)
    if diagnosis is None or DriftType.COVARIATE in facts.diagnoses or not known or len(known) < len(asked):
        return None
    found = _diagnosed(facts, diagnosis, _of_outputs(facts))
    return replace(found, what="predictions moved, inputs did not", columns=None)


def _of_outputs(facts: Facts) -> Callable[[Verdict], bool]:
    return lambda verdict: _drifted(verdict) and verdict.signal.column in facts.outputs


def _feedback_loop(facts: Facts) -> Finding | None:
    """Predictions and outcomes that move the same way while inputs and errors do not: one may make the other."""
    moved = {DriftType.PREDICTION, DriftType.PRIOR}
    if not moved <= facts.diagnoses.keys() or {DriftType.COVARIATE, DriftType.CONCEPT} & facts.diagnoses.keys():
        return None
    metrics = ("performance.mean_score", "performance.positive_rate")
    changes = [facts.from_baseline(metric) for metric in metrics]
    if any(change is None for change in changes) or len({change > 0 for change in changes if change}) != 1:
        return None
    words = [f"{metric} is {change:+.3g} from its baseline" for metric, change in zip(metrics, changes, strict=True)]
    return Finding(GUESSED, (*words, f"{GUESSED}, as nothing shows that the one made the other"), None)


def _bad_version(facts: Facts) -> Finding | None:
    """Evaluations were fine with one version and are not with the next: of performance, else of what it predicts."""
    change = next((each for each in reversed(facts.changes) if each.kind is ChangeKind.MODEL_VERSION), None)
    if change is None:
        return None
    for what, judged in (("performance", _erred), ("predictions", _of_outputs(facts))):
        spell = facts.spell(judged)
        if spell is None or spell.last < change.at:
            continue
        level = Level.CRITICAL if spell.critical else Level.WARNING
        since = facts.bad_hours(judged, level, change.at, facts.hour + HOUR)
        before = facts.bad_hours(judged, level, change.at - RECENT, change.at)
        more = max(since[0] / since[1] - before[0] / max(before[1], 1), 0.0)
        base = VERSION_AT_FAULT[what] * (1.0 if before[1] else SURE)
        evidence = (
            str(change),
            f"{what} as bad as now ({level}) in {since[0]} of {since[1]} known hours since then, in {before[0]} of "
            f"{before[1]} in the day before",
            *facts.compared(spell.verdicts[0], change.at),
            *spell.sentences,
            *(f"recorded with it: {each}" for each in facts.changes if each.at == change.at and each != change),
            f"{base} for {what}{'' if before[1] else ' alone'}, times {more:.2f}: so much grew the share of bad hours",
        )
        served = [facts.served(at) for at in (change.at, change.at - HOUR)]
        return Finding(base * more, evidence, change.at, served[0], before=served[1])
    return None


def _calibration_drift(facts: Facts) -> Finding | None:
    found = _measured("performance.expected_calibration_error")(facts)
    ranks = [v for v in facts.known(facts.hour) if v.signal.metric == "performance.roc_auc"]
    if found is None or not ranks or any(verdict.level.rank > 0 for verdict in ranks):
        return None
    words = ("performance.roc_auc is fine: it ranks as well as it did", f"times {GUESSED}: it says what, and not why")
    return replace(found, confidence=GUESSED * found.confidence, evidence=(*found.evidence, *words))


def _stale_model(facts: Facts) -> Finding | None:
    ages = [v.signal for v in facts.known(facts.hour) if v.signal.metric == "model.age_days"]
    spell = facts.spell(_erred)
    if spell is None or not ages or (age := ages[0].value or 0.0) <= STALE_DAYS:
        return None
    evidence = (*spell.sentences, f"its training ended {age:.0f} days ago", f"{GUESSED}, as age alone harms nothing")
    return Finding(GUESSED, evidence, facts.began(spell)[0], f"version {ages[0].version}")


def _ratio(*, above: bool) -> Callable[[Verdict], bool]:
    return lambda verdict: ((verdict.signal.value or 0.0) > 1) is above


MEANING = ("skew.changed_meaning", "skew.retyped", "schema.retyped_columns")
MISSING = ("skew.missing", "schema.missing_columns", "quality.null_rate", "quality.required_null_rate")
BAD_ROWS = tuple(
    f"quality.{name}"
    for name in (
        *("quarantined_rate", "invalid_rate", "missing_id_rate", "missing_time_rate", "unreadable_time_rate"),
        *("out_of_bounds_rate", "duplicate_ids", "duplicate_rows", "constant"),
    )
)
MOVED = tuple(f"quality.{name}" for name in ("mean_", "variance_", "out", "below_", "above_", "distinct_"))
STALE = ("freshness.critical_share", "freshness.stale_share", "freshness.requests_fresh_share")

DECLINE = ("performance.", "concept.", "estimate.", "business.", "fairness.", "slices.")
MODELS = ("bad model version", "concept drift", "prior shift", "calibration drift", "stale model")
EFFECTS = ("covariate drift", "scoring changed", "feedback loop", "leak", *MODELS)

CANDIDATES: tuple[Candidate, ...] = (
    Candidate(
        "meaning changed", "data", _measured(*MEANING, features=True), ("skew.", "schema."),
        ("Ask the owner of {what} what was deployed upstream; undo it, or convert on reading.",
         "Score the affected hours again once it is mended."),
        explains=("column missing", "bad rows", "new categories", *EFFECTS),
    ),
    Candidate(
        "column missing", "data", _measured(*MISSING, features=True), ("skew.", "schema.", "quality."),
        ("Ask the owner of {what}; look for a join or a feature job that failed.",
         "Until it is back, serve from a fallback that does not need it."),
        explains=("bad rows", *EFFECTS),
    ),
    Candidate(
        "source stale", "integration", _measured(*STALE), ("freshness.",),
        ("Ask the owner of source {what}; start its load again.",
         "Score again what was served from old values, where it matters."),
        explains=EFFECTS,
    ),
    Candidate(
        "bad rows", "data", _measured(*BAD_ROWS, features=True), ("quality.",),
        ("Look at the quarantined rows of these hours, and at what writes {what}.",),
        explains=EFFECTS,
    ),
    Candidate(
        "traffic surge", "system", _measured("quality.volume_ratio", accept=_ratio(above=True), certain=True),
        ("quality.volume_ratio", "operations."),
        ("Find the caller: a batch, a retry loop, a campaign. Limit its rate, or add capacity.",),
        explains=("latency", "serving errors", "covariate drift", "prior shift"),
    ),
    Candidate(
        "traffic loss", "system", _measured("quality.volume_ratio", accept=_ratio(above=False), certain=True),
        ("quality.volume_ratio",),
        ("See that callers reach the service and that it logs; compare with the load balancer.",),
        explains=("covariate drift", "prior shift"),
    ),
    Candidate(
        "serving errors", "system", _measured("operations.error_rate"), ("operations.error_rate",),
        ("Read the log of the service for the errors named; roll back if a release came just before.",),
    ),
    Candidate(
        "latency", "system", _measured("operations.latency_p95", "operations.latency_p99"), ("operations.latency",),
        ("Look at processor, memory and the stage {what}; roll back if a release came just before.",),
    ),
    Candidate(
        "bad model version", "model", _bad_version, DECLINE,
        ("Roll back: point the alias champion to version {before}.",
         "Compare versions {before} and {what} on the same recent rows before it serves again."),
        explains=("scoring changed", "feedback loop", *MODELS[1:]),
    ),
    Candidate(
        "leak", "data", _measured("attribution.leakage", features=True), ("attribution.",),
        ("See whether {what} is now written after the outcome is known; leave it out of training until it is not.",),
    ),
    Candidate(
        "new categories", "data", _measured("quality.unseen_share", features=True), ("quality.unseen_share",),
        ("Ask the owner of {what} whether the new values are meant; add them to training.",),
        explains=("covariate drift",),
    ),
    Candidate(
        "covariate drift", "data", _covariate_drift, ("drift.", "multivariate.", *MOVED),
        ("See with the owner of {what} whether the world or the source changed.",
         "If it is the world, retrain with rows of the new range."),
        explains=("scoring changed", *MODELS[1:]),
    ),
    Candidate(
        "concept drift", "model", _concept_drift, DECLINE,
        ("Look for what happened outside the features, such as an event, a policy or a price.",
         "If it lasts, retrain on labelled rows since it began; if it passes, wait or raise the threshold."),
        explains=("prior shift", "calibration drift", "scoring changed"),
    ),
    Candidate(
        "prior shift", "data", _prior_shift, DECLINE,
        ("Adjust the threshold or recalibrate on recent labels; see that labels are still defined alike.",),
        explains=("calibration drift",),
    ),
    Candidate(
        "calibration drift", "model", _calibration_drift, ("performance.", "estimate."),
        ("Recalibrate the scores on recent labels; retraining is not needed while the ranking holds.",),
    ),
    Candidate(
        "scoring changed", "system", _scoring_changed, ("drift.", "performance."),
        ("Compare the served scores with those of the registered model on the same rows.",),
    ),
    Candidate(
        "feedback loop", "model", _feedback_loop, ("performance.", "drift."),
        ("Keep a small random share of decisions free of the model, and compare its outcomes.",),
    ),
    Candidate("stale model", "model", _stale_model, DECLINE, ("Retrain on recent rows.",)),
    Candidate(
        "labels late", "integration", _measured("labels.feedback_ratio"), ("labels.", "performance."),
        ("Ask the owner of the label log; trust no performance of these hours until labels are back.",),
    ),
    Candidate(
        "labels corrected", "integration", _measured("labels.corrected_share"), ("labels.", "performance."),
        ("Ask the owner of the label log what was corrected; performance of those hours is computed anew.",),
    ),
)  # fmt: skip
"""From the source on; of two equally likely the first is named first."""
