"""The command line `monitoring-pipeline`.

    demo           the whole loop on real flights, or on real bikes
    check-config   every mistake in the monitors' YAML files, or what they amount to
    migrate        bring the state database up to date
    describe       a Parquet file as a reference that others are compared with
    compare        drift of a Parquet file from another, or from such a reference
    evaluate       every hour's signals, verdicts and rules from Parquet files
    plan-experiment    rows and days an A/B test takes, and its limits at each look
    telemetry      what the telemetry of a service would weigh
    incidents      what is open; `incident` shows one, with its causes and its timeline
    ack            take an incident on; so do triage, mitigate, note, resolve, reopen and report-incident
    silence        tell nobody of what matches until a moment; `silences` lists, `unsilence` ends
    post-mortem    the draft, from the record
    replay-rules   what rules would have sent over the hours that are stored
    outbox         messages that wait or were given up
    retrain        ask for a retraining by hand; `rollback` points the champion back to the version before
    heartbeat      when each part was last heard from, or who has fallen silent
    serve          the scoring service of a monitored model; `switch-traffic` says which part of it answers first
    metrics-exporter   what the stores hold, for Prometheus
    incident-webhook   signed requests of other programs that act on incidents

Add a command here when a person wants it without Dagster; keep what it does out, in the stage it belongs to. A command
imports what it needs when it runs: comparing two files must not wait for an orchestrator to load.
"""

from monitoring_pipeline.cli import experiments, exporter, files, heartbeats, incidents, pipeline, retraining, serve  # noqa: F401 - each hangs its commands on the app
from monitoring_pipeline.cli.base import app

__all__ = ["app"]
