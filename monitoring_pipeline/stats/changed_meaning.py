"""Numbers that kept their name and changed their meaning: units, scales, timestamps, defaults.

Add a change of unit to `FACTORS` or `TEMPERATURES`, and another kind of change to `_rising`. Keep how far a
distribution moved out, it belongs in distances.py, and categories too, they belong in recoding.py. Nothing here says
that the values drifted: it says that one known change explains them, and that ordinary drift does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FACTORS: tuple[tuple[float, tuple[tuple[str, str], ...]], ...] = (
    (100.0, (("euros", "cents"), ("shares", "percent"))),
    (1000.0, (("seconds", "milliseconds"), ("thousands", "ones"))),
    (60.0, (("minutes", "seconds"), ("hours", "minutes"))),
    (24.0, (("days", "hours"),)),
    (3600.0, (("hours", "seconds"),)),
    (86_400.0, (("days", "seconds"),)),
    (1440.0, (("days", "minutes"),)),
    (7.0, (("weeks", "days"),)),
    (365.25, (("years", "days"),)),
    (12.0, (("years", "months"), ("feet", "inches"))),
    (10.0, (("centimetres", "millimetres"), ("kilopascals", "hectopascals"))),
    (1e6, (("seconds", "microseconds"), ("millions", "ones"))),
    (1e9, (("seconds", "nanoseconds"), ("billions", "ones"))),
    (60_000.0, (("minutes", "milliseconds"),)),
    (3.6e6, (("hours", "milliseconds"),)),
    (8.64e7, (("days", "milliseconds"),)),
    (1e4, (("ones", "ten-thousandths"),)),
    (1e5, (("ones", "hundred-thousandths"),)),
    (1e7, (("ones", "ten-millionths"),)),
    (1e8, (("ones", "hundred-millionths"),)),
    (1.609344, (("miles", "kilometres"),)),
    (2.204622622, (("kilograms", "pounds"),)),
    (3.280839895, (("metres", "feet"),)),
    (2.54, (("inches", "centimetres"),)),
    (25.4, (("inches", "millimetres"),)),
    (1.852, (("nautical miles", "kilometres"),)),
    (3.6, (("metres per second", "kilometres per hour"),)),
    (2.236936292, (("metres per second", "miles per hour"),)),
    (3.785411784, (("gallons", "litres"),)),
    (28.349523125, (("ounces", "grams"),)),
    (180 / np.pi, (("radians", "degrees"),)),
)
"""Factors between units, the likelier first: of two that explain the values alike, the first is named."""

TEMPERATURES: tuple[tuple[float, float, str, str], ...] = (
    (1.8, 32.0, "degrees Celsius", "degrees Fahrenheit"),
    (1.0, 273.15, "degrees Celsius", "kelvins"),
    (1.8, -459.67, "kelvins", "degrees Fahrenheit"),
)
"""Scales of temperature as factor, offset, from and to."""

EPOCHS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
PAST, FUTURE = 30 * 365.25 * 86_400, 366 * 86_400.0
"""How many seconds before and after the present a number may lie to be taken for a Unix timestamp."""

DEFAULTS = frozenset({0.0, -1.0, *(sign * (10.0**digits - 1) for digits in range(2, 10) for sign in (1, -1))})
"""Numbers that stand for a missing one: 0, -1, and nines."""

LEAST_ROWS = 15
"""Fewer values have no shape."""

MOVED = 0.3
"""Values nearer to the reference than this Kolmogorov-Smirnov distance are not asked what they mean."""

SHIFT, SCALE = 3.0, 1.4
"""Ordinary drift moves the mean by at most so many standard deviations, and the spread by at most this factor."""

FAR = 3.0
"""Values are far away when they begin at so many times the largest known one, or lie so many ranges beyond it."""

CHANCE = 1e-7
"""Values that are known ones after a change count as evidence when chance would make so many agree this rarely."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberShape:
    """What a column of numbers used to look like.

    edges: ascending, from its smallest value to just above its largest. below: the share of its values below each
    edge, same shape. mean, spread: its mean and standard deviation. known: its distinct values in ascending order
    where they are few, else empty.
    """

    edges: FloatArray
    below: FloatArray
    mean: float
    spread: float
    known: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, slots=True)
