import io

import pytest
from rich.console import Console

from monitoring_pipeline.judge.comparison import ColumnComparison, Comparison
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.comparison_table import comparison_table, printable

MOVED = ({"range": "[12, inf)", "direction": "up", "reference": 0.1, "current": 0.4, "contribution": 0.4},)


def shown(*entries: ColumnComparison) -> str:
    page = io.StringIO()
    console = Console(file=page, width=200, force_terminal=True, color_system=None)
    console.print(comparison_table(Comparison(entries)))
    return page.getvalue()


def drifted(column: str = "tenure", **more: object) -> ColumnComparison:
    numbers = {"value": 0.51, "threshold": 0.25, "threshold_origin": "calibrated", "q_value": 1e-9, "moved": MOVED}
    return ColumnComparison(column, "numeric", 4200, 3000, Level.CRITICAL, **{**numbers, **more})  # type: ignore[arg-type]


def test_a_row_says_how_far_a_column_drifted_against_what_and_what_moved() -> None:
    row = next(line for line in shown(drifted(unseen={"neu": 400})).splitlines() if "tenure" in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells == [
        "critical",
        "tenure",
        "numeric",
        "4,200 / 3,000",
        "psi 0.51",
        "0.25 calibrated",
        "1e-09",
        "[12, inf): 10.0% to 40.0%; new: neu (400)",
    ]


def test_an_unknown_column_shows_its_reason_in_place_of_numbers() -> None:
    reason = "too_few_rows: the current table has 3 rows, 1000 are needed."
    row = shown(ColumnComparison("tenure", None, 5000, 3, absence="too_few_rows", reason=reason))
    assert reason in row
    assert "psi" not in row


def test_the_worst_column_comes_first() -> None:
    fine = ColumnComparison("calm", "numeric", 9, 9, Level.OK, value=0.01, threshold=0.1, reason="within the threshold")
    page = shown(fine, drifted("restless"))
    assert page.index("restless") < page.index("calm")


@pytest.mark.parametrize("name", ["[bold red]x[/]", "[/]", ":boom:", "[link=file:///etc/passwd]x"])
def test_a_name_is_shown_as_it_is_and_never_read_as_markup(name: str) -> None:
    assert f" {name} " in shown(drifted(name))
    assert f"new: {name} (4)" in shown(drifted(unseen={name: 4}))


def test_no_control_character_reaches_the_terminal() -> None:
    page = shown(drifted("\x1b[31mred\x07\n\u202ereversed", unseen={"\x1b]8;;x\x07": 1}))
    assert "\\x1b[31mred\\x07\\n\\u202ereversed" in page
    assert all(char.isprintable() or char == "\n" for char in page)


def test_what_can_be_printed_stays_as_it_is() -> None:
    assert printable("Größe [cm], 体重 ½") == "Größe [cm], 体重 ½"
