"""The command that says what a deployment will need.

Add an option here. Keep what things cost out: it belongs in evaluate.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from monitoring_pipeline.cli.base import Answer, Format, app, print_json, print_table


@app.command()
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
