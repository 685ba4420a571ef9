"""The health page of one model: a record of all that it shows, and that record as one HTML file that asks for nothing.

Add a section to `HealthPage` and to the template beside this file. Keep stores and clocks out: what is shown was
measured and judged before. Colours and layout belong in the template, what is drawn over time in `health_charts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.status import Status
from monitoring_pipeline.judge.verdicts import Level, Verdict
from monitoring_pipeline.publish.charts import ratio_to_limit

if TYPE_CHECKING:
    from jinja2 import Template

MARKS = {Level.OK: "", Level.WARNING: "!", Level.CRITICAL: "‼", Level.UNKNOWN: "·"}
SYMBOLS = {Level.OK: "✓", Level.WARNING: "▲", Level.CRITICAL: "■", Level.UNKNOWN: "?"}
"""What says the level in cells, and in text, besides the colour."""

WORST_FIRST = (Level.CRITICAL, Level.WARNING, Level.UNKNOWN, Level.OK)
"""Unknown comes before fine: somebody has to look."""

MOST_TOLD = 6
"""Things that happened that are told at the top."""

_SHORT = frozenset({"roc", "auc", "psi", "ks", "js", "kl", "f1", "mae", "mse", "rmse", "mape", "ctr", "ndcg", "slo"})
_WRITTEN = {"wasserstein_normalised": "Wasserstein distance", "l_infinity": "L-infinity"}


class Bin(NamedTuple):
    """One bin of a column: what it holds, and its share of the reference rows and of the newest ones."""

    label: str
    reference: float
    current: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a heat map: the verdict at the end of each day, None where there is none, and what it opens into.

    `rows` are those of the reference and of the newest window behind the bins, `worst` the columns of a check.
    """

    name: str
    days: tuple[Verdict | None, ...]
    bins: tuple[Bin, ...] = ()
    rows: tuple[int, int] = (0, 0)
    worst: tuple[Verdict, ...] = ()

    @property
    def newest(self) -> Verdict | None:
        return self.days[-1] if self.days else None

    @property
    def beyond(self) -> int:
        """Days that ended beyond the limit."""
        return sum(verdict is not None and verdict.level.rank > 0 for verdict in self.days)

    @property
    def is_quiet(self) -> bool:
        """Whether every day is known and far from the limit."""
        return all(shade(verdict) == "a" for verdict in self.days)


class Point(NamedTuple):
    """A performance metric at the end of one window: judged from labels, estimated without, and how many have one."""

    at: datetime
    observed: Verdict | None
    estimate: Signal | None
    coverage: float | None


class Course(NamedTuple):
    """One performance metric over time."""

    metric: str
    window: str
    points: tuple[Point, ...]


class Trouble(NamedTuple):
    """One incident as the page shows it; `number` ties its line in the table to its bar."""

    number: int
    began: datetime
    ended: datetime | None
    severity: Level
    sev: int
    rules: tuple[str, ...]
    what: str
    cause: str
    next_step: str
    runbook: str
    taken_on_by: str


class Change(NamedTuple):
    """One retraining or rollback: what became of it, the version before and the one after, and why."""

    at: datetime
    kind: str
    version: str
    after: str
    why: str


class Event(NamedTuple):
    """Something that happened, in words."""

    at: datetime
    text: str


class Served(NamedTuple):
    """A version that served: from the first hour to the end of the last one of the period."""

    version: str
    first: datetime
    last: datetime
    rows: int
    trained_until: datetime | None


