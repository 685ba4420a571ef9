"""Commands that plan: how large an experiment has to be, what a deployment will need, what its telemetry weighs.

Add an option here when the plan behind it takes one. Keep formulas out: they belong in stats and evaluate.
"""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from monitoring_pipeline.cli.base import Answer, Format, answer, command, print_json, print_table
from monitoring_pipeline.errors import Problem, SettingsError

Shape = Literal["obrien_fleming", "pocock", "always_valid", "fixed"]
"""The boundaries of `stats.spending`, which takes a second to load: nobody waits for that to be shown the help."""

FEWEST = 1000
"""Rows with an outcome that either arm needs, however large the difference: below it tests of means do not hold."""


@command
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


@command
def capacity(
    predictions_per_day: Annotated[float, typer.Option(help="Predictions of a model in a day.", min=0)],
    features: Annotated[int, typer.Option(help="Features of a model.", min=1)],
    models: Annotated[int, typer.Option(help="Monitored models.", min=1)] = 1,
    cores: Annotated[float, typer.Option(help="Cores of the machine.", min=0.1)] = 2,
    memory_gb: Annotated[float, typer.Option(help="Its memory in GB.", min=0.1)] = 8,
    format_: Answer = Format.TABLE,
) -> None:
    """Estimate storage, CPU, memory, event log and telemetry of a deployment, and which limit it meets first."""
    from monitoring_pipeline.evaluate.capacity import Load
    from monitoring_pipeline.evaluate.capacity import capacity as needed

    load = Load(
        predictions_per_day=predictions_per_day, features=features, models=models, cores=cores, memory_gb=memory_gb
    )
    found = needed(load)
    if format_ is Format.JSON:
        print_json({"load": asdict(load), **asdict(found)})
        return
    parts = {f"{part} of an hour of a model": f"{size / 1e3:,.0f} kB" for part, size in found.hour_bytes.items()}
    tiers = {f"stored, {tier}": f"{size:,.2f} GB" for tier, size in found.stored_gb.items()}
    daily = {f"telemetry, {kind}": f"{size:,.3f} GB a day" for kind, size in found.telemetry.daily.items()}
    rows = {
        **parts,
        **tiers,
        "event log": f"{found.event_log_gb_per_month:,.2f} GB a month",
        "CPU of an hour": f"{found.cpu_s_per_hour:,.0f} s, of which a model's evaluation {found.evaluation_s:,.1f} s",
        "memory of a run": f"{found.process_mb:,.0f} MB",
        "loading the code location": f"{found.location_s:,.1f} s",
        **daily,
    }
    print_table(("what", "how much"), rows.items())
    typer.echo("\nLimits, the nearest first:")
    print_table(
        ("limit", "used", "what to do before it is reached"),
        [(limit.name, f"{limit.share:.0%}", limit.remedy) for limit in found.limits],
    )


@command
def telemetry(
    requests: Annotated[float, typer.Option(help="Requests per second.", min=0)],
    series: Annotated[int, typer.Option(help="Time series of all instances.", min=0)],
    log_lines: Annotated[float, typer.Option(help="Log lines per request.", min=0)] = 1.0,
    scrape: Annotated[float, typer.Option(help="Seconds between two readings of a series.", min=1)] = 15.0,
    traces: Annotated[float, typer.Option(help="Share of the requests that are traced.", min=0, max=1)] = 0.001,
    predictions: Annotated[float, typer.Option(help="Share of the predictions that are kept.", min=0, max=1)] = 0.01,
    format_: Answer = Format.TABLE,
) -> None:
    """Estimate what metrics, logs, traces and sampled predictions weigh a day, and in store."""
    from monitoring_pipeline.evaluate.telemetry import TIERS, TelemetryRates, telemetry_volume

    volume = telemetry_volume(
        TelemetryRates(
            requests_per_s=requests,
            metric_series=series,
            log_lines_per_request=log_lines,
            scrape_s=scrape,
            trace_share=traces,
            prediction_share=predictions,
        )
    )
    kinds = (f"{kind:12} {size:10.3f} GB a day" for kind, size in volume.daily.items())
    tiers = (
        f"{tier:12} {size:10.1f} GB kept, until an age of {TIERS[tier]} days" for tier, size in volume.stored.items()
    )
    answer(format_, {"gb_a_day": volume.daily, "gb_kept": volume.stored}, *kinds, *tiers)
