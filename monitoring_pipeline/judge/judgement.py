"""All signals of some hours judged: each by what it needs to be held against.

Add a kind of judgement here by naming the signals it takes. Keep the judgements themselves out: they belong in
thresholds, families and datasets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.calibration import Calibrations
from monitoring_pipeline.judge.datasets import dataset_verdicts
from monitoring_pipeline.judge.families import effective_rows, judge_families
from monitoring_pipeline.judge.thresholds import JudgingPolicy, judge_alone
from monitoring_pipeline.judge.verdicts import Verdict


def judge_signals(
    signals: Sequence[Signal], references: Mapping[str, Reference], policy: JudgingPolicy
) -> list[Verdict]:
    """Return one verdict per signal, in the same order, then those on each report as a whole.

    Whatever cannot be compared is UNKNOWN.
    """
    calibrations = Calibrations(references)
    signals = [_sized(signal, calibrations) for signal in signals]
    alone = [judge_alone(signal, policy) for signal in signals]
    together = iter(
        judge_families(
            [signal for signal, verdict in zip(signals, alone, strict=True) if verdict is None], calibrations, policy
        )
    )
    verdicts = [verdict if verdict is not None else next(together) for verdict in alone]
    return verdicts + dataset_verdicts(verdicts, references)


def _sized(signal: Signal, calibrations: Calibrations) -> Signal:
    """Return an index with the number of independent rows its window is worth."""
    if signal.metric != "drift.psi" or (rows := effective_rows(signal, calibrations)) is None:
        return signal
    return replace(signal, detail=signal.detail | {"effective_rows": round(rows, 1)})