class Promise(NamedTuple):
    """One objective: the share that was kept, the budget that is left, and how fast it goes by window."""

    name: str
    kept: Verdict
    left: Verdict
    rates: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class HealthPage:
    """All that the page of one model shows, as of a moment.

    `because` says in plain words what is bad, and `leading` is the incident it is of.
    """

    model: str
    as_of: datetime
    status: Status
    because: str = ""
    leading: Trouble | None = None
    description: str = ""
    owners: tuple[str, ...] = ()
    start: datetime | None = None
    ended: datetime | None = None  # where monitoring has come to its end
    days: tuple[datetime, ...] = ()
    window: str = ""
    courses: tuple[Course, ...] = ()
    measured: tuple[Verdict, ...] = ()
    drifting: str = ""  # the window of the distances
    features: tuple[Row, ...] = ()
    left_out: int = 0
    quality: tuple[Row, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    changes: tuple[Change, ...] = ()
    versions: tuple[Served, ...] = ()
    promises: tuple[Promise, ...] = ()

    @property
    def open(self) -> tuple[Trouble, ...]:
        """The incidents that are open, the gravest first."""
        found = (each for each in self.troubles if each.ended is None)
        return tuple(sorted(found, key=lambda each: (-each.severity.rank, each.began)))

    @property
    def story(self) -> tuple[Event, ...]:
        """The newest incidents and changes of version in a sentence each, in the order in which they came."""
        told = [
            Event(
                each.began,
                f"Incident #{each.number} (SEV-{each.sev}): {each.what}; "
                + (f"resolved {moment(each.ended)}. " if each.ended else "still open. ")
                + (f"Likeliest cause: {each.cause}." if each.cause else ""),
            )
            for each in self.troubles
        ]
        for each in self.changes:
            what, why = each.kind.replace("_", " "), each.why.partition(";")[0]
            told.append(Event(each.at, f"Version {each.after or each.version} {what}{f': {why}' if why else ''}."))
        return tuple(sorted(told)[-MOST_TOLD:])

    @property
    def sentence(self) -> str:
        """Status, since when and why, for somebody who reads nothing else."""
        return status_sentence(self.model, self.status, self.because)


class Listed(NamedTuple):
    """One line of the index: a model, how it is, and the address of its page where there is one."""

    model: str
    description: str
    found: HealthPage | Status
    address: str

    @property
    def status(self) -> Status:
        return self.found.status if isinstance(self.found, HealthPage) else self.found

    @property
    def sentence(self) -> str:
        return self.found.sentence if isinstance(self.found, HealthPage) else status_sentence(self.model, self.found)


def status_sentence(model: str, status: Status, because: str = "") -> str:
    """Return how a model is as one sentence."""
    since = f" since {moment(status.since)}" if status.since else ""
    said = f" because {because}" if because else f": {status.because}"
    return f"{model} is {status.word}{since}{said}".rstrip(".") + "."


def moment(at: datetime) -> str:
    """Return a moment as people write it."""
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def number(value: float | None) -> str:
    """Return a number with as many digits as a person compares; a missing one is a dash."""
    if value is None or not isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def metric_words(metric: str) -> str:
    """Return a metric in words: `performance.roc_auc` is ROC AUC, `drift.psi` drift PSI."""
    report, _, name = metric.partition(".")
    words = _WRITTEN.get(name) or " ".join(word.upper() if word in _SHORT else word for word in name.split("_"))
    return words if report in ("performance", "business") else f"{report} {words}".strip()


def place_words(signal: Signal) -> str:
    """Return what a signal is of: `drift PSI of temp over 7d`."""
    column = f" of {signal.column}" if signal.column else ""
    return f"{metric_words(signal.metric)}{column} over {signal.window}"


def nearness(verdict: Verdict) -> float:
    """Return how much of the way to its limit a value has gone: below 1 where that is a lower one, too."""
    ratio = ratio_to_limit(verdict)
    return 1 / ratio if ratio > 1 and verdict.level is Level.OK else ratio


def shade(verdict: Verdict | None) -> str:
    """Return the class of a cell: by its level or, within the limit, by how much of the way there it went."""
    if verdict is None or verdict.level is Level.UNKNOWN:
        return "u"
    if verdict.level.rank > 0:
        return "w" if verdict.level is Level.WARNING else "c"
    ratio = nearness(verdict)
    return "a" if ratio < 1 / 3 else "b" if ratio < 2 / 3 else "d"


def cell_words(verdict: Verdict | None, by: str) -> str:
    """Return what a cell stands for: its metric or column, value and limit, or why nothing is known."""
    if verdict is None:
        return "not judged"
    if verdict.signal.value is None or verdict.level is Level.UNKNOWN:
        return f"unknown: {verdict.reason.partition('. ')[0]}"
    limit = "" if verdict.threshold is None else f", limit {number(verdict.threshold)}"
    what = metric_words(verdict.signal.metric).removeprefix("drift ") if by == "metric" else verdict.signal.column
    return f"{what} {number(verdict.signal.value)}{limit}".strip()


def render_page(page: HealthPage, *, index: str = "") -> str:
    """Return the page as HTML; `index` is the address of the list of all models, where there is one."""
    from markupsafe import Markup

    from monitoring_pipeline.publish.health_charts import course_charts, history_charts

    # The charting library escapes the text it draws.
    charts = {course.metric: Markup(course_charts(course, page)) for course in page.courses}  # noqa: S704
    history = Markup(history_charts(page)) if page.days else ""  # noqa: S704
    title = f"{page.model}: {page.status.word}"
    return _template().render(page=page, charts=charts, history=history, index=index, title=title)


def render_index(listed: Sequence[Listed], *, as_of: datetime) -> str:
    """Return the list of all models, the worst first."""
    ranked = sorted(listed, key=lambda each: (WORST_FIRST.index(each.status.level), each.model))
    return _template().render(listed=ranked, as_of=as_of, title="Model health")


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "number": number, "metric": metric_words, "place": place_words}
    environment.filters |= {"shade": shade, "cell": cell_words, "mark": lambda verdict: MARKS[verdict.level]}
    environment.globals["SYMBOLS"] = SYMBOLS
    return environment.get_template("health_page.html.j2")
