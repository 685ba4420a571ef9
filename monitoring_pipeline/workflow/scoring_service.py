"""The scoring service of one monitor on this deployment's stores: the registry's models, the logs the pipeline reads.

Add here what a monitor or a reference says that the service should know. Keep what it does with that out: it belongs in
serve.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastapi import FastAPI

from monitoring_pipeline.capture.credentials import Credential
from monitoring_pipeline.capture.labels import touched_hours
from monitoring_pipeline.capture.privacy import PrivateLabelLog, is_digest
from monitoring_pipeline.describe.columns import ColumnRole
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.serve.app import create_app
from monitoring_pipeline.serve.contract import Contract
from monitoring_pipeline.serve.fallback import Chain, Link, QualityGate, constant
from monitoring_pipeline.serve.instrument import Instrument, families
from monitoring_pipeline.serve.metrics import Metrics
from monitoring_pipeline.serve.recorder import Recorder
from monitoring_pipeline.serve.reloading import Models
from monitoring_pipeline.serve.routing import CHALLENGER, CHAMPION, FALLBACK, RULE, SHADOW, Router, Serving, with_shadow
from monitoring_pipeline.serve.scoring import Scorer, load_scorer
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.files import publish
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline.stores.objects import place_at
from monitoring_pipeline.stores.reference_store import ReferenceStore
from monitoring_pipeline.workflow.logs import Secret, logs_at

SWITCH = (CHAMPION, CHALLENGER, FALLBACK, RULE)
"""What can be asked first."""

SLOW_S = 2.0
"""An answer of a model that takes longer counts against it: the critical limit of the latency."""

MARGIN = 1.0
"""How many widths of the reference's range a value may lie outside it; a wrong unit lies further."""


@dataclass(frozen=True, slots=True)
class RegisteredModels:
    """The versions of a registered model (`serve.reloading.Source`)."""

    registry: MlflowRegistry
    model: str
    trusted_types: tuple[str, ...]
    task: Task

    def aliases(self) -> dict[str, str]:
        return {alias: each.version for each in self.registry.versions(self.model) for alias in each.aliases}

    def load(self, version: str) -> Scorer:
        uri = self.registry.tracking_uri
        return load_scorer(uri, self.model, version, self.trusted_types, task=self.task)


def router_of(monitor: Monitor, clock: Callable[[], datetime]) -> Router | None:
    """Return the router of the monitor's first experiment, which sends nobody astray before it begins or after it."""
    if not monitor.experiments:
        return None
    name, asked = next(iter(monitor.experiments.items()))
    split, end = asked.assignment(name), asked.start + timedelta(days=asked.max_days)

    def assign(unit: str) -> str | None:
        return split.arm(unit) if asked.start <= clock() < end else None

    return Router(assign, unit=asked.unit or "")


def scoring_service(
    monitor: Monitor,
    deployment: Deployment,
    *,
    clock: Callable[[], datetime],
    rate: float = 1.0,
    poll_s: float = 10.0,
    api_keys: Sequence[Credential] = (),
    router: Router | None = None,
    secret: Secret = lambda _variable: None,
    hosts: Sequence[str] = (),
) -> FastAPI:
    """Return the service, with its models loaded; raises RegistryError where there is no champion to load.

    `secret` gives the address of the log where that is in a database, and the key of personal data.
    """
    model, registry = monitor.registry_name, MlflowRegistry(deployment.tracking_uri)
    router = router or router_of(monitor, clock)
    data = place_at(deployment.data_address)
    predictions, labels = logs_at(monitor, data, secret)
    source = RegisteredModels(registry, model, monitor.retraining.trusted_types, monitor.task)
    references = ReferenceStore(data, registry)
    champion = source.aliases().get(CHAMPION, "")
    reference = references.load(model, champion) if champion else None
    contract = contract_of(monitor, reference)
    metrics = Metrics(families([monitor.threshold]))

    def build(scorers: Mapping[str, Scorer]) -> Serving:
        known = references.load(model, scorers[CHAMPION].version) or reference  # a new version's may not be there yet
        return serving_of(scorers, monitor=monitor, contract=contract, reference=known, metrics=metrics)

    models = Models(
        source,
        build,
        aliases=(CHAMPION, CHALLENGER, SHADOW, FALLBACK),
        accept=contract.check,
        metrics=metrics,
        poll_s=poll_s,
    )
    models.refresh()
    recorder = Recorder(
        predictions,
        model,
        contract.schema,
        deployment.spools,
        rate=rate,
        complete=lambda rows: with_shadow(rows, models.serving),
    )

    def store_labels(rows: pa.Table) -> None:
        columns, id_column = monitor.labels.columns(), monitor.columns.prediction_id
        delay = monitor.labels.max_delay
        rows = labels.privacy.keep(rows) if isinstance(labels, PrivateLabelLog) else rows
        hours = touched_hours(rows, predictions, model=model, columns=columns, id_column=id_column, max_delay=delay)
        labels.append(model, rows, hours=hours)

    return create_app(
        contract,
        models,
        recorder,
        store_labels,
        instrument=Instrument(metrics, clock=clock),
        router=router,
        api_keys=api_keys,
        hosts=hosts,
        begin=partial(read_switch, _switch(deployment, monitor)),
    )


