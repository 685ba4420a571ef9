"""What rules would have sent over nine months of flights: the textbook's, the demonstration's and the default ones.

    nice python benchmarks/rule_replay.py [--folder benchmark_data] [--write]

Stores every hour of 1 April to 31 December 2013 as the first model would have served it, never retrained, and replays
sets of rules over what was measured. Prints Markdown; --write puts it into docs/replaying-rules.md.
"""

import argparse
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the flights are described in examples/

from worlds.tables import table

from examples.demonstration import Service, prepare
from examples.flight_delays.demo import SPRING
from examples.flight_delays.model import CATEGORICAL, FEATURES, NAME, NUMERIC
from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.judge.conditions import All, Condition, SignalCondition
from monitoring_pipeline.judge.conditions import Any as AnyOf
from monitoring_pipeline.judge.rules import Rule
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.alerts import Step
from monitoring_pipeline.notify.replay import KNOWN_AFTER, PAGE, Replay
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.load import load_monitor, parse_monitor
from monitoring_pipeline.workflow.rule_replay import Candidate, replay_stored
from monitoring_pipeline.workflow.stages import stages_at

FIRST, END = datetime(2013, 4, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC)
HOURS = [FIRST + step * HOUR for step in range(round((END - FIRST) / HOUR))]
PARTS = [HOURS[first : first + 14 * 24] for first in range(0, len(HOURS), 14 * 24)]
DAY = timedelta(days=1)
FURLOUGH = datetime(2013, 4, 21, tzinfo=UTC), datetime(2013, 4, 28, tzinfo=UTC)
MAY = datetime(2013, 5, 1, tzinfo=UTC)
MONTHS = range(4, 13)
LIMITS, CRITICAL = (0.1, 0.2, 0.25, 0.5), 0.25

WITHOUT_RULES: dict[str, Any] = {
    "model": NAME,
    "start": FIRST.isoformat(),
    "features": {"categorical": [*CATEGORICAL], "numeric": [*NUMERIC]},
}
A_DAY, AN_HOUR = {"min_rows": 500}, {"min_rows": 30, "metrics": ["psi"]}
"""A day has 900 flights and an hour up to 80; by default drift asks for 1,000 rows."""

DOCUMENT = Path(__file__).parents[1] / "docs" / "replaying-rules.md"
BEGIN, END_MARK = "<!-- begin figures -->", "<!-- end figures -->"


def build(home: Path) -> None:
    """Serve, log and label the flights, and measure and judge every hour and every day."""
    from monitoring_pipeline.workflow.attribution_report import attribution_verdicts
    from monitoring_pipeline.workflow.daily_samples import day_samples
    from monitoring_pipeline.workflow.model_assets import materialise_references
    from monitoring_pipeline.workflow.resources import Monitoring
    from monitoring_pipeline.workflow.slice_report import slice_verdicts

    monitors = prepare(home, NAME)
    (home / "clock").write_text(END.isoformat())
    monitor, monitoring = load_monitor(monitors / f"{NAME}.yaml"), Monitoring()
    SPRING.train(monitoring.deployment.tracking_uri, artifacts=home / "artifacts")
    materialise_references(monitoring, monitor)
    Service(replace(SPRING, watched_until=END), monitoring, monitor).serve(FIRST, END)
    stages = monitoring.stages(monitor)
    for hours in PARTS:
        stages.describe(hours)
        stages.join(hours, as_of=END)
        for stage in (stages.measure_drift, stages.measure_quality, stages.measure_operations):
            stage(hours)
        stages.measure_performance(hours)
        stages.judge(hours)
        print(f"stored up to {hours[-1]:%d %B}", file=sys.stderr, flush=True)
    for day, sample in day_samples(monitoring, monitor, HOURS[::24]):
        for kind, report in {"attribution": attribution_verdicts, "slice": slice_verdicts}.items():
            found = [] if isinstance(sample, str) else report(monitoring, monitor, sample)
            monitoring.hourly.write_verdicts(NAME, {day + DAY - HOUR: found}, kind=f"{kind}_verdicts")


