"""Signals of segments and groups so small that a number would say something of one of their members.

Add a rule here of what is not said of few. Keep how few are too few out: it is an argument.
"""

from dataclasses import replace

from monitoring_pipeline.evaluate.signals import Absence, Signal

FEW = frozenset({None, Absence.TOO_FEW_ROWS, Absence.ONE_CLASS_ONLY, Absence.UNDEFINED})
"""What a signal of few rows says, None being a value; how many they are stands in its reason too."""

UNLABELLED = frozenset({Absence.NO_LABELS_YET, Absence.LABELS_IMMATURE})
"""Of these the group may be large, and only its labels few."""


def without_small_group(signal: Signal, least: int) -> Signal:
    """Return a signal without its numbers where it is of a segment or group of fewer than `least` rows.

    What is left is unknown, and never healthy.
    """
    if not signal.segment or least <= 1 or signal.rows >= least:
        return signal
    if signal.absence in UNLABELLED:
        return replace(signal, reason="too few labels: how many is not shown (privacy.min_group)", rows=0)
    if signal.absence not in FEW:
        return signal
    reason = f"fewer than {least} rows: their numbers are not shown (privacy.min_group)"
    nothing = replace(signal, value=None, absence=Absence.SUPPRESSED, reason=reason, rows=0)
    return replace(nothing, low=None, high=None, p_value=None, detail={})
