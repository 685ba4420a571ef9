"""Formulas over logged columns, as a person writes them in YAML: parsed, checked and computed without running code.

`sum(where(score >= 0.7, monthly_charges, 0)) / count()`: totals over rows, and arithmetic with them. Add a function of
values to `FUNCTIONS` or one of rows to `TOTALS`. Keep what is stored per hour out, it belongs in `business`.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

LONGEST, DEEPEST = 500, 20
"""Characters of a formula, and how deeply it may be nested."""

LARGEST_POWER = 10
"""Exponents are plain numbers up to this size."""

ACTUAL, LABELLED_AT = "actual", "labelled_at"
"""The names under which a formula knows what came true, and when that was known."""

TOTALS = {"sum": (1, 1), "mean": (1, 1), "count": (0, 1), "share": (1, 1), "min": (1, 1), "max": (1, 1)}
"""What adds up rows, with the fewest and the most arguments; with two arguments min and max are of values."""


def _round(value: Values, digits: Values | None = None) -> Values:
    return np.asarray(np.round(value, int(np.max(digits)) if digits is not None else 0))


def _where(condition: Values, then: Values, otherwise: Values) -> Values:
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, then, otherwise))


FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Values]]] = {
    "abs": (1, 1, np.abs),
    "log": (1, 1, np.log),
    "exp": (1, 1, np.exp),
    "sqrt": (1, 1, np.sqrt),
    "round": (1, 2, _round),
    "min": (2, 10, lambda *values: reduce(np.minimum, values)),
    "max": (2, 10, lambda *values: reduce(np.maximum, values)),
    "where": (3, 3, _where),
    "coalesce": (2, 10, lambda *values: reduce(lambda a, b: np.where(np.isnan(a), b, a), values)),
    "is_null": (1, 1, lambda value: np.isnan(value).astype(np.float64)),
}
"""Functions of values, with the fewest and the most arguments. What is not known (null) is NaN."""

ARITHMETIC: Mapping[type[ast.operator], Callable[[Values, Values], Values]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}

ALLOWED = (
    "A formula has numbers, texts, column names (or col('odd name')), + - * / % **, comparisons, and, or, not, "
    f"{', '.join(sorted(FUNCTIONS))}, and totals over rows: {', '.join(TOTALS)}."
)


class FormulaError(ValueError):
    """A formula that is not one: where, what was found, and what is allowed."""


class Columns(Protocol):
    """Rows to compute with: a column as numbers, NaN where there is none, or as texts, None where there is none."""

    def numbers(self, name: str) -> Values: ...

    def texts(self, name: str) -> npt.NDArray[np.object_]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """One total over rows: which, of what expression (None for a plain count), and its text, which is its identity."""

    name: str
    argument: ast.expr | None
    text: str

    def of_rows(self, rows: Columns, length: int) -> Values:
        """Return the value of every row, NaN where it is not known."""
        if self.argument is None:
            return np.ones(length)
        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.asarray(_compute(self.argument, rows, {}), dtype=np.float64), (length,))
        if self.name in ("count", "share"):
            values = np.where(np.isnan(values), np.nan, values != 0)
        return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """A formula that may be computed: its text, its totals in the order of the text, and the columns it names."""

    text: str
    tree: ast.expr
    totals: tuple[Total, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Formula":
        """Return the formula of a text; raises FormulaError where the text has anything else in it."""
        text = " ".join(text.splitlines()).strip()
        if len(text) > LONGEST:
            raise FormulaError(f"{len(text)} characters, at most {LONGEST} are allowed. Split the formula in two.")
        try:
            tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            at = getattr(error, "offset", None)
            raise FormulaError(f"{_place(text, at)}: {getattr(error, 'msg', error)}. {ALLOWED}") from None
        totals: dict[str, Total] = {}
        names: dict[str, None] = {}
        _check(tree, text, totals, names, inside=False, depth=0)
        if not totals:
            raise FormulaError(f"{text!r} has no total over rows. Use {', '.join(TOTALS)}.")
        return cls(text, tree, tuple(totals.values()), tuple(names))

    @property
    def needs_labels(self) -> bool:
        return ACTUAL in self.names or LABELLED_AT in self.names

    @property
    def is_share(self) -> bool:
        """Whether it is a share of rows and nothing else."""
        return self.totals[0].name == "share" and ast.unparse(self.tree) == self.totals[0].text

    def value(self, totals: Mapping[str, float]) -> float:
        """Return the value for totals by their texts; NaN or infinite where they do not define one."""
        with np.errstate(all="ignore"):
            return float(_compute(self.tree, None, totals))


def names_of(formula: str) -> tuple[str, ...]:
    """Return the columns and roles that a formula names, each once, in order."""
    return Formula.parse(formula).names


def _place(text: str, offset: int | None) -> str:
    return repr(text) if offset is None else f"{text!r}, position {offset}"


def _refused(node: ast.AST, text: str, why: str = "") -> FormulaError:
    start = getattr(node, "col_offset", 0)
    found = (ast.get_source_segment(text, node) or type(node).__name__)[:40]
    return FormulaError(
        f"{_place(text, start + 1)}: {found!r} {why or 'is not allowed'}. {'' if why else ALLOWED}".rstrip()
    )


def _check(
    node: ast.expr, text: str, totals: dict[str, Total], names: dict[str, None], *, inside: bool, depth: int
) -> None:
    """Note the totals and names of an expression; refuse whatever is not on the list. `inside` is inside a total."""
    if depth > DEEPEST:
        raise _refused(node, text, f"is nested more than {DEEPEST} deep: split the formula in two")
    parts: list[ast.expr] = []
    match node:
        case ast.Constant(value=bool() | complex()):
            raise _refused(node, text)
        case ast.Constant(value=int() | float() as number):
            if not abs(number) <= 1e100:
                raise _refused(node, text, "is too large: numbers go up to 1e100")
        case ast.Name() | ast.Call(func=ast.Name(id="col")):
            if not inside:
                raise _refused(node, text, f"stands for many rows: put it into one of {', '.join(TOTALS)}")
            names[_column(node, text)] = None
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            if isinstance(op, ast.Pow) and not _is_small(right):
                raise _refused(right, text, f"is no exponent: write a number from -{LARGEST_POWER} to {LARGEST_POWER}")
            parts = [left, right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            parts = [operand]
        case ast.BoolOp(values=values):
            parts = values
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
            sides = [left, *others]
            if any(_is_text(side) for side in sides):
                wrong = [side for side in sides if not (_is_text(side) or isinstance(side, ast.Name | ast.Call))]
                if wrong or len(sides) > 2 or not isinstance(ops[0], ast.Eq | ast.NotEq):
                    raise _refused(node, text, "compares a text: only a column can be == or != to one")
            parts = [side for side in sides if not _is_text(side)]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            parts = _called(node, name, arguments, text, totals, inside=inside)
            inside = inside or _is_total(node)
        case _:
            raise _refused(node, text)
    for part in parts:
        _check(part, text, totals, names, inside=inside, depth=depth + 1)


def _called(
    node: ast.Call, name: str, arguments: list[ast.expr], text: str, totals: dict[str, Total], *, inside: bool
) -> list[ast.expr]:
    if _is_total(node):
        if inside:
            raise _refused(node, text, "is a total inside a total: what is added up are single rows")
        fewest, most = TOTALS[name]
        written = ast.unparse(node)
        totals[written] = Total(name, arguments[0] if arguments else None, written)
    elif name in FUNCTIONS:
        fewest, most, _ = FUNCTIONS[name]
    else:
        raise _refused(node, text)
    if not fewest <= len(arguments) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise _refused(node, text, f"has {len(arguments)} arguments: {name} takes {wanted}")
    return arguments


def _is_total(node: ast.expr) -> bool:
    """Whether a call adds up rows; min and max do with one argument."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return name in TOTALS and (name not in FUNCTIONS or len(arguments) < 2)
    return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_small(node: ast.expr) -> bool:
    match node:
        case (
            ast.Constant(value=int() | float() as number)
            | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number))
        ):
            return abs(number) <= LARGEST_POWER
    return False


