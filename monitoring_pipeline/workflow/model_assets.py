"""The assets around model versions: references, and the way from a decision to a promoted challenger.

Add an asset here when it happens per version or per retraining rather than per hour. Keep out what the steps of a
retraining do: each has a module beside this one.
"""

from typing import Any

import dagster as dg

from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.challenger_evaluation import compare_with_champion
from monitoring_pipeline.workflow.model_references import build_version_reference
from monitoring_pipeline.workflow.promotion import decide_promotion
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import Cell, rounded, table
from monitoring_pipeline.workflow.training import collect_training_set, train_challenger


def model_assets(monitor: Monitor) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return references and retraining of one monitor, and the outside data its lineage starts from."""
    model = monitor.model
    owners = list(monitor.owners) or None

    def key(name: str) -> dg.AssetKey:
        return dg.AssetKey([model, name])

    def retraining(name: str, description: str, deps: list[str], kinds: set[str]) -> dict[str, Any]:
        return {
            "name": name,
            "key_prefix": [model],
            "description": description,
            "deps": [key(dep) for dep in deps],
            "kinds": kinds,
            "group_name": f"{model}_retraining",
            "owners": owners,
        }

    @dg.asset(
        name="reference_distributions",
        key_prefix=[model],
        description="What the reference rows of each served model version look like, kept with it in MLflow.",
        deps=[key("registered_model")],
        kinds={"mlflow", "json"},
        group_name=f"{model}_model",
        owners=owners,
    )
    def reference_distributions(monitoring: Monitoring) -> dg.MaterializeResult:
        return materialise_references(monitoring, monitor)

    @dg.asset(
        **retraining(
            "training_set",
            "Recent labelled predictions, split in time into rows to train on and a hold-out to judge on.",
            ["verdicts", "outcomes", "prediction_log", "label_log"],
            {"parquet"},
        )
    )
    def training_set(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return collect_training_set(context, monitoring, monitor)

    @dg.asset(
        **retraining(
            "challenger",
            "A new model version, trained by the monitor's trainer on the training set and registered as challenger.",
            ["training_set"],
            {"mlflow", "scikitlearn"},
        )
    )
    def challenger(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return train_challenger(context, monitoring, monitor)

    @dg.asset(
        **retraining(
            "challenger_evaluation",
            "Champion and challenger on the same recent hold-out rows, paired.",
            ["challenger"],
            {"json"},
        )
    )
    def challenger_evaluation(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return compare_with_champion(context, monitoring, monitor)

    @dg.asset(
        **retraining(
            "promotion",
            "The champion alias moved to the challenger, or the reason why not; on record either way.",
            ["challenger_evaluation"],
            {"mlflow"},
        )
    )
    def promotion(context: dg.AssetExecutionContext, monitoring: Monitoring) -> dg.MaterializeResult:
        return decide_promotion(context, monitoring, monitor)

    outside = [
        dg.AssetSpec(
            key("prediction_log"),
            description="What the model served: one row per prediction, written by the serving process.",
            kinds={"parquet"},
            group_name=f"{model}_sources",
            owners=owners,
        ),
        dg.AssetSpec(
            key("label_log"),
            description="What came true, as it becomes known.",
            kinds={"parquet"},
            group_name=f"{model}_sources",
            owners=owners,
        ),
        dg.AssetSpec(
            key("registered_model"),
            description=f"Versions and aliases of {monitor.registry_name} in the MLflow registry.",
            kinds={"mlflow"},
            group_name=f"{model}_model",
            owners=owners,
        ),
    ]
    return [*outside, reference_distributions, training_set, challenger, challenger_evaluation, promotion]


def materialise_references(monitoring: Monitoring, monitor: Monitor) -> dg.MaterializeResult:
    """Build the reference of every version with a monitored alias; versions keep what they have if nothing changed."""
    served = [v for v in monitoring.registry.versions(monitor.registry_name) if set(v.aliases) & set(monitor.aliases)]
    if not served:
        raise RegistryError(
            f"{monitor.registry_name}: no version carries one of the aliases {', '.join(monitor.aliases)}. Register a "
            "model version, log its reference rows with log_reference and set the alias champion."
        )
    built = []
    for version in served:
        reference = build_version_reference(monitoring, monitor, version)
        monitoring.references.save(reference)
        built.append((version, reference))
    champion = next((reference for version, reference in built if CHAMPION in version.aliases), built[-1][1])
    lines = ["| version | aliases | rows | columns | digest |", "|---|---|---:|---:|---|"]
    lines += [
        f"| {ref.version} | {', '.join(ver.aliases)} | {ref.rows} | {len(ref.columns)} | {ref.digest[:12]} |"
        for ver, ref in built
    ]
    return dg.MaterializeResult(
        metadata={
            "versions": dg.MetadataValue.md("\n".join(lines)),
            "champion": champion.version,
            "rows": champion.rows,
            "columns": _column_table(champion),
        },
        data_version=dg.DataVersion("+".join(reference.digest[:12] for _, reference in built)),
    )


def _column_table(reference: Reference) -> dg.TableMetadataValue:
    rows: list[dict[str, Cell]] = [
        {
            "column": name,
            "kind": entry.column.kind.value,
            "null_rate": rounded(float(entry.summary["null_rate"])),
            "bins": entry.column.bins.group_count,
            # As text: categories have no mean, and every row of a table has every column.
            "mean": "" if entry.summary.get("mean") is None else f"{entry.summary['mean']:.4g}",
        }
        for name, entry in reference.columns.items()
    ]
    return table(["column", "kind", "null_rate:float", "bins:int", "mean"], rows)
