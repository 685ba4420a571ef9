"""The sensor that decides on retraining for each newly judged hour, and keeps one run per episode.

Add here what a decision has to be told. Keep what decides out: it belongs in judge.triggers.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import dagster as dg

from monitoring_pipeline.capture.windows import HOUR
from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.evaluate.heartbeats import in_words
from monitoring_pipeline.evaluate.signals import Signal
from monitoring_pipeline.judge.conditions import metrics_of
from monitoring_pipeline.judge.rules import lookback_hours
from monitoring_pipeline.judge.triggers import NoRetrain, RetrainDecision, decide
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.stores.decision_store import Episode, EpisodeStatus
from monitoring_pipeline.workflow.episodes import EPISODE_TAG, REASON_TAG
from monitoring_pipeline.workflow.jobs import AssetJob
from monitoring_pipeline.workflow.model_news import open_incident_once
from monitoring_pipeline.workflow.promotion import finish_promotion
from monitoring_pipeline.workflow.resources import Monitoring

NEW_LABELS = "model.new_labelled_rows"
DECISIONS_PER_TICK = 31 * 24
RECORDED_ONLY = "recorded_only"
"""Marks the outcome of an episode of which nothing more was to come."""

LOST = timedelta(days=1)
"""How long an episode waits for a run that another Dagster instance says it has."""


def retraining_sensor(monitor: Monitor, job: AssetJob, *, seconds: int) -> dg.SensorDefinition:
    """Return the sensor that decides on retraining for each newly judged hour and keeps one run per episode."""

    @dg.sensor(
        name=f"{monitor.model}__retraining",
        job=job,
        minimum_interval_seconds=seconds,
        description="Decides after every judged hour whether to retrain, records why or why not, and starts each "
        "retraining once. Switched off, nothing is retrained.",
    )
    def retraining(context: dg.SensorEvaluationContext, monitoring: Monitoring) -> dg.SensorResult | dg.SkipReason:
        decisions = record_decisions(monitoring, monitor)
        _ask_a_person(monitoring, monitor)
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
        episodes = [episode for episode in database.episodes(model) if not episode.is_rollback]
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
            turned_down=turned_down(episodes),
            now=monitoring.now(),
        )
        recorded.append(database.record_decision(decision))
        reached("retraining.after_decision")
    return recorded


def turned_down(episodes: Sequence[Episode]) -> int:
    """Return how many challengers in a row came to nothing, since one was promoted or a person asked for one."""
    count = 0
    for episode in sorted(episodes, key=lambda each: each.opened_at, reverse=True):
        if episode.by_hand or episode.status is EpisodeStatus.PROMOTED:
            break
        ended = episode.status in (EpisodeStatus.REJECTED, EpisodeStatus.FAILED)
        count += ended and RECORDED_ONLY not in episode.outcome
    return count


def _ask_a_person(monitoring: Monitoring, monitor: Monitor) -> None:
    """Page once where retraining was given up: the first decision that was held back for it is the moment."""
    model, database = monitor.registry_name, monitoring.database
    episodes = [episode for episode in database.episodes(model) if not episode.is_rollback]
    if (count := turned_down(episodes)) < monitor.trigger_policy().give_up_after:
        return
    last = max(episodes, key=lambda each: each.opened_at)
    held = (each for each in database.decisions(model, after=last.hour) if each.reason is NoRetrain.GIVEN_UP)
    if (first := next(held, None)) is None:
        return
    text = (
        f"retraining is wanted and was given up: {count} challengers in a row were not promoted, the last one because "
        f"{'; '.join(map(str, _reasons(last)))}. Once you know why, monitoring-pipeline retrain {monitor.model} --why "
        "WHY starts one, and what is decided counts again; without that another is tried "
        f"{in_words(monitor.retraining.try_again_after)} after the last"
    )
    open_incident_once(monitoring, monitor, text, author="retraining", at=first.decided_at, severity="critical")


def _reasons(episode: Episode) -> list[object]:
    found = episode.outcome.get("reasons")
    return found if isinstance(found, list) else ["nothing is on record"]


def _labelled_rows(signals: Iterable[Signal]) -> int:
    return max((signal.rows for signal in signals if signal.metric == NEW_LABELS), default=0)


def _episode_requests(
    instance: dg.DagsterInstance, monitoring: Monitoring, monitor: Monitor
) -> Iterable[dg.RunRequest]:
    """Yield the run of every open episode that has none, and close those whose run failed.

    The run key is the episode: a tick that was killed after recording the decision is made good by the next one, and
    asking twice starts one run. Daemons of two Dagster instances may both start one: the episode belongs to the run
    that takes it first, and only that one's end is its end. An episode of a monitor without a trainer is over as soon
    as it is on record.
    """
    now = monitoring.now()
    for episode in monitoring.database.open_episodes(monitor.registry_name):
        runs = instance.get_runs(dg.RunsFilter(tags={EPISODE_TAG: episode.id}))
        failed: dict[str, object] = {}
        if runs:
            over = all(run.is_failure_or_canceled and not run.is_complete_and_waiting_to_retry for run in runs)
            if over and episode.run_id in (None, *(run.root_run_id or run.run_id for run in runs)):
                if finish_promotion(monitoring, monitor, episode):
                    continue
                failed = {"outcome": "failed", "runs": [run.run_id for run in runs], "reasons": ["its run failed"]}
        elif episode.run_id is not None:
            if now - episode.opened_at > LOST:
                failed = {"reasons": [f"run {episode.run_id} is not known here, and has not come to an end in a day"]}
        elif monitor.trainer is None:
            why = "there is no retraining.trainer: the decision is only recorded"
            failed = {RECORDED_ONLY: True, "reasons": [why]}
        else:
            reason = f"decided for {episode.hour:%Y-%m-%d %H:%M}Z"
            if episode.by_hand:
                reason = f"asked for by {episode.outcome['by']}: {episode.outcome['why']}"
            yield dg.RunRequest(run_key=episode.id, tags={EPISODE_TAG: episode.id, REASON_TAG: reason})
        if failed:
            monitoring.database.finish_episode(episode.id, EpisodeStatus.FAILED, failed, now)
