"""Metrics as a page that Prometheus scrapes, in the text format or as OpenMetrics; its own client library writes them.

Add a form to `form_for`. Keep names and values out: they belong in metrics.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from monitoring_pipeline.publish.metrics import Families, Family


class Form(NamedTuple):
    """A format: what it is called, what writes it, and how a page of it ends."""

    content_type: str
    write: Callable[[Collector], bytes]
    end: bytes


TEXT = Form(CONTENT_TYPE_PLAIN_0_0_4, generate_latest, b"")
OPENMETRICS = Form(openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest, b"# EOF\n")

Written = Mapping[str, tuple[bytes, bytes]]
"""The head of each metric, which is the same wherever it comes from, and its lines."""


class _One(NamedTuple):
    metric: Metric

    def collect(self) -> Iterable[Metric]:
        return [self.metric]


def form_for(accept: str) -> Form:
    """Return the format that a scraper accepts."""
    return OPENMETRICS if "application/openmetrics-text" in accept else TEXT


def written(families: Families, form: Form) -> Written:
    """Return metrics as text, so that what has not changed need not be written again: the library takes its time."""
    return {name: _written(name, family, form) for name, family in families.items()}


def _written(name: str, family: Family, form: Form) -> tuple[bytes, bytes]:
    metric = Metric(name.removesuffix("_total"), family.help, "counter" if name.endswith("_total") else "gauge")
    metric.samples = [Sample(name, dict(labels), value) for labels, value in family.samples.items()]
    help_, type_, lines = form.write(_One(metric)).removesuffix(form.end).split(b"\n", 2)
    return b"%b\n%b\n" % (help_, type_), lines


def page(parts: Iterable[Written], form: Form) -> bytes:
    """Return parts as one page, on which every metric occurs once."""
    together: dict[str, list[bytes]] = {}
    for part in parts:
        for name, (head, lines) in part.items():
            together.setdefault(name, [head]).append(lines)
    return b"".join([b"".join(together[name]) for name in sorted(together)] + [form.end])
