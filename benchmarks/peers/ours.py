"""Our package: the stored reference and one pass over the current rows, or both tables compared."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from footings import Verdicts, run

if TYPE_CHECKING:
    from monitoring_pipeline.describe.references import Reference

AT = datetime(2026, 1, 1, tzinfo=UTC)


def fit(path: str) -> "Reference":
    """Return the reference as it comes back from where references are stored."""
    import json

    from monitoring_pipeline.describe.columns import ColumnRole
    from monitoring_pipeline.describe.kinds import kind_of_type
    from monitoring_pipeline.describe.reference_building import build_reference, specs_of
    from monitoring_pipeline.describe.reference_json import reference_from_json, reference_to_json
    from monitoring_pipeline.stores.files import read_parquet

    rows = read_parquet(Path(path))
    specs = [
        spec
        for field in rows.schema
        if (kind := kind_of_type(field.type)) is not None
        for spec in specs_of(field.name, ColumnRole.FEATURE, kind, groups=10, aged=False)
    ]
    built = build_reference(rows, specs, model="benchmark", version="1", computed_at=AT)
    return reference_from_json(json.loads(json.dumps(reference_to_json(built))))


def compare(reference: "Reference", path: str) -> Verdicts:
    """Return whether the index, or what confirms it, calls a column changed."""
    from monitoring_pipeline.describe.parquet_pass import profile_parquet
    from monitoring_pipeline.evaluate.drift import table_drift
    from monitoring_pipeline.judge.judgement import judge_signals
    from monitoring_pipeline.judge.thresholds import JudgingPolicy
    from monitoring_pipeline.judge.verdicts import Level

    profile = profile_parquet(Path(path), reference.specs, reference.version)
    signals = table_drift(reference, profile, start=AT, end=AT + timedelta(hours=1))
    verdicts = dict.fromkeys(reference.columns, False)
    for verdict in judge_signals(signals, {reference.version: reference}, JudgingPolicy()):
        if verdict.signal.column:
            verdicts[verdict.signal.column] |= verdict.level in (Level.WARNING, Level.CRITICAL)
    return verdicts


def compare_files(reference: str, current: str) -> Verdicts:
    """Return what a comparison of two files says, with nothing prepared."""
    from monitoring_pipeline.describe.parquet_pass import ParquetRows
    from monitoring_pipeline.judge.comparison import ComparisonPolicy, compare_tables
    from monitoring_pipeline.judge.verdicts import Level

    found = compare_tables(ParquetRows(Path(reference)), ParquetRows(Path(current)), ComparisonPolicy())
    return {entry.column: entry.verdict in (Level.WARNING, Level.CRITICAL) for entry in found.columns}


if __name__ == "__main__":
    if sys.argv[1] == "whole":
        run(lambda path: path, compare_files)
    else:
        run(fit, compare)