def contract_of(monitor: Monitor, reference: Reference | None) -> Contract:
    """Return what callers send: the monitor's features, and the other columns something is said of."""
    features, columns = monitor.features.kinds(), monitor.columns
    served = {*columns.names()} - {columns.lower, columns.upper, columns.request, columns.item}
    known = {*features, *served, *monitor.labels.columns().names()}
    others = dict.fromkeys([*monitor.watched_columns(), *monitor.segments.columns])
    return Contract(
        model=monitor.registry_name,
        features=features,
        columns=columns,
        labels=monitor.labels.columns(),
        task=monitor.task,
        threshold=monitor.threshold,
        context=tuple(name for name in others if name not in known),
        names_ids=columns.prediction_id not in monitor.privacy.hash,
        example=usual_values(reference),
    )


def usual_values(reference: Reference | None) -> dict[str, Any]:
    """Return a usual value of every feature: its median, or its most frequent category."""
    found: dict[str, Any] = {}
    for entry in [] if reference is None else reference.columns.values():
        if entry.column.role is ColumnRole.FEATURE and entry.column.part is None:
            if "quantiles" in entry.summary:
                found[entry.column.name] = entry.summary["quantiles"]["0.50"]
            elif named := [name for name in entry.summary.get("categories") or () if not is_digest(name)]:
                found[entry.column.name] = named[0]
    return found


def usual_score(reference: Reference | None, monitor: Monitor) -> float | None:
    """Return what the model says on average, as the rule that needs no features."""
    column = monitor.columns.prediction if monitor.task is Task.REGRESSION else monitor.columns.score
    entry = None if reference is None or column is None else reference.columns.get(column)
    mean = None if entry is None else entry.summary.get("mean")
    return None if mean is None else float(mean)


def serving_of(
    scorers: Mapping[str, Scorer],
    *,
    monitor: Monitor,
    contract: Contract,
    reference: Reference | None,
    metrics: Metrics,
) -> Serving:
    """Return a chain for the champion and the challenger: the model, the champion, a fallback model, the rule."""

    def link(alias: str, scorer: Scorer) -> Link:
        robust = alias == FALLBACK
        score = lambda rows: scorer.score(contract.frame(rows))  # noqa: E731 - of this scorer, not of the last
        return Link(alias, scorer.version, score, robust=robust, fills=robust or contract.fills(scorer))

    links = {alias: link(alias, scorer) for alias, scorer in scorers.items() if alias != SHADOW}
    usual = usual_score(reference, monitor)
    if usual is not None:
        links[RULE] = Link(RULE, "", constant(usual), robust=True, fills=True)
    gate = QualityGate(tuple(contract.features), ranges=ranges_of(reference))
    chains = {
        alias: Chain(
            tuple(links[name] for name in dict.fromkeys([alias, CHAMPION, FALLBACK, RULE]) if name in links),
            gate,
            metrics,
            defaults=usual_values(reference),
            slow_s=SLOW_S,
        )
        for alias in (CHAMPION, CHALLENGER)
        if alias in links
    }
    return Serving(scorers, chains)


def ranges_of(reference: Reference | None) -> dict[str, tuple[float, float]]:
    """Return within which limits a value of a feature makes sense."""
    found = {}
    for name, entry in ({} if reference is None else reference.columns).items():
        if entry.column.role is ColumnRole.FEATURE and entry.column.part is None and "min" in entry.summary:
            low, high = entry.summary["min"], entry.summary["max"]
            found[name] = low - MARGIN * (high - low), high + MARGIN * (high - low)
    return found


def switch_to(deployment: Deployment, monitor: Monitor, first: str) -> None:
    """Let every instance of the service on this deployment's disk ask `first` before the others, from now on."""
    publish(_switch(deployment, monitor), json.dumps({"first": "" if first == CHAMPION else first}).encode())


def read_switch(path: Path) -> str:
    """Return what is asked first, "" for the usual."""
    try:
        return str(json.loads(path.read_bytes())["first"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def service_clock(deployment: Deployment, wall: Callable[[], datetime]) -> Callable[[], datetime]:
    """Return the clock of a deployment: the wall clock, or the moment a replay has reached."""
    file = deployment.clock_file
    if file is None:
        return wall
    return lambda: datetime.fromisoformat(file.read_text().strip()).astimezone(UTC) if file.exists() else wall()


def _folder(deployment: Deployment) -> Path:
    return deployment.state_directory / "serving"


def _switch(deployment: Deployment, monitor: Monitor) -> Path:
    return _folder(deployment) / f"{monitor.model}.switch.json"
