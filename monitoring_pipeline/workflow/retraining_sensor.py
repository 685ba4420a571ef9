"""The sensor that decides on retraining for each newly judged hour, and keeps one run per episode.

Add here what a decision has to be told. Keep what decides out: it belongs in judge.triggers.
"""

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.conditions import metrics_of
from monitoring_pipeline.judge.rules import lookback_hours
from monitoring_pipeline.judge.triggers import RetrainDecision, decide
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import EpisodeStatus
from monitoring_pipeline.workflow.episodes import EPISODE_TAG, REASON_TAG
from monitoring_pipeline.workflow.jobs import AssetJob
from monitoring_pipeline.workflow.resources import Monitoring

NEW_LABELS = "model.new_labelled_rows"
DECISIONS_PER_TICK = 31 * 24


def retraining_sensor(monitor: Monitor, job: AssetJob, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that decides on retraining for each newly judged hour and keeps one run per episode."""

    @dg.sensor(
        name=f"{monitor.model}__retraining",
        job=job,
        minimum_interval_seconds=seconds,
        description="Decides whether to retrain, records why or why not, and starts each retraining once.",
    )
    def retraining(context: dg.SensorEvaluationContext, monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        decisions = record_decisions(monitoring, monitor)
        requests = list(_episode_requests(context.instance, monitoring, monitor))
        if requests:
            return dg.SensorResult(run_requests=requests)
        last = f"; last: {decisions[-1].explanation}" if decisions else ""
        return dg.SkipReason(f"{len(decisions)} hour(s) decided, no retraining to start{last}")

    return retraining


def record_decisions(monitoring: Monitoring, monitor: Monitor) -> list[RetrainDecision]:
    """Decide every judged hour after the last one decided, in order, and record it; returns what was recorded."""
    model, database, policy = monitor.registry_name, monitoring.database, monitor.trigger_policy()
    judged = monitoring.hourly.hours("verdicts", model)
    last = database.last_decision(model)
    waiting = [hour for hour in judged if last is None or hour > last.hour]
    if last is None:
        # Hours from before monitoring was switched on are history: only the newest one asks for anything.
        waiting = waiting[-1:]
    waiting = waiting[:DECISIONS_PER_TICK]
    if not waiting:
        return []
    reach = max(lookback_hours(trigger.for_) for trigger in policy.triggers)
    metrics = {metric for trigger in policy.triggers for metric in metrics_of(trigger.condition)} | {NEW_LABELS}
    verdicts = monitoring.hourly.read_verdicts(model, waiting[0] - reach * HOUR, waiting[-1] + HOUR, metrics)
    served = monitoring.stages(monitor).served_verdicts(verdicts)
    recorded = []
    for hour in waiting:
        version = next((verdict.signal.version for verdict in served[hour]), "")  # "": none served for days
        episodes = database.episodes(model)
        opened = [episode.hour + HOUR for episode in episodes]
        decision = decide(
            policy,
            served,
            model=model,
            hour=hour,
            version=version,
            labelled_rows=_labelled_rows(entry.signal for entry in served[hour]),
            last_episode_opened=max(opened, default=None),
            episodes_last_day=sum(hour + HOUR - moment < timedelta(days=1) for moment in opened),
            episode_open=any(episode.finished_at is None for episode in episodes),
            now=monitoring.now(),
        )
        recorded.append(database.record_decision(decision))
    return recorded


def _labelled_rows(signals: Iterable[Signal]) -> int:
    return max((signal.rows for signal in signals if signal.metric == NEW_LABELS), default=0)


def _episode_requests(
    instance: dg.DagsterInstance, monitoring: Monitoring, monitor: Monitor
) -> Iterable[dg.RunRequest]:
    """Yield the run of every open episode that has none, and close those whose run failed.

    The run key is the episode: a tick that was killed after recording the decision is made good by the next one, and
    asking twice starts one run. An episode of a monitor without a trainer is over as soon as it is on record.
    """
    for episode in monitoring.database.open_episodes(monitor.registry_name):
        runs = instance.get_runs(dg.RunsFilter(tags={EPISODE_TAG: episode.id}))
        failed: dict[str, object] = {}
        if runs:
            if all(run.is_failure_or_canceled and not run.is_complete_and_waiting_to_retry for run in runs):
                failed = {"runs": [run.run_id for run in runs], "reasons": ["its run failed"]}
        elif monitor.retraining.trainer is None:
            failed = {"reasons": ["the monitor's YAML names no retraining.trainer: the decision is only recorded"]}
        else:
            reason = f"decided for {episode.hour:%Y-%m-%d %H:%M}Z"
            yield dg.RunRequest(run_key=episode.id, tags={EPISODE_TAG: episode.id, REASON_TAG: reason})
        if failed:
            monitoring.database.finish_episode(episode.id, EpisodeStatus.FAILED, failed, monitoring.now())
