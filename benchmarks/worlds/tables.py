"""Rates with their intervals as cells, and cells as Markdown.

Add a mark or a kind of cell here. Keep simulations out.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest


def rate(hits: np.ndarray) -> tuple[float, float, float]:
    """Return the share of true entries and its 95 % interval (Wilson), hits of shape (references, windows).

    Windows that share a reference are alike: they count as as many as their spread from reference to reference says.
    """
    share, count = float(hits.mean()), hits.size
    spread = float(hits.mean(axis=-1).var(ddof=1)) / len(hits) if hits.ndim > 1 else 0.0
    if spread > 0:
        count = int(np.clip(share * (1 - share) / spread, len(hits), count))
    interval = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return share, float(interval.low), float(interval.high)


def cell(hits: np.ndarray, nominal: float | None = None) -> str:
    """Return a rate in percent with its interval, and where the nominal rate lies: = inside, < below it, > above."""
    share, low, high = rate(hits)
    mark = "" if nominal is None else "**>**" if low > nominal else "<" if high < nominal else "="
    return f"{_percent(share)} [{_percent(low)}, {_percent(high)}] {mark}".strip()


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.0995 else f"{100 * share:.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table, the first column to the left and the others to the right."""
    rule = [":--", *("--:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))
