"""Small pictures for the metadata of assets: lines and bars.

Add a picture here when it fits a thousand characters. Keep pages and dashboards out: they have files of their own.
"""

import math
from collections.abc import Sequence
from urllib.parse import quote

from monitoring_pipeline.judge.thresholds import HIGHER_IS_BETTER
from monitoring_pipeline.judge.verdicts import Level, Verdict

LINE = "#7c7cf5"  # seen on white and on black
KEPT = "/:=',"
"""What need not be written as a percentage in the address of a picture, besides letters and digits."""
NO_BREAK = "\N{NO-BREAK SPACE}"
MARKS = {Level.OK: "🟢", Level.WARNING: "🟠", Level.CRITICAL: "🔴", Level.UNKNOWN: "⚪"}


def line_image(values: Sequence[float | None]) -> str:
    """Return a series as a Markdown image of a line with its extremes below; a missing or infinite value is a gap."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high / 2 - low / 2 or 1.0  # halves, because the whole of it can be infinite
    path, pen = "", "M"
    for place, value in enumerate(values):
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        # A point after a gap has a length of its own: lines of no length are drawn where their ends are round.
        path += f"{pen}{4 * place + 2},{38 - round((value / 2 - low / 2) / span * 36)}" + "h0" * (pen == "M")
        pen = "L"
    width = 4 * len(values)
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{2 * width}' height='80' viewBox='0 0 {width} 40'><path "
        f"d='{path}' fill='none' stroke='{LINE}' stroke-linecap='round'/></svg>"
    )
    said = f"{low:.4g} to {high:.4g}"
    return f"![{said}](data:image/svg+xml,{quote(svg, safe=KEPT)})\n\n{said}"


def verdict_rows(verdicts: Sequence[Verdict], *, limit: int) -> list[dict[str, str]]:
    """Return the worst verdicts as the rows of a table; five blocks of the bar are a value at its threshold."""
    ranked = sorted(verdicts, key=lambda each: (-each.level.rank, -ratio_to_limit(each), each.signal.column))
    return [
        {
            "level": f"{MARKS[verdict.level]}{NO_BREAK}{verdict.level}",
            "signal": f"{verdict.signal.metric} {verdict.signal.column}".rstrip(),
            "window": verdict.signal.window,
            "value": str(verdict.signal.absence) if verdict.signal.value is None else f"{verdict.signal.value:.4g}",
            "threshold": "" if verdict.threshold is None else f"{verdict.threshold:.4g} {verdict.threshold_origin}",
            "distance": _bar(ratio_to_limit(verdict)),
        }
        for verdict in ranked[:limit]
    ]


def ratio_to_limit(verdict: Verdict) -> float:
    """Return how much of the way to its threshold a value has gone, from the good side: above 1 is beyond it."""
    value, threshold = verdict.signal.value, verdict.threshold
    if value is None or not threshold:
        return 0.0
    if verdict.signal.metric.removeprefix("performance.") in HIGHER_IS_BETTER:
        value, threshold = threshold, value
    ratio = abs(value / threshold) if threshold else math.inf
    return 0.0 if math.isnan(ratio) else ratio


def _bar(ratio: float) -> str:
    full = round(min(ratio, 2.0) * 5)
    return "█" * full + "░" * (5 - min(full, 5))
