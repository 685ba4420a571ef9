"""The form that every asset of a monitor has in the Dagster UI, and the forms of what its results say.

Add here what all assets share. Keep what one asset is about out: it stands where the asset is listed.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import dagster as dg

from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.errors import without_password
from monitoring_pipeline.settings.deployment import Deployment
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.resources import Monitoring

Result = dg.MaterializeResult | Iterator[dg.MaterializeResult]
Body = Callable[[dg.AssetExecutionContext, Monitoring, Monitor], Result]


class Group(StrEnum):
    """Groups in the order of the flow: the UI lists them by name."""

    SOURCES = "1_sources"
    DESCRIBE = "2_describe"
    EVALUATE = "3_evaluate"
    JUDGE = "4_judge"
    DAILY = "5_daily"
    RETRAIN = "6_retrain"


def asset_spec(
    monitor: Monitor,
    name: str,
    group: Group,
    description: str,
    *,
    page: str,
    deps: tuple[str, ...] = (),
    kinds: tuple[str, ...] = ("parquet",),
) -> dg.AssetSpec:
    """Return what the UI says of one asset; of the description, lists show the first sentence. `page` is in docs/."""
    return dg.AssetSpec(
        [monitor.model, name],
        description=f"{description}\n\nMore about it: `docs/{page}`",
        deps=[dg.AssetKey([monitor.model, dep]) for dep in deps],
        kinds=set(kinds),
        group_name=f"{monitor.model}_{group}",
        owners=list(monitor.owners) or None,
        tags={"monitoring/model": monitor.model},
    )


def computed(
    monitor: Monitor,
    body: Body,
    *specs: dg.AssetSpec,
    name: str = "",
    checks: Mapping[str, str] | None = None,
    partitions: dg.PartitionsDefinition[Any] | None = None,
) -> dg.AssetsDefinition:
    """Return assets that `body` makes in one step; checks, by name what passes, are of the last one."""
    key = specs[-1].key

    @dg.multi_asset(
        name=f"{monitor.model}__{name or key.path[-1]}",
        description=specs[-1].description,
        specs=specs,
        check_specs=[dg.AssetCheckSpec(check, asset=key, description=what) for check, what in (checks or {}).items()],
        partitions_def=partitions,
        # A range is one run: its hours share what they read.
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
    )
    def execute(context: dg.AssetExecutionContext, monitoring: Monitoring) -> Iterator[dg.MaterializeResult]:
        result = body(context, monitoring, monitor)
        yield from [result] if isinstance(result, dg.MaterializeResult) else result
        reached("asset.before_done")

    return execute


def check_result(
    name: str, said: str, *, passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN, **facts: Any
) -> dg.AssetCheckResult:
    """Return the result of one check with a sentence that says what was found."""
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=severity, description=said, metadata=facts)


def checked(
    name: str, said: str, *, passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN, **facts: Any
) -> dg.MaterializeResult:
    """Return a materialisation with one check: see `check_result`."""
    return dg.MaterializeResult(check_results=[check_result(name, said, passed=passed, severity=severity, **facts)])


def model_link(deployment: Deployment, name: str, version: str) -> dg.MetadataValue[Any]:
    """Return a link to a version in MLflow's pages or, where no server is asked, the command that shows them."""
    uri = without_password(deployment.tracking_uri)
    if uri.startswith(("http://", "https://")):
        return dg.MetadataValue.url(f"{uri.rstrip('/')}/#/models/{quote(name, safe='')}/versions/{version}")
    return dg.MetadataValue.text(f"models:/{name}/{version}, shown by: mlflow ui --backend-store-uri {uri}")
