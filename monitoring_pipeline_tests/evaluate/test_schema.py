import pytest

from monitoring_pipeline.describe.intake import IntakeProfile
from monitoring_pipeline.evaluate.schema import SchemaPolicy, schema_by_version, schema_difference
from monitoring_pipeline.evaluate.signals import Absence
from monitoring_pipeline.judge.limits import LIMITS, judge_by_limits
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline_tests.traffic import MODEL, VERSION, hour


def types(**found: str) -> dict[str, dict[str, int]]:
    return {name: {type_: 9} for name, type_ in found.items()}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        *(("double", each) for each in ("double", "float", "int8", "decimal128(5, 2)", "null")),
        *(("long", each) for each in ("int64", "int32", "uint8", "double")),  # double where some are missing
        ("integer", "int64"),
        *(("string", each) for each in ("string", "large_string", "null")),
        ("boolean", "bool"),
        *(("datetime", each) for each in ("timestamp[us, tz=UTC]", "date32[day]")),
        ("Array(double)", "list<item: double>"),
    ],
)
def test_a_type_that_holds_the_values_of_another_is_no_change(wanted: str, found: str) -> None:
    assert schema_difference({"x": wanted}, types(x=found)).retyped == {}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("double", "string"), ("string", "int64"), ("boolean", "int64"), ("datetime", "int64"), ("long", "bool")],
)
def test_a_type_that_means_something_else_is_a_change(wanted: str, found: str) -> None:
    assert schema_difference({"x": wanted}, types(x=found)).retyped == {"x": (wanted, (found,))}


def test_columns_are_missing_unless_optional_and_extra_unless_known() -> None:
    found = schema_difference(
        {"a": "double", "b": "optional string", "c": "optional long"}, types(c="string", d="int64"), known=["d", "e"]
    )
    assert (found.missing, found.extra, found.retyped) == (("a",), (), {"c": ("long", ("string",))})
    assert schema_difference({}, types(d="int64")).extra == ("d",)


def test_every_difference_is_a_signal_that_names_the_columns() -> None:
    expected = {VERSION: {"tenure": "double", "plan": "string", "paid": "boolean"}}
    hourly = {
        hour(0): {
            VERSION: IntakeProfile(rows=9, types=types(tenure="string", plan="string", more="int64")),
            "4": IntakeProfile(rows=1),
        },
        hour(1): {VERSION: IntakeProfile(rows=9, types=types(tenure="double", plan="string", paid="bool"))},
    }
    found = schema_by_version(MODEL, hourly, expected, [hour(0), hour(1)], SchemaPolicy())
    told = {
        each.metric: (each.value, each.reason) for each in found if (each.version, each.window_start) == ("3", hour(0))
    }
    assert told == {
        "schema.missing_columns": (1.0, "not in the log: 'paid'"),
        "schema.extra_columns": (1.0, "not in the signature: 'more'"),
        "schema.retyped_columns": (1.0, "'tenure' should be double and is string"),
    }
    assert [each.value for each in found if each.window_start == hour(1)] == [0.0] * 3
    assert {each.absence for each in found if each.version == "4"} == {Absence.NO_REFERENCE}
    levels = [judge_by_limits(each, LIMITS[each.metric]).level for each in found if each.metric in LIMITS]
    assert levels == [Level.CRITICAL, Level.WARNING, Level.OK, Level.OK, Level.UNKNOWN, Level.UNKNOWN]
