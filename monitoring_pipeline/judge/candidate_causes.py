"""The decision tree of root causes: one row per cause, from the source of the data down to the labels.

A row says how the cause is found, in which metrics it shows itself, what to do, and what it explains. Add a cause as
one more row. Keep finding out, it belongs in cause_findings; how causes are held against each other is in root_causes.
"""

from dataclasses import dataclass
from typing import Literal

from monitoring_pipeline.judge.cause_findings import (
    MEANING,
    MISSING,
    Find,
    bad_version,
    calibration_drift,
    concept_drift,
    covariate_drift,
    feedback_loop,
    measured,
    prior_shift,
    ratio,
    scoring_changed,
    stale_model,
)

Kind = Literal["system", "data", "model", "integration"]


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
    explains: tuple[str, ...] = ()


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
        "meaning changed", "data", measured(*MEANING, features=True), ("skew.", "schema."),
        ("Ask the owner of {what} what was deployed upstream; undo it, or convert on reading.",
         "Score the affected hours again once it is mended."),
        explains=("column missing", "bad rows", "new categories", *EFFECTS),
    ),
    Candidate(
        "column missing", "data", measured(*MISSING, features=True), ("skew.", "schema.", "quality."),
        ("Ask the owner of {what}; look for a join or a feature job that failed.",
         "Until it is back, serve from a fallback that does not need it."),
        explains=("bad rows", *EFFECTS),
    ),
    Candidate(
        "source stale", "integration", measured(*STALE), ("freshness.",),
        ("Ask the owner of source {what}; start its load again.",
         "Score again what was served from old values, where it matters."),
        explains=EFFECTS,
    ),
    Candidate(
        "bad rows", "data", measured(*BAD_ROWS, features=True), ("quality.",),
        ("Look at the quarantined rows of these hours, and at what writes {what}.",),
        explains=EFFECTS,
    ),
    Candidate(
        "traffic surge", "system", measured("quality.volume_ratio", accept=ratio(above=True), certain=True),
        ("quality.volume_ratio", "operations."),
        ("Find the caller: a batch, a retry loop, a campaign. Limit its rate, or add capacity.",),
        explains=("latency", "serving errors", "covariate drift", "prior shift"),
    ),
    Candidate(
        "traffic loss", "system", measured("quality.volume_ratio", accept=ratio(above=False), certain=True),
        ("quality.volume_ratio",),
        ("See that callers reach the service and that it logs; compare with the load balancer.",),
        explains=("covariate drift", "prior shift"),
    ),
    Candidate(
        "serving errors", "system", measured("operations.error_rate"), ("operations.error_rate",),
        ("Read the log of the service for the errors named; roll back if a release came just before.",),
    ),
    Candidate(
        "latency", "system", measured("operations.latency_p95", "operations.latency_p99"), ("operations.latency",),
        ("Look at processor, memory and the stage {what}; roll back if a release came just before.",),
    ),
    Candidate(
        "bad model version", "model", bad_version, DECLINE,
        ("Roll back: point the alias champion to version {before}.",
         "Compare versions {before} and {what} on the same recent rows before it serves again."),
        explains=("scoring changed", "feedback loop", *MODELS[1:]),
    ),
    Candidate(
        "leak", "data", measured("attribution.leakage", features=True), ("attribution.",),
        ("See whether {what} is now written after the outcome is known; leave it out of training until it is not.",),
    ),
    Candidate(
        "new categories", "data", measured("quality.unseen_share", features=True), ("quality.unseen_share",),
        ("Ask the owner of {what} whether the new values are meant; add them to training.",),
        explains=("covariate drift",),
    ),
    Candidate(
        "covariate drift", "data", covariate_drift, ("drift.", "multivariate.", *MOVED),
        ("See with the owner of {what} whether the world or the source changed.",
         "If it is the world, retrain with rows of the new range."),
        explains=("scoring changed", *MODELS[1:]),
    ),
    Candidate(
        "concept drift", "model", concept_drift, DECLINE,
        ("Look for what happened outside the features, such as an event, a policy or a price.",
         "If it lasts, retrain on labelled rows since it began; if it passes, wait or raise the threshold."),
        explains=("prior shift", "calibration drift", "scoring changed"),
    ),
    Candidate(
        "prior shift", "data", prior_shift, DECLINE,
        ("Adjust the threshold or recalibrate on recent labels; see that labels are still defined alike.",),
        explains=("calibration drift",),
    ),
    Candidate(
        "calibration drift", "model", calibration_drift, ("performance.", "estimate."),
        ("Recalibrate the scores on recent labels; retraining is not needed while the ranking holds.",),
    ),
    Candidate(
        "scoring changed", "system", scoring_changed, ("drift.", "performance."),
        ("Compare the served scores with those of the registered model on the same rows.",),
    ),
    Candidate(
        "feedback loop", "model", feedback_loop, ("performance.", "drift."),
        ("Keep a small random share of decisions free of the model, and compare its outcomes.",),
    ),
    Candidate("stale model", "model", stale_model, DECLINE, ("Retrain on recent rows.",)),
    Candidate(
        "labels late", "integration", measured("labels.feedback_ratio"), ("labels.", "performance."),
        ("Ask the owner of the label log; trust no performance of these hours until labels are back.",),
    ),
    Candidate(
        "labels corrected", "integration", measured("labels.corrected_share"), ("labels.", "performance."),
        ("Ask the owner of the label log what was corrected; performance of those hours is computed anew.",),
    ),
)  # fmt: skip
"""From the source on; of two equally likely the first is named first."""
