"""Counters, gauges and histograms of one process, and how Prometheus reads them.

Prometheus' own library writes them; its counters would take a lock for every score of a batch, these take one. Add a
kind of metric here. Keep the metrics themselves out: whoever counts something names it.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from threading import Lock
from typing import Literal

from prometheus_client import Metric, generate_latest
from prometheus_client.samples import Sample

Labels = tuple[str, ...]


@dataclass(slots=True)
class Family:
    """One metric with a value, or the counts of its buckets, for every combination of labels."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    values: dict[Labels, float] = field(default_factory=dict)
    counts: dict[Labels, list[int]] = field(default_factory=dict)


class Metrics:
    """The metrics of a process. Labels are given in the order in which a family names them."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = dict(families)
        self._readings: dict[str, Callable[[], Mapping[Labels, float]]] = {}
        self._lock = Lock()

    def add(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        values = self._families[name].values
        with self._lock:
            values[labels] = values.get(labels, 0.0) + amount

    def observe(self, name: str, values: Sequence[float], *labels: str) -> None:
        """Count values of a histogram."""
        family = self._families[name]
        places = [bisect_left(family.buckets, value) for value in values]
        with self._lock:
            counts = family.counts.setdefault(labels, [0] * (len(family.buckets) + 1))
            for place in places:
                counts[place] += 1
            family.values[labels] = family.values.get(labels, 0.0) + sum(values)

    def read_from(self, name: str, reading: Callable[[], Mapping[Labels, float]]) -> None:
        """Take the values of a counter or gauge from `reading` whenever the metrics are asked for."""
        self._readings[name] = reading

    def text(self) -> str:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self).decode()

    def collect(self) -> list[Metric]:
        """Return everything as the library that writes it asks for it."""
        found = {name: dict(reading()) for name, reading in self._readings.items()}
        with self._lock:
            return [_metric(name, family, found.get(name)) for name, family in self._families.items()]


def _metric(name: str, family: Family, read: Mapping[Labels, float] | None) -> Metric:
    metric = Metric(name.removesuffix("_total"), family.help, family.kind)
    for labels, value in (family.values if read is None else read).items():
        named = dict(zip(family.labels, labels, strict=True))
        if family.kind != "histogram":
            metric.samples.append(Sample(name, named, value))
            continue
        sums = list(accumulate(family.counts[labels]))
        for bound, count in zip((*map("{:g}".format, family.buckets), "+Inf"), sums, strict=True):
            metric.samples.append(Sample(f"{name}_bucket", named | {"le": bound}, count))
        metric.samples.append(Sample(f"{name}_sum", named, value))
        metric.samples.append(Sample(f"{name}_count", named, sums[-1]))
    return metric
