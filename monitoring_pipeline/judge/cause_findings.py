"""How each candidate cause is found in the recorded facts: a function of the facts, with its confidence and evidence.

Add the finding of a new cause here, and its row to candidate_causes. Keep names and advice out: they belong in the row.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.datasets import DRIFTED_SHARE
from monitoring_pipeline.judge.drift_types import DriftDiagnosis, DriftType
from monitoring_pipeline.judge.recorded_facts import RECENT, Change, ChangeKind, Facts, moment
from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER, LOWER_IS_BETTER
from monitoring_pipeline.judge.verdicts import Level, Verdict

MEASURED = {True: 0.9, False: 0.6}
"""Confidence in what was measured itself, such as that a column is missing: where that is certain, and in a warning."""

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

MEANING = ("skew.changed_meaning", "skew.retyped", "schema.retyped_columns")
MISSING = ("skew.missing", "schema.missing_columns", "quality.null_rate", "quality.required_null_rate")


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


def measured(
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
        weighed = [f"{base} for what {'is certain' if sure else 'only warns'}, evaluations in a row: {spell.hours}"]
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


def covariate_drift(facts: Facts) -> Finding | None:
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


def prior_shift(facts: Facts) -> Finding | None:
    """Another share of positives than at the baseline."""
    diagnosis = facts.diagnoses.get(DriftType.PRIOR)
    return None if diagnosis is None else _diagnosed(facts, diagnosis, lambda _: False)


def concept_drift(facts: Facts) -> Finding | None:
    """The model errs more; with inputs known not to have moved, the outcome of the same inputs has changed."""
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


def scoring_changed(facts: Facts) -> Finding | None:
    """Predictions moved and no input did: what lies between them is another."""
    diagnosis = facts.diagnoses.get(DriftType.PREDICTION)
    known, asked = _inputs(facts)
    if diagnosis is None or DriftType.COVARIATE in facts.diagnoses or not known or len(known) < len(asked):
        return None
    found = _diagnosed(facts, diagnosis, _of_outputs(facts))
    return replace(found, what="predictions moved, inputs did not", columns=None)


def _of_outputs(facts: Facts) -> Callable[[Verdict], bool]:
    return lambda verdict: _drifted(verdict) and verdict.signal.column in facts.outputs


def feedback_loop(facts: Facts) -> Finding | None:
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


def bad_version(facts: Facts) -> Finding | None:
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


def calibration_drift(facts: Facts) -> Finding | None:
    """Scores that no longer mean what they say, and rank as well as they did."""
    found = measured("performance.expected_calibration_error")(facts)
    ranks = [v for v in facts.known(facts.hour) if v.signal.metric == "performance.roc_auc"]
    if found is None or not ranks or any(verdict.level.rank > 0 for verdict in ranks):
        return None
    words = ("performance.roc_auc is fine: it ranks as well as it did", f"times {GUESSED}: it says what, and not why")
    return replace(found, confidence=GUESSED * found.confidence, evidence=(*found.evidence, *words))


def stale_model(facts: Facts) -> Finding | None:
    """An old model that errs."""
    ages = [v.signal for v in facts.known(facts.hour) if v.signal.metric == "model.age_days"]
    spell = facts.spell(_erred)
    if spell is None or not ages or (age := ages[0].value or 0.0) <= STALE_DAYS:
        return None
    evidence = (*spell.sentences, f"its training ended {age:.0f} days ago", f"{GUESSED}, as age alone harms nothing")
    return Finding(GUESSED, evidence, facts.began(spell)[0], f"version {ages[0].version}")


def ratio(*, above: bool) -> Callable[[Verdict], bool]:
    """Return whether a ratio lies above 1, or below."""
    return lambda verdict: ((verdict.signal.value or 0.0) > 1) is above