def measured_again(home: Path, name: str, drift: Mapping[str, Any]) -> Deployment:
    """Return the deployment with drift measured by other settings; all else are the same files."""
    other, unfinished = home.with_name(f"{home.name}_{name}"), home.with_name(f"{home.name}_{name}.part")
    if not other.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "data").mkdir(parents=True)
        for kind in (home / "data").resolve().iterdir():
            if kind.name != "drift":
                (unfinished / "data" / kind.name).symlink_to(kind)
        monitor = parse_monitor({**WITHOUT_RULES, "drift": drift})
        stages = stages_at(monitor, _deployment(unfinished), lambda _: None)
        for hours in PARTS:
            stages.measure_drift(hours)
        unfinished.rename(other)
    return _deployment(other)


def _deployment(home: Path) -> Deployment:
    return Deployment.from_environment({"MONITORING_HOME": str(home.resolve())}, root=Path())


def textbook(window: str, limit: float = 0.2) -> Candidate:
    """Return a rule for every feature that pages at once when its PSI is above a limit."""
    rules = [
        Rule(
            f"psi_{name}",
            SignalCondition("drift.psi", window, column=escape(name), above=limit),
            severity=Level.CRITICAL,
            cooldown=timedelta(0),
            resolve_after=1,
        )
        for name in FEATURES
    ]
    name = f"PSI of a feature > {limit:g} over {window}"
    return Candidate(name, parse_monitor({**WITHOUT_RULES, "drift": A_DAY}), tuple(rules))


def ours(name: str, **settings: Any) -> Candidate:
    """Return the rules of a file without rules."""
    return Candidate.of(parse_monitor({**WITHOUT_RULES, "drift": A_DAY, **settings}), name)


def months(found: Replay) -> list[str]:
    """Return pages and messages by month, and of all."""
    told = [(_month(at), severity == PAGE and step != Step.RESOLVED) for at, step, severity, _ in found.told]
    pages, messages = Counter(month for month, page in told if page), Counter(month for month, _ in told)
    cells = [f"{pages[month]} · {messages[month]}" for month in MONTHS]
    return [*cells, f"**{found.pages}** · {len(found.told)}"]


def alone(found: Replay) -> list[str]:
    """Return alerts by month, and of all: the pages, if each of them were one."""
    alerts = Counter(_month(at) for rule in found.rules for at in rule.alerts_at)
    return [*(f"{alerts[month]:,}" for month in MONTHS), f"**{alerts.total():,}**"]


def _month(known_at: datetime) -> int:
    return min(known_at, END - HOUR).month  # the last hour of December is judged in January


def furlough(candidate: Candidate, found: Replay) -> str:
    """Return when people were told of bad predictions in the incidents that were open in that week."""
    about = {rule.name for rule in candidate.rules if any(name.startswith("performance.") for name in rule.metrics)}
    open_then = {
        each.id: each
        for each in found.incidents
        if about & set(each.rules)
        and each.first_hour < FURLOUGH[1]
        and (each.resolved_at is None or each.resolved_at > FURLOUGH[0])
    }
    told = [f"{step} {at:%-d %b %H:%M}" for at, step, _, name in found.told if name in open_then and at < FURLOUGH[1]]
    return ", ".join(told) or "no"


def on_column(condition: Condition, column: str) -> Condition:
    """Return a condition on drift that looks at one column only."""
    match condition:
        case SignalCondition() if condition.metric.startswith("drift."):
            return replace(condition, column=column)
        case All(of):
            return All(tuple(on_column(part, column) for part in of))
        case AnyOf(of):
            return AnyOf(tuple(on_column(part, column) for part in of))
    return condition


def temperature(candidate: Candidate, where: Deployment) -> str:
    """Return when the rules on drift of features, of the temperature alone, are first heard of in May."""
    rules = [
        replace(rule, condition=on_column(rule.condition, "temp"), critical=None)
        for rule in candidate.rules
        if rule.name in ("feature_drift", "psi_temp")
    ]
    only = Candidate(candidate.name, candidate.monitor, tuple(rules))
    (found,) = replay_stored([only], where, start=MAY, end=MAY + 31 * DAY)
    at = found.rules[0].first_at
    if at == MAY + KNOWN_AFTER:
        return "fires already on 1 May"
    return "no" if at is None else f"{at:%-d %b %H:%M}"