class MeaningChange:
    """A change of meaning in words, and how far the values lie from the reference: as they are, and with it undone.

    value = factor * meant + offset, where the change is of that kind.
    """

    words: str
    before: float
    after: float
    factor: float | None = None
    offset: float | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A change as a map: `edges` is where those of the reference would lie."""

    words: str
    edges: FloatArray
    factor: float | None = None
    offset: float = 0.0
    fitted: bool = False


def recognise_numbers(shape: NumberShape, values: ArrayLike, *, now: float, usual: float = 0.0) -> MeaningChange | None:
    """Name the change of meaning that explains values, if a known one does and ordinary drift does not.

    Parameters
    ----------
    shape : what the values used to look like.
    values : shape (rows,), ascending and finite.
    now : the present in seconds since 1970, which timestamps are known by.
    usual : the largest Kolmogorov-Smirnov distance from the whole that a stretch of the reference of the same length
        had, 0 where that is not known: values that hardly change within an hour lie far from a month of them.

    Returns
    -------
    The change, or None. Always None below 15 values and where the values lie near the reference.

    Notes
    -----
    Every candidate maps the edges of the reference; its distance is that of the values from the mapped reference. It
    explains the values in one of three ways. By shape: the distance is at most 1.5 / sqrt(rows) + 0.02, and smaller by
    at least 0.15 + 0.8 / sqrt(rows) than after the best ordinary drift (any shift up to 3 standard deviations, any
    stretch up to 1.4), unless the values lie within what is known and no further away than is usual. By value: so many
    distinct values are exactly those known before the change that chance would agree with probability below 1e-7. By
    magnitude: the values are 3 times, or 3 ranges, beyond anything known, and usual with a factor of at least 10
    undone; the likeliest such factor is named. Factors below 3 on values that hardly differ in shape are left to drift:
    1.6 times a normal distribution of small spread is a shift. A scale and shift fitted to the values, rather than
    known, needs 100 rows, the distance 1 / sqrt(rows), and a factor of 10, or one of 3 with a shift of 10 standard
    deviations.

    References
    ----------
    Breck, Polyzotis, Roy, Whang and Zinkevich (2019), Data validation for machine learning, section 3.2, on skew
    between training and serving.

    Examples
    --------
    Days since an event that arrive as the time of the event.

    >>> days = np.arange(366.0)
    >>> shape = NumberShape(np.append(days, 366.0), np.append(days, 366.0) / 366, days.mean(), days.std())
    >>> recognise_numbers(shape, 1.7e9 - 86_400 * days[::-12], now=1.7e9).words
    'Unix timestamps in seconds'
    >>> recognise_numbers(shape, days * 24, now=1.7e9).words
    'days turned into hours'
    >>> recognise_numbers(shape, days + 30, now=1.7e9) is None
    True
    """
    shape, numbers = _without_zeros(shape, np.asarray(values, dtype=np.float64))
    if len(numbers) < LEAST_ROWS or len(shape.edges) < 2:
        return None
    before = distance_from_shape(shape, numbers)
    if before < MOVED:
        return None
    words = _timestamps(shape, numbers, now) or _default(shape, numbers, before, usual)
    if words:
        return MeaningChange(words, before, before)
    rising, falling = tuple(_rising(shape, numbers)), tuple(_falling(shape))
    after = np.concatenate(
        [
            _distances(shape, numbers, np.array([each.edges for each in rising])),
            _distances(shape, -numbers[::-1], np.array([each.edges for each in falling])),
        ]
    )
    candidates = (*rising, *falling)
    best = _best(shape, numbers, candidates, before, after, usual)
    if best is None:
        return None
    chosen = candidates[best]
    known = chosen.factor is not None
    return MeaningChange(chosen.words, before, float(after[best]), chosen.factor, chosen.offset if known else None)


def distance_from_shape(shape: NumberShape, values: ArrayLike) -> float:
    """Kolmogorov-Smirnov distance of values from a shape, read at its edges.

    Parameters
    ----------
    shape : what the values used to look like.
    values : shape (rows,), ascending and finite, at least one.

    Returns
    -------
    0 (same) to 1 (nothing in common). Below the exact distance by at most the largest share between two edges.

    Examples
    --------
    >>> shape = NumberShape(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.5, 1.0]), 1.0, 0.5)
    >>> distance_from_shape(shape, [0.5, 0.5, 0.5, 1.5])
    0.25
    """
    return float(_distances(shape, np.asarray(values, dtype=np.float64), shape.edges[None])[0])


def _best(
    shape: NumberShape,
    values: FloatArray,
    candidates: tuple[_Candidate, ...],
    before: float,
    after: FloatArray,
    usual: float,
) -> int | None:
    """Return the candidate that explains the values, None where none does."""
    noise = 1 / np.sqrt(len(values))
    fitted = np.array([each.fitted for each in candidates])
    ordinary = min(before, float(_distances(shape, values, _ordinary(shape, values)).min()))
    near = np.where(fitted, (len(values) >= 100) & (after <= noise), after <= 1.5 * noise + 0.02)
    by_shape = near & (ordinary - after >= 0.15 + 0.8 * noise)
    if shape.edges[0] >= 0 >= values[-1]:  # no drift makes a quantity negative in every row
        surely = after <= (noise if len(values) < 100 else 1.5 * noise) + 0.02
        by_shape |= surely & np.array([each.factor == -1 for each in candidates])
    # Midnight's minutes of the day are those of the day divided by 24: usual, and inside what is known.
    inside = shape.edges[0] <= np.quantile(values, 0.5) < shape.edges[-1]
    if by_shape.any() and not (inside and before <= usual):
        by_shape = by_shape & ~fitted if (by_shape & ~fitted).any() else by_shape
        return int(np.argmax(by_shape & (after <= after[by_shape].min() + noise / 2)))
    plausible = ~fitted & (after < before)
    by_value = [place for place in np.flatnonzero(plausible) if _are_known(shape, values, candidates[place])]
    if by_value:
        return int(min(by_value, key=lambda place: after[place]))
    large = np.array([abs(np.log10(abs(each.factor))) >= 1 if each.factor else False for each in candidates])
    by_magnitude = plausible & large & (after <= min(usual, 0.98)) & _is_far(shape, values)
    return int(np.argmax(by_magnitude)) if by_magnitude.any() else None


def _without_zeros(shape: NumberShape, values: FloatArray) -> tuple[NumberShape, FloatArray]:
    """Return both sides without their zeros where both have many: most changes leave a zero what it is."""
    place = int(np.searchsorted(shape.edges, 0.0))
    if place + 1 >= len(shape.edges) or shape.edges[place] != 0:
        return shape, values
    zeros = float(shape.below[place + 1] - shape.below[place])
    if not (0.1 <= zeros <= 0.99 and np.mean(values == 0) >= 0.1):
        return shape, values
    kept = (shape.edges != 0) & (shape.edges != np.nextafter(0.0, 1.0))
    edges = shape.edges[kept]
    below = (shape.below[kept] - np.where(edges > 0, zeros, 0.0)) / (1 - zeros)
    mean = shape.mean / (1 - zeros)
    square = (shape.spread**2 + shape.mean**2) / (1 - zeros) - mean**2
    rest = NumberShape(edges, below, mean, float(np.sqrt(max(square, 0.0))), shape.known[shape.known != 0])
    return rest, values[values != 0]


def _distances(shape: NumberShape, values: FloatArray, mapped: FloatArray) -> FloatArray:
    """Return how far ascending values lie from the reference mapped by each row of edges, shape (maps,)."""
    # The edge just above a single value holds that value below it, every other edge what is below itself.
    above_value = np.append(shape.edges[1:-1] <= np.nextafter(shape.edges[:-2], np.inf), True)
    slack = np.where(np.insert(above_value, 0, False), 1e-9, -1e-9)
    places = np.searchsorted(values, mapped + slack * np.abs(mapped))
    return np.asarray(np.abs(places / len(values) - shape.below).max(axis=-1))


def _ordinary(shape: NumberShape, values: FloatArray) -> FloatArray:
    """Return the edges after the ordinary drifts that fit best, shape (drifts, edges)."""
    low, middle, high = np.interp([0.25, 0.5, 0.75], shape.below, shape.edges)
    now_low, now_middle, now_high = np.quantile(values, [0.25, 0.5, 0.75])
    before, after = (high - low, now_high - now_low) if high > low else (shape.spread, float(values.std()))
    stretch = float(np.clip(after / before, 1 / SCALE, SCALE)) if before > 1e-9 * after else SCALE
    maps = [stretch * shape.edges]
    for scale in (1.0, stretch):
        stretched = shape.mean + scale * (shape.edges - shape.mean)
        shifts = np.array([values.mean() - shape.mean, now_middle - shape.mean - scale * (middle - shape.mean)])
        maps.extend(stretched + np.clip(shifts, -SHIFT * shape.spread, SHIFT * shape.spread)[:, None])
    return np.array(maps)


def _rising(shape: NumberShape, values: FloatArray) -> Iterator[_Candidate]:
    edges, low, high = shape.edges, float(shape.edges[0]), float(shape.edges[-1])
    for factor, units in FACTORS:
        yield _Candidate(_turned(units), edges * factor, factor)
        yield _Candidate(_turned(tuple((to, of) for of, to in units)), edges / factor, 1 / factor)
    for factor, offset, cold, warm in TEMPERATURES:
        yield _Candidate(_turned(((cold, warm),)), edges * factor + offset, factor, offset)
        yield _Candidate(_turned(((warm, cold),)), (edges - offset) / factor, 1 / factor, -offset / factor)
    if shape.spread > 0 and high > low:
        for words, start, unit in (
            ("standardised values (mean 0, deviation 1) instead of raw ones", shape.mean, shape.spread),
            ("values scaled to 0 to 1 instead of raw ones", low, high - low),
        ):
            yield _Candidate(words, (edges - start) / unit, 1 / unit, -start / unit)
        yield from _fitted(shape, values)
    if low > 0:
        yield _Candidate("logarithms instead of the values", np.log(edges))
        yield _Candidate("decimal logarithms instead of the values", np.log10(edges))
    if low >= 0:
        yield _Candidate("logarithms of 1 + x instead of x", np.log1p(edges))
    if max(-low, high) < 300:
        yield _Candidate("the values instead of their logarithms", np.exp(edges))
        yield _Candidate("the values instead of their decimal logarithms", 10.0**edges)
        yield _Candidate("x instead of the logarithm of 1 + x", np.expm1(edges))


def _turned(units: tuple[tuple[str, str], ...]) -> str:
    (of, to), *others = units
    return f"{of} turned into {to}" + "".join(f" or {first} into {second}" for first, second in others)


def _fitted(shape: NumberShape, values: FloatArray) -> Iterator[_Candidate]:
    """Yield the scale and shift that make the quartiles agree, where they are large."""
    low, high = np.interp([0.25, 0.75], shape.below, shape.edges)
    now_low, now_high = np.quantile(values, [0.25, 0.75])
    if high - low <= 1e-9 * shape.spread or now_high <= now_low:
        return
    scale = float((now_high - now_low) / (high - low))
    offset = float(now_low - scale * low)
    moved = abs(scale * shape.mean + offset - shape.mean) / shape.spread
    # A smaller scale is what any quiet hour has.
    if scale > 10 or (scale > 3 and moved >= 10):
        words = f"values multiplied by {scale:.3g} and shifted by {offset:.3g}"
        yield _Candidate(words, shape.edges * scale + offset, scale, offset, fitted=True)


def _falling(shape: NumberShape) -> Iterator[_Candidate]:
    """Yield maps that reverse the order, as maps onto the negative of the values."""
    yield _Candidate("the sign is flipped", shape.edges, -1.0)
    yield _Candidate("1 - x instead of x", shape.edges - 1, -1.0, 1.0)
    yield _Candidate("100 - x instead of x", shape.edges - 100, -1.0, 100.0)


def _timestamps(shape: NumberShape, values: FloatArray, now: float) -> str:
    largest = max(abs(shape.edges[0]), abs(shape.edges[-1]))
    for name, per_second in EPOCHS.items():
        first, last = (now - PAST) * per_second, (now + FUTURE) * per_second
        if largest < first / 10 and np.mean((values >= first) & (values <= last)) >= 0.98:
            return f"Unix timestamps in {name}"
    return ""


def _default(shape: NumberShape, values: FloatArray, before: float, usual: float) -> str:
    """Return what to say of one value that stands in every row and is a usual default, or the reference's mean."""
    value = float(values[0])
    if value != values[-1] or len(shape.edges) < 3:
        return ""
    if abs(value - shape.mean) <= 1e-9 * abs(value):
        return f"the mean {value:g} of the reference in every row"
    outside = value < shape.edges[0] or value >= shape.edges[-1]
    # A calm hour has no wind, without any wind of 0 in the reference.
    unknown = outside and (value != 0 or abs(shape.mean) > SHIFT * shape.spread)
    if value in DEFAULTS and (unknown or 0 < usual < before - 0.1):
        return f"the constant {value:g} in every row"
    return ""


