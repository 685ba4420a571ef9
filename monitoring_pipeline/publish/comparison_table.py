"""A comparison of two tables as a person reads it in a terminal: worst first, what moved, and by how much.

Add a column of the table here. Keep verdicts out: they arrive made. Names and categories come from data: they are
shown as they are, never read as markup, and never reach the terminal as control characters.
"""

from collections.abc import Iterable, Iterator

from rich.table import Table
from rich.text import Text

from monitoring_pipeline.judge.comparison import ColumnComparison, Comparison
from monitoring_pipeline.judge.other_tools import ToolNumber
from monitoring_pipeline.judge.verdicts import Level

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.CRITICAL: "bold red", Level.UNKNOWN: "dim"}


def printable(text: str) -> str:
    """Return text in which everything a terminal would act on, or not show, is written as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def comparison_table(comparison: Comparison) -> Table:
    """Return the entries as a table, worst first."""
    table = Table(header_style="bold")
    for header in ("verdict", "column", "kind"):
        table.add_column(header, no_wrap=header == "verdict")
    for header in ("rows", "distance", "threshold", "p, corrected"):
        table.add_column(header, justify="right")
    table.add_column("what moved, or why it is not known", overflow="fold", ratio=1)
    for entry in comparison.worst_first():
        table.add_row(Text(entry.verdict.value, STYLES[entry.verdict]), *map(Text, _cells(entry)))
    return table


def tool_table(tool: str, numbers: Iterable[ToolNumber]) -> Table:
    """Return what another tool says of the same columns, as a table."""
    table = Table(title=f"by {tool}'s definitions and thresholds", title_justify="left", header_style="bold")
    for header in ("column", "metric"):
        table.add_column(header)
    for header in ("value", "threshold", "drift"):
        table.add_column(header, justify="right")
    for number in numbers:
        cells = ("" if value is None else f"{value:.4g}" for value in (number.value, number.threshold))
        drifted = {True: "yes", False: "no", None: "?"}[number.drifted]
        table.add_row(printable(number.column), number.metric, *cells, drifted)
    return table


def _cells(entry: ColumnComparison) -> Iterator[str]:
    yield printable(entry.column)
    yield entry.kind or "?"
    yield f"{entry.n_reference:,} / {entry.n_current:,}"
    yield "" if entry.value is None else f"{entry.metric} {entry.value:.3g}"
    yield "" if entry.threshold is None else f"{entry.threshold:.3g} {entry.threshold_origin}"
    yield "" if entry.q_value is None else f"{entry.q_value:.2g}"
    yield printable(entry.reason if entry.value is None else _movement(entry))


def _movement(entry: ColumnComparison) -> str:
    if entry.verdict is Level.OK:
        return entry.reason  # what moved a little is noise
    parts = [f"{bin_['range']}: {bin_['reference']:.1%} to {bin_['current']:.1%}" for bin_ in entry.moved]
    if entry.unseen:
        parts.append("new: " + ", ".join(f"{name} ({count:,})" for name, count in entry.unseen.items()))
    return "; ".join(parts)