def figures(home: Path) -> Iterator[str]:
    """Yield the tables."""
    here = _deployment(home)
    demo = Candidate.of(load_monitor(home / "monitors" / f"{NAME}.yaml"), "the demonstration's rules")
    default, hourly, daily = ours("default rules"), textbook("1h"), {limit: textbook("24h", limit) for limit in LIMITS}
    patient = ours("patient", performance={"baseline": {"warning": 0.05, "critical": CRITICAL}})
    began = time.process_time()
    replay_stored([demo], here)
    taken = time.process_time() - began
    together = [*daily.values(), demo, default, patient]
    found = dict(zip((id(each) for each in together), replay_stored(together, here), strict=True))
    by_hour, as_is = measured_again(home, "by_hour", AN_HOUR), measured_again(home, "as_is", {})
    (of_hours,), (of_defaults,) = replay_stored([hourly], by_hour), replay_stored([default], as_is)
    sets = [
        (daily[0.2].name, daily[0.2], here, found[id(daily[0.2])]),
        (hourly.name, hourly, by_hour, of_hours),
        (demo.name, demo, here, found[id(demo)]),
        (f"{default.name}, drift.min_rows: 500", default, here, found[id(default)]),
        (f"{default.name}, drift.min_rows as it is, 1000", default, as_is, of_defaults),
    ]
    names = [f"{FIRST.replace(month=month):%b}" for month in MONTHS]
    yield "Pages and, behind the dot, all messages by month, the ends of incidents among them:"
    by_month = [[name, *months(of)] for name, _, _, of in sets]
    by_month += [[f"{name}, a page for every alert", *alone(of)] for name, _, _, of in sets[:2]]
    yield table(["rules", *names, "in all"], by_month)
    yield "What people would have heard without incidents, and what they are spared:"
    heads = ["rules", "hours firing", "alerts", "incidents", "messages", "pages", "repetitions spared", "hours unknown"]
    yield table(heads, [[name, *totals(of)] for name, _, _, of in sets])
    yield "Told of bad predictions up to the end of the week of 21 to 27 April; first alert on the temperature in May:"
    yield table(
        ["rules", "the furlough week", "temperature"],
        [[name, furlough(each, of), temperature(each, where)] for name, each, where, of in sets],
    )
    yield "Other limits: of the textbook's rule over 24h, and of how far below its baseline performance is critical:"
    heads = ["limit", *heads[1:-1]]
    tried = {f"PSI {limit:g}": each for limit, each in daily.items()}
    tried |= {"15% below, the default": default, f"{CRITICAL:.0%} below": patient}
    yield table(heads, [[name, *totals(found[id(each)])[:-1]] for name, each in tried.items()])
    yield (
        f"{len(HOURS)} hours, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}. "
        f"The demonstration's rules alone take {taken:.0f} s of CPU, {taken / len(HOURS) * 24 * 25:.0f} s for 25 days."
    )


def totals(found: Replay) -> list[str]:
    """Return how often rules fired, and what came of it."""
    firing, alerts, unknown = (
        sum(getattr(rule, name) for rule in found.rules) for name in ("hours_firing", "alerts", "hours_unknown")
    )
    numbers = firing, alerts, len(found.incidents), len(found.told), found.pages, found.duplicates_avoided
    share = unknown / (found.hours * len(found.rules))
    return [*(f"{number:,}" for number in numbers), f"{share:.0%}"]


def main() -> None:
    """Build what is not there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the stores are kept for the next run")
    parser.add_argument("--write", action="store_true", help="replace the figures in docs/replaying-rules.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = (asked.folder or Path(scratch)).resolve() / "rule_replay"
        if not (home / "built").exists():
            began = time.process_time()
            build(home)
            (home / "built").write_text(f"{time.process_time() - began:.0f} s of CPU")
        print(f"stores: {(home / 'built').read_text()}", file=sys.stderr)
        text = "\n\n".join(figures(home))
    print(text)
    if asked.write:
        before, rest = DOCUMENT.read_text().split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END_MARK}{rest.split(END_MARK)[1]}")


if __name__ == "__main__":
    main()
