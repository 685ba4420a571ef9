"""Claim: an experiment with five looks calls a difference that is not there in at most alpha of all cases.

And it finds the difference it was planned for with the power planned. Whole experiments are simulated day by day and
read as a monitor reads them: shares of requests, means of requests, and means of users with several requests each.
Prints a Markdown table.
"""

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from monitoring_pipeline.describe.experiment_arms import BUCKETS, ExperimentArm, ExperimentColumns
from monitoring_pipeline.evaluate.experiments import ARMS, ExperimentPolicy, Recommendation, experiment_report
from monitoring_pipeline.stats.experiments import plan_experiment
from monitoring_pipeline.stats.spending import Boundary

START, DAYS = datetime(2026, 1, 1, tzinfo=UTC), 14
BASELINE, LIFT = 0.3, 0.1


def day_of_shares(random: np.random.Generator, rows: int, mean: float) -> ExperimentArm:
    """Return an arm of independent requests of which a share converted."""
    counts = random.multinomial(random.poisson(rows), [1 / BUCKETS] * BUCKETS)
    hits = random.binomial(counts, mean).astype(np.float64)
    return ExperimentArm(np.stack([counts] * 2), np.stack([hits, 0 * hits]), np.diag([hits.sum(), 0.0]))


def day_of_users(random: np.random.Generator, rows: int, mean: float) -> ExperimentArm:
    """Return an arm of users with one to nine requests a day, all of them alike; who comes today is new."""
    requests = random.integers(1, 10, random.poisson(rows / 5))
    liking = random.gamma(1, mean, len(requests))
    outcome = liking * requests
    bucket = random.integers(0, BUCKETS, len(requests))
    counts = np.bincount(bucket, requests, BUCKETS).astype(np.int64)
    totals = np.stack([np.bincount(bucket, outcome, BUCKETS), np.zeros(BUCKETS)])
    return ExperimentArm(np.stack([counts] * 2), totals, np.diag([float((liking**2 * requests).sum()), 0.0]))


def simulated(kind: str, unit: str, boundary: Boundary, *, lift: float, runs: int, seed: int) -> Iterator[list[bool]]:
    """Yield of each experiment whether it found a gain, found a loss, and was stopped for a broken split."""
    random = np.random.default_rng(seed)
    per_row = {"shares": None, "users": BASELINE**2}[kind]
    clustering = 1.0 if kind == "shares" else 19 / 3  # mean of squares over mean of 1 to 9 requests
    plan = plan_experiment(BASELINE, relative_mde=LIFT, variance=per_row, boundary=boundary, looks=5)
    daily = plan.control_rows * clustering / (DAYS - 4)  # users of the treatment vary more than was planned
    policy = ExperimentPolicy(
        "simulated",
        START,
        BASELINE * LIFT,
        ExperimentColumns(unit=unit),
        boundary=boundary,
        min_rows=100,  # the plans here are small, so that thousands of them can be simulated
        max_days=DAYS,
        latency_p99=None,
        error_rate=None,
    )
    make = {"shares": day_of_shares, "users": day_of_users}[kind]
    for _ in range(runs):
        means = BASELINE, BASELINE * (1 + lift)
        days = [
            (
                START + timedelta(days=day + 1),
                {arm: make(random, round(daily), mean) for arm, mean in zip(ARMS, means, strict=True)},
            )
            for day in range(DAYS)
        ]
        report = experiment_report(days, policy)
        last = report.looks[-1] if report.looks else None
        decided = last is not None and last.decides
        broken = report.recommendation is Recommendation.STOP and report.split_p_value < 0.001
        gain = decided and last is not None and last.effect.difference > 0
        yield [gain, decided and not gain, broken]


def main() -> None:
    """Print the shares of experiments that said something, with no effect and with that planned for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=4000, help="experiments of each kind")
    asked = parser.parse_args()
    print("| outcome | variance by | boundary | false alarms, % | power, % (80 planned) | split called broken, % |")
    print("|:--|:--|:--|--:|--:|--:|")
    began = time.process_time()
    cases: list[tuple[str, str, Boundary]] = [
        ("shares", "prediction_id", "fixed"),
        ("shares", "prediction_id", "obrien_fleming"),
        ("shares", "prediction_id", "pocock"),
        ("shares", "prediction_id", "always_valid"),
        ("users", "user", "obrien_fleming"),
        ("users", "prediction_id", "obrien_fleming"),
    ]
    for number, (kind, unit, boundary) in enumerate(cases):
        none, some = (
            np.mean(list(simulated(kind, unit, boundary, lift=lift, runs=asked.runs, seed=number)), axis=0) * 100
            for lift in (0.0, LIFT)
        )
        by = "row" if unit == "prediction_id" else "unit"
        print(f"| {kind} | {by} | {boundary} | {none[0] + none[1]:.1f} | {some[0]:.1f} | {none[2]:.2f} |", flush=True)
    error = np.sqrt(0.05 * 0.95 / asked.runs) * 100
    print(f"\n{asked.runs:,} experiments each; the standard error of 5 % is {error:.1f}.", end=" ")
    print(f"{time.process_time() - began:.0f} s of CPU.")


if __name__ == "__main__":
    main()