def _is_far(shape: NumberShape, values: FloatArray) -> bool:
    low, high = shape.edges[0], shape.edges[-1]
    first, last = np.quantile(values, [0.02, 0.98])
    ranges = max(first - high, low - last) / max(high - low, np.finfo(np.float64).tiny)
    smaller = low > 0 and last > 0 and low > FAR * last
    larger = high > 0 and first > FAR * high
    return bool(ranges > FAR or smaller or larger)


def _are_known(shape: NumberShape, values: FloatArray, change: _Candidate) -> bool:
    """Whether more of the distinct values are known ones, with the change undone, than chance allows.

    Chance: of the places that the values' own rounding allows them, how many are those of a known value.
    """
    distinct = np.unique(values)
    # A shift or a flip alone moves a whole lattice at once: that it meets another is one event, not many.
    if change.factor is None or abs(change.factor) == 1 or min(len(distinct), len(shape.known)) < 3:
        return False
    step = _step(distinct)
    tolerance = max(step / 2, 1e-6 * float(np.abs(distinct).max()))
    expected = change.factor * shape.known + change.offset
    expected = expected[(expected >= distinct[0] - tolerance) & (expected <= distinct[-1] + tolerance)]
    hits, own = _hits(distinct, expected, tolerance), _hits(distinct, shape.known, tolerance)
    chance = min(1.0, 2 * tolerance * len(expected) / (distinct[-1] - distinct[0] + 2 * tolerance))
    return 2 * own < hits and 4 * hits >= len(distinct) and float(bdtrc(hits - 1, len(distinct), chance)) < CHANCE


def _hits(values: FloatArray, expected: FloatArray, tolerance: float) -> int:
    slack = tolerance * (1 + 1e-9)
    found = np.searchsorted(expected, values + slack, side="right") > np.searchsorted(expected, values - slack)
    return int(found.sum())


def _step(distinct: FloatArray) -> float:
    """Return the largest step that all values are a multiple of, down to 0.0001; 0 where there is none."""
    for digits in range(5):
        scaled = distinct * 10.0**digits
        if np.abs(scaled).max() > 2.0**52:
            return 0.0
        whole = np.rint(scaled)
        if np.abs(scaled - whole).max() <= 1e-6:
            return float(np.gcd.reduce(whole.astype(np.int64))) / 10.0**digits
    return 0.0
