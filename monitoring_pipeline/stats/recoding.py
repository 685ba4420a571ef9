"""Categories that kept their meaning and changed their names: case, spaces, prefixes, codes.

Add a way of writing the same name differently to `SPELLINGS`. Keep numbers out, they belong in changed_meaning.py, and
how far the shares of categories moved too, it belongs in distances.py.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from monitoring_pipeline.stats.changed_meaning import LEAST_ROWS, MeaningChange

SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("spaces around the names", str.strip),
    ("names in another case", lambda name: name.strip().casefold()),
    ("numbers written differently", lambda name: _plain_number(name)),
    ("names with other punctuation", lambda name: re.sub(r"[\W_]+", "", name.casefold())),
)
"""What a difference in writing is called, and the form in which it is gone; the mildest first."""

YES, NO = frozenset({"1", "true", "yes", "y", "t", "on"}), frozenset({"0", "false", "no", "n", "f", "off"})

EXPLAINED = 0.95
"""A spelling explains the names when it makes known ones of those of so many rows."""

MOST_CODES = 50
"""Columns with more categories than this are not matched by shares alone."""


def recognise_categories(reference: Mapping[str, int], current: Mapping[str, int]) -> MeaningChange | None:
    """Name the change of names that makes the categories of now those of before, if there is one.

    Parameters
    ----------
    reference, current : rows per category.

    Returns
    -------
    The change, its distances being the share of rows with an unknown name before and after it is undone; None where
    most names are known, with fewer than 15 rows, and where no change explains 95 % of the rows.

    Notes
    -----
    Names are compared after undoing differences of spelling, then after cutting off what they all begin or end with,
    then as yes and no. Names that are all new are taken for codes of the old ones when, sorted, their shares differ by
    less than twice what sampling makes them differ (total variation), with at least 5 rows per category of the
    reference and at most 50 of them.

    Examples
    --------
    >>> recognise_categories({"AA": 60, "UA": 40}, {"aa": 29, "ua": 21}).words
    'names in another case'
    >>> recognise_categories({"yes": 60, "no": 40}, {"1": 29, "0": 21}).words
    'yes and no under other names'
    >>> recognise_categories({"AA": 60, "UA": 40}, {"AA": 29, "ua": 21}) is None
    True
    """
    rows = sum(current.values())
    unknown = 1 - _share(current, set(reference)) if rows else 0.0
    if rows < LEAST_ROWS or unknown < 0.5 or not reference:
        return None
    for words, names, known in _rewritten(reference, current):
        explained = sum(count for name, count in current.items() if names(name) in known) / rows
        if explained >= EXPLAINED:
            return MeaningChange(words, unknown, 1 - explained)
    if reference.keys() | current.keys() <= YES | NO and all(_both(names) for names in (reference, current)):
        return MeaningChange("yes and no under other names", unknown, 0.0)
    if unknown >= EXPLAINED and _same_shares(reference, current):
        numeric = all(re.fullmatch(r"-?\d+", name) for name in current)
        return MeaningChange(
            "numeric codes instead of names" if numeric else "other names in the same shares", unknown, 0.0
        )
    return None


def _rewritten(
    reference: Mapping[str, int], current: Mapping[str, int]
) -> Iterator[tuple[str, Callable[[str], str], set[str]]]:
    """Yield what a change is called, what to do with a name of now, and the names it must give."""
    for words, spelled in SPELLINGS:
        yield words, spelled, {spelled(name) for name in reference}
    for words, affix, cut in _affixes(current):
        yield f"names that all {words} with {affix!r}", partial(cut, affix), set(reference)
    for words, affix, cut in _affixes(reference):
        yield f"names that no longer {words} with {affix!r}", str, {cut(affix, name) for name in reference}


def _affixes(names: Mapping[str, int]) -> Iterator[tuple[str, str, Callable[[str, str], str]]]:
    """Yield what all names begin and end with, and how to cut it off; one name alone is nothing but its beginning."""
    if len(names) < 2:
        return
    start = _common(list(names))
    end = _common([name[::-1] for name in names])[::-1]
    if start:
        yield "begin", start, lambda affix, name: name.removeprefix(affix)
    if end:
        yield "end", end, lambda affix, name: name.removesuffix(affix)


def _common(names: Sequence[str]) -> str:
    """Return the longest common beginning: that of the first and the last in order is that of all."""
    first, last = min(names), max(names)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same]


def _share(counts: Mapping[str, int], names: set[str]) -> float:
    return sum(count for name, count in counts.items() if name in names) / sum(counts.values())


def _both(names: Mapping[str, int]) -> bool:
    return bool(names.keys() & YES and names.keys() & NO)


def _same_shares(reference: Mapping[str, int], current: Mapping[str, int]) -> bool:
    before, now = (np.sort(np.array(list(each.values()), dtype=np.float64))[::-1] for each in (reference, current))
    rows = now.sum()
    if not 2 <= len(now) <= len(before) <= MOST_CODES or rows < 5 * len(before):
        return False
    p = before / before.sum()
    q = np.pad(now / rows, (0, len(p) - len(now)))
    sampling = np.sqrt(2 * p * (1 - p) / (np.pi * rows)).sum() / 2
    return bool(np.abs(p - q).sum() / 2 <= 2 * sampling)


def _plain_number(name: str) -> str:
    try:
        return f"{float(name):g}"
    except ValueError:
        return name
