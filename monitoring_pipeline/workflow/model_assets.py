"""The assets around model versions: references, and the way from a decision to a promoted challenger.

Add an asset here when it happens per version or per retraining rather than per hour. Keep out what the steps of a
retraining do: each has a module beside this one.
"""

from functools import partial

import dagster as dg

from monitoring_pipeline.describe.references import Reference
from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.promotion import CHAMPION
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.workflow.challenger_evaluation import compare_with_champion
from monitoring_pipeline.workflow.model_references import build_version_reference
from monitoring_pipeline.workflow.monitor_assets import Group, asset_spec, computed, model_link
from monitoring_pipeline.workflow.promotion import decide_promotion
from monitoring_pipeline.workflow.resources import Monitoring
from monitoring_pipeline.workflow.tables import Cell, rounded, table
from monitoring_pipeline.workflow.training import collect_training_set, train_challenger


def model_assets(monitor: Monitor) -> list[dg.AssetsDefinition]:
    """Return references and retraining of one monitor, and the outside data its lineage starts from."""
    spec, mlflow = partial(asset_spec, monitor), ("mlflow",)
    retraining = partial(spec, group=Group.RETRAIN, page="retraining.md")
    sources = [
        spec(
            "prediction_log",
            Group.SOURCES,
            "What the model served: one row per prediction, written by the serving process.",
            page="bring-your-own-model.md",
        ),
        spec(
            "label_log",
            Group.SOURCES,
            "What came true, a row for each label as it becomes known.",
            page="late-labels.md",
        ),
        spec(
            "registered_model",
            Group.SOURCES,
            f"Versions and aliases of {monitor.registry_name} in the MLflow registry.",
            page="bring-your-own-model.md",
            kinds=mlflow,
        ),
    ]
    return [
        dg.AssetsDefinition(specs=sources),  # bare, Dagster would make one definition of those of all monitors
        computed(
            monitor,
            lambda _, monitoring, own: materialise_references(monitoring, own),
            spec(
                "reference_distributions",
                Group.DESCRIBE,
                "What the reference rows of each served version look like: what drift and performance are held "
                "against. Bins, usual ranges, calibrated thresholds and the version's own performance, kept with it "
                "in MLflow.",
                page="bring-your-own-model.md",
                deps=("registered_model",),
                kinds=("mlflow", "json"),
            ),
        ),
        computed(
            monitor,
            collect_training_set,
            retraining(
                "training_set",
                description="Recent labelled predictions, split in time into rows to train on and a hold-out to judge "
                "on. Hours in which the data were wrong are left out.",
                deps=("verdicts", "outcomes", "prediction_log", "label_log"),
            ),
        ),
        computed(
            monitor,
            train_challenger,
            retraining(
                "challenger",
                description="A new model version, made of the training set by the monitor's trainer. It is registered "
                "with its reference rows and the alias `challenger`; nothing serves it yet.",
                deps=("training_set",),
                kinds=("mlflow", "scikitlearn"),
            ),
        ),
        computed(
            monitor,
            compare_with_champion,
            retraining(
                "challenger_evaluation",
                description="Champion and challenger on the same recent hold-out rows. The gain is paired, its "
                "interval from blocks of time drawn again: it has to lie above zero, and the gain above "
                "`retraining.margin`.",
                deps=("challenger",),
                kinds=("json",),
            ),
        ),
        computed(
            monitor,
            decide_promotion,
            retraining(
                "promotion",
                description="The alias `champion` moved to the challenger, or the reason why not; on record either "
                "way.",
                deps=("challenger_evaluation",),
                kinds=mlflow,
            ),
        ),
    ]


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
    versions: list[dict[str, Cell]] = [
        {
            "version": ref.version,
            "aliases": ", ".join(ver.aliases),
            "rows": ref.rows,
            "columns": len(ref.columns),
            "digest": ref.digest[:12],
        }
        for ver, ref in built
    ]
    return dg.MaterializeResult(
        metadata={
            "versions": table(["version", "aliases", "rows:int", "columns:int", "digest"], versions),
            "champion": champion.version,
            "champion_in_mlflow": model_link(monitoring.deployment, monitor.registry_name, champion.version),
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
