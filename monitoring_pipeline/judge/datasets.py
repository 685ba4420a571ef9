"""The verdict on a report as a whole: how large a share of the features has drifted, and what to do about it.

Add another summary over columns here. Keep verdicts on single columns out: they belong in families.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from monitoring_pipeline.describe.columns import ColumnRole
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import TRAINING, Absence, Signal
from monitoring_pipeline.judge.thresholds import Thresholds
from monitoring_pipeline.judge.verdicts import Level, Verdict

DRIFTED_SHARE = "drift.drifted_share"
PRIMARY = "drift.psi"
"""The distance that says whether a feature has drifted; the others confirm it."""

SHARES = Thresholds(0.2, 0.5, "textbook")
"""Above a fifth of the features the data are degraded, above half of them they are another population."""

KNOWN_SHARE = 0.5
"""With less than this share of the features known, nothing is said of all of them."""

NEXT_STEPS: Mapping[Level, str] = {
    Level.OK: "Nothing to do.",
    Level.WARNING: "Look for what the drifted features have in common: one source, one upstream change.",
    Level.CRITICAL: "Check the source of the features first; if the change is real, retrain on recent labelled rows.",
}


def dataset_verdicts(verdicts: Sequence[Verdict], references: Mapping[str, Reference]) -> list[Verdict]:
    """Return the share of drifted features of every report against the training rows, judged.

    Features weigh as much as they matter to the model where its reference says so, and all the same elsewhere.
    """
    reports = defaultdict(list)
    for verdict in verdicts:
        signal = verdict.signal
        if signal.metric == PRIMARY and not signal.segment and signal.baseline == TRAINING and signal.column:
            reports[signal.version, signal.window_end, signal.window].append(verdict)
    return [
        _judged(members, references[version])
        for (version, *_), members in reports.items()
        if version in references and _features(members, references[version])
    ]


def _features(members: Sequence[Verdict], reference: Reference) -> list[Verdict]:
    features = {name for name, entry in reference.columns.items() if entry.column.role is ColumnRole.FEATURE}
    return [verdict for verdict in members if verdict.signal.column in features]


def _judged(members: Sequence[Verdict], reference: Reference) -> Verdict:
    features = _features(members, reference)
    weights = _weights(features, reference)
    known = [verdict for verdict in features if verdict.level is not Level.UNKNOWN]
    drifted = [verdict for verdict in known if verdict.level.rank >= Level.WARNING.rank]
    weight_known, weight_drifted = (
        sum(weights[verdict.signal.column] for verdict in part) for part in (known, drifted)
    )
    total = sum(weights.values())
    if weight_known < KNOWN_SHARE * total or weight_known == 0:
        reason = f"{len(known)} of {len(features)} features are known, half of them are needed"
        return Verdict(_signal(features, absence=Absence.UNDEFINED, reason=reason), Level.UNKNOWN, None, "none", reason)
    share = weight_drifted / weight_known
    level = _level(share)
    limit = SHARES.critical if level is Level.CRITICAL else SHARES.warning
    names = [verdict.signal.column for verdict in sorted(drifted, key=lambda verdict: verdict.q_value or 0.0)]
    detail: dict[str, object] = {"drifted": names, "known": len(known), "next": NEXT_STEPS[level]}
    reason = f"{len(drifted)} of {len(known)} features drifted, {share:.0%} by weight. {NEXT_STEPS[level]}"
    return Verdict(_signal(features, value=share, rows=len(known), detail=detail), level, limit, SHARES.origin, reason)


def _level(share: float) -> Level:
    if SHARES.breached(share, SHARES.critical):
        return Level.CRITICAL
    return Level.WARNING if SHARES.breached(share, SHARES.warning) else Level.OK


def _weights(features: Sequence[Verdict], reference: Reference) -> dict[str, float]:
    """Return how much each described feature matters; the parts of a date and time share what it matters."""
    sources = {verdict.signal.column: reference.columns[verdict.signal.column].column.read_from for verdict in features}
    parts = Counter(sources.values())
    given = {source: max(reference.importances.get(source, 0.0), 0.0) for source in parts}
    if not any(given.values()):
        given = dict.fromkeys(parts, 1.0)
    return {name: given[source] / parts[source] for name, source in sources.items()}


def _signal(features: Sequence[Verdict], **measured: object) -> Signal:
    like = features[0].signal
    return Signal(
        DRIFTED_SHARE,
        like.model,
        like.version,
        like.window_start,
        like.window_end,
        span=like.span,
        **measured,  # type: ignore[arg-type]
    )
