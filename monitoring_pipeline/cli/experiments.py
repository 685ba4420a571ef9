"""The command about experiments that are still to come: how many rows and days they take.

Add an option here when `stats.experiments` plans with it. Keep formulas out: they belong in stats.
"""

from typing import Annotated, Literal

import typer

from monitoring_pipeline.cli.base import Answer, Format, app, plain_errors, print_json
from monitoring_pipeline.errors import Problem, SettingsError

Shape = Literal["obrien_fleming", "pocock", "always_valid", "fixed"]
"""The boundaries of `stats.spending`, which takes a second to load: nobody waits for that to be shown the help."""

FEWEST = 1000
"""Rows with an outcome that either arm needs, however large the difference: below it tests of means do not hold."""


@app.command()
def plan_experiment(
    baseline: Annotated[float, typer.Option(help="Mean of the outcome in the control.")],
    mde: Annotated[float, typer.Option(help="Smallest change worth finding, as a share of the baseline.")] = 0.02,
    power: Annotated[float, typer.Option(help="Probability of finding it.", min=1e-6, max=1 - 1e-6)] = 0.8,
    alpha: Annotated[
        float, typer.Option(help="Probability of a false alarm, two-sided, at all looks.", min=1e-6, max=1 - 1e-6)
    ] = 0.05,
    looks: Annotated[int, typer.Option(help="How often the result is looked at.", min=1, max=100)] = 5,
    shape: Annotated[Shape, typer.Option(help="How far a statistic may go at a look.")] = "obrien_fleming",
    split: Annotated[float, typer.Option(help="Share that is treated.", min=1e-6, max=1 - 1e-6)] = 0.5,
    rows_per_day: Annotated[float | None, typer.Option(help="In the experiment, both arms.", min=1)] = None,
    variance: Annotated[float | None, typer.Option(help="Of a row's outcome, where it is no share.")] = None,
    format_: Answer = Format.TABLE,
) -> None:
    """Say how large and how long an experiment has to be, and where its limits lie at each look."""
    import numpy as np

    from monitoring_pipeline.stats import experiments
    from monitoring_pipeline.stats.spending import crossing_probabilities, limits_of

    planned = 1 if shape == "fixed" else looks
    with plain_errors():
        try:
            plan = experiments.plan_experiment(
                baseline,
                relative_mde=mde,
                variance=variance,
                power=power,
                alpha=alpha,
                treatment_share=split,
                boundary=shape,
                looks=planned,
                rows_per_day=rows_per_day,
            )
        except ValueError as error:
            fix = "Correct --baseline and --mde, or give --variance where the outcome is no share."
            raise SettingsError([Problem("command line", None, "--baseline", f"{error}.", fix)]) from error
    rows = plan.control_rows + plan.treatment_rows
    change = baseline * mde
    fractions = np.arange(1, planned + 1) / planned
    limits = limits_of(shape, fractions, alpha=alpha)
    drift = np.sqrt(plan.information) * abs(change)
    ends = {share: np.cumsum(crossing_probabilities(fractions, limits, drift=share * drift)[0]) for share in (1, 0.5)}
    if format_ is Format.JSON:
        looks_at = [
            {"rows": fraction * rows, "limit": limit, "decided": decided}
            for fraction, limit, decided in zip(fractions.tolist(), limits.tolist(), ends[1].tolist(), strict=True)
        ]
        print_json(plan._asdict() | {"looks": looks_at, "power_at_half": float(ends[0.5][-1])})
        return
    typer.echo(f"{baseline:g} -> {baseline + change:g} ({mde:+.2%}), alpha {alpha:g}, power {power:g}, {shape}")
    typer.echo(f"control    {plan.control_rows:>12,} rows")
    typer.echo(f"treatment  {plan.treatment_rows:>12,} rows")
    if min(plan[:2]) < FEWEST:
        typer.echo(f"nothing is concluded below {FEWEST:,} rows an arm: take that many")
    if rows_per_day is not None and plan.days is not None:
        weeks = -(-plan.days // 7)
        typer.echo(f"duration   {plan.days:>12,} days at {rows_per_day:,.0f} rows a day; in whole weeks: {weeks * 7}")
    typer.echo("look     rows    day  limit of z  difference that ends it  decided by then")
    for at, (fraction, limit) in enumerate(zip(fractions, limits, strict=True)):
        day = "" if rows_per_day is None else f"{np.ceil(fraction * rows / rows_per_day):.0f}"
        least = f"{limit / np.sqrt(plan.information * fraction):.4g}"
        typer.echo(f"{at + 1:>4} {fraction * rows:>8,.0f} {day:>6} {limit:>11.2f} {least:>24} {ends[1][at]:>16.1%}")
    typer.echo(f"a change of half that size would be found with power {ends[0.5][-1]:.2f}")
