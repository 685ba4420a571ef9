"""The columns and types of the log against what the model's signature asks for, hour by hour.

Metrics: `schema.missing_columns`, `schema.extra_columns`, `schema.retyped_columns`, as numbers of columns. Add a type
of a signature to `ACCEPTED`. Keep reading a signature out, it belongs in stores, and values, they belong in quality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.describe.hours import hours_by_version
from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.evaluate.intake import HourlyIntake
from monitoring_pipeline.evaluate.signals import Absence, Signal

Expected = Mapping[str, str]
"""Types of the signature by column; those of columns that may be missing begin with `optional `."""

OPTIONAL = "optional "

WHOLE = ("int", "uint")
NUMBERS = (*WHOLE, "halffloat", "float", "double")

ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "boolean": ("bool",),
    "integer": NUMBERS,  # whole numbers come as floats where some are missing
    "long": NUMBERS,
    "float": (*NUMBERS, "decimal"),
    "double": (*NUMBERS, "decimal"),
    "string": ("string", "large_string"),
    "binary": ("binary", "large_binary", "fixed_size_binary"),
    "datetime": ("timestamp", "date"),
}
"""How the names of the types in a log begin that hold the values of each type of a signature; `null` holds any."""


@dataclass(frozen=True, slots=True)
class SchemaPolicy:
    """Columns a log may have beyond the signature: what they are for is known."""

    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """Missing and extra columns, and those of another type: expected, then found."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    retyped: Mapping[str, tuple[str, tuple[str, ...]]]


def schema_difference(
    expected: Expected, types: Mapping[str, Mapping[str, int]], *, known: Sequence[str] = ()
) -> SchemaDifference:
    """Compare the types an intake has seen with those expected."""
    retyped = {}
    for name, wanted in expected.items():
        kind = wanted.removeprefix(OPTIONAL)
        wrong = tuple(found for found in sorted(types.get(name, {})) if not _holds(kind, found))
        if wrong:
            retyped[name] = (kind, wrong)
    return SchemaDifference(
        tuple(name for name, wanted in expected.items() if name not in types and not wanted.startswith(OPTIONAL)),
        tuple(sorted(set(types) - set(expected) - set(known))),
        retyped,
    )


def _holds(kind: str, found: str) -> bool:
    return kind not in ACCEPTED or found == "null" or found.startswith(ACCEPTED[kind])


def schema_by_version(
    model: str,
    hourly: HourlyIntake,
    expected: Mapping[str, Expected],
    hours: Sequence[datetime],
    policy: SchemaPolicy,
) -> list[Signal]:
    """Return the differences of every version that served in an hour; `expected` is by version."""
    served = {hour: {version: part.rows for version, part in parts.items()} for hour, parts in hourly.items()}
    signals = []
    for version, own_hours in hours_by_version(served, hours, reach=HOUR).items():
        for hour in own_hours:
            intake = hourly[hour][version]
            signals += _hour_signals(model, version, hour, intake, expected.get(version, {}), policy)
    return signals


def _hour_signals(
    model: str, version: str, hour: datetime, intake: IntakeProfile, expected: Expected, policy: SchemaPolicy
) -> list[Signal]:
    found = schema_difference(expected, intake.types, known=policy.known)
    missing, extra = (", ".join(map(repr, names)) for names in (found.missing, found.extra))
    changes = [
        f"{name!r} should be {wanted} and is {' and '.join(types)}" for name, (wanted, types) in found.retyped.items()
    ]
    told: list[tuple[str, int, str, dict[str, object]]] = [
        ("missing", len(found.missing), f"not in the log: {missing}", {"columns": list(found.missing)}),
        ("extra", len(found.extra), f"not in the signature: {extra}", {"columns": list(found.extra)}),
        (
            "retyped",
            len(found.retyped),
            "; ".join(changes),
            {"columns": {name: [wanted, *types] for name, (wanted, types) in found.retyped.items()}},
        ),
    ]
    unknown = f"{model} v{version} has no signature that names its columns. Log the model with one: infer_signature()."
    return [
        Signal(
            f"schema.{name}_columns",
            model,
            version,
            hour,
            hour + HOUR,
            value=float(count) if expected else None,
            absence=None if expected else Absence.NO_REFERENCE,
            reason=(words if count else "") if expected else unknown,
            rows=intake.rows,
            detail=detail if count and expected else {},
        )
        for name, count, words, detail in told
    ]