def _column(node: ast.expr, text: str) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Call(args=[ast.Constant(value=str() as name)], keywords=[]):
            return name
    raise _refused(node, text, "is no column: write col('its name')")


def _compute(node: ast.expr, rows: Columns | None, totals: Mapping[str, float]) -> Any:
    """Return the value of a checked expression: of every row, or of totals that are known."""

    def of(part: ast.expr) -> Any:
        return _compute(part, rows, totals)

    match node:
        case ast.Constant(value=int() | float() as number):
            return np.float64(number)
        case ast.BinOp(left=left, op=op, right=right):
            return ARITHMETIC[type(op)](of(left), of(right))
        case ast.UnaryOp(op=op, operand=operand):
            value = of(operand)
            return _negated(value) if isinstance(op, ast.Not) else -value if isinstance(op, ast.USub) else value
        case ast.BoolOp(op=op, values=values):
            return _all_true([of(value) for value in values]) if isinstance(op, ast.And) else _any_true(map(of, values))
        case ast.Compare():
            return _all_true(list(_compared(node, rows, totals)))
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS and not _is_total(node):
            return FUNCTIONS[name][2](*map(of, arguments))
        case ast.Call() if _is_total(node):
            return np.float64(totals[ast.unparse(node)])
    if rows is None:
        raise FormulaError(f"{ast.unparse(node)!r} has no rows to be computed from")
    return rows.numbers(_column(node, ""))


def _compared(node: ast.Compare, rows: Columns | None, totals: Mapping[str, float]) -> Iterator[Any]:
    sides = [node.left, *node.comparators]
    for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
        compare = COMPARISONS[type(op)]
        if rows is not None and (_is_text(left) or _is_text(right)):
            column, literal = (right, left) if _is_text(left) else (left, right)
            texts = rows.texts(_column(column, ""))
            known = np.array([text is not None for text in texts], dtype=bool)
            yield np.where(known, compare(texts, ast.literal_eval(literal)), np.nan).astype(np.float64)
        else:
            first, second = (_compute(side, rows, totals) for side in (left, right))
            yield np.where(np.isnan(first) | np.isnan(second), np.nan, compare(first, second))


def _negated(value: Any) -> Any:
    return np.where(np.isnan(value), np.nan, value == 0)


def _all_true(values: list[Any]) -> Any:
    """Return whether all are true: false where one is false, not known where one is not and none is false."""
    return reduce(
        lambda a, b: np.where((a == 0) | (b == 0), 0.0, np.where(np.isnan(a) | np.isnan(b), np.nan, 1.0)), values
    )


def _any_true(values: Any) -> Any:
    return _negated(_all_true([_negated(value) for value in values]))
