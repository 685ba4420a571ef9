import json
import re
from typing import get_args

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline.cli.planning import Shape
from monitoring_pipeline.stats.experiments import plan_experiment
from monitoring_pipeline.stats.spending import Boundary


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan-experiment", *map(str, arguments)])


def numbers(line: str) -> list[float]:
    return [float(each.replace(",", "")) for each in re.findall(r"[\d,]+(?:\.\d+)?", line)]


def test_a_plan_says_rows_days_and_the_published_limits_of_its_looks() -> None:
    done = run("--baseline", 0.12, "--mde", 0.05, "--rows-per-day", 10_000)
    assert done.exit_code == 0
    plan = plan_experiment(0.12, relative_mde=0.05, boundary="obrien_fleming", looks=5, rows_per_day=10_000)
    title, control, treatment, duration, _, *looks, half = done.stdout.splitlines()
    assert title == "0.12 -> 0.126 (+5.00%), alpha 0.05, power 0.8, obrien_fleming"
    assert (numbers(control), numbers(treatment)) == ([plan.control_rows], [plan.treatment_rows])
    assert numbers(duration) == [plan.days, 10_000, 14]
    assert [numbers(line)[3] for line in looks] == [4.88, 3.36, 2.68, 2.29, 2.03]
    assert numbers(looks[-1])[1:3] == [plan.control_rows + plan.treatment_rows, plan.days]
    assert numbers(looks[-1])[-1] == 80.0
    assert half == "a change of half that size would be found with power 0.29"


def test_the_defaults_are_a_split_in_half_a_change_of_two_percent_and_a_power_of_four_fifths() -> None:
    asked = "--mde", 0.02, "--power", 0.8, "--alpha", 0.05, "--looks", 5, "--split", 0.5, "--shape", "obrien_fleming"
    assert run("--baseline", 0.3).stdout == run("--baseline", 0.3, *asked).stdout != ""


def test_means_one_look_and_an_uneven_split_are_planned_too() -> None:
    done = run("--baseline", 50, "--variance", 400, "--shape", "fixed", "--split", 0.2)
    plan = plan_experiment(50, variance=400, treatment_share=0.2)
    assert numbers(done.stdout.splitlines()[1]) == [plan.control_rows]
    assert numbers(done.stdout.splitlines()[4])[2] == 1.96
    small = run("--baseline", 0.3, "--mde", 0.5)
    assert "nothing is concluded below 1,000 rows an arm" in small.stdout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--baseline", 0.9, "--mde", 0.3), "baseline 0.9 with a change of +0.27: a share that stays between 0 and 1"),
        (("--baseline", 0, "--variance", 1), "a baseline and a variance that are not 0 is needed"),
        (("--baseline", 0.1, "--shape", "bonferroni"), "bonferroni"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_with_what_to_do(asked: tuple[object, ...], said: str) -> None:
    done = run(*asked)
    assert done.exit_code == 2
    assert said in done.stderr


def test_the_shapes_of_the_command_are_those_of_the_statistics() -> None:
    assert get_args(Shape) == get_args(Boundary)


def test_a_program_gets_the_same_numbers() -> None:
    answer = json.loads(run("--baseline", 0.12, "--mde", 0.05, "--rows-per-day", 10_000, "--format", "json").stdout)
    plan = plan_experiment(0.12, relative_mde=0.05, boundary="obrien_fleming", looks=5, rows_per_day=10_000)
    assert (answer["control_rows"], answer["days"]) == (plan.control_rows, plan.days)
    assert [round(look["limit"], 2) for look in answer["looks"]] == [4.88, 3.36, 2.68, 2.29, 2.03]
    assert answer["looks"][-1]["decided"] == pytest.approx(0.8, abs=0.001)
