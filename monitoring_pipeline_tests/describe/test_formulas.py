import re

import numpy as np
import pytest

from monitoring_pipeline.describe.formulas import ALLOWED, Formula, FormulaError, Values, names_of


class Rows:
    def __init__(self, **columns: object) -> None:
        self.columns = columns

    def numbers(self, name: str) -> Values:
        return np.array(self.columns[name], dtype=np.float64)

    def texts(self, name: str) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
        return np.array(self.columns[name], dtype=object)


NAN = float("nan")
ROWS = Rows(x=[1.0, 4.0, NAN, -9.0], y=[2.0, 0.0, 3.0, 3.0], plan=["a", "b", None, "a"], **{"odd name": [1, 2, 3, 4]})


def by_row(expression: str) -> list[float | None]:
    (total,) = Formula.parse(f"sum({expression})").totals
    return [None if np.isnan(value) else round(float(value), 12) for value in total.of_rows(ROWS, 4)]


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("x + 2 * y - 1", [4, 3, None, -4]),
        ("x ** 2 % 5", [1, 1, None, 1]),
        ("x / y", [0.5, None, None, -3]),  # what is divided by zero is not known
        ("-x", [-1, -4, None, 9]),
        ("abs(x) + col('odd name')", [2, 6, None, 13]),
        ("sqrt(x)", [1, 2, None, None]),
        ("log(exp(y))", [2, 0, 3, 3]),
        ("round(y / 7, 1)", [0.3, 0, 0.4, 0.4]),
        ("min(x, y, 2)", [1, 0, None, -9]),
        ("max(x, 2)", [2, 4, None, 2]),
        ("coalesce(x, y, 0)", [1, 4, 3, -9]),
        ("is_null(x)", [0, 0, 1, 0]),
        ("where(y >= 3, x, 10)", [10, 10, None, -9]),
        ("0 < x < 3", [1, 0, None, 0]),
        ("x > 0 and y > 0", [1, 0, None, 0]),
        ("x > 9 and y > 0", [0, 0, None, 0]),
        ("x > 0 or y > 2", [1, 1, 1, 1]),
        ("not x > 0", [0, 0, None, 1]),
        ("plan == 'a'", [1, 0, None, 1]),
        ('"a" != plan', [0, 1, None, 0]),
    ],
)
def test_an_expression_over_rows_gives_a_value_per_row_and_nothing_where_it_is_not_known(
    expression: str, values: list[float | None]
) -> None:
    assert by_row(expression) == values


def test_totals_are_combined_by_ordinary_arithmetic() -> None:
    formula = Formula.parse("100 * sum(x) / max(count(), 1) + round(share(y > 2) ** 2, 2)\n  - min(x)")
    assert [total.text for total in formula.totals] == ["sum(x)", "count()", "share(y > 2)", "min(x)"]
    totals = {"sum(x)": 8.0, "count()": 4.0, "share(y > 2)": 0.5, "min(x)": -9.0}
    assert formula.value(totals) == 209.25
    assert not np.isfinite(Formula.parse("sum(x) / count(y)").value({"sum(x)": 1.0, "count(y)": 0.0}))


def test_a_formula_knows_its_columns_and_whether_it_waits_for_labels() -> None:
    assert names_of("sum(where(score >= 0.5, x, col('odd name'))) / sum(x)") == ("score", "x", "odd name")
    assert not Formula.parse("mean(score)").needs_labels
    assert Formula.parse("share(actual == 1)").needs_labels
    assert Formula.parse("mean(labelled_at - predicted_at)").needs_labels


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("__import__('os').system('true')", "position 1: "),
        ("sum(__import__('os'))", "position 5: \"__import__('os')\" is not allowed"),
        ("sum(x.__class__)", "position 5: 'x.__class__' is not allowed"),
        ("sum(x).real", "position 1: 'sum(x).real' is not allowed"),
        ("sum(lambda: x)", "position 5: 'lambda: x' is not allowed"),
        ("sum([y for y in x])", "position 5: '[y for y in x]' is not allowed"),
        ("sum(x[0])", "position 5: 'x[0]' is not allowed"),
        ("sum(f'{x}')", "is not allowed"),
        ("sum(x := 1)", "is not allowed"),
        ("sum(x if y else 0)", "is not allowed"),
        ("sum(*x)", "is not allowed"),
        ("sum(x, start=1)", "is not allowed"),
        ("sum(x) if count() else 0", "is not allowed"),
        ("eval('1')", "position 1: \"eval('1')\" is not allowed"),
        ("sum(x << 3)", "is not allowed"),
        ("sum(x // 3)", "is not allowed"),
        ("sum(~x)", "is not allowed"),
        ("sum(x in (1, 2))", "is not allowed"),
        ("sum(True)", "'True' is not allowed"),
        ("sum(1j)", "'1j' is not allowed"),
        ("sum('text')", "is not allowed"),
        ("sum(x) + 'text'", "is not allowed"),
        ("sum(9**9**9)", "position 8: '9**9' is no exponent: write a number from -10 to 10"),
        ("sum(x ** y)", "is no exponent"),
        ("sum(2 ** 11)", "is no exponent"),
        ("sum(" + "9" * 400 + ")", "is too large: numbers go up to 1e100"),
        ("x / count()", "position 1: 'x' stands for many rows: put it into one of sum, mean"),
        ("sum(mean(x))", "position 5: 'mean(x)' is a total inside a total"),
        ("sum(max(x))", "is a total inside a total"),
        ("sum()", "has 0 arguments: sum takes 1"),
        ("count(x, y)", "has 2 arguments: count takes 0 to 1"),
        ("sum(where(x, y))", "has 2 arguments: where takes 3"),
        ("sum(col(x))", "is no column: write col('its name')"),
        ("sum(plan < 'a')", "compares a text: only a column can be == or != to one"),
        ("sum(x + 1 == 'a')", "compares a text"),
        ("1 + 2", "has no total over rows"),
        ("sum(x", "position 4: '(' was never closed"),
        ("", "invalid syntax"),
        ("sum(x)\x00", "null bytes"),
        ("sum(" + "-" * 30 + "x)", "is nested more than 20 deep"),
        ("sum(" + "(" * 240 + "x" + ")" * 240 + ")", "too many nested parentheses"),
        ("sum(x) + " * 80 + "sum(x)", "726 characters, at most 500 are allowed"),
    ],
)
def test_whatever_is_no_formula_is_refused_with_its_position_and_what_is_allowed(text: str, found: str) -> None:
    with pytest.raises(FormulaError, match=re.escape(found)) as refused:
        Formula.parse(text)
    if found.endswith("is not allowed"):
        assert str(refused.value).endswith(ALLOWED)
